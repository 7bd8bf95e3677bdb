//! Who is let in: decided before the route, the query and the body are looked at.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use cm_http::local::require_local;
use cm_http::{Bearer, Failure, FailureClass, Peer, RequestLimits};
use cm_kernel::identity::Source;
use cm_kernel::{Access, Actor, Kernel, OpContext};
use cm_types::RequestId;

use crate::refusal::{refusal, refused_bearer};

/// What [`authenticate`] needs of a face. Cheap to clone, which happens with every request.
#[derive(Clone)]
pub struct Gate {
    /// Who knows the credentials.
    pub kernel: Kernel,
    /// Whether callers must say who they are.
    pub access: Access,
    open_to: fn(&Request) -> bool,
    local_to: fn(&Request) -> bool,
}

impl Gate {
    /// A gate where every request needs a credential, unless the node is in open mode.
    pub fn new(kernel: Kernel, access: Access) -> Self {
        Self { kernel, access, open_to: |_| false, local_to: |_| false }
    }

    /// Lets in as nobody, without a credential, what `open_to` recognises: requests whose credentials are in their body.
    #[must_use]
    pub fn open_to(self, open_to: fn(&Request) -> bool) -> Self {
        Self { open_to, ..self }
    }

    /// Judges by what this node knows, without asking others, what `local_to` recognises: requests for what this node sees of its
    /// network, which are for when the others cannot be reached. They must read nothing else.
    #[must_use]
    pub fn local_to(self, local_to: fn(&Request) -> bool) -> Self {
        Self { local_to, ..self }
    }
}

/// Puts the [`OpContext`] of an authenticated actor into the request, or answers 401. A layer around all routes and
/// fallbacks of a face: `middleware::from_fn_with_state(gate, authenticate)`.
///
/// Earlier clients send no credential. A node in open mode lets them act as its own actor, as long as they are on the same
/// machine and no foreign web page speaks through them.
///
/// # Errors
/// 401 without a valid credential where one is asked for; 403 in open mode for what does not come from this machine.
pub async fn authenticate(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    if let Access::Open(_) = gate.access {
        require_local(&request)?;
    }
    // Found out before anything is waited for: a request cannot be looked at from two threads.
    let from = From { source: source_of(&request), id: id_of(&request), is_local: (gate.local_to)(&request) };
    let actor = match (presented(&gate.kernel, request.headers(), from).await, &gate.access) {
        (Ok(Some((bearer, actor))), _) => {
            request.extensions_mut().insert(bearer);
            actor
        }
        (Ok(None), _) if (gate.open_to)(&request) => Actor::Anonymous,
        (Ok(None), Access::Open(actor)) => actor.clone(),
        // The earlier services never looked at credentials; what a client sends to them may be anything.
        (Err(failure), Access::Open(actor)) if failure.class() == FailureClass::Unauthenticated => {
            actor.clone()
        }
        (Ok(None), Access::Credential) => return Err(missing_credential()),
        (Err(failure), _) => return Err(failure),
    };
    let peer = request.extensions().get::<Peer>().map(|Peer(address)| address.ip());
    gate.kernel.admit(peer, &actor).map_err(refusal)?;
    let mut op = context(&gate.kernel, actor, &request);
    if matches!(op.actor, Actor::Anonymous) {
        op.anonymous_policies = gate.kernel.policies_of(&op.tenant()).await.map_err(refusal)?;
    }
    let span = tracing::Span::current();
    span.record("tenant", op.tenant().as_str());
    if let Some(principal) = op.principal() {
        span.record("principal", principal.as_str());
    }
    request.extensions_mut().insert(op);
    Ok(next.run(request).await)
}

/// Where a credential comes from.
struct From {
    source: Source,
    id: RequestId,
    /// It is judged by what this node knows.
    is_local: bool,
}

/// Who presents a credential, and the credential; `None` without one.
async fn presented(
    kernel: &Kernel,
    headers: &HeaderMap,
    from: From,
) -> Result<Option<(Bearer, Actor)>, Failure> {
    let Some(bearer) = Bearer::of(headers)? else {
        kernel.freshen().await.map_err(refusal)?;
        return Ok(None);
    };
    let actor = if from.is_local {
        kernel.authenticate_locally(bearer.expose()).await
    } else {
        kernel.authenticate_at_door(bearer.expose(), &from.source, &from.id).await
    };
    let actor = actor.map_err(refused_bearer)?;
    Ok(Some((bearer, actor)))
}

/// Where a request comes from.
pub fn source_of(request: &Request) -> Source {
    match request.extensions().get::<Peer>() {
        Some(Peer(address)) => Source::of(address.ip()),
        None => Source::inside(),
    }
}

fn id_of(request: &Request) -> RequestId {
    request.extensions().get::<RequestId>().cloned().unwrap_or_else(RequestId::random)
}

/// The context of an operation that a request asks for.
pub fn context(kernel: &Kernel, actor: Actor, request: &Request) -> OpContext {
    let mut op = OpContext::new(actor, id_of(request), kernel.tasks().token().child_token());
    op.source = source_of(request);
    let peer = request.extensions().get::<Peer>().map(|Peer(address)| address.ip());
    op = op.asked_at(kernel.now(), peer, None);
    op.deadline = kernel.clock().monotonic() + RequestLimits::of(request.extensions()).deadline;
    op
}

pub(crate) fn missing_credential() -> Failure {
    Failure::unauthenticated("a bearer token is required")
}
