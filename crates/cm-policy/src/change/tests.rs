use cm_types::{Labels, PrincipalId, ResourceId, TenantId};

use super::*;
use crate::{Guard, Permission, RoleFacts};

fn role(id: &str, permissions: &[&str]) -> RoleFacts {
    let permissions = permissions.iter().map(|text| text.parse::<Permission>().unwrap()).collect();
    RoleFacts { id: ResourceId::parse(id).unwrap(), name: id.to_owned(), permissions }
}

fn labels(env: &str) -> Labels {
    Labels::try_from(std::collections::BTreeMap::from([("env".to_owned(), env.to_owned())])).unwrap()
}

/// Whether somebody with these permissions may relabel something from one environment to another, and as its owner.
fn check(kind: ResourceKind, permissions: &[&str], from: &str, to: &str, expected: (bool, bool)) {
    let (me, tenant) = (PrincipalId::parse("me").unwrap(), TenantId::default_tenant());
    let roles = [role("mine", permissions)];
    let subject = Subject::principal(&me, &tenant, &roles);
    let (from, to) = (labels(from), labels(to));
    let relabel = |owner| {
        let before = Target { kind, id: Some("x"), tenant: &tenant, owner, labels: &from, guard: None };
        decide_change(&subject, &before, &Target { labels: &to, ..before }).is_ok()
    };
    assert_eq!((relabel(None), relabel(Some(&me))), expected, "{permissions:?}");
}

#[test]
fn labels_confine_those_who_may_change_them() {
    let function = ResourceKind::Function;
    let confined: &[&str] = &["function:create@env=dev", "function:update@env=dev"];
    check(function, confined, "dev", "prod", (false, false));
    check(function, confined, "prod", "dev", (false, true));
    check(function, &["function:update", "function:delete@env=dev"], "prod", "dev", (false, true));
    check(function, &["function:update", "function:read@env=dev"], "prod", "dev", (false, true));
    check(function, &["function:update", "function:delete@env=dev"], "dev", "prod", (true, true));
    check(function, &["function:*"], "dev", "prod", (true, true));
    check(function, &["function:create"], "dev", "prod", (false, true));
    check(function, &[], "dev", "prod", (false, false));
    check(ResourceKind::Bucket, &["bucket:*", "object:read@env=dev"], "prod", "dev", (false, true));
    check(ResourceKind::Bucket, &["bucket:*", "object:*"], "prod", "dev", (true, true));
}

#[test]
fn a_security_policy_does_not_open_a_thing_to_who_sets_it() {
    let (me, tenant) = (PrincipalId::parse("me").unwrap(), TenantId::default_tenant());
    let roles = [role("mine", &["function:update"])];
    let subject = Subject::principal(&me, &tenant, &roles);
    let open = Guard {
        id: ResourceId::parse("open").unwrap(),
        requires_authentication: false,
        roles: vec![role("public", &["function:invoke"]), role("mine", &[])],
    };
    let others =
        Guard { roles: vec![role("others", &["*:*"])], requires_authentication: true, ..open.clone() };
    let labels = Labels::new();
    let before = Target {
        kind: ResourceKind::Function,
        id: Some("x"),
        tenant: &tenant,
        owner: None,
        labels: &labels,
        guard: None,
    };
    let opened = decide_change(&subject, &before, &Target { guard: Some(&open), ..before });
    assert_eq!(opened.unwrap_err().action, Action::Invoke);
    let given_away = decide_change(&subject, &before, &Target { guard: Some(&others), ..before });
    assert_eq!(given_away.unwrap_err().action, Action::Update);
    let own = Target { owner: Some(&me), ..before };
    assert!(decide_change(&subject, &own, &Target { guard: Some(&open), ..own }).is_ok());
}
