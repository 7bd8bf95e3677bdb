//! The decision against a naive interpreter of the rules, and rule by rule.

use std::collections::BTreeMap;

use cm_types::{Labels, PrincipalId, ResourceId};
use proptest::prelude::*;

use super::*;
use crate::{Create, Delete, Grant, Invoke, List, Pattern, Permission, Read, RoleFacts, Update};

/// Owned facts, from which the borrowed ones are made.
#[derive(Clone, Debug)]
struct Case {
    principal: Option<PrincipalId>,
    tenant: Option<TenantId>,
    roles: Vec<RoleFacts>,
    kind: ResourceKind,
    id: Option<String>,
    owner: Option<PrincipalId>,
    target_tenant: TenantId,
    labels: Labels,
    guard: Option<Guard>,
    action: Action,
}

impl Case {
    fn subject(&self) -> Subject<'_> {
        Subject {
            principal: self.principal.as_ref(),
            tenant: self.tenant.as_ref(),
            roles: &self.roles,
            rules: None,
        }
    }

    fn target(&self) -> Target<'_> {
        Target {
            kind: self.kind,
            id: self.id.as_deref(),
            tenant: &self.target_tenant,
            owner: self.owner.as_ref(),
            labels: &self.labels,
            guard: self.guard.as_ref(),
        }
    }

    fn explain(&self) -> Explanation {
        explain(self.action, &self.subject(), &self.target())
    }

    fn decide(&self) -> Result<(Option<PrincipalId>, TenantId, Option<String>), Denied> {
        fn by<A: ActionKind>(case: &Case) -> Result<(Option<PrincipalId>, TenantId, Option<String>), Denied> {
            let permit = decide::<A>(&case.subject(), &case.target())?;
            assert_eq!((permit.action(), permit.kind()), (case.action, case.kind));
            Ok((permit.principal().cloned(), permit.tenant().clone(), permit.id().map(str::to_owned)))
        }
        match self.action {
            Action::Create => by::<Create>(self),
            Action::Read => by::<Read>(self),
            Action::List => by::<List>(self),
            Action::Update => by::<Update>(self),
            Action::Delete => by::<Delete>(self),
            Action::Invoke => by::<Invoke>(self),
            Action::Grant => by::<Grant>(self),
        }
    }

    /// The rules, read aloud as one sentence without regard to cost or reasons.
    fn naive(&self) -> bool {
        let permits = |role: &RoleFacts| {
            role.permissions.iter().any(|p| {
                (p.kind == Pattern::Any || p.kind == Pattern::Only(self.kind))
                    && (p.action == Pattern::Any || p.action == Pattern::Only(self.action))
                    && ((self.id.is_none() && self.action == Action::List)
                        || p.selector.to_string().split(',').filter(|t| !t.is_empty()).all(|term| {
                            self.labels.iter().any(|(name, value)| term == format!("{name}={value}"))
                        }))
            })
        };
        let opened = matches!(self.action, Action::Read | Action::Invoke)
            && self.guard.as_ref().is_some_and(|g| !g.requires_authentication && g.roles.iter().any(permits));
        let (Some(principal), Some(tenant)) = (&self.principal, &self.tenant) else { return opened };
        let admin = self.roles.iter().any(|role| {
            role.id.as_str() == "admin" && role.permissions.iter().any(|p| p.to_string() == "*:*")
        });
        let narrowed = self.guard.as_ref().is_some_and(|g| {
            !g.roles.is_empty() && !g.roles.iter().any(|listed| self.roles.iter().any(|r| r.id == listed.id))
        });
        let owner = self.owner.as_ref() == Some(principal)
            && matches!(self.action, Action::Read | Action::Update | Action::Delete | Action::Invoke);
        let owners =
            self.kind == ResourceKind::Instance && self.action == Action::Delete && self.id.is_some();
        let permitted = self.roles.iter().any(permits) && !narrowed && !owners;
        (admin && tenant.as_str() == "default")
            || (*tenant == self.target_tenant && (admin || owner || opened || permitted))
    }
}

