use cm_types::{Labels, ResourceId};
use serde_json::json;

use super::*;
use crate::sharing::{AclGrant, CannedAcl, Grantee, PolicyDocument, PublicAccessBlock};
use crate::{Grant, Guard, Read, RoleFacts, Update};

/// A bucket `b` of `owner`, an object in it by `writer`, and who asks.
struct Scene {
    bucket: BucketSharing,
    object: Option<(Option<PrincipalId>, Option<Acl>)>,
    guard: Option<Guard>,
    roles: Vec<RoleFacts>,
}

fn id(text: &str) -> PrincipalId {
    PrincipalId::parse(text).unwrap()
}

fn role(name: &str, permission: &str) -> RoleFacts {
    RoleFacts {
        id: ResourceId::parse(name).unwrap(),
        name: name.to_owned(),
        permissions: vec![permission.parse().unwrap()],
    }
}

impl Scene {
    fn private() -> Self {
        let object = (Some(id("writer")), Some(CannedAcl::Private.acl(Some(&id("writer")), &id("owner"))));
        Self {
            bucket: BucketSharing::private(&id("owner")),
            object: Some(object),
            guard: None,
            roles: Vec::new(),
        }
    }

    fn shared(canned: &str) -> Self {
        let acl = CannedAcl::named(canned).unwrap().acl(Some(&id("owner")), &id("owner"));
        let mut scene = Self::private();
        scene.bucket.acl = Some(acl);
        scene
    }

    fn with_object(mut self, canned: &str) -> Self {
        let acl = CannedAcl::named(canned).unwrap().acl(Some(&id("writer")), &id("owner"));
        self.object = Some((Some(id("writer")), Some(acl)));
        self
    }

    fn with_policy(mut self, effect: &str, principal: &str, action: &str) -> Self {
        let statement =
            json!({ "Effect": effect, "Principal": { "AWS": principal }, "Action": action, "Resource": "*" });
        self.bucket.policy =
            Some(PolicyDocument::parse(json!({ "Statement": statement }).to_string()).unwrap());
        self
    }

    fn decide<A: ActionKind>(&self, who: Option<&str>, used: Use) -> Result<Permit<A>, Denied> {
        self.decide_in::<A>(who, "default", used)
    }

    fn decide_in<A: ActionKind>(
        &self,
        who: Option<&str>,
        tenant: &str,
        used: Use,
    ) -> Result<Permit<A>, Denied> {
        let (who, tenant) = (who.map(id), TenantId::parse(tenant).unwrap());
        let subject = match &who {
            Some(who) => Subject::principal(who, &tenant, &self.roles),
            None => Subject::anonymous(),
        };
        let (owner, home, labels) = (id("owner"), TenantId::default_tenant(), Labels::new());
        let target = Target {
            kind: if used.is_of_object() { ResourceKind::Object } else { ResourceKind::Bucket },
            id: Some(if used.is_of_object() { "b/k" } else { "b" }),
            tenant: &home,
            owner: Some(&owner),
            labels: &labels,
            guard: self.guard.as_ref(),
        };
        let object = self.object.as_ref();
        let object = object.map(|(owner, acl)| ObjectSharing { owner: owner.as_ref(), acl: acl.as_ref() });
        let sharing = Sharing { bucket: &self.bucket, bucket_owner: &owner, object };
        let circumstances = Circumstances::new();
        decide_shared::<A>(&subject, &target, Some(&sharing), Asked { used, circumstances: &circumstances })
    }

    fn check(&self, who: Option<&str>, used: Use, expected: bool) {
        let found = self.decide::<Update>(who, used);
        assert_eq!(found.is_ok(), expected, "{who:?} {used:?}: {found:?}");
    }
}

#[test]
fn a_private_bucket_is_its_owners_alone() {
    let mut scene = Scene::private();
    // Roles do not reach into it.
    scene.roles = vec![role("powerful", "*:*")];
    for used in Use::ALL {
        scene.check(Some("stranger"), *used, false);
        scene.check(None, *used, false);
    }
    for used in [Use::ListBucket, Use::PutObject, Use::DeleteObject, Use::PutBucketPolicy, Use::PutBucketAcl]
    {
        scene.check(Some("owner"), used, true);
    }
    // What somebody else wrote is the writer's, but the owner may remove it.
    scene.check(Some("owner"), Use::GetObject, false);
    scene.check(Some("owner"), Use::GetObjectAcl, false);
    scene.check(Some("writer"), Use::GetObject, true);
    scene.check(Some("writer"), Use::PutObjectAcl, true);
    scene.check(Some("writer"), Use::DeleteObject, false);
    scene.roles = vec![RoleFacts::administrator()];
    for used in Use::ALL {
        scene.check(Some("stranger"), *used, true);
    }
}

