//! Jobs and plans of computations, and lists of their nodes.

use cm_computation::{Agreed, Job, Program, Settings, parse};

/// A job in the language, or as JSON steps: what is accepted is a program that survives its journey unchanged.
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
