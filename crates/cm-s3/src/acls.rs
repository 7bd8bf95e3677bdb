//! Lists of grants: from headers and XML to what decisions know, and back.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use cm_kernel::policy::sharing::{Acl, AclGrant, AclPermission, CannedAcl, GRANTS_MAX, Grantee};
use cm_types::PrincipalId;
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::content::invalid;

const EVERYBODY: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";

/// What a request says about grants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// A list by its name.
    pub(crate) canned: Option<String>,
    /// `x-amz-grant-…`, in the order of S3.
    pub(crate) headers: Vec<(AclPermission, String)>,
    /// A document.
    pub(crate) document: Option<dto::AccessControlPolicy>,
}

/// Grants as they were said, before it is clear whether their receivers exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grants {
    /// A list by its name.
    Canned(CannedAcl),
    /// Receivers and what they are given.
    Given(Vec<(Receiver, AclPermission)>),
}

/// The receiver of a grant, as it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Receiver {
    /// A group.
    Group(Grantee),
    /// Whoever has this id.
    Id(String),
    /// Whoever is reached so.
    Email(String),
}

/// The headers that grant, in the order of S3.
const HEADERS: [(&str, AclPermission); 5] = [
    ("x-amz-grant-read", AclPermission::Read),
    ("x-amz-grant-write", AclPermission::Write),
    ("x-amz-grant-read-acp", AclPermission::ReadAcp),
    ("x-amz-grant-write-acp", AclPermission::WriteAcp),
    ("x-amz-grant-full-control", AclPermission::FullControl),
];

impl Said {
    /// What headers say.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| {
            headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Self {
            canned: text("x-amz-acl"),
            headers: HEADERS
                .into_iter()
                .filter_map(|(name, permission)| Some((permission, text(name)?)))
                .collect(),
            document: None,
        }
    }

    /// What was said; `None` if nothing was.
    ///
    /// # Errors
    /// `InvalidRequest` if it was said in more than one way, `InvalidArgument` and `MalformedACLError` for what is no grant.
    pub(crate) fn grants(self) -> S3Result<Option<Grants>> {
        let ways = [self.canned.is_some(), !self.headers.is_empty(), self.document.is_some()];
        if self.document.is_some() && (self.canned.is_some() || !self.headers.is_empty()) {
            let message = "grants that headers say have no document";
            return Err(S3Error::with_message(S3ErrorCode::UnexpectedContent, message));
        }
        if ways.into_iter().filter(|said| *said).count() > 1 {
            return Err(invalid("grants are said by a name, by headers or by a document, not in two ways"));
        }
        if let Some(name) = self.canned {
            let canned = canned(&name)
                .ok_or_else(|| argument(format!("no list of grants is called `{name}` here")))?;
            return Ok(Some(Grants::Canned(canned)));
        }
        let given = if let Some(document) = self.document {
            of_document(document)?
        } else if self.headers.is_empty() {
            return Ok(None);
        } else {
            let mut given = Vec::new();
            for (permission, text) in self.headers {
                given.extend(receivers(&text)?.into_iter().map(|receiver| (receiver, permission)));
            }
            given
        };
        match given.len() > GRANTS_MAX {
            true => Err(malformed("a list has 100 grants at most")),
            false => Ok(Some(Grants::Given(given))),
        }
    }
}

/// A list by its name. Those that let Amazon's EC2 read are for the owner alone here, where there is none.
fn canned(name: &str) -> Option<CannedAcl> {
    match name {
        "aws-exec-read" => Some(CannedAcl::Private),
        name => CannedAcl::named(name),
    }
}

impl Grants {
    /// The principals that must exist.
    pub(crate) fn named(&self) -> S3Result<Vec<PrincipalId>> {
        let Self::Given(given) = self else { return Ok(Vec::new()) };
        let named = given.iter().filter_map(|(receiver, _)| match receiver {
            Receiver::Group(_) => None,
            Receiver::Id(text) => Some(PrincipalId::parse(text.as_str()).map_err(|_| unknown_id())),
            Receiver::Email(text) => Some(PrincipalId::parse(text.as_str()).map_err(|_| unknown_email())),
        });
        named.collect()
    }

    /// The list, if all its receivers exist.
    ///
    /// # Errors
    /// `InvalidArgument` and `UnresolvableGrantByEmailAddress`.
    pub(crate) fn resolve(
        self,
        existing: &BTreeMap<PrincipalId, String>,
        owner: Option<&PrincipalId>,
        bucket_owner: &PrincipalId,
    ) -> S3Result<Acl> {
        let given = match self {
            Self::Canned(canned) => return Ok(canned.acl(owner, bucket_owner)),
            Self::Given(given) => given,
        };
        let principal = |text: &str| {
            let id = PrincipalId::parse(text).ok().filter(|id| existing.contains_key(id));
            id.map(Grantee::Principal)
        };
        let grants = given.into_iter().map(|(receiver, permission)| {
            let grantee = match receiver {
                Receiver::Group(group) => group,
                Receiver::Id(text) => principal(&text).ok_or_else(unknown_id)?,
                Receiver::Email(text) => principal(&text).ok_or_else(unknown_email)?,
            };
            Ok(AclGrant { grantee, permission })
        });
        Ok(Acl { grants: grants.collect::<S3Result<_>>()? })
    }
}

