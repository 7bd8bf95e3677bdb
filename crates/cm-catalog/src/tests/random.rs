//! Random sequences of creations, changes and removals.

use cm_types::{Generation, ResourceKind};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{Fixture, block_on, new};
use crate::{CatalogError, Change, SpecChange};

const KINDS: [ResourceKind; 8] = [
    ResourceKind::Role,
    ResourceKind::SecurityPolicy,
    ResourceKind::Service,
    ResourceKind::Microservice,
    ResourceKind::Function,
    ResourceKind::Endpoint,
    ResourceKind::FunctionState,
    ResourceKind::FunctionResult,
];

#[derive(Clone, Debug)]
enum Step {
    Create { kind: ResourceKind, id: u8, to: [u8; 2] },
    Update { kind: ResourceKind, id: u8, to: [u8; 2], name: Option<u8>, expected: Option<u64> },
    Delete { kind: ResourceKind, id: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let kind = || prop::sample::select(KINDS.to_vec());
    let id = || 0u8..4;
    prop_oneof![
        5 => (kind(), id(), [id(), id()]).prop_map(|(kind, id, to)| Step::Create { kind, id, to }),
        2 => (kind(), id(), [id(), id()], prop::option::of(id()), prop::option::of(1u64..4))
            .prop_map(|(kind, id, to, name, expected)| Step::Update { kind, id, to, name, expected }),
        1 => (kind(), id()).prop_map(|(kind, id)| Step::Delete { kind, id }),
    ]
}

fn text(number: u8) -> String {
    format!("x{number}")
}

/// A spec that refers to records which may or may not exist; 3 stands for no reference where that is
/// possible.
fn spec(kind: ResourceKind, [first, second]: [u8; 2]) -> Value {
    let optional = |number: u8| (number != 3).then(|| text(number));
    match kind {
        ResourceKind::SecurityPolicy if first == second => json!({"roles": [text(first)]}),
        ResourceKind::SecurityPolicy => json!({"roles": [text(first), text(second)]}),
        ResourceKind::Service => json!({"security_policy": optional(first)}),
        ResourceKind::Microservice => json!({"service_id": text(first)}),
        ResourceKind::Function => {
            json!({"microservice_id": optional(first), "endpoint_id": optional(second)})
        }
        ResourceKind::Endpoint => json!({"image": "i", "security_policy": optional(first)}),
        ResourceKind::FunctionState => json!({"function_id": text(first), "state": "running"}),
        ResourceKind::FunctionResult => json!({"function_id": text(first), "state_id": optional(second)}),
        _ => json!({}),
    }
}

async fn perform(f: &Fixture, step: Step) -> Result<u64, CatalogError> {
    let before = f.events().await;
    match step {
        Step::Create { kind, id, to } => {
            f.create(new(kind, &text(id), spec(kind, to))).await?;
        }
        Step::Update { kind, id, to, name, expected } => {
            let change = Change {
                expected: expected.map(Generation),
                name: name.map(text),
                labels: None,
                spec: Some(SpecChange::Replace(spec(kind, to))),
                status: serde_json::Map::new(),
            };
            f.update(kind, &text(id), change).await?;
        }
        Step::Delete { kind, id } => {
            f.delete(kind, &text(id), None).await?;
        }
    }
    Ok(f.events().await - before)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn references_resolve_and_indexes_agree_whatever_happens(steps in prop::collection::vec(step(), 1..60)) {
        block_on(async {
            let f = Fixture::in_memory().await;
            for step in steps {
                let before = f.events().await;
                match perform(&f, step.clone()).await {
                    Ok(events) => assert!(events >= 1, "{step:?} left no event"),
                    Err(error) => {
                        assert_eq!(f.events().await, before, "{step:?} failed and left an event");
                        assert!(!matches!(error, CatalogError::Db(_) | CatalogError::Events(_)), "{error:?}");
                    }
                }
                f.check_invariants().await;
            }
        });
    }
}
