//! Certificates: when they hold, and whether they can be told apart.

use std::time::Duration;

use cm_types::Timestamp;

use super::facts::Facts;
use super::{Findings, Suspicion};

/// What ends within this time ends soon: a month to make a new one.
const SOON: Duration = Duration::from_secs(30 * DAY);
const DAY: u64 = 24 * 3600;

pub(super) fn review(facts: &Facts<'_>, now: Timestamp, findings: &mut Findings) {
    let mut subjects: Vec<(String, &str)> = Vec::new();
    for (path, certificate) in &facts.certificates {
        let (begins, until) = certificate.validity();
        if begins > now {
            findings.warn(path, Suspicion::NotYet { what: "the certificate".to_owned() });
        }
        ends(path, "the certificate", until, now, findings);
        if facts.expiry.is_some_and(|expiry| until < expiry) && until > now {
            findings.note(path, Suspicion::EndsBeforeInstance);
        }
        let subject = cm_crypto::cert::subject(certificate.der()).unwrap_or_default();
        if let Some((_, other)) = subjects.iter().find(|(known, _)| *known == subject) {
            let suspicion = Suspicion::SameSubject { subject: subject.clone(), other: (*other).to_owned() };
            findings.warn(path, suspicion);
        }
        subjects.push((subject, path));
    }
}

/// Says of something that ends when that matters.
pub(super) fn ends(path: &str, what: &str, until: Timestamp, now: Timestamp, findings: &mut Findings) {
    let what = what.to_owned();
    if until <= now {
        findings.warn(path, Suspicion::Ended { what });
    } else if until.since(now) < SOON {
        findings.note(path, Suspicion::EndsSoon { what, days: until.since(now).as_secs() / DAY });
    }
}