/// `id="…", uri="…"`.
fn receivers(text: &str) -> S3Result<Vec<Receiver>> {
    let wrong = || argument("a grant is id=\"…\", uri=\"…\" or emailAddress=\"…\"");
    let one = |part: &str| {
        let (kind, value) = part.trim().split_once('=').ok_or_else(wrong)?;
        let value = value.trim().trim_matches('"');
        match kind.trim().to_ascii_lowercase().as_str() {
            "id" => Ok(Receiver::Id(value.to_owned())),
            "emailaddress" => Ok(Receiver::Email(value.to_owned())),
            "uri" => group(value).map(Receiver::Group),
            _ => Err(wrong()),
        }
    };
    text.split(',').map(one).collect()
}

fn group(uri: &str) -> S3Result<Grantee> {
    match uri {
        EVERYBODY => Ok(Grantee::Everybody),
        AUTHENTICATED => Ok(Grantee::Authenticated),
        _ => Err(argument("the group is not known here")),
    }
}

fn of_document(document: dto::AccessControlPolicy) -> S3Result<Vec<(Receiver, AclPermission)>> {
    if document.owner.as_ref().and_then(|owner| owner.id.as_ref()).is_none() {
        return Err(malformed("a list of grants says whose the thing is"));
    }
    let one = |grant: dto::Grant| {
        let grantee = grant.grantee.ok_or_else(|| malformed("a grant has a grantee"))?;
        let permission = grant.permission.ok_or_else(|| malformed("a grant has a permission"))?;
        let permission = match permission.as_str() {
            "READ" => AclPermission::Read,
            "WRITE" => AclPermission::Write,
            "READ_ACP" => AclPermission::ReadAcp,
            "WRITE_ACP" => AclPermission::WriteAcp,
            "FULL_CONTROL" => AclPermission::FullControl,
            _ => return Err(malformed("the permission is not known")),
        };
        const TYPES: [&str; 3] =
            [dto::Type::CANONICAL_USER, dto::Type::AMAZON_CUSTOMER_BY_EMAIL, dto::Type::GROUP];
        if !TYPES.contains(&grantee.type_.as_str()) {
            return Err(malformed("the type of a grantee is not known"));
        }
        let receiver = match (grantee.id, grantee.uri, grantee.email_address) {
            (Some(id), _, _) => Receiver::Id(id),
            (None, Some(uri), _) => Receiver::Group(group(&uri)?),
            (None, None, Some(email)) => Receiver::Email(email),
            (None, None, None) => return Err(malformed("a grantee has an id, a URI or an e-mail address")),
        };
        Ok((receiver, permission))
    };
    document.grants.unwrap_or_default().into_iter().map(one).collect()
}

/// A principal as an owner.
pub(crate) fn owner(id: &PrincipalId, names: &BTreeMap<PrincipalId, String>) -> dto::Owner {
    dto::Owner { display_name: Some(display_name(id, names)), id: Some(id.to_string()) }
}

fn display_name(id: &PrincipalId, names: &BTreeMap<PrincipalId, String>) -> String {
    names.get(id).cloned().unwrap_or_else(|| id.to_string())
}

/// The grants as clients see them.
pub(crate) fn listed(acl: &Acl, names: &BTreeMap<PrincipalId, String>) -> dto::Grants {
    let of_group = |uri: &str| dto::Grantee {
        display_name: None,
        email_address: None,
        id: None,
        type_: dto::Type::from_static(dto::Type::GROUP),
        uri: Some(uri.to_owned()),
    };
    let one = |grant: &AclGrant| {
        let grantee = match &grant.grantee {
            Grantee::Everybody => of_group(EVERYBODY),
            Grantee::Authenticated => of_group(AUTHENTICATED),
            Grantee::Principal(id) => dto::Grantee {
                display_name: Some(display_name(id, names)),
                email_address: None,
                id: Some(id.to_string()),
                type_: dto::Type::from_static(dto::Type::CANONICAL_USER),
                uri: None,
            },
        };
        let permission = match grant.permission {
            AclPermission::Read => dto::Permission::READ,
            AclPermission::Write => dto::Permission::WRITE,
            AclPermission::ReadAcp => dto::Permission::READ_ACP,
            AclPermission::WriteAcp => dto::Permission::WRITE_ACP,
            AclPermission::FullControl => dto::Permission::FULL_CONTROL,
        };
        dto::Grant { grantee: Some(grantee), permission: Some(dto::Permission::from_static(permission)) }
    };
    acl.grants.iter().map(one).collect()
}

