use std::collections::BTreeMap;

use cm_crypto::threshold::{Dealing, KeyShare};

use super::*;

/// A group of two who both sign.
fn pair() -> [KeyShare; 2] {
    let ((first, of_first), (second, of_second)) =
        (Dealing::begin(0, 2, 1).unwrap(), Dealing::begin(1, 2, 1).unwrap());
    let (first, to_second) = first.deal(&BTreeMap::from([(1, of_second)])).unwrap();
    let (second, to_first) = second.deal(&BTreeMap::from([(0, of_first)])).unwrap();
    let given = |from: u16, shares: &BTreeMap<u16, cm_crypto::Secret<Vec<u8>>>, to: u16| {
        BTreeMap::from([(from, shares[&to].expose().clone())])
    };
    let first = first.finish(&given(1, &to_first, 0)).unwrap();
    [first, second.finish(&given(0, &to_second, 1)).unwrap()]
}

fn sign(group: &[KeyShare; 2], message: &[u8]) -> Vec<u8> {
    let (first, of_first) = group[0].commit().unwrap();
    let (second, of_second) = group[1].commit().unwrap();
    let commitments = BTreeMap::from([(0, of_first), (1, of_second)]);
    let shares = BTreeMap::from([
        (0, group[0].sign(first, &commitments, message).unwrap()),
        (1, group[1].sign(second, &commitments, message).unwrap()),
    ]);
    group[0].join(&commitments, message, &shares).unwrap()
}

fn sealed(party: u8) -> BTreeMap<(String, String), Vec<u8>> {
    BTreeMap::from([(("r".to_owned(), "ada".to_owned()), vec![party; 9])])
}

fn statement() -> Statement {
    let party = |at: u8| {
        let shares = shared_results(&sealed(at));
        SignedParty {
            name: format!("n{at}"),
            shares_sha256: Some(shares_digest(&shares)),
            shares: Some(shares),
        }
    };
    Statement {
        computation: "c".to_owned(),
        run: "r".to_owned(),
        plan_sha256: sha256(b"plan"),
        open: open_text(&BTreeMap::from([(
            "sum".to_owned(),
            vec![Literal::Real(0.1), Literal::integer(-3)],
        )])),
        parties: vec![party(1), party(2)],
    }
}

#[test]
fn a_proof_holds_for_what_was_signed_and_for_nothing_else() {
    let group = pair();
    let key = group[0].group_key();
    let statement = statement();
    let proof = Proof::new(statement.clone(), &key, &sign(&group, statement.digest().as_bytes()));
    assert_eq!(proof.verify(&key), Ok(()));
    let again = Proof::read(&serde_json::to_string(&proof).unwrap()).unwrap();
    assert_eq!((again.verify(&key), &again), (Ok(()), &proof));
    assert!(proof.covers(0, "r", "ada", &[1; 9]));
    assert!(!proof.covers(1, "r", "ada", &[1; 9]) && !proof.covers(0, "r", "bob", &[1; 9]));
    assert!(!proof.covers(2, "r", "ada", &[1; 9]));
    let changes: [fn(&mut Statement); 7] = [
        |said| said.computation.push('x'),
        |said| said.run.push('x'),
        |said| said.plan_sha256 = sha256(b"other"),
        |said| drop(said.open.insert("more".to_owned(), Vec::new())),
        |said| said.open.get_mut("sum").unwrap()[1] = "3".to_owned(),
        |said| (said.parties[1].shares, said.parties[1].shares_sha256) = (None, None),
        |said| said.parties[0].name.push('x'),
    ];
    for change in changes {
        let mut altered = proof.clone();
        change(&mut altered.statement);
        assert!(matches!(altered.verify(&key), Err(ProofError::Digest { .. })), "{altered:?}");
        altered.result_sha256 = altered.statement.digest();
        assert_eq!(altered.verify(&key), Err(ProofError::Signature), "{altered:?}");
    }
    let other = pair()[0].group_key();
    assert_eq!(proof.verify(&other), Err(ProofError::OtherKey(key.to_string())));
    let mut claimed = proof.clone();
    claimed.group_key = other.to_string();
    assert_eq!(claimed.verify(&other), Err(ProofError::Signature));
    let mut relisted = proof.clone();
    relisted.statement.parties[0].shares = Some(shared_results(&sealed(7)));
    assert_eq!(relisted.verify(&key), Err(ProofError::Shares("n1".to_owned())));
    relisted.statement.parties[0].shares = None;
    assert_eq!(relisted.verify(&key), Ok(()), "the digest is enough");
    assert!(!relisted.covers(0, "r", "ada", &[1; 9]), "but it covers nothing that can be told");
    let mut versioned = proof;
    versioned.format.push('1');
    assert!(matches!(versioned.verify(&key), Err(ProofError::Form(_))));
    assert!(Proof::read("{}").is_err());
}

#[test]
fn parts_of_a_statement_do_not_run_into_each_other() {
    let digest = |values: &[(&str, &[&str])]| {
        let open = values.iter().map(|(name, values)| {
            ((*name).to_owned(), values.iter().map(|value| (*value).to_owned()).collect())
        });
        open_digest(&open.collect())
    };
    assert_ne!(digest(&[("a", &["1", "2"])]), digest(&[("a", &["12"])]));
    assert_ne!(digest(&[("a", &["b", "c"])]), digest(&[("a", &[]), ("b", &["c"])]));
}
