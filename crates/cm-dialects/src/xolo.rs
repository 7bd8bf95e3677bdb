//! Xolo: identities and permissions of applications, as its clients of both eras speak it.
//!
//! An **application** (`app_id` of the first protocol) or **account** (`account_id` of today's) is a tenant, a client or user a
//! principal of that tenant, with the password, the sessions and the lockout that every principal has. What an application
//! declares about resources of its own, roles, grants, rules and graphs, is kept by [`cm_kernel::applications`] and decided by
//! [`cm_kernel::policy::declared`].
//!
//! **Who asks** is said in four ways, and each handler says which it takes, before it looks at a body:
//!
//! | header | what it is | here |
//! | --- | --- | --- |
//! | `X-Admin-Token` | who administers accounts | a bearer credential of the native API: of the account's own administrator, or of somebody who may grant rights over tenants |
//! | `X-API-Key` | an application | a key of the account, with scopes |
//! | `Authorization`, `Temporal-Secret-Key` | a user | the live token of a session, with the secret that belongs to it |
//! | none | a client of the first protocol | `app_id`, `client_id` and `secret` in the body |
//!
//! Tokens are signed with a key of ours. What a caller sends along, the temporal secret above all, is compared with what
//! was issued, and never a key to verify with.
//!
//! | module | what it says |
//! | --- | --- |
//! | [`duration`] | how long, in words |
//! | `call` | who asks |
//! | `seed` | the first protocol |
//! | `accounts`, `users`, `scopes` | accounts and their keys, users, scopes and licences |
//! | `roles`, `grants`, `attributes`, `graph`, `policies` | what applications declare |
//! | `shape` | how refusals look |

mod accounts;
mod attributes;
mod call;
pub mod duration;
mod grants;
mod graph;
mod policies;
mod roles;
mod scopes;
mod seed;
mod shape;
mod users;

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router, middleware};
use cm_http::{RequestLimits, frame};
use cm_kernel::{Access, Kernel};
use serde_json::{Value, json};

/// The kernel behind the face. Cheap to clone.
#[derive(Clone)]
pub struct Xolo(Arc<Parts>);

struct Parts {
    kernel: Kernel,
    access: Access,
}

impl Xolo {
    /// A face over this kernel.
    pub fn new(kernel: Kernel, access: Access) -> Self {
        Self(Arc::new(Parts { kernel, access }))
    }

    fn kernel(&self) -> &Kernel {
        &self.0.kernel
    }

    fn is_open(&self) -> bool {
        matches!(self.0.access, Access::Open(_))
    }
}

/// Everything that the face serves, ready for [`cm_http::serve()`].
pub fn router(xolo: Xolo, limits: RequestLimits) -> Router {
    let tasks = xolo.kernel().tasks().clone();
    let account = Router::new()
        .merge(users::routes())
        .merge(scopes::routes())
        .merge(accounts::key_routes())
        .merge(roles::routes())
        .merge(grants::routes())
        .merge(attributes::routes())
        .merge(graph::routes());
    let routes = Router::new()
        .nest("/api/v3", seed::routes())
        .nest("/api/v4/accounts/{account}", account)
        .merge(accounts::routes())
        .merge(policies::routes())
        .layer(middleware::from_fn_with_state(xolo.clone(), call::local_if_open))
        .layer(middleware::from_fn(shape::told))
        .with_state(xolo)
        .route("/health", get(health));
    frame(routes, limits, shape::shape, &tasks)
}

async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

#[cfg(test)]
mod tests;