#[test]
fn grants_give_what_they_say_and_no_more() {
    let scene = Scene::shared("public-read").with_object("private");
    scene.check(None, Use::ListBucket, true);
    scene.check(None, Use::GetObject, false);
    scene.check(None, Use::PutObject, false);
    scene.check(None, Use::GetBucketAcl, false);
    let scene = Scene::shared("public-read-write").with_object("private");
    scene.check(None, Use::PutObject, true);
    scene.check(Some("stranger"), Use::DeleteObject, true);
    scene.check(Some("stranger"), Use::PutBucketAcl, false);
    scene.check(Some("stranger"), Use::PutBucketPolicy, false);
    let scene = Scene::private().with_object("public-read");
    scene.check(None, Use::GetObject, true);
    scene.check(None, Use::GetObjectAcl, false);
    scene.check(None, Use::ListBucket, false);
    let scene = Scene::shared("authenticated-read");
    scene.check(Some("stranger"), Use::ListBucket, true);
    scene.check(None, Use::ListBucket, false);
    let mut scene = Scene::private();
    let grant = AclGrant { grantee: Grantee::Principal(id("friend")), permission: AclPermission::WriteAcp };
    scene.bucket.acl = Some(Acl { grants: vec![grant] });
    scene.check(Some("friend"), Use::PutBucketAcl, true);
    scene.check(Some("friend"), Use::GetBucketAcl, false);
    scene.check(Some("friend"), Use::ListBucket, false);
    // The owner gave its own rights away, but for those over the list.
    scene.check(Some("owner"), Use::PutObject, false);
    scene.check(Some("owner"), Use::PutBucketAcl, true);
}

/// Whether an object exists is told to whoever may list.
#[test]
fn what_does_not_exist_is_told_to_whoever_may_list() {
    let mut scene = Scene::shared("public-read");
    scene.object = None;
    scene.check(None, Use::GetObject, true);
    scene.check(Some("owner"), Use::GetObject, true);
    let mut scene = Scene::private();
    scene.object = None;
    scene.check(None, Use::GetObject, false);
    scene.check(Some("stranger"), Use::GetObject, false);
    scene.check(Some("owner"), Use::GetObject, true);
}

#[test]
fn policies_open_and_close() {
    let scene = Scene::private().with_policy("Allow", "friend", "s3:GetObject");
    scene.check(Some("friend"), Use::GetObject, true);
    scene.check(Some("friend"), Use::PutObject, false);
    scene.check(Some("stranger"), Use::GetObject, false);
    scene.check(None, Use::GetObject, false);
    // A denial outweighs ownership and administration, but for the policy itself.
    let mut scene = Scene::shared("public-read-write").with_policy("Deny", "*", "s3:*");
    for who in [Some("owner"), Some("writer"), None] {
        scene.check(who, Use::PutObject, false);
        scene.check(who, Use::ListBucket, false);
    }
    scene.check(Some("owner"), Use::PutBucketPolicy, true);
    scene.check(Some("stranger"), Use::PutBucketPolicy, false);
    scene.roles = vec![RoleFacts::administrator()];
    scene.check(Some("root"), Use::GetObject, false);
    scene.check(Some("root"), Use::DeleteBucketPolicy, true);
    // A bucket without grants is decided by roles, and its policy adds to them.
    let mut scene = Scene::private().with_policy("Allow", "friend", "s3:PutObject");
    scene.bucket.acl = None;
    scene.check(Some("friend"), Use::PutObject, true);
    scene.check(Some("stranger"), Use::PutObject, false);
    scene.roles = vec![role("writers", "object:update")];
    scene.check(Some("stranger"), Use::PutObject, true);
}

#[test]
fn nothing_crosses_tenants() {
    let scene = Scene::shared("public-read-write").with_policy("Allow", "*", "s3:*");
    let denied = scene.decide_in::<Read>(Some("owner"), "other", Use::ListBucket).unwrap_err();
    assert_eq!(denied.explanation().reasons, [Reason::OtherTenant]);
}

#[test]
fn blocks_keep_a_bucket_from_being_public() {
    let mut scene = Scene::shared("public-read-write").with_object("public-read");
    scene.bucket.block = Some(PublicAccessBlock { ignore_public_acls: true, ..PublicAccessBlock::default() });
    scene.check(None, Use::ListBucket, false);
    scene.check(None, Use::GetObject, false);
    scene.check(Some("stranger"), Use::PutObject, false);
    scene.check(Some("owner"), Use::PutObject, true);
    assert!(!scene.bucket.is_public());
    let mut scene = Scene::private().with_policy("Allow", "*", "s3:GetObject");
    assert!(scene.bucket.is_public());
    scene.check(None, Use::GetObject, true);
    scene.bucket.block =
        Some(PublicAccessBlock { restrict_public_buckets: true, ..PublicAccessBlock::default() });
    scene.check(None, Use::GetObject, false);
    scene.check(Some("stranger"), Use::GetObject, true);
    assert!(!scene.bucket.is_public());
}