fn permission() -> impl Strategy<Value = Permission> {
    let kinds = prop_oneof![Just("*"), Just("function"), Just("bucket"), Just("instance")];
    let actions = prop_oneof![
        Just("*"),
        Just("read"),
        Just("invoke"),
        Just("create"),
        Just("list"),
        Just("grant"),
        Just("delete")
    ];
    let selectors = prop_oneof![3 => Just(""), 1 => Just("@env=prod"), 1 => Just("@env=dev,zone=eu")];
    (kinds, actions, selectors)
        .prop_map(|(kind, action, selector)| format!("{kind}:{action}{selector}").parse().unwrap())
}

fn role() -> impl Strategy<Value = RoleFacts> {
    let ids = prop_oneof![Just("admin"), Just("analyst"), Just("operator"), Just("guest")];
    (ids, prop::collection::vec(permission(), 0..4)).prop_map(|(id, permissions)| RoleFacts {
        id: ResourceId::parse(id).unwrap(),
        name: id.to_owned(),
        permissions,
    })
}

fn tenant() -> impl Strategy<Value = TenantId> {
    prop_oneof![Just("default"), Just("acme")].prop_map(|t| TenantId::parse(t).unwrap())
}

fn principal() -> impl Strategy<Value = PrincipalId> {
    prop_oneof![Just("ana"), Just("bob")].prop_map(|p| PrincipalId::parse(p).unwrap())
}

fn labels() -> impl Strategy<Value = Labels> {
    let env = prop::option::of(prop_oneof![Just("prod"), Just("dev")]);
    let zone = prop::option::of(Just("eu"));
    (env, zone).prop_map(|(env, zone)| {
        let pairs = [("env", env), ("zone", zone)];
        let map: BTreeMap<String, String> =
            pairs.into_iter().filter_map(|(n, v)| Some((n.to_owned(), v?.to_owned()))).collect();
        Labels::try_from(map).unwrap()
    })
}

fn guard() -> impl Strategy<Value = Guard> {
    (any::<bool>(), prop::collection::vec(role(), 0..3)).prop_map(|(requires_authentication, roles)| Guard {
        id: ResourceId::parse("sp1").unwrap(),
        requires_authentication,
        roles,
    })
}

