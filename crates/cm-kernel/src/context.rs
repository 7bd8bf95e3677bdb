//! Who asks, and for how long they wait.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use cm_identity::{Authenticated, Source};
use cm_policy::sharing::Circumstances;
use cm_policy::{RoleFacts, Rules, Subject, pdl};
use cm_types::{PrincipalId, RequestId, TenantId, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::Policies;

/// How long an operation may take unless its caller says otherwise.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(60);

/// Where those belong who did not say who they are.
static FIRST_TENANT: LazyLock<TenantId> = LazyLock::new(TenantId::default_tenant);

/// Who acts.
#[derive(Clone, Debug)]
pub enum Actor {
    /// Nobody said who they are.
    Anonymous,
    /// The node itself: its background work, and callers of a node in open mode.
    Node(Arc<ActorFacts>),
    /// Somebody who authenticated, and how.
    Principal(Arc<ActorFacts>, Arc<Authenticated>),
}

/// Whether callers must say who they are.
#[derive(Clone, Debug)]
pub enum Access {
    /// Every request needs a credential.
    Credential,
    /// A request without a valid credential acts as this actor. Only for a node that nobody else can reach. One with a
    /// valid credential is judged by it.
    Open(Actor),
}

/// What policy needs to know of an actor: gathered once, at the door.
#[derive(Debug)]
pub struct ActorFacts {
    /// Who it is.
    pub principal: PrincipalId,
    /// Where it belongs.
    pub tenant: TenantId,
    /// What its roles permit, as they stood when it authenticated.
    pub roles: Vec<RoleFacts>,
    /// The permission policies in force in its tenant, as they stood then.
    pub policies: Policies,
}

impl Actor {
    /// The node itself.
    pub fn node() -> Actor {
        Actor::Node(Arc::new(ActorFacts {
            principal: PrincipalId::node(),
            tenant: TenantId::default_tenant(),
            roles: vec![RoleFacts::administrator()],
            policies: Policies::none(),
        }))
    }

    /// Whether decisions about this actor come out as those about the other: the same somebody, roles and policies.
    pub fn may_the_same(&self, other: &Actor) -> bool {
        match (self.facts(), other.facts()) {
            (Some(own), Some(other)) => {
                own.principal == other.principal
                    && own.tenant == other.tenant
                    && own.roles == other.roles
                    && own.policies.are_same(&other.policies)
            }
            (own, other) => own.is_none() && other.is_none(),
        }
    }

    /// What is known of it, if it is anybody.
    pub fn facts(&self) -> Option<&ActorFacts> {
        match self {
            Actor::Anonymous => None,
            Actor::Node(facts) | Actor::Principal(facts, _) => Some(facts),
        }
    }
}

/// Carried by every operation from the wire to the effect.
#[derive(Clone, Debug)]
pub struct OpContext {
    /// Who acts.
    pub actor: Actor,
    /// Where the caller is.
    pub source: Source,
    /// What is known of how the caller asks, for the conditions of permission policies.
    pub asked: Arc<pdl::Circumstances>,
    /// The permission policies for a caller who did not say who they are, those of the first tenant. Whoever did brings
    /// their own.
    pub anonymous_policies: Policies,
    /// The name of the request in logs, events and answers.
    pub request: RequestId,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// Cancelled when the caller is gone or the node stops.
    pub cancel: CancellationToken,
}

impl OpContext {
    /// A new operation by `actor`, with the default deadline.
    pub fn new(actor: Actor, request: RequestId, cancel: CancellationToken) -> Self {
        let deadline = Instant::now() + DEADLINE_DEFAULT;
        Self {
            actor,
            source: Source::inside(),
            asked: Arc::default(),
            anonymous_policies: Policies::none(),
            request,
            deadline,
            cancel,
        }
    }

    /// What the node does of its own accord.
    pub fn node(cancel: CancellationToken) -> Self {
        Self::new(Actor::node(), RequestId::random(), cancel)
    }

    /// The tenant within which the operation takes place.
    pub fn tenant(&self) -> TenantId {
        self.actor.facts().map_or_else(TenantId::default_tenant, |facts| facts.tenant.clone())
    }

    /// Who acts, if it is known.
    pub fn principal(&self) -> Option<&PrincipalId> {
        self.actor.facts().map(|facts| &facts.principal)
    }

    /// How the actor authenticated, if it did.
    pub fn authenticated(&self) -> Option<&Authenticated> {
        match &self.actor {
            Actor::Principal(_, authenticated) => Some(authenticated),
            Actor::Anonymous | Actor::Node(_) => None,
        }
    }

    /// Who asks, as policy sees it.
    pub fn subject(&self) -> Subject<'_> {
        let (subject, tenant, policies) = match self.actor.facts() {
            None => (Subject::anonymous(), &FIRST_TENANT as &TenantId, &self.anonymous_policies),
            Some(facts) => {
                let subject = Subject::principal(&facts.principal, &facts.tenant, &facts.roles);
                (subject, &facts.tenant, &facts.policies)
            }
        };
        let Some(policies) = policies.compiled() else { return subject };
        let circumstances = &self.asked;
        subject.under(Rules { tenant, policies, circumstances, groups: &[], attributes: None })
    }

    /// Says when and from where the caller asks, and whether over an encrypted connection; what is `None` is not known. Whether
    /// a second factor was used is known of the actor.
    #[must_use]
    pub fn asked_at(mut self, now: Timestamp, address: Option<IpAddr>, tls: Option<bool>) -> Self {
        let mfa = self.authenticated().map(Authenticated::has_second_factor);
        let attributes = std::collections::BTreeMap::new();
        self.asked = Arc::new(pdl::Circumstances { now: Some(now), address, tls, mfa, attributes });
        self
    }

    /// The same operation at another moment: what it asked for took its time, and conditions on the time are judged when
    /// something is decided, not when it was asked for. Nothing changes where no permission policies are in force.
    pub(crate) fn at(&self, now: Timestamp) -> Cow<'_, OpContext> {
        let policies = self.actor.facts().map_or(&self.anonymous_policies, |facts| &facts.policies);
        if policies.compiled().is_none() || self.asked.now.is_none() {
            return Cow::Borrowed(self);
        }
        let asked = Arc::new(pdl::Circumstances { now: Some(now), ..(*self.asked).clone() });
        Cow::Owned(OpContext { asked, ..self.clone() })
    }

    /// The same operation by somebody who was found out only now.
    #[must_use]
    pub fn by(mut self, actor: Actor) -> Self {
        self.actor = actor;
        let mfa = self.authenticated().map(Authenticated::has_second_factor);
        self.asked = Arc::new(pdl::Circumstances { mfa, ..(*self.asked).clone() });
        self
    }

    /// What is known of every operation, whichever face it came by, for conditions of bucket policies. Its address, for one,
    /// is not.
    pub fn circumstances(&self, now: Timestamp) -> Circumstances {
        let mut all = Circumstances::incomplete();
        let tenant = self.tenant();
        all.add_caller(self.principal().map(|principal| (principal, &tenant)));
        all.add_time(now);
        all
    }
}
