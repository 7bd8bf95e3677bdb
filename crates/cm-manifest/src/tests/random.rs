use std::collections::BTreeMap;

use cm_types::Labels;
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;
use crate::schema::{Field, KINDS, Shape};

fn id() -> BoxedStrategy<String> {
    "[A-Za-z0-9][A-Za-z0-9_.:@+-]{0,12}".boxed()
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![
        any::<String>(),
        "[a-z0-9 :#'\"{}\\[\\],&*!|>%@`?\n-]{0,40}",
        "([ ]{0,3}[a-z]{0,5}[ ]{0,2}\n){0,5}",
        "[0-9_.+eExo-]{1,6}",
        "[a-z ]{70,120}",
    ]
    .boxed()
}

fn byte_count() -> BoxedStrategy<String> {
    prop_oneof!["[0-9]{1,9}", "[0-9]{1,3}[kMG]i?B"].boxed()
}

fn map_of(fields: &'static [Field]) -> BoxedStrategy<Value> {
    let fields: Vec<_> = fields
        .iter()
        .filter(|field| field.shape.is_of_spec() || matches!(field.shape, Shape::Name))
        .map(|field| {
            proptest::option::of(value(field.shape)).prop_map(|value| value.map(|value| (field.name, value)))
        })
        .collect();
    let map = |found: Vec<Option<(&str, Value)>>| {
        Value::Object(found.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    fields.prop_map(map).boxed()
}

fn value(shape: Shape) -> BoxedStrategy<Value> {
    let list =
        |texts: BoxedStrategy<String>| proptest::collection::vec(texts, 0..4).prop_map(Value::from).boxed();
    match shape {
        Shape::Text => text().prop_map(Value::from).boxed(),
        Shape::Name => "[^\\p{Cc}]{1,20}".prop_map(Value::from).boxed(),
        Shape::Id => id().prop_map(Value::from).boxed(),
        Shape::Ids | Shape::EmbeddedRoles => list(id()),
        Shape::Texts => list(text()),
        Shape::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Shape::Cpu => (1..=u32::MAX).prop_map(Value::from).boxed(),
        Shape::Bytes => byte_count().prop_map(Value::from).boxed(),
        Shape::Integer(min, max) => (min..=max).prop_map(Value::from).boxed(),
        Shape::Map(_, fields) => map_of(fields),
        Shape::IdOr(_, fields) => prop_oneof![id().prop_map(Value::from), map_of(fields)].boxed(),
        Shape::OwnId | Shape::Labels | Shape::Written | Shape::Children(_) => Just(Value::Null).boxed(),
    }
}

fn labels() -> BoxedStrategy<Labels> {
    proptest::collection::btree_map("[A-Za-z0-9_./-]{1,8}", "[^,\\p{Cc}]{0,8}", 0..3)
        .prop_map(|labels: BTreeMap<String, String>| Labels::try_from(labels).unwrap())
        .boxed()
}

fn declared() -> impl Strategy<Value = Declared> {
    (0..KINDS.len(), id(), proptest::option::of("[^\\p{Cc}]{1,20}"), labels()).prop_flat_map(
        |(kind, id, name, labels)| {
            let (kind, _, fields) = KINDS[kind];
            let fields: Vec<&'static Field> =
                fields.iter().filter(|field| field.shape.is_of_spec()).collect();
            let values: Vec<_> = fields
                .into_iter()
                .map(|field| {
                    proptest::option::of(value(field.shape))
                        .prop_map(|value| value.map(|value| (field.name.to_owned(), value)))
                })
                .collect();
            values.prop_map(move |values| Declared {
                kind,
                id: id.clone(),
                name: name.clone(),
                labels: labels.clone(),
                spec: values.into_iter().flatten().collect::<Map<_, _>>(),
                at: Position::START,
            })
        },
    )
}

/// Lines that are near to what is understood.
fn nearly_yaml() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        "[ ]{0,6}(services|functions|microservices|endpoints|a|b|id|name|roles|resources|cpu|ram|<<|labels):",
        "[ ]{0,6}(services|a|b|name|cpu|storage|security_policy): (&a|\\*a|\\[|\\{|x|1|~|'|\\||>)[a ,:]{0,3}(\\]|\\})?",
        "[ ]{0,6}- (a|b|\\*a|&a|\\{|\\[).{0,4}",
        "(---|\\.\\.\\.|#|\\? |: |%|\t).{0,4}",
    ];
    proptest::collection::vec(line, 0..16).prop_map(|lines| lines.join("\n"))
}

/// A file is judged without panic; the findings stand in it and in order, and what is accepted is written and read.
fn check_judged(bytes: &[u8]) {
    let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    match Manifest::parse(bytes) {
        Ok(manifest) => {
            check_round_trip(manifest.resources());
            for index in 0..manifest.resources().len() {
                assert!(manifest.locate(index, "spec.x.y[1]").unwrap().line <= lines);
            }
        }
        Err(refused) => {
            assert!(!refused.problems.is_empty() && refused.problems.len() <= PROBLEMS_MAX);
            assert!(refused.problems.is_sorted_by_key(|problem| problem.at));
            let last = refused.problems.last().unwrap();
            assert!(last.at.line <= lines + 1, "{last} in {lines} lines");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_declarations_read_back(resources in proptest::collection::vec(declared(), 0..5)) {
        let unique: BTreeMap<_, _> =
            resources.into_iter().map(|resource| ((resource.kind, resource.id.clone()), resource)).collect();
        check_round_trip(&unique.into_values().collect::<Vec<_>>());
    }

    #[test]
    fn random_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check_judged(&bytes);
    }

    #[test]
    fn random_text_is_judged(text in any::<String>()) {
        check_judged(text.as_bytes());
    }

    #[test]
    fn random_lines_are_judged(text in nearly_yaml()) {
        check_judged(text.as_bytes());
    }

    #[test]
    fn changed_files_are_judged(at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = FLAT.as_bytes().to_vec();
        let at = at.index(bytes.len());
        if cut {
            bytes.remove(at);
        } else {
            bytes[at] = byte;
        }
        check_judged(&bytes);
    }
}
