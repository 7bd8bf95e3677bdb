use cm_types::ResourceKind;
use serde_json::json;

use super::*;

mod limits;
mod random;
mod round_trip;
mod shapes;
mod wrong;

const FLAT: &str = include_str!("tests/flat.yaml");
const NESTED: &str = include_str!("tests/nested.yaml");

fn parse(text: &str) -> Manifest {
    Manifest::parse(text.as_bytes()).unwrap_or_else(|refused| panic!("{:#?}", refused.problems))
}

fn problems(text: &str) -> Vec<String> {
    match Manifest::parse(text.as_bytes()) {
        Ok(manifest) => panic!("accepted: {:#?}", manifest.resources()),
        Err(refused) => refused.problems.iter().map(Problem::to_string).collect(),
    }
}

fn index_of(manifest: &Manifest, kind: ResourceKind, id: &str) -> usize {
    let found = manifest.resources().iter().position(|resource| (resource.kind, &*resource.id) == (kind, id));
    found.unwrap_or_else(|| panic!("{kind}/{id} is missing"))
}

fn spec(manifest: &Manifest, kind: ResourceKind, id: &str) -> serde_json::Value {
    manifest.resources()[index_of(manifest, kind, id)].spec.clone().into()
}

fn warnings(manifest: &Manifest) -> Vec<String> {
    manifest.warnings().iter().map(Problem::to_string).collect()
}

/// By kind and id, as they are written.
fn sorted(resources: &[Declared]) -> Vec<Declared> {
    let mut sorted = resources.to_vec();
    sorted.sort_by(|left, right| {
        (schema::rank(left.kind), &left.id).cmp(&(schema::rank(right.kind), &right.id))
    });
    sorted
}

/// What is written is read back as the same, and written again as the same.
fn check_round_trip(resources: &[Declared]) {
    let text = to_yaml(resources);
    let again = match Manifest::parse(text.as_bytes()) {
        Ok(manifest) => manifest,
        Err(refused) => panic!("{:#?}\nof\n{text}", refused.problems),
    };
    let expected = sorted(resources);
    assert_eq!(again.resources().len(), expected.len(), "{text}");
    for (found, expected) in again.resources().iter().zip(&expected) {
        assert!(found.declares_same(expected), "{found:#?}\nis not\n{expected:#?}\nin\n{text}");
    }
    assert!(again.warnings().is_empty(), "{:?}", again.warnings());
    assert_eq!(to_yaml(again.resources()), text);
}
