use proptest::prelude::*;

use super::*;

fn grants(entries: &[(&str, Rights)]) -> Grants {
    entries.iter().map(|&(name, rights)| (FileName::parse(name).unwrap(), rights)).fold(
        Grants::default(),
        |mut grants, (name, rights)| {
            grants.add(&name, rights);
            grants
        },
    )
}

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).unwrap()
}

#[test]
fn the_most_specific_entry_decides() {
    let grants = grants(&[
        ("/in/", Rights::FD_READ),
        ("/in/deep/", Rights::FD_WRITE),
        ("/in/deep/secret", Rights::NONE),
        ("only", Rights::FD_SEEK),
    ]);
    for (at, expected) in [
        ("/in", Rights::FD_READ),
        ("/in/x/y", Rights::FD_READ),
        ("/in/deep/x", Rights::FD_WRITE),
        ("/in/deep/secret", Rights::NONE),
        ("/only", Rights::FD_SEEK),
        ("/only/below", Rights::NONE),
        ("/input", Rights::NONE),
        ("/", Rights::NONE),
    ] {
        assert_eq!(grants.rights_on(&path(at)), expected, "{at}");
    }
}

#[test]
fn a_principal_knows_what_it_has_rights_on_and_the_way_there() {
    let grants = grants(&[("/a/b/c", Rights::FD_READ), ("/hidden/x", Rights::NONE)]);
    for (at, expected) in
        [("/", true), ("/a", true), ("/a/b", true), ("/a/b/c", true), ("/a/x", false), ("/hidden", false)]
    {
        assert_eq!(grants.may_know(&path(at)), expected, "{at}");
    }
}

fn table(identity: &[(&str, Rights)], program: &[(&str, Rights)]) -> RightsTable {
    let mut table = RightsTable::default();
    table.insert(Principal::Identity(1), grants(identity));
    table.insert(Principal::Program(path("/p.wasm")), grants(program));
    table
}

#[test]
fn under_a_published_policy_the_receiver_may_execute_and_the_owner_of_the_data_may_not() {
    let program = [("input-0", Rights::READER), ("output", Rights::WRITER)];
    assert!(table(&[("output", Rights::READER)], &program).may_execute(1, &path("/p.wasm")));
    assert!(!table(&[("input-0", Rights::WRITER)], &program).may_execute(1, &path("/p.wasm")));
    assert!(!table(&[("output", Rights::READER)], &program).may_execute(2, &path("/p.wasm")));
    assert!(!table(&[("output", Rights::READER)], &program).may_execute(1, &path("/q.wasm")));
}

#[test]
fn where_the_right_to_execute_is_used_it_alone_decides() {
    let program = [("output", Rights::WRITER)];
    let mut table = table(&[("output", Rights::READER)], &program);
    table.insert(Principal::Identity(2), grants(&[("p.wasm", Rights::FILE_EXECUTE)]));
    assert!(!table.may_execute(1, &path("/p.wasm")));
    assert!(table.may_execute(2, &path("/p.wasm")));
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab]", 1..4).prop_map(|names| format!("/{}", names.join("/")))
}

/// The rule once more, as a search over all entries instead of a walk towards the root.
fn by_search(entries: &[(FileName, Rights)], path: &GuestPath) -> Rights {
    let matching = |subtree: bool| {
        entries.iter().filter(move |(name, _)| {
            name.is_subtree() == subtree
                && if subtree { name.path().covers(path) } else { name.path() == path }
        })
    };
    let all = |at: &GuestPath, subtree| {
        entries
            .iter()
            .filter(|(name, _)| name.path() == at && name.is_subtree() == subtree)
            .fold(Rights::NONE, |sum, (_, rights)| sum.union(*rights))
    };
    if matching(false).next().is_some() {
        return all(path, false);
    }
    match matching(true).max_by_key(|(name, _)| name.path().names().count()) {
        Some((nearest, _)) => all(nearest.path(), true),
        None => Rights::NONE,
    }
}

proptest! {
    #[test]
    fn resolution_agrees_with_a_search(
        entries in prop::collection::vec((name(), any::<bool>(), 0u64..1 << 30), 0..8),
        at in name(),
    ) {
        let entries: Vec<(FileName, Rights)> = entries
            .into_iter()
            .map(|(name, subtree, bits)| {
                let text = if subtree { format!("{name}/") } else { name };
                (FileName::parse(text).unwrap(), Rights::from_bits(bits).unwrap())
            })
            .collect();
        let grants: Grants = entries.iter().map(|(name, rights)| (name, *rights)).collect();
        let at = GuestPath::parse(&at).unwrap();
        prop_assert_eq!(grants.rights_on(&at), by_search(&entries, &at));
        if !grants.rights_on(&at).is_empty() {
            let mut ancestor = at.parent();
            while let Some(directory) = ancestor {
                prop_assert!(grants.may_know(&directory));
                ancestor = directory.parent();
            }
        }
    }
}