prop_compose! {
    fn case()(
        principal in prop::option::weighted(0.85, principal()),
        tenant_of_subject in prop::option::weighted(0.9, tenant()),
        roles in prop::collection::vec(role(), 0..3),
        kind in prop_oneof![
            Just(ResourceKind::Function),
            Just(ResourceKind::Bucket),
            Just(ResourceKind::Role),
            Just(ResourceKind::Instance)
        ],
        id in prop::option::weighted(0.8, Just("x".to_owned())),
        owner in prop::option::of(self::principal()),
        target_tenant in tenant(),
        labels in labels(),
        guard in prop::option::of(guard()),
        action in prop::sample::select(Action::ALL.to_vec()),
    ) -> Case {
        Case { principal, tenant: tenant_of_subject, roles, kind, id, owner, target_tenant, labels, guard, action }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn deciding_explaining_and_the_naive_interpreter_agree(case in case()) {
        let explanation = case.explain();
        prop_assert_eq!(explanation.allowed, case.naive(), "{}", explanation);
        prop_assert!(!explanation.reasons.is_empty());
        match case.decide() {
            Ok((principal, tenant, id)) => {
                prop_assert!(explanation.allowed);
                prop_assert_eq!(principal, case.tenant.as_ref().and(case.principal.clone()));
                prop_assert_eq!((tenant, id), (case.target_tenant.clone(), case.id.clone()));
            }
            Err(denied) => {
                prop_assert!(!explanation.allowed);
                prop_assert_eq!(denied.explanation(), &explanation);
            }
        }
    }

    #[test]
    fn only_the_administrator_of_the_default_tenant_crosses_tenants(case in case()) {
        let crosses = case.principal.is_some()
            && case.tenant.as_ref().is_some_and(|tenant| *tenant != case.target_tenant);
        if crosses && case.explain().allowed {
            prop_assert_eq!(case.tenant, Some(TenantId::default_tenant()));
            prop_assert!(case.roles.iter().any(|role| role.id.as_str() == "admin"));
        }
    }

    #[test]
    fn one_more_permission_never_removes_access(
        case in case(), extra in permission(), at in any::<prop::sample::Index>()
    ) {
        if case.roles.is_empty() {
            return Ok(());
        }
        let mut richer = case.clone();
        let position = at.index(richer.roles.len());
        richer.roles[position].permissions.push(extra);
        prop_assert!(!case.explain().allowed || richer.explain().allowed);
    }

    #[test]
    fn one_more_role_never_removes_access(case in case(), extra in role()) {
        let mut richer = case.clone();
        richer.roles.push(extra);
        prop_assert!(!case.explain().allowed || richer.explain().allowed);
    }

    #[test]
    fn anonymous_callers_get_only_what_a_guard_opens(case in case()) {
        let mut case = case;
        case.principal = None;
        if case.explain().allowed {
            prop_assert!(matches!(case.action, Action::Read | Action::Invoke));
            prop_assert_eq!(case.guard.as_ref().map(|guard| guard.requires_authentication), Some(false));
        } else {
            prop_assert!(matches!(case.decide(), Err(Denied::Unauthenticated(_))));
        }
    }

    #[test]
    fn a_refusal_tells_nothing_about_existence(case in case()) {
        let mut case = case;
        case.id = Some("x".to_owned());
        let Err(refused) = case.decide() else { return Ok(()) };
        // Whoever may read an instance knows that it exists, and is told that only its owner ends it.
        let owners = case.explain().reasons.iter().any(|reason| matches!(reason, Reason::OwnerOnly { .. }));
        if owners && explain(Action::Read, &case.subject(), &case.target()).allowed {
            prop_assert!(matches!(refused, Denied::Forbidden(_)));
            return Ok(());
        }
        let missing = absent(case.action, &case.subject(), case.kind);
        prop_assert_eq!(std::mem::discriminant(&refused), std::mem::discriminant(&missing));
    }
}

fn roles(texts: &[(&str, &str)]) -> Vec<RoleFacts> {
    texts
        .iter()
        .map(|(id, permissions)| RoleFacts {
            id: ResourceId::parse(*id).unwrap(),
            name: (*id).to_owned(),
            permissions: permissions.split_whitespace().map(|p| p.parse().unwrap()).collect(),
        })
        .collect()
}

fn ana(held: &[(&str, &str)], action: Action) -> Case {
    Case {
        principal: Some(PrincipalId::parse("ana").unwrap()),
        tenant: Some(TenantId::parse("acme").unwrap()),
        roles: roles(held),
        kind: ResourceKind::Function,
        id: Some("f1".to_owned()),
        owner: None,
        target_tenant: TenantId::parse("acme").unwrap(),
        labels: Labels::new(),
        guard: None,
        action,
    }
}

fn guarded(case: Case, requires_authentication: bool, listed: &[(&str, &str)]) -> Case {
    let id = ResourceId::parse("sp1").unwrap();
    Case { guard: Some(Guard { id, requires_authentication, roles: roles(listed) }), ..case }
}

fn check(case: Case, expected: &str) {
    let verdict = match case.decide() {
        Ok(_) => "allowed",
        Err(Denied::Unauthenticated(_)) => "unauthenticated",
        Err(Denied::Hidden(_)) => "hidden",
        Err(Denied::Forbidden(_)) => "forbidden",
    };
    let reasons: Vec<String> = case.explain().reasons.iter().map(Reason::to_string).collect();
    assert_eq!(format!("{verdict}: {}", reasons.join("; ")), expected);
}

#[test]
fn reasons_read_like_sentences() {
    let analyst = [("analyst", "function:invoke")];
    check(ana(&analyst, Action::Invoke), "allowed: role `analyst` permits `function:invoke`");
    check(ana(&analyst, Action::Delete), "forbidden: no role permits `function:delete`");
    check(
        ana(&[("ops", "function:*@env=prod")], Action::Read),
        "hidden: role `ops` permits `function:*@env=prod`, but the labels differ",
    );
    let owner = Some(PrincipalId::parse("ana").unwrap());
    check(Case { owner: owner.clone(), ..ana(&[], Action::Delete) }, "allowed: owner");
    check(Case { owner, ..ana(&[], Action::Grant) }, "forbidden: no role permits `function:grant`");
    let elsewhere = TenantId::parse("other").unwrap();
    check(Case { target_tenant: elsewhere.clone(), ..ana(&analyst, Action::Invoke) }, "hidden: other tenant");
    check(
        Case { target_tenant: elsewhere, ..ana(&[("admin", "*:*")], Action::Read) },
        "hidden: other tenant",
    );
    check(ana(&[("admin", "*:*")], Action::Grant), "allowed: administrator");
}

#[test]
fn a_guard_narrows_and_opens() {
    let analyst = [("analyst", "function:invoke")];
    check(
        guarded(ana(&analyst, Action::Invoke), true, &[("ops", ""), ("dev", "")]),
        "hidden: security policy `sp1` demands one of roles [ops, dev]; role `analyst` permits `function:invoke`",
    );
    check(
        guarded(ana(&analyst, Action::Invoke), true, &[("analyst", "")]),
        "allowed: role `analyst` permits `function:invoke`; role `analyst` satisfies security policy `sp1`",
    );
    let anybody = |action| Case { principal: None, ..ana(&[], action) };
    let guest = [("guest", "function:invoke function:update")];
    check(
        guarded(anybody(Action::Invoke), false, &guest),
        "allowed: security policy `sp1` demands no authentication, and its role `guest` permits `function:invoke`",
    );
    check(guarded(anybody(Action::Update), false, &guest), "unauthenticated: not authenticated");
    check(
        guarded(anybody(Action::Invoke), true, &guest),
        "unauthenticated: security policy `sp1` demands authentication",
    );
    check(guarded(anybody(Action::Invoke), false, &[]), "unauthenticated: not authenticated");
    check(anybody(Action::Read), "unauthenticated: not authenticated");
}

#[test]
fn a_collection_is_no_secret_and_listing_needs_no_labels() {
    let collection = |held: &[(&str, &str)], action| Case { id: None, ..ana(held, action) };
    check(
        collection(&[("ops", "function:list@env=prod")], Action::List),
        "allowed: role `ops` permits `function:list@env=prod`",
    );
    check(
        collection(&[("ops", "function:create@env=prod")], Action::Create),
        "forbidden: role `ops` permits `function:create@env=prod`, but the labels differ",
    );
}

#[test]
fn an_instance_is_ended_by_nobody_but_its_owner_and_administrators() {
    let id = |text: &str| PrincipalId::parse(text).unwrap();
    let role = |name: &str, permissions: &[&str]| RoleFacts {
        id: ResourceId::parse(name).unwrap(),
        name: name.to_owned(),
        permissions: permissions.iter().map(|permission| permission.parse().unwrap()).collect(),
    };
    let case = |principal: &str, roles: Vec<RoleFacts>| Case {
        principal: Some(id(principal)),
        tenant: Some(TenantId::default_tenant()),
        roles,
        kind: ResourceKind::Instance,
        id: Some("i".to_owned()),
        owner: Some(id("creator")),
        target_tenant: TenantId::default_tenant(),
        labels: Labels::new(),
        guard: None,
        action: Action::Delete,
    };
    assert!(case("creator", Vec::new()).decide().is_ok());
    assert!(case("other", vec![RoleFacts::administrator()]).decide().is_ok());
    // Whoever may know of it is told why; whoever may not is told what everybody is told of what does not exist.
    let reader = case("other", vec![role("all", &["instance:*"])]).decide();
    assert!(matches!(reader, Err(Denied::Forbidden(_))), "{reader:?}");
    let stranger = case("other", vec![role("ends", &["instance:delete"])]).decide();
    assert!(matches!(stranger, Err(Denied::Hidden(_))), "{stranger:?}");
}
