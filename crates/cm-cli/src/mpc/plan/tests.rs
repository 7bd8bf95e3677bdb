use cm_computation::parse;
use cm_crypto::seal::RecipientSecretKey;

use super::*;

fn planned() -> Plan {
    let party = |at: u8| PlannedParty {
        name: format!("n{at}"),
        link_key: cm_types::Sha256Digest::from_bytes([at; 32]),
        sealing_key: RecipientSecretKey::generate().public_key().to_string(),
    };
    Plan {
        computation: "c".to_owned(),
        program: parse("input x from ada\nreveal x + 1 as r to ada").unwrap(),
        parties: (1..=3).map(party).collect(),
        receivers: BTreeMap::from([(
            "ada".to_owned(),
            RecipientSecretKey::generate().public_key().to_string(),
        )]),
        signature: None,
    }
}

#[test]
fn inputs_go_to_the_plan_that_was_seen_and_to_no_other() {
    let plan = planned();
    let agreed = Agreed::write(&plan).unwrap();
    assert!(demand_plan(Some(&agreed.digest().to_string()), &agreed).is_ok());
    assert!(demand_plan(Some(&Agreed::write(&planned()).unwrap().digest().to_string()), &agreed).is_err());
    let names: Vec<String> = plan.parties.iter().map(|party| party.name.clone()).collect();
    let asked = |plan: &Plan, id: &str, parties: &[String], receivers: &BTreeMap<String, String>| {
        demand_asked(plan, id, &planned().program, parties, receivers).is_ok()
    };
    assert!(asked(&plan, "c", &names, &plan.receivers));
    assert!(!asked(&plan, "d", &names, &plan.receivers));
    assert!(!asked(&plan, "c", &names[..2], &plan.receivers));
    assert!(!asked(&plan, "c", &names, &planned().receivers), "another key");
    let mut more = plan.clone();
    more.receivers.insert("eve".to_owned(), plan.receivers["ada"].clone());
    assert!(!asked(&more, "c", &names, &plan.receivers), "another receiver");
}
