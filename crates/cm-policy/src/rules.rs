//! The permission policies in force, and what they say to a decision.
//!
//! They are weighed with everything else, not beside it: what a statement denies is denied whatever roles, ownership or
//! lists of grants say, and what one allows is allowed as if by a role: within the tenant, narrowed by security policies.
//! Only administrators can still read and change permission policies that deny it to them, or a wrong one could not be
//! taken back.

use std::collections::BTreeMap;

use cm_types::{Action, Labels, PrincipalId, ResourceKind, TenantId};

use crate::pdl::{Circumstances, Compiled, Request, Requester, Verdict};
use crate::{Reason, RoleFacts, Subject, Target};

/// The permission policies in force in a tenant, and what is known besides.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Whose they are. They say nothing of other tenants.
    pub tenant: &'a TenantId,
    /// What they say.
    pub policies: &'a Compiled,
    /// How something is asked.
    pub circumstances: &'a Circumstances,
    /// The groups of who asks.
    pub groups: &'a [String],
    /// What else is said of who asks; `None` where nobody knows what is.
    pub attributes: Option<&'a BTreeMap<String, String>>,
}

impl<'a> Subject<'a> {
    /// The same, under these permission policies.
    #[must_use]
    pub fn under(self, rules: Rules<'a>) -> Self {
        Self { rules: Some(rules), ..self }
    }

    /// Whether the subject may give the role away, as far as permission policies are concerned: what they say of its holders,
    /// be it that something is not denied to them, is what it would give.
    pub fn may_give(&self, role: &RoleFacts) -> bool {
        self.may_take(role) || self.roles.iter().any(|own| own.id == role.id)
    }

    /// Whether the subject may take the role away, as far as permission policies are concerned: what they deny its holders
    /// goes with it, also where the holder is the subject itself.
    pub fn may_take(&self, role: &RoleFacts) -> bool {
        self.administers() || !self.rules.is_some_and(|rules| rules.policies.names_role(role.id.as_str()))
    }

    /// Whether the subject may give somebody a name that is free: permission policies may speak of it already.
    pub fn may_name(&self, user: &PrincipalId) -> bool {
        self.administers() || !self.rules.is_some_and(|rules| rules.policies.names_user(user.as_str()))
    }

    /// Whether the subject may become the user, as far as permission policies are concerned: what they say of the user would
    /// be said of the subject.
    pub fn may_become(&self, user: &PrincipalId) -> bool {
        let compares = || self.rules.is_some_and(|rules| rules.policies.compares_users());
        self.administers() || (self.may_name(user) && !compares())
    }

    fn administers(&self) -> bool {
        self.roles.iter().any(RoleFacts::is_administrator)
    }

    fn asks<'r>(
        &'r self,
        rules: &'r Rules<'r>,
        (action, kind, id): (Action, ResourceKind, Option<&'r str>),
        (labels, is_owner): (&'r Labels, bool),
    ) -> Request<'r> {
        let principal = self.tenant.and(self.principal).map(|principal| principal.as_str());
        let who = Requester {
            principal,
            tenant: self.principal.and(self.tenant).map(|tenant| tenant.as_str()),
            roles: self.roles,
            groups: rules.groups,
            attributes: rules.attributes,
        };
        Request { who, action, kind, id, labels, is_owner, circumstances: rules.circumstances }
    }

    /// Whether a statement may allow the subject the action on something of the kind.
    pub(crate) fn is_told_of(&self, kind: ResourceKind, action: Action) -> bool {
        let labels = Labels::new();
        self.rules.is_some_and(|rules| {
            rules.policies.may_concern(&self.asks(&rules, (action, kind, None), (&labels, false)))
        })
    }
}

/// What permission policies say to a decision.
pub(crate) enum Said {
    Nothing,
    Allows(Reason),
    Denies(Reason),
}

/// See the module.
pub(crate) fn said(action: Action, subject: &Subject<'_>, target: &Target<'_>) -> Said {
    let Some(rules) =
        subject.rules.filter(|rules| rules.tenant == target.tenant && !rules.policies.is_empty())
    else {
        return Said::Nothing;
    };
    let is_owner = subject.principal.is_some()
        && subject.principal == target.owner
        && subject.tenant == Some(target.tenant);
    let request = subject.asks(&rules, (action, target.kind, target.id), (target.labels, is_owner));
    match rules.policies.judge(&request) {
        Verdict::Silent => Said::Nothing,
        Verdict::Allows(place) => {
            Said::Allows(Reason::StatementAllows { policy: place.policy.to_owned(), line: place.line })
        }
        Verdict::Denies(_) if stays_open(subject, target) => Said::Nothing,
        Verdict::Denies(place) => {
            Said::Denies(Reason::StatementDenies { policy: place.policy.to_owned(), line: place.line })
        }
    }
}

fn stays_open(subject: &Subject<'_>, target: &Target<'_>) -> bool {
    target.kind == ResourceKind::PermissionPolicy
        && subject.principal.is_some()
        && subject.roles.iter().any(RoleFacts::is_administrator)
}

#[cfg(test)]
mod tests;
