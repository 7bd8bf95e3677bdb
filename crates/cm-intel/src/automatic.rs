//! Measures that follow from indicators by themselves, where the operator wants that: addresses of which a node is sure enough are refused, or asked for a
//! credential, for as long as the indicator holds.
//!
//! They are records as those that operators make, so that they are seen, explained, and can be removed. What the operators vouch for is
//! left alone, as is the node's own machine; there are so many of them at most, those of which the node is surest. Somebody who
//! removes one by hand while its indicator holds has it back; vouching for the address is what lasts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use cm_crypto::digest;
use cm_kernel::OpContext;
use cm_kernel::catalog::kinds::{Effect, Measure, Network};
use cm_kernel::catalog::{NewRecord, Query};
use cm_kernel::policy::{Create, Delete, List};
use cm_runtime::Tasks;
use cm_types::{PageLimit, ResourceId, ResourceKind, Timestamp};

use crate::{Indicator, Intel, IntelError, KeyId};

/// The least time between two looks, and how often is looked although nothing came: indicators expire.
const LOOK_AFTER: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Most measures that there are at a time: a node keeps twenty times as many in force.
const MEASURES_MAX: usize = 1000;

/// What follows from indicators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Automatic {
    /// What is done about an address.
    pub effect: Effect,
    /// From which confidence on, 1 to 100.
    pub confidence_min: u8,
}

/// Sees to it, until the tasks are told to end.
pub(crate) fn follow(intel: Intel, automatic: Automatic, tasks: &Tasks) {
    let token = tasks.token();
    let following = async move {
        let mut head = intel.head();
        loop {
            head.borrow_and_update();
            let looked = look(&intel, automatic).await;
            tokio::time::sleep(LOOK_AFTER).await;
            match looked {
                // A closed channel means that the node ends; the token says so.
                Ok(()) => drop(tokio::time::timeout(LOOK_EVERY, head.changed()).await),
                // What came is still to be looked at.
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "measures do not follow indicators"
                    );
                }
            }
        }
    };
    tasks.spawn("intel-measures", async move {
        token.run_until_cancelled(following).await;
    });
}

/// What is to be there, by the name of its record.
type Wanted = BTreeMap<String, (IpAddr, u8, Timestamp)>;

/// Makes, renews and removes measures, so that they are those of the indicators that hold.
pub(crate) async fn look(intel: &Intel, automatic: Automatic) -> Result<(), IntelError> {
    let kernel = intel.kernel();
    let op = OpContext::node(kernel.tasks().token());
    let permit = kernel.authorize::<List>(&op, ResourceKind::ThreatEvent).await?;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = intel.indicators(&permit, after, PageLimit::MAX).await?;
        found.extend(page.items.into_iter().filter_map(|indicator| {
            let address = concerned(&indicator, automatic)?;
            (!kernel.is_exempt(address)).then_some((address, indicator.confidence, indicator.expires))
        }));
        after = page.next.map(|next| next.0);
        if after.is_none() {
            break;
        }
        if found.len() > 2 * MEASURES_MAX {
            keep_surest(&mut found);
        }
    }
    let prefix = prefix(&intel.reporter());
    let mut wanted = surest(found, &prefix);
    let mut unwanted = Vec::new();
    for (id, until) in there(intel, &op, &prefix).await? {
        match wanted.get(&id) {
            // Written anew only when it would end well before the indicator does: each report would write a record.
            Some((_, _, expires)) if is_long_enough(until, *expires, intel.config().indicator_lifetime) => {
                wanted.remove(&id);
            }
            _ => unwanted.push(id),
        }
    }
    for id in unwanted {
        remove(intel, &op, &id).await?;
    }
    for (id, (address, confidence, until)) in wanted {
        make(intel, &op, automatic.effect, id, address, confidence, until).await?;
    }
    Ok(())
}

/// The address of an indicator from which a measure follows.
fn concerned(indicator: &Indicator, automatic: Automatic) -> Option<IpAddr> {
    let address = indicator.address?.to_canonical();
    let is_anybodys = address.is_loopback() || address.is_unspecified() || address.is_multicast();
    (indicator.confidence >= automatic.confidence_min && !is_anybodys).then_some(address)
}

/// As many as there may be, those of the greatest confidence.
fn surest(mut found: Vec<(IpAddr, u8, Timestamp)>, prefix: &str) -> Wanted {
    keep_surest(&mut found);
    found.into_iter().map(|wanted| (name(prefix, wanted.0), wanted)).collect()
}

fn keep_surest(found: &mut Vec<(IpAddr, u8, Timestamp)>) {
    found.sort_by_key(|(address, confidence, _)| (std::cmp::Reverse(*confidence), *address));
    found.truncate(MEASURES_MAX);
}

/// How the names of a node's measures begin: nodes that share a catalogue each have their own indicators. Nobody else's names begin so, or they are taken for what
/// follows from nothing, and removed.
fn prefix(reporter: &KeyId) -> String {
    let reporter: String = reporter.to_string().chars().take(12).collect();
    format!("indicator-{reporter}-")
}

