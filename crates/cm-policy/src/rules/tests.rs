use cm_types::PrincipalId;

use super::*;
use crate::pdl::parse;
use crate::sharing::{Asked, BucketSharing, Sharing, Use, explain_shared};
use crate::{Explanation, Guard, Permission, explain};

fn role(id: &str, permissions: &[&str]) -> RoleFacts {
    let permissions = permissions.iter().map(|text| text.parse::<Permission>().unwrap()).collect();
    RoleFacts { id: id.parse().unwrap(), name: id.to_owned(), permissions }
}

struct House {
    compiled: Compiled,
    tenant: TenantId,
    circumstances: Circumstances,
}

impl House {
    fn new(text: &str) -> Self {
        let compiled = Compiled::new(&[("house", &parse(&format!("pdl 1\n{text}")).unwrap())]);
        Self { compiled, tenant: TenantId::default_tenant(), circumstances: Circumstances::default() }
    }

    fn rules(&self) -> Rules<'_> {
        Rules {
            tenant: &self.tenant,
            policies: &self.compiled,
            circumstances: &self.circumstances,
            groups: &[],
            attributes: None,
        }
    }

    fn ask(
        &self,
        who: Option<&str>,
        roles: &[RoleFacts],
        action: Action,
        resource: &str,
        guard: Option<&Guard>,
    ) -> Explanation {
        let resource: cm_types::ResourceRef = resource.parse().unwrap();
        let (principal, owner) =
            (who.map(|id| PrincipalId::parse(id).unwrap()), PrincipalId::parse("owner").unwrap());
        let subject = match &principal {
            Some(principal) => Subject::principal(principal, &self.tenant, roles),
            None => Subject::anonymous(),
        };
        let target = Target {
            kind: resource.kind,
            id: Some(&resource.id),
            tenant: &self.tenant,
            owner: Some(&owner),
            labels: &Labels::new(),
            guard,
        };
        explain(action, &subject.under(self.rules()), &target)
    }

    fn codes(
        &self,
        who: Option<&str>,
        roles: &[RoleFacts],
        action: Action,
        resource: &str,
    ) -> (bool, Vec<&'static str>) {
        let explained = self.ask(who, roles, action, resource, None);
        (explained.allowed, explained.reasons.iter().map(Reason::code).collect())
    }
}

#[test]
fn statements_are_weighed_with_everything_else() {
    let house = House::new(
        "allow user ann to read on function \"f*\"\ndeny anyone to delete on function\nallow anyone to read on function \"open\"\n\
         deny user eve to do anything on anything\nallow user ann to delete on instance",
    );
    let developer = [role("developer", &["function:*"])];
    let admin = [RoleFacts::administrator()];
    assert_eq!(house.codes(Some("ann"), &[], Action::Read, "function/f1"), (true, vec!["statement-allows"]));
    assert_eq!(house.codes(Some("ann"), &[], Action::Read, "function/g1"), (false, vec!["no-permission"]));
    assert_eq!(
        house.codes(Some("bob"), &developer, Action::Read, "function/g1"),
        (true, vec!["role-permits"])
    );
    assert_eq!(
        house.codes(Some("bob"), &developer, Action::Delete, "function/g1"),
        (false, vec!["statement-denies"])
    );
    assert_eq!(
        house.codes(Some("owner"), &[], Action::Delete, "function/g1"),
        (false, vec!["statement-denies"])
    );
    assert_eq!(
        house.codes(Some("root"), &admin, Action::Delete, "function/g1"),
        (false, vec!["statement-denies"])
    );
    assert_eq!(
        house.codes(Some("root"), &admin, Action::Update, "function/g1"),
        (true, vec!["administrator"])
    );
    assert_eq!(house.codes(None, &[], Action::Read, "function/open"), (true, vec!["statement-allows"]));
    assert_eq!(house.codes(None, &[], Action::Read, "function/f1"), (false, vec!["anonymous"]));
    assert_eq!(house.codes(Some("ann"), &[], Action::Delete, "instance/i"), (false, vec!["owner-only"]));
    let said = house.ask(Some("ann"), &[], Action::Read, "function/f1", None).to_string();
    assert_eq!(said, "`function:read` allowed: line 2 of permission policy `house` allows it");
}

#[test]
fn a_wrong_policy_can_be_taken_back() {
    let house = House::new("deny anyone to do anything on anything");
    let admin = [RoleFacts::administrator()];
    for action in [Action::Read, Action::Update, Action::Delete, Action::List] {
        assert!(house.ask(Some("root"), &admin, action, "permission-policy/p", None).allowed);
    }
    assert!(!house.ask(Some("root"), &admin, Action::Read, "function/f", None).allowed);
    let keeper = [role("keeper", &["permission-policy:*"])];
    assert!(!house.ask(Some("bob"), &keeper, Action::Update, "permission-policy/p", None).allowed);
}