/// The principals that a list names.
pub(crate) fn principals(acl: &Acl) -> impl Iterator<Item = PrincipalId> + '_ {
    acl.grants.iter().filter_map(|grant| match &grant.grantee {
        Grantee::Principal(id) => Some(id.clone()),
        Grantee::Authenticated | Grantee::Everybody => None,
    })
}

fn argument(message: impl Into<String>) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, message.into())
}

fn malformed(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::MalformedACLError, message)
}

fn unknown_id() -> S3Error {
    argument("nobody has the id of a grantee")
}

fn unknown_email() -> S3Error {
    let message = "nobody has the e-mail address of a grantee as its id";
    S3Error::with_message(S3ErrorCode::UnresolvableGrantByEmailAddress, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(canned: Option<&str>, headers: &[(AclPermission, &str)]) -> Said {
        let headers = headers.iter().map(|(permission, text)| (*permission, (*text).to_owned())).collect();
        Said { canned: canned.map(str::to_owned), headers, document: None }
    }

    fn existing() -> BTreeMap<PrincipalId, String> {
        ["ann", "bob@example.org"].map(|id| (PrincipalId::parse(id).unwrap(), id.to_owned())).into()
    }

    fn code<T: std::fmt::Debug>(outcome: S3Result<T>) -> String {
        outcome.unwrap_err().code().as_str().to_owned()
    }

    #[test]
    fn headers_grant_to_ids_addresses_and_groups() {
        let owner = PrincipalId::parse("ann").unwrap();
        let text = format!("id=\"ann\", emailAddress=\"bob@example.org\", uri=\"{EVERYBODY}\"");
        let grants = said(None, &[(AclPermission::Read, &text)]).grants().unwrap().unwrap();
        let acl = grants.resolve(&existing(), Some(&owner), &owner).unwrap();
        assert_eq!(acl.grants.len(), 3);
        assert_eq!(acl.grants[2].grantee, Grantee::Everybody);
        let names = existing();
        let shown = listed(&acl, &names);
        assert_eq!(shown[0].grantee.as_ref().unwrap().id.as_deref(), Some("ann"));
        assert_eq!(shown[2].grantee.as_ref().unwrap().uri.as_deref(), Some(EVERYBODY));
        assert_eq!(principals(&acl).count(), 2);
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        assert!(said(None, &[]).grants().unwrap().is_none());
        let exec = said(Some("aws-exec-read"), &[]).grants().unwrap();
        assert_eq!(exec, Some(Grants::Canned(CannedAcl::Private)));
        assert_eq!(code(said(Some("public"), &[]).grants()), "InvalidArgument");
        let document = |kind: &str| dto::AccessControlPolicy {
            owner: Some(dto::Owner { id: Some("ann".to_owned()), ..Default::default() }),
            grants: Some(vec![dto::Grant {
                grantee: Some(dto::Grantee {
                    display_name: None,
                    email_address: None,
                    id: Some("ann".to_owned()),
                    type_: kind.to_owned().into(),
                    uri: None,
                }),
                permission: Some(dto::Permission::from_static(dto::Permission::READ)),
            }]),
        };
        let written = |kind| Said { document: Some(document(kind)), ..Said::default() };
        assert!(written("CanonicalUser").grants().is_ok());
        assert_eq!(code(written("Robot").grants()), "MalformedACLError");
        let twice = Said { canned: Some("private".to_owned()), ..written("CanonicalUser") };
        assert_eq!(code(twice.grants()), "UnexpectedContent");
        let both = said(Some("private"), &[(AclPermission::Read, "id=ann")]);
        assert_eq!(code(both.grants()), "InvalidRequest");
        for text in ["ann", "name=ann", "uri=http://example.org/all"] {
            assert_eq!(
                code(said(None, &[(AclPermission::Read, text)]).grants()),
                "InvalidArgument",
                "{text}"
            );
        }
        let owner = PrincipalId::parse("ann").unwrap();
        let resolve = |text: &str| {
            let grants = said(None, &[(AclPermission::Read, text)]).grants().unwrap().unwrap();
            grants.resolve(&existing(), Some(&owner), &owner)
        };
        assert_eq!(code(resolve("id=nobody")), "InvalidArgument");
        assert_eq!(code(resolve("id=_bad")), "InvalidArgument");
        assert_eq!(code(resolve("emailAddress=x@example.org")), "UnresolvableGrantByEmailAddress");
        let many = vec!["id=ann"; GRANTS_MAX + 1].join(",");
        assert_eq!(code(said(None, &[(AclPermission::Read, &many)]).grants()), "MalformedACLError");
    }
}