#[test]
fn where_lists_do_not_count_everything_is_the_owners() {
    let mut scene = Scene::shared("public-read-write").with_object("public-read");
    scene.bucket.ownership = Some(ObjectOwnership::BucketOwnerEnforced);
    scene.check(None, Use::GetObject, false);
    scene.check(Some("writer"), Use::GetObject, false);
    scene.check(Some("writer"), Use::PutObjectAcl, false);
    scene.check(Some("stranger"), Use::PutObject, false);
    for used in Use::ALL {
        scene.check(Some("owner"), *used, true);
    }
}

/// A security policy of ours stays above what owners share.
#[test]
fn guards_narrow_what_is_shared() {
    let guard = |requires_authentication, roles| {
        Some(Guard { id: ResourceId::parse("g").unwrap(), requires_authentication, roles })
    };
    let mut scene = Scene::shared("public-read");
    scene.guard = guard(true, Vec::new());
    scene.check(None, Use::ListBucket, false);
    scene.check(Some("stranger"), Use::ListBucket, true);
    scene.guard = guard(true, vec![role("cleared", "object:read")]);
    scene.check(Some("stranger"), Use::ListBucket, false);
    scene.check(Some("owner"), Use::ListBucket, true);
    scene.roles = vec![role("cleared", "function:read")];
    scene.check(Some("stranger"), Use::ListBucket, true);
    scene.guard = guard(false, Vec::new());
    scene.check(None, Use::ListBucket, true);
}

#[test]
fn refusals_are_open_where_names_are_no_secret() {
    let refused = |scene: &Scene, who| scene.decide::<Grant>(who, Use::PutBucketAcl).unwrap_err();
    let mut scene = Scene::private();
    scene.roles = vec![role("granting", "bucket:grant@a=b")];
    assert!(matches!(refused(&scene, Some("stranger")), Denied::Forbidden(_)));
    assert!(matches!(refused(&scene, None), Denied::Unauthenticated(_)));
    scene.bucket.acl = None;
    assert!(matches!(refused(&scene, Some("stranger")), Denied::Hidden(_)));
    assert!(scene.decide::<Grant>(Some("owner"), Use::PutBucketAcl).is_ok());
}

/// Locks bind the owner of the bucket: whoever was let in by grants does not set them.
#[test]
fn grants_give_no_locks() {
    let scene = Scene::shared("public-read-write").with_object("public-read-write");
    for used in [Use::PutObjectRetention, Use::PutObjectLegalHold] {
        assert!(used.is_of_object());
        for who in [None, Some("stranger"), Some("writer")] {
            scene.check(who, used, false);
        }
        scene.check(Some("owner"), used, true);
        Scene::private().with_policy("Allow", "friend", "s3:Put*").check(Some("friend"), used, true);
    }
}

/// What is said along with an object that is written is asked for by its own name.
#[test]
fn leave_to_write_is_no_leave_to_share_or_tag() {
    for (used, name) in
        [(Use::PutNewObjectAcl, "s3:PutObjectAcl"), (Use::PutNewObjectTagging, "s3:PutObjectTagging")]
    {
        let by_grant = Scene::shared("public-read-write");
        by_grant.check(Some("stranger"), used, true);
        by_grant.with_policy("Deny", "*", name).check(Some("stranger"), used, false);
        Scene::private().check(Some("owner"), used, true);
        Scene::private().with_policy("Deny", "*", name).check(Some("owner"), used, false);
        Scene::private().with_policy("Allow", "friend", "s3:PutObject").check(Some("friend"), used, false);
        Scene::private().with_policy("Allow", "friend", name).check(Some("friend"), used, true);
    }
}

/// Where roles decide, nobody keeps what they wrote after their role was taken.
#[test]
fn having_written_gives_nothing_where_roles_decide() {
    for acl in [None, Some(CannedAcl::PublicRead.acl(Some(&id("writer")), &id("owner")))] {
        let mut scene = Scene::private();
        scene.bucket.acl = None;
        scene.object = Some((Some(id("writer")), acl));
        scene.check(Some("writer"), Use::GetObject, false);
        scene.check(None, Use::GetObject, false);
        scene.roles = vec![role("writers", "object:update")];
        scene.check(Some("writer"), Use::PutObject, true);
    }
}
