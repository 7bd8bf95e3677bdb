//! Access control lists: who was given what on one bucket or one object.

use cm_types::PrincipalId;
use serde::{Deserialize, Serialize};

/// Most grants of one list: the limit of S3.
pub const GRANTS_MAX: usize = 100;

/// What a grant gives. What it means depends on whether it stands on a bucket or on an object; see
/// [`Use::acl`](crate::sharing::Use::acl).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AclPermission {
    /// On a bucket: to list it. On an object: to read it.
    Read,
    /// On a bucket: to write, replace and remove its objects. On an object: nothing but to change its tags.
    Write,
    /// To read the list.
    ReadAcp,
    /// To change the list.
    WriteAcp,
    /// All of these.
    FullControl,
}

impl AclPermission {
    /// Whether this gives that.
    pub fn gives(self, wanted: AclPermission) -> bool {
        self == wanted || self == AclPermission::FullControl
    }
}

/// To whom a grant gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grantee {
    /// A principal of the bucket's tenant.
    Principal(PrincipalId),
    /// Everybody of the bucket's tenant who authenticated.
    Authenticated,
    /// Everybody, whether they authenticated or not.
    Everybody,
}

impl Grantee {
    /// Whether it stands for more than principals that were named.
    pub fn is_public(&self) -> bool {
        matches!(self, Grantee::Authenticated | Grantee::Everybody)
    }

    fn includes(&self, principal: Option<&PrincipalId>) -> bool {
        match self {
            Grantee::Principal(named) => principal == Some(named),
            Grantee::Authenticated => principal.is_some(),
            Grantee::Everybody => true,
        }
    }
}

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclGrant {
    /// To whom.
    pub grantee: Grantee,
    /// What.
    pub permission: AclPermission,
}

/// The grants on one bucket or object, in the order in which they were given. The owner is not part of it: it may read
/// and change the list whatever that says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl {
    /// The grants; at most [`GRANTS_MAX`].
    pub grants: Vec<AclGrant>,
}

/// Lists that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannedAcl {
    /// For the owner alone.
    Private,
    /// Everybody may read.
    PublicRead,
    /// Everybody may read and write.
    PublicReadWrite,
    /// Whoever authenticated may read.
    AuthenticatedRead,
    /// The owner of the bucket may read an object.
    BucketOwnerRead,
    /// The owner of the bucket may do everything with an object.
    BucketOwnerFullControl,
}

impl CannedAcl {
    /// The list by its name in S3.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "private" => Self::Private,
            "public-read" => Self::PublicRead,
            "public-read-write" => Self::PublicReadWrite,
            "authenticated-read" => Self::AuthenticatedRead,
            "bucket-owner-read" => Self::BucketOwnerRead,
            "bucket-owner-full-control" => Self::BucketOwnerFullControl,
            _ => return None,
        })
    }

    /// What the name stands for. Groups come before the owner, as clients of S3 know it. An owner who is not known, because
    /// nobody authenticated, is given nothing.
    pub fn acl(self, owner: Option<&PrincipalId>, bucket_owner: &PrincipalId) -> Acl {
        let to = |grantee, permission| AclGrant { grantee, permission };
        let mut grants = match self {
            Self::PublicRead => vec![to(Grantee::Everybody, AclPermission::Read)],
            Self::PublicReadWrite => {
                vec![
                    to(Grantee::Everybody, AclPermission::Read),
                    to(Grantee::Everybody, AclPermission::Write),
                ]
            }
            Self::AuthenticatedRead => vec![to(Grantee::Authenticated, AclPermission::Read)],
            Self::Private | Self::BucketOwnerRead | Self::BucketOwnerFullControl => Vec::new(),
        };
        grants.extend(owner.map(|owner| to(Grantee::Principal(owner.clone()), AclPermission::FullControl)));
        let for_bucket_owner = match self {
            Self::BucketOwnerRead => Some(AclPermission::Read),
            Self::BucketOwnerFullControl => Some(AclPermission::FullControl),
            _ => None,
        };
        let is_other = owner != Some(bucket_owner);
        grants.extend(
            for_bucket_owner
                .filter(|_| is_other)
                .map(|permission| to(Grantee::Principal(bucket_owner.clone()), permission)),
        );
        Acl { grants }
    }
}

impl Acl {
    /// Whether a grant stands for more than principals that were named.
    pub fn is_public(&self) -> bool {
        self.grants.iter().any(|grant| grant.grantee.is_public())
    }

    /// The grant by which somebody may do this. `ignore_public` passes over grants to groups.
    pub fn granting(
        &self,
        principal: Option<&PrincipalId>,
        wanted: AclPermission,
        ignore_public: bool,
    ) -> Option<&AclGrant> {
        self.grants.iter().find(|grant| {
            grant.permission.gives(wanted)
                && grant.grantee.includes(principal)
                && !(ignore_public && grant.grantee.is_public())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PrincipalId {
        PrincipalId::parse(text).unwrap()
    }

    #[test]
    fn named_lists_give_what_their_names_say() {
        let (writer, owner, other) = (id("writer"), id("owner"), id("other"));
        let may = |name: &str, who: Option<&PrincipalId>, what| {
            let acl = CannedAcl::named(name).unwrap().acl(Some(&writer), &owner);
            acl.granting(who, what, false).is_some()
        };
        for what in [AclPermission::Read, AclPermission::Write, AclPermission::WriteAcp] {
            assert!(may("private", Some(&writer), what));
            assert!(!may("private", Some(&owner), what));
            assert!(!may("private", None, what));
            assert!(may("bucket-owner-full-control", Some(&owner), what));
        }
        assert!(may("bucket-owner-read", Some(&owner), AclPermission::Read));
        assert!(!may("bucket-owner-read", Some(&owner), AclPermission::ReadAcp));
        assert!(!may("bucket-owner-read", Some(&other), AclPermission::Read));
        assert!(may("public-read", None, AclPermission::Read));
        assert!(!may("public-read", None, AclPermission::Write));
        assert!(may("public-read-write", None, AclPermission::Write));
        assert!(!may("public-read-write", None, AclPermission::ReadAcp));
        assert!(may("authenticated-read", Some(&other), AclPermission::Read));
        assert!(!may("authenticated-read", None, AclPermission::Read));
        assert!(CannedAcl::named("log-delivery-write").is_none());
    }

    #[test]
    fn grants_to_groups_can_be_passed_over() {
        let owner = id("owner");
        let acl = CannedAcl::PublicReadWrite.acl(Some(&owner), &owner);
        assert!(acl.is_public());
        assert!(acl.granting(None, AclPermission::Read, true).is_none());
        assert!(acl.granting(Some(&owner), AclPermission::Read, true).is_some());
        assert!(!CannedAcl::BucketOwnerRead.acl(Some(&owner), &owner).is_public());
    }
}
