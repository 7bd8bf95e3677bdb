//! Random documents and requests: the index decides as the interpreter does, and what is written is read again.

use proptest::prelude::*;

use super::super::syntax::*;
use super::super::time::{Days, Window, Zone};
use super::super::*;
use crate::RoleFacts;
use cm_types::{Action, Labels, ResourceId, ResourceKind, Timestamp};

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("role".to_owned()),
        Just("c d\"\\".to_owned())
    ]
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        Just(Who::Anyone),
        Just(Who::Authenticated),
        name().prop_map(Who::Role),
        name().prop_map(Who::Group),
        name().prop_map(Who::User),
        name().prop_map(Who::Tenant),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    // Few letters, so that patterns meet ids.
    prop_oneof!["[ab/*?]{0,6}", "[ab]{1,2}(/[ab*?]{0,3})?", Just("*".to_owned()), Just("a/*".to_owned())]
}

fn kind() -> impl Strategy<Value = ResourceKind> {
    prop_oneof![Just(ResourceKind::Bucket), Just(ResourceKind::Object), Just(ResourceKind::Function)]
}

fn action() -> impl Strategy<Value = Action> {
    prop::sample::select(Action::ALL.to_vec())
}

fn words() -> impl Strategy<Value = Vec<ActionWord>> {
    let one = prop_oneof![
        4 => action().prop_map(ActionWord::One),
        1 => Just(ActionWord::View),
        1 => Just(ActionWord::Write),
        1 => Just(ActionWord::Manage),
    ];
    prop_oneof![1 => Just(vec![ActionWord::Anything]), 5 => prop::collection::vec(one, 1..4)]
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let of = prop_oneof![Just(AttributeOf::Subject), Just(AttributeOf::Label), Just(AttributeOf::Request)];
    (of, prop_oneof![Just("env"), Just("level"), Just("id"), Just("x.y z")])
        .prop_map(|(of, name)| Attribute { of, name: name.to_owned() })
}

fn test() -> impl Strategy<Value = Test> {
    let zone = prop_oneof![Just(""), Just("Europe/Madrid"), Just("+05:30")]
        .prop_map(|name| if name.is_empty() { Zone::utc() } else { Zone::parse(name).unwrap() });
    let comparison = prop_oneof![
        Just(Comparison::Equal),
        Just(Comparison::NotEqual),
        Just(Comparison::Less),
        Just(Comparison::GreaterOrEqual)
    ];
    prop_oneof![
        Just(Test::Mfa),
        Just(Test::Tls),
        Just(Test::Owner),
        who().prop_map(Test::Who),
        (0u16..24, 0u16..24, zone.clone()).prop_filter_map("a window", |(from, until, zone)| {
            let window = Window::parse(&format!("{from:02}:00"), &format!("{until:02}:30"))?;
            Some(Test::Time(window, zone))
        }),
        zone.prop_map(|zone| Test::Day(Days::NONE.with("sat", Some("mon")).unwrap(), zone)),
        (0i64..100).prop_map(|day| Test::Before(Timestamp::from_micros(day * 86_400_000_000))),
        (0i64..100).prop_map(|day| Test::After(Timestamp::from_micros(day * 86_400_000_000))),
        Just(Test::Address(vec![
            Network::parse("10.0.0.0/8").unwrap(),
            Network::parse("fe80::/10").unwrap()
        ])),
        attribute().prop_map(Test::Has),
        (attribute(), comparison.clone(), -2i64..3).prop_map(|(of, comparison, number)| Test::Compare(
            of,
            comparison,
            Operand::Number(number)
        )),
        (attribute(), comparison, attribute()).prop_map(|(of, comparison, other)| Test::Compare(
            of,
            comparison,
            Operand::Attribute(other)
        )),
        (attribute(), pattern()).prop_map(|(of, text)| Test::Compare(
            of,
            Comparison::Like,
            Operand::Text(text)
        )),
        (attribute(), name()).prop_map(|(of, text)| Test::Compare(
            of,
            Comparison::Equal,
            Operand::Text(text)
        )),
        (attribute(), prop::collection::vec(name(), 1..3)).prop_map(|(of, values)| Test::OneOf(of, values)),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    test().prop_map(Condition::Test).prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::All),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::Any),
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let what = (prop::option::of(kind()), prop::option::weighted(0.7, pattern()))
        .prop_map(|(kind, pattern)| What { kind, pattern });
    (
        prop_oneof![Just(Effect::Allow), Just(Effect::Deny)],
        prop::collection::vec(who(), 1..3),
        words(),
        prop::collection::vec(what, 1..3),
        prop::option::weighted(0.4, condition()),
        prop::option::weighted(0.2, condition()),
    )
        .prop_map(|(effect, who, actions, what, when, unless)| Rule {
            effect,
            who,
            actions,
            what,
            when,
            unless,
        })
}

fn a_document(most: usize) -> impl Strategy<Value = Document> {
    let comment = prop::option::weighted(0.2, "[ a-z#]{0,9}".prop_map(|text| text.trim_end().to_owned()));
    let statement =
        (rule(), comment.clone(), comment, any::<bool>()).prop_map(|(rule, above, behind, apart)| {
            Statement { at: Position::default(), above: above.into_iter().collect(), behind, apart, rule }
        });
    prop::collection::vec(statement, 0..most)
        .prop_map(|statements| Document { statements, closing: Vec::new() })
}

