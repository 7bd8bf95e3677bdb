//! Who asks, until the effect.

use std::io;
use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use bytes::Bytes;
use cm_http::{Bearer, Failure};
use cm_kernel::{Kernel, OpContext};
use futures::{Stream, StreamExt as _, stream};

use crate::gate::missing_credential;
use crate::refusal::refused_bearer;

/// Who asks, and by what: an [`OpContext`] that can be believed anew. Made by [`authenticate`](crate::authenticate()).
#[derive(Clone, Debug)]
pub struct Caller {
    op: OpContext,
    bearer: Option<Bearer>,
}

impl Deref for Caller {
    type Target = OpContext;

    fn deref(&self) -> &OpContext {
        &self.op
    }
}

impl Caller {
    /// Authenticates again. A body takes its time: whoever was known when it began may be disabled, and its
    /// credential revoked, when it ends. Every handler that read a body calls this, and decides again, right
    /// before the effect.
    ///
    /// # Errors
    /// 401 when the credential is not valid any more.
    pub async fn again(mut self, kernel: &Kernel) -> Result<Self, Failure> {
        if let Some(bearer) = &self.bearer {
            let actor = kernel.authenticate(bearer.expose()).await.map_err(refused_bearer)?;
            self.op = self.op.by(actor);
        }
        Ok(self)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        // A route outside of the authenticated router must fail closed.
        let op = parts.extensions.get::<OpContext>().cloned().ok_or_else(missing_credential)?;
        Ok(Self { op, bearer: parts.extensions.get().cloned() })
    }
}

/// A body whose end is an error unless `check` allows it: whoever stores it only as a whole does not store it then.
pub fn confirmed(
    body: impl Stream<Item = io::Result<Bytes>> + Send,
    check: impl Future<Output = Result<(), Failure>> + Send,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let refused = |failure| Err(io::Error::new(io::ErrorKind::PermissionDenied, failure));
    let end = move |checked: Result<(), Failure>| std::future::ready(checked.err().map(refused));
    body.chain(stream::once(check).filter_map(end))
}
