//! Whose key a request was signed with.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use axum::http::Extensions;
use cm_kernel::objects::EncryptedBy;
use cm_kernel::policy::sharing::Circumstances;
use cm_kernel::{ErrorClass, Kernel, KernelError, OpContext};
use cm_types::TenantId;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{Credentials, S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::{circumstances, failure};

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    op: OpContext,
    signer: Option<Credentials>,
    circumstances: Arc<Circumstances>,
}

impl Deref for Caller {
    type Target = OpContext;

    fn deref(&self) -> &OpContext {
        &self.op
    }
}

impl Caller {
    /// Somebody on a node in open mode.
    pub(crate) fn open(op: OpContext, circumstances: Circumstances) -> Self {
        Self::known(op, None, circumstances)
    }

    /// Somebody who signed, or did not.
    pub(crate) fn known(
        op: OpContext,
        signer: Option<Credentials>,
        mut circumstances: Circumstances,
    ) -> Self {
        circumstances::add_caller(&op, &mut circumstances);
        Self { op, signer, circumstances: Arc::new(circumstances) }
    }

    /// What the request says about itself, for the conditions of policies.
    pub(crate) fn circumstances(&self) -> &Circumstances {
        &self.circumstances
    }

    /// The same, for a request that says these tags in its body.
    pub(crate) fn with_tags<'a>(mut self, tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let all = Arc::make_mut(&mut self.circumstances);
        for (name, value) in tags {
            circumstances::tag(name, value, all);
        }
        self
    }

    /// The same, for a request about an object of which it was said before how it is going to be encrypted.
    pub(crate) fn with_encryption(mut self, by: Option<EncryptedBy>) -> Self {
        if by.is_some() {
            circumstances::encrypted_by(by, Arc::make_mut(&mut self.circumstances));
        }
        self
    }

    /// Who asks this request.
    ///
    /// # Errors
    /// `AccessDenied`, if nobody said that they may.
    pub(crate) fn of(extensions: &Extensions) -> S3Result<Self> {
        extensions.get().cloned().ok_or_else(denied)
    }

    /// Authenticates again. A body takes its time: whoever was known when it began may be disabled, and the key revoked,
    /// when it ends.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(crate) async fn again(mut self, kernel: &Kernel) -> S3Result<Self> {
        if let Some(signer) = &self.signer {
            let actor = kernel.authenticate_s3(&signer.access_key, signer.secret_key.expose()).await;
            self.op = self.op.by(actor.map_err(failure::kernel)?);
        }
        Ok(self)
    }
}

/// The tenant of whoever asks, once it is known: for what is done after the adapter, which keeps the rest to itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct AskingTenant(Arc<OnceLock<TenantId>>);

impl AskingTenant {
    pub(crate) fn set(&self, tenant: TenantId) {
        // Set once: a request is authenticated once.
        let _ = self.0.set(tenant);
    }

    pub(crate) fn get(&self) -> TenantId {
        self.0.get().cloned().unwrap_or_else(TenantId::default_tenant)
    }
}

fn denied() -> S3Error {
    S3Error::with_message(S3ErrorCode::AccessDenied, "a signature is required")
}

/// Knows the secrets that signatures are checked with.
pub(crate) struct Keys(Kernel);

impl Keys {
    pub(crate) fn new(kernel: Kernel) -> Self {
        Self(kernel)
    }
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.s3_secret(access_key).await {
            Ok(secret) => Ok(SecretKey::from(secret.expose().as_str())),
            Err(error) => Err(unknown_key(error)),
        }
    }
}

pub(crate) fn unknown_key(error: KernelError) -> S3Error {
    match error.class() {
        ErrorClass::Unauthenticated => S3Error::with_message(
            S3ErrorCode::InvalidAccessKeyId,
            "the access key does not exist, or its owner is disabled",
        ),
        _ => failure::kernel(error),
    }
}

/// Lets in who signed, before anything else of a request is decoded.
pub(crate) struct Door(Kernel);

impl Door {
    pub(crate) fn new(kernel: Kernel) -> Self {
        Self(kernel)
    }
}

#[async_trait::async_trait]
impl S3Access for Door {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let signer = context.credentials().cloned();
        self.admit(signer, context.extensions_mut()).await
    }
}

impl Door {
    /// Lets in whoever signed, or did not, and notes who it is.
    pub(crate) async fn admit(
        &self,
        signer: Option<Credentials>,
        extensions: &mut Extensions,
    ) -> S3Result<()> {
        let mut op = extensions.get::<OpContext>().cloned().ok_or_else(denied)?;
        let circumstances = extensions.get::<Circumstances>().cloned().unwrap_or_default();
        // Whoever did not sign may do what owners of buckets let everybody do; each operation asks.
        if let Some(signer) = &signer {
            let actor = self.0.authenticate_s3(&signer.access_key, signer.secret_key.expose()).await;
            op = op.by(actor.map_err(unknown_key)?);
        }
        self.0.admit(op.asked.address, &op.actor).map_err(failure::kernel)?;
        if let Some(tenant) = extensions.get::<AskingTenant>() {
            tenant.set(op.tenant());
        }
        let span = tracing::Span::current();
        span.record("tenant", op.tenant().as_str());
        if let Some(principal) = op.principal() {
            span.record("principal", principal.as_str());
        }
        extensions.insert(Caller::known(op, signer, circumstances));
        Ok(())
    }
}