#[derive(Clone, Debug)]
struct Question {
    principal: Option<String>,
    roles: Vec<RoleFacts>,
    groups: Vec<String>,
    tenant: Option<String>,
    attributes: Option<std::collections::BTreeMap<String, String>>,
    action: Action,
    kind: ResourceKind,
    id: Option<String>,
    labels: Labels,
    is_owner: bool,
    circumstances: Circumstances,
}

fn pairs() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    let value = prop_oneof![Just("a"), Just("b"), Just("-1"), Just("0"), Just("2"), Just("a/b")];
    prop::collection::btree_map(
        prop_oneof![Just("env"), Just("level")].prop_map(str::to_owned),
        value.prop_map(str::to_owned),
        0..3,
    )
}

fn question() -> impl Strategy<Value = Question> {
    let roles = prop::sample::subsequence(vec!["a", "b", "role"], 0..3).prop_map(|ids| {
        let role = |id: &str| RoleFacts {
            id: ResourceId::parse(id).unwrap(),
            name: id.to_owned(),
            permissions: Vec::new(),
        };
        ids.into_iter().map(role).collect::<Vec<_>>()
    });
    let groups = prop::sample::subsequence(vec!["a".to_owned(), "b".to_owned()], 0..2);
    let said = (
        prop::option::of((0i64..100 * 1440).prop_map(|minute| Timestamp::from_micros(minute * 60_000_000))),
        prop::option::of(
            prop_oneof![Just("10.1.2.3"), Just("192.0.2.1"), Just("fe80::1")]
                .prop_map(|text| text.parse().unwrap()),
        ),
        any::<Option<bool>>(),
        any::<Option<bool>>(),
        pairs(),
    )
        .prop_map(|(now, address, tls, mfa, attributes)| Circumstances {
            now,
            address,
            tls,
            mfa,
            attributes,
        });
    (
        (
            prop::option::weighted(0.9, name()),
            roles,
            groups,
            prop::option::of(name()),
            prop::option::of(pairs()),
        ),
        (
            action(),
            kind(),
            prop::option::weighted(0.9, "[ab]{1,2}(/[ab]{0,3})?"),
            pairs(),
            any::<bool>(),
            said,
        ),
    )
        .prop_map(
            |(
                (principal, roles, groups, tenant, attributes),
                (action, kind, id, labels, is_owner, circumstances),
            )| Question {
                principal,
                roles,
                groups,
                tenant,
                attributes,
                action,
                kind,
                id,
                labels: Labels::try_from(labels).unwrap(),
                is_owner,
                circumstances,
            },
        )
}

impl Question {
    fn request(&self) -> Request<'_> {
        Request {
            who: Requester {
                principal: self.principal.as_deref(),
                tenant: self.tenant.as_deref(),
                roles: &self.roles,
                groups: &self.groups,
                attributes: self.attributes.as_ref(),
            },
            action: self.action,
            kind: self.kind,
            id: self.id.as_deref(),
            labels: &self.labels,
            is_owner: self.is_owner,
            circumstances: &self.circumstances,
        }
    }
}

fn rules(document: &Document) -> Vec<&Rule> {
    document.statements.iter().map(|statement| &statement.rule).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_index_decides_as_the_interpreter(
        mut one in a_document(12),
        mut two in a_document(12),
        questions in prop::collection::vec(question(), 1..40),
    ) {
        for document in [&mut one, &mut two] {
            for (place, statement) in document.statements.iter_mut().enumerate() {
                statement.at.line = u32::try_from(place).unwrap() + 2;
            }
        }
        let documents = [("one", &one), ("two", &two)];
        let compiled = Compiled::new(&documents);
        for question in &questions {
            let request = question.request();
            let found = compiled.judge(&request);
            prop_assert_eq!(found, interpret(&documents, &request), "{:?}", question);
            if matches!(found, Verdict::Allows(_)) {
                prop_assert!(compiled.may_concern(&request));
            }
        }
    }

    #[test]
    fn no_statement_that_matters_is_passed_over(document in a_document(12)) {
        let all = |place: usize| (0..document.statements.len()).filter(|other| *other != place).collect();
        prop_assert_eq!(check(&document), check::check_among(&document, all));
    }

    #[test]
    fn what_is_written_is_read_again(document in a_document(12)) {
        let text = format(&document);
        let again = parse(&text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
        prop_assert_eq!(rules(&again), rules(&document), "{}", text);
        prop_assert_eq!(format(&again), text);
    }

    #[test]
    fn no_text_is_too_much(text in "(pdl 1 )?([a-z\"#.,()<>=*/:0-9 \n]|allow |deny |anyone |to |read |on |bucket |when |label\\.a ){0,60}") {
        if let Ok(document) = parse(&text) {
            let written = format(&document);
            prop_assert_eq!(format(&parse(&written).unwrap()), written);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn checking_and_comparing_never_fail(one in a_document(3), two in a_document(3)) {
        check(&one);
        prop_assert_eq!(diff::diff(&one, &one).changes, vec![]);
        let there = diff::diff(&one, &two);
        let back = diff::diff(&two, &one);
        let turned = |diff: &diff::Diff| diff.changes.iter().map(|change| (change.who.clone(), !change.gains)).collect::<std::collections::BTreeSet<_>>();
        prop_assert_eq!(there.changes.len(), back.changes.len());
        prop_assert_eq!(turned(&there), back.changes.iter().map(|change| (change.who.clone(), change.gains)).collect());
    }
}