/// What a measure about an address is called.
fn name(prefix: &str, address: IpAddr) -> String {
    let digest: String =
        digest::sha256(address.to_string().as_bytes()).to_string().chars().take(24).collect();
    format!("{prefix}{digest}")
}

/// Whether a measure lasts nearly as long as its indicator: an eighth of its life may be missing.
fn is_long_enough(until: Option<Timestamp>, expires: Timestamp, lifetime: Duration) -> bool {
    until.is_some_and(|until| expires.since(until) < lifetime / 8 && until <= expires)
}

/// Names and ends of the measures that were made so.
async fn there(
    intel: &Intel,
    op: &OpContext,
    prefix: &str,
) -> Result<Vec<(String, Option<Timestamp>)>, IntelError> {
    let kernel = intel.kernel();
    let permit = kernel.authorize::<List>(op, ResourceKind::Measure).await?;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = Query { after, limit: PageLimit::MAX, ..Query::of(ResourceKind::Measure) };
        let page = kernel.list_records(op, &permit, query).await?;
        let own = page.items.iter().filter(|record| record.header.id.as_str().starts_with(prefix));
        found.extend(own.map(|record| {
            let until = record.spec.decode::<Measure>().ok().and_then(|measure| measure.until);
            (record.header.id.to_string(), until)
        }));
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

async fn make(
    intel: &Intel,
    op: &OpContext,
    effect: Effect,
    id: String,
    address: IpAddr,
    confidence: u8,
    until: Timestamp,
) -> Result<(), IntelError> {
    let kernel = intel.kernel();
    let permit = kernel.authorize::<Create>(op, ResourceKind::Measure).await?;
    let reason = format!("reported as a threat, confidence {confidence}; follows from the indicator");
    let measure = Measure {
        source: Some(Network::of(address)),
        principal: None,
        effect,
        until: Some(until),
        reason: Some(reason),
    };
    let id = Some(ResourceId::parse(&id).expect("letters, digits and hyphens are an id"));
    let new = NewRecord { id, ..NewRecord::of(format!("indicator {address}"), &measure) };
    kernel.create_record(op, &permit, new).await?;
    Ok(())
}

async fn remove(intel: &Intel, op: &OpContext, id: &str) -> Result<(), IntelError> {
    let kernel = intel.kernel();
    // Somebody else may have removed it meanwhile.
    let Some((record, permit)) = kernel.look_up_quietly::<Delete>(op, ResourceKind::Measure, id).await?
    else {
        return Ok(());
    };
    kernel.delete_record(op, &permit, &record.header.id, None, kernel.dependents_default()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indicator(value: &str, confidence: u8) -> Indicator {
        let at = Timestamp::from_micros(0);
        Indicator {
            value: value.to_owned(),
            address: value.parse().ok(),
            threat_types: Vec::new(),
            severity: String::new(),
            first_seen: at,
            last_seen: at,
            expires: at,
            events: 1,
            reporters: 1,
            organisations: 1,
            feeds: Vec::new(),
            confidence,
            tlp: crate::Tlp::Clear,
        }
    }

    #[test]
    fn only_addresses_of_others_of_which_the_node_is_sure_are_concerned() {
        let automatic = Automatic { effect: Effect::Deny, confidence_min: 80 };
        let is_concerned = |value, confidence| concerned(&indicator(value, confidence), automatic).is_some();
        assert!(is_concerned("198.51.100.1", 80) && is_concerned("2001:db8::1", 99));
        assert!(!is_concerned("198.51.100.1", 79));
        for value in ["evil.example", "127.0.0.1", "::1", "0.0.0.0", "::ffff:127.0.0.1", "224.0.0.1"] {
            assert!(!is_concerned(value, 100), "{value}");
        }
    }

    #[test]
    fn there_are_so_many_and_the_surest_of_them() {
        let at = Timestamp::from_micros(0);
        let found = (0..3000u32).map(|number| (IpAddr::from(number.to_be_bytes()), (number % 100) as u8, at));
        let wanted = surest(found.collect(), "p-");
        assert_eq!(wanted.len(), MEASURES_MAX);
        assert!(wanted.values().all(|(_, confidence, _)| *confidence >= 66));
    }

    #[test]
    fn a_measure_is_renewed_when_an_eighth_of_it_is_missing() {
        let at = |seconds: u64| Timestamp::from_micros(0).after(Duration::from_secs(seconds));
        let lifetime = Duration::from_secs(80);
        assert!(is_long_enough(Some(at(100)), at(109), lifetime));
        assert!(!is_long_enough(Some(at(100)), at(110), lifetime));
        assert!(!is_long_enough(Some(at(100)), at(90), lifetime), "it would outlast its indicator");
        assert!(!is_long_enough(None, at(90), lifetime));
    }
}
