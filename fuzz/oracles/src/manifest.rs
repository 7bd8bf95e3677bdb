//! Files that declare resources.

use cm_manifest::{Declared, Manifest, PROBLEMS_MAX, Position, to_yaml};

/// What is accepted is written in one form, reads back as the same and has its places in the file; what is refused is
/// refused with bounded, ordered problems that stand in it.
pub fn manifests(data: &[u8]) {
    let lines = 2 + data.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    let stands = |at: Position| (1..=lines).contains(&at.line) && (1..=data.len() + 2).contains(&at.column);
    match Manifest::parse(data) {
        Err(refused) => {
            assert!(!refused.problems.is_empty() && refused.problems.len() <= PROBLEMS_MAX);
            assert!(refused.problems.is_sorted_by_key(|problem| problem.at));
            assert!(refused.problems.iter().all(|problem| stands(problem.at)));
        }
        Ok(manifest) => {
            for index in 0..manifest.resources().len() {
                assert!(manifest.locate(index, "spec.resources.cpu").is_some_and(stands));
            }
            assert!(manifest.undeclared_roles().into_iter().all(|(_, at)| stands(at)));
            let text = to_yaml(manifest.resources());
            let again = Manifest::parse(text.as_bytes()).expect("what we write, we read");
            assert_eq!(to_yaml(again.resources()), text, "the form of a manifest is not stable");
            let (before, after) = (sorted(manifest.resources()), sorted(again.resources()));
            assert_eq!(before.len(), after.len());
            assert!(before.iter().zip(after).all(|(before, after)| before.declares_same(after)));
        }
    }
}

fn sorted(resources: &[Declared]) -> Vec<&Declared> {
    let mut sorted: Vec<&Declared> = resources.iter().collect();
    sorted.sort_by(|left, right| (left.kind, &left.id).cmp(&(right.kind, &right.id)));
    sorted
}