#[test]
fn security_policies_narrow_what_statements_allow() {
    let house = House::new("allow anyone to read on function");
    let guard = |requires_authentication: bool, roles: Vec<RoleFacts>| Guard {
        id: "guard".parse().unwrap(),
        requires_authentication,
        roles,
    };
    let demanding = guard(true, vec![role("staff", &[])]);
    let staff = [role("staff", &[])];
    assert!(!house.ask(Some("ann"), &[], Action::Read, "function/f", Some(&demanding)).allowed);
    assert!(house.ask(Some("ann"), &staff, Action::Read, "function/f", Some(&demanding)).allowed);
    assert!(!house.ask(None, &[], Action::Read, "function/f", Some(&demanding)).allowed);
    assert!(house.ask(None, &[], Action::Read, "function/f", Some(&guard(false, Vec::new()))).allowed);
}

#[test]
fn statements_count_for_shared_buckets_too() {
    let house = House::new(
        "allow user ann to read on bucket \"b/*\"\ndeny user owner to read on object \"b/secret\"",
    );
    let (owner, ann, bucket) = (
        PrincipalId::parse("owner").unwrap(),
        PrincipalId::parse("ann").unwrap(),
        BucketSharing::private(&PrincipalId::parse("owner").unwrap()),
    );
    let sharing = Sharing { bucket: &bucket, bucket_owner: &owner, object: Some(Default::default()) };
    let circumstances = crate::sharing::Circumstances::incomplete();
    let ask = |who: &PrincipalId, id: &str, used: Use| {
        let target = Target {
            kind: ResourceKind::Object,
            id: Some(id),
            tenant: &house.tenant,
            owner: Some(&owner),
            labels: &Labels::new(),
            guard: None,
        };
        let subject = Subject::principal(who, &house.tenant, &[]).under(house.rules());
        explain_shared(
            Action::Read,
            &subject,
            &target,
            &sharing,
            Asked { used, circumstances: &circumstances },
        )
        .allowed
    };
    assert!(ask(&ann, "b/x", Use::GetObject));
    assert!(!ask(&ann, "b/x", Use::GetObjectAcl), "grants are another matter");
    assert!(!ask(&ann, "c/x", Use::GetObject));
    assert!(ask(&owner, "b/x", Use::GetObject));
    assert!(!ask(&owner, "b/secret", Use::GetObject));
}

#[test]
fn what_statements_allow_a_role_is_not_given_away_by_others() {
    let house = House::new("allow role doctor to read on function\ndeny role nurse to read on function");
    let (principal, own) = (PrincipalId::parse("ann").unwrap(), [role("doctor", &[])]);
    let stranger = Subject::principal(&principal, &house.tenant, &[]).under(house.rules());
    assert!(!stranger.may_give(&role("doctor", &[])));
    assert!(!stranger.may_give(&role("nurse", &[])));
    assert!(
        Subject::principal(&principal, &house.tenant, &own)
            .under(house.rules())
            .may_give(&role("doctor", &[]))
    );
}

#[test]
fn whoever_may_read_a_thing_is_told_that_a_statement_denies_the_rest() {
    let house = House::new("deny anyone to delete on function\ndeny user eve to read on function");
    let developer = [role("developer", &["function:*"])];
    let ask = |who: &str| {
        let (principal, owner) = (PrincipalId::parse(who).unwrap(), PrincipalId::parse("owner").unwrap());
        let target = Target {
            kind: ResourceKind::Function,
            id: Some("f"),
            tenant: &house.tenant,
            owner: Some(&owner),
            labels: &Labels::new(),
            guard: None,
        };
        let subject = Subject::principal(&principal, &house.tenant, &developer).under(house.rules());
        crate::decide::<crate::Delete>(&subject, &target).unwrap_err()
    };
    assert!(matches!(ask("ann"), crate::Denied::Forbidden(_)));
    assert!(matches!(ask("eve"), crate::Denied::Hidden(_)));
}

#[test]
fn a_part_opens_only_lists_that_show_what_may_be_read() {
    let house = House::new("allow user ann to list on anything \"x*\"");
    let ann = PrincipalId::parse("ann").unwrap();
    let opens = |kind: ResourceKind| {
        let labels = Labels::new();
        let target =
            Target { kind, id: None, tenant: &house.tenant, owner: None, labels: &labels, guard: None };
        let subject = Subject::principal(&ann, &house.tenant, &[]).under(house.rules());
        explain(Action::List, &subject, &target).allowed
    };
    assert!(opens(ResourceKind::Function) && opens(ResourceKind::Bucket));
    for kind in [ResourceKind::Principal, ResourceKind::Tenant, ResourceKind::Event, ResourceKind::Role] {
        assert!(!opens(kind), "{kind}");
    }
}
