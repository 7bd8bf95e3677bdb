//! Shamira: computations as its clients know them, one listener for each node.
//!
//! | Route | Who | What |
//! | --- | --- | --- |
//! | `POST /register_node` (`/auth/register`) | a credential of this node | binds a key of secp256k1 to whoever registers it |
//! | `GET /login_challenge` | anybody | a message to sign, which can be used once |
//! | `POST /login` (`/auth/login`) | anybody | a signed token for a signed message |
//! | `POST /execute_job` | `computation:create` | carries a job out and answers with its results |
//! | `GET /jobs`, `/jobs/{id}` | `computation:list`, `:read` | jobs; results for their owner alone |
//! | `GET /execute_step` | `computation:list` | how many steps wait and run; the engine needs no prompting |
//! | `POST /receive_encrypted_variable` | `computation:invoke` | a sealed share of an input |
//! | `POST /job` | `computation:create` | the same in the published client's form; answers at once with the job as it is kept |
//! | `GET /nodes`, `POST /node`, `POST /set_health_status/{id}` | | parties and clients |
//! | `GET /steps?status=` | `computation:list` | the steps of the caller's jobs |
//! | `GET /dashboard` | `computation:list` | the same as a page: nodes, the caller's jobs and their steps, no value |
//! | `GET /ping`, `/health` | anybody | |
//!
//! The seed's routes answer in the seed's words. What the published client says differently is told apart by the route that it logs
//! in by: `/auth/login` answers 200 with a 404 in its body to a key that is not registered, and its tokens are given bare lists.
//!
//! A job is split here: whoever sends values in the clear has shown them to this node, as in the first system, and to no other. Its result
//! is sealed to this node in the owner's name, put together when the owner asks, and shown to nobody else. Clients that let no node see a
//! value use the native API.

mod dashboard;
mod jobs;
mod login;
mod nodes;
mod published;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, post};
use axum::{Json, Router};
use cm_door::Gate;
use cm_http::{Asked, Failure, FailureClass, Rendered, RequestLimits, frame};
use cm_kernel::{Access, Kernel};
use cm_mpc::{ComputationError, Computations, ErrorClass};
use serde_json::{Value, json};

pub use nodes::{NodeList, NodeListError};

/// What the face needs. Cheap to clone.
#[derive(Clone)]
pub struct Shamira(Arc<Parts>);

struct Parts {
    kernel: Kernel,
    access: Access,
    computations: Computations,
    /// Nodes in the order of `initial_node_list.yaml`; empty without one.
    listed: NodeList,
    /// Challenges that were given out and not used, oldest first.
    challenges: Mutex<VecDeque<(String, Instant)>>,
}

impl Shamira {
    /// The face of a node's computations.
    pub fn new(kernel: Kernel, access: Access, computations: Computations, listed: NodeList) -> Self {
        Self(Arc::new(Parts { kernel, access, computations, listed, challenges: Mutex::default() }))
    }

    fn kernel(&self) -> &Kernel {
        &self.0.kernel
    }

    fn computations(&self) -> &Computations {
        &self.0.computations
    }

    fn gate(&self) -> Gate {
        Gate::new(self.0.kernel.clone(), self.0.access.clone()).open_to(is_open)
    }
}

/// Requests whose proof is in their body, or that need none.
fn is_open(request: &Request) -> bool {
    matches!(request.uri().path(), "/login" | "/auth/login" | "/login_challenge" | "/ping" | "/health")
}

/// The routes.
pub fn router(shamira: Shamira, limits: RequestLimits) -> Router {
    let tasks = shamira.kernel().tasks().clone();
    let routes = Router::new()
        .route("/register_node", post(nodes::register))
        .route("/auth/register", post(nodes::register_published))
        .route("/login_challenge", get(login::challenge))
        .route("/login", post(login::login))
        .route("/auth/login", post(login::login_published))
        .route("/execute_job", post(jobs::execute))
        .route("/job", post(published::create))
        .route("/jobs", get(jobs::list))
        .route("/jobs/{id}", get(jobs::read))
        .route("/execute_step", get(jobs::execute_step))
        .route("/steps", get(jobs::steps))
        .route("/receive_encrypted_variable", post(jobs::receive))
        .route("/nodes", get(nodes::list))
        .route("/node", post(nodes::register_published))
        .route("/dashboard", get(dashboard::show))
        .route("/set_health_status/{id}", post(nodes::set_health))
        .route("/ping", get(hello))
        .route("/health", get(hello))
        .layer(middleware::from_fn_with_state(shamira.clone(), login::authenticate))
        .with_state(shamira);
    frame(routes, limits, shape, &tasks)
}

async fn hello() -> Json<Value> {
    Json(json!({ "Hello": "World" }))
}

/// What the engine refused, as an answer.
fn refused(error: ComputationError) -> Failure {
    let error = match error {
        ComputationError::Kernel(error) => return cm_door::refusal(error),
        error => error,
    };
    let class = match error.class() {
        ErrorClass::Kernel | ErrorClass::Internal => return Failure::internal(error),
        ErrorClass::Invalid | ErrorClass::NoSuchPart => FailureClass::Invalid,
        ErrorClass::NotTheirs => FailureClass::Forbidden,
        ErrorClass::Conflict => FailureClass::Conflict,
        ErrorClass::TooMany => FailureClass::TooMany,
        ErrorClass::Party => FailureClass::UpstreamFailed,
        ErrorClass::SwitchedOff => FailureClass::Unavailable,
    };
    Failure::new(class, error.told())
}

fn invalid(reason: impl ToString) -> Failure {
    Failure::new(FailureClass::Invalid, reason.to_string())
}

/// Refusals as the framework of the first system worded them.
fn shape(failure: &Failure, _: &Asked) -> Rendered {
    let detail = match (failure.class(), failure.message()) {
        (FailureClass::Unauthenticated, message @ (login::INVALID_SIGNATURE | login::NOT_REGISTERED)) => {
            message
        }
        (FailureClass::Unauthenticated, _) => "Not authenticated",
        (_, message) => message,
    };
    let status = match failure.class() {
        FailureClass::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        class => class.status(),
    };
    Rendered::json(status, &json!({ "detail": detail }))
}
