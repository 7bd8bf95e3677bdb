//! Passkeys, as faces work with them. Everybody registers their own; those of somebody else are only taken away, by who could become them.

use cm_identity::{
    Authenticated, CredentialRight, Identity, IdentityError, PasskeyChallenge, PasskeyInfo, Principal,
};
use cm_policy::{Grant, Permit};
use cm_types::PrincipalId;
use serde_json::Value;

use crate::credentials::{existing, unproven};
use crate::giving::demand_power_to_become;
use crate::{Kernel, KernelError, OpContext};

/// What a browser brought back: the state that went along with the question, and the device's answer in JSON.
#[derive(Clone, Debug)]
pub struct PasskeyAnswer {
    /// Of the [`PasskeyChallenge`].
    pub state: String,
    /// The browser's `PublicKeyCredential` (WebAuthn, level 3, section 5.1.1).
    pub credential: Value,
}

impl Kernel {
    /// Begins to register a passkey of the actor's own.
    ///
    /// # Errors
    /// [`KernelError::Unauthenticated`] for an actor that is no principal; as [`Identity::begin_passkey`].
    pub async fn begin_passkey(&self, op: &OpContext) -> Result<PasskeyChallenge, KernelError> {
        let shown = shown(op)?;
        let (identity, (_, permit)) = (self.identity().clone(), self.own_credentials(op).await?);
        self.db().read(move |tx| Ok(identity.begin_passkey(tx, permit.right(), &shown)?)).await
    }

    /// Registers a passkey of the actor's own.
    ///
    /// # Errors
    /// As [`Kernel::begin_passkey`], [`Identity::check_passkey`] and [`Identity::add_passkey`].
    pub async fn add_passkey(
        &self,
        op: &OpContext,
        answer: PasskeyAnswer,
        label: String,
    ) -> Result<PasskeyInfo, KernelError> {
        let shown = shown(op)?;
        let (identity, (_, permit)) = (self.identity().clone(), self.own_credentials(op).await?);
        let checked = identity.check_passkey(&shown, &answer.state, answer.credential).await?;
        let request = op.request.clone();
        self.db()
            .write(move |tx| {
                let new = (&shown, checked);
                Ok(identity.add_passkey(tx, permit.right(), new, &label, Some(&request))?)
            })
            .await
    }

    /// The actor's own passkeys.
    ///
    /// # Errors
    /// [`KernelError::Unauthenticated`] for an actor that is no principal.
    pub async fn own_passkeys(&self, op: &OpContext) -> Result<Vec<PasskeyInfo>, KernelError> {
        let (identity, (id, permit)) = (self.identity().clone(), self.own_credentials(op).await?);
        self.db().read(move |tx| Ok(identity.passkeys(tx, permit.tenant(), &id)?)).await
    }

    /// Calls a passkey of the actor's own something else.
    ///
    /// # Errors
    /// As [`Identity::rename_passkey`].
    pub async fn rename_passkey(
        &self,
        op: &OpContext,
        key: String,
        label: String,
    ) -> Result<PasskeyInfo, KernelError> {
        let request = op.request.clone();
        self.change_own(op, move |identity, tx, right, shown| {
            identity.rename_passkey(tx, right, shown, (&key, &label), Some(&request))
        })
        .await
    }

    /// Takes a passkey of the actor's own away, and ends the sessions that it began.
    ///
    /// # Errors
    /// As [`Identity::remove_passkey`].
    pub async fn remove_passkey(&self, op: &OpContext, key: String) -> Result<(), KernelError> {
        let request = op.request.clone();
        self.change_own(op, move |identity, tx, right, shown| {
            identity.remove_passkey(tx, right, shown, &key, Some(&request))
        })
        .await
    }

    /// Takes all passkeys of somebody away who lost them, with the power to become them. Says how many there were.
    ///
    /// # Errors
    /// As [`Identity::reset_passkeys`].
    pub async fn reset_passkeys(
        &self,
        op: &OpContext,
        permit: &Permit<Grant>,
        principal: &PrincipalId,
    ) -> Result<usize, KernelError> {
        let (identity, catalog) = (self.identity().clone(), self.catalog().clone());
        let (op, permit, id) = (op.clone(), permit.clone(), principal.clone());
        self.db()
            .write(move |tx| {
                let principal: Principal = existing(tx, &identity, permit.tenant(), &id)?;
                demand_power_to_become(tx, &catalog, &op.subject(), &principal)?;
                let right = CredentialRight::Granted(&permit);
                let shown = op.authenticated();
                Ok(identity.reset_passkeys(tx, right, shown, &id, Some(&op.request))?)
            })
            .await
    }

    /// Begins a login with a passkey, the same for everybody.
    ///
    /// # Errors
    /// [`IdentityError::PasskeysOff`].
    pub fn begin_passkey_login(&self) -> Result<PasskeyChallenge, KernelError> {
        Ok(self.identity().begin_passkey_login()?)
    }

    /// Whose passkey answered; who has it may begin a session.
    ///
    /// # Errors
    /// [`KernelError::Unauthenticated`] whatever is wrong with the answer; [`IdentityError::Locked`], [`IdentityError::PasskeysOff`].
    pub async fn login_with_passkey(
        &self,
        op: &OpContext,
        answer: PasskeyAnswer,
    ) -> Result<Authenticated, KernelError> {
        let PasskeyAnswer { state, credential } = answer;
        let outcome =
            self.identity().login_with_passkey(&state, credential, &op.source, Some(&op.request)).await;
        outcome.map_err(unproven)
    }

    async fn change_own<T: Send + 'static>(
        &self,
        op: &OpContext,
        change: impl FnOnce(
            &Identity,
            &mut cm_db::WriteTx<'_>,
            CredentialRight<'_>,
            &Authenticated,
        ) -> Result<T, IdentityError>
        + Send
        + 'static,
    ) -> Result<T, KernelError> {
        let shown = shown(op)?;
        let (identity, (_, permit)) = (self.identity().clone(), self.own_credentials(op).await?);
        self.db().write(move |tx| Ok(change(&identity, tx, permit.right(), &shown)?)).await
    }
}

fn shown(op: &OpContext) -> Result<Authenticated, KernelError> {
    op.authenticated().cloned().ok_or(KernelError::Unauthenticated)
}
