//! Jobs, plans and proofs of computations, and lists of their nodes.

use cm_computation::published::{PublishedJob, quote_large};
use cm_computation::{Agreed, Job, Program, Proof, Settings, parse};

/// A job in the language, as JSON steps or as the published client writes it: what is accepted is a program that survives its journey
/// unchanged.
pub fn jobs(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(program) = parse(text) {
        journey(program);
    }
    if let Ok(job) = serde_json::from_str::<Job>(text)
        && let Ok(lowered) = job.lower("owner", &Settings::default(), |node| Some(format!("n{node}")))
    {
        assert_eq!(lowered.steps.len(), job.steps.len(), "every step is answered for");
        journey(lowered.program);
    }
    let quoted = quote_large(text);
    if serde_json::from_str::<serde_json::Value>(text).is_ok() {
        assert!(serde_json::from_str::<serde_json::Value>(&quoted).is_ok(), "what was JSON stays JSON");
    }
    assert_eq!(quote_large(&quoted), quoted, "what is quoted is not quoted again");
    if let Ok(job) = serde_json::from_str::<PublishedJob>(text)
        && let Ok(translated) = job.translate(3, &|_| None)
    {
        let own = job.own_names();
        assert!(own.iter().all(|(name, own)| translated.names.get(own) == Some(name)), "names come back");
        if let Ok(lowered) = translated.job.lower("owner", &Settings::default(), |_| None) {
            journey(lowered.program);
        }
    }
    // A proof is written as it is read, and verifying one by the key that it names itself comes to an end.
    if let Ok(proof) = Proof::read(text) {
        let again = serde_json::to_string(&proof).expect("proofs are plain data");
        assert_eq!(Proof::read(&again).expect("what was written can be read"), proof);
        if let Ok(key) = proof.group_key.parse() {
            let is_altered = proof.statement.digest() != proof.result_sha256;
            assert!(!is_altered || proof.verify(&key).is_err(), "an altered statement is refused");
        }
    }
    // A plan is taken to the byte.
    if let Ok(agreed) = Agreed::read(text.to_owned()) {
        assert_eq!(agreed.text(), text);
    }
}

fn journey(program: Program) {
    let text = serde_json::to_string(&program).expect("programs are plain data");
    let again: Program = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(again.checked().expect("what was checked is accepted"), program);
}
