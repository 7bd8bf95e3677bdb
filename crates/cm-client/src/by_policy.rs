//! A connection to an instance of which nothing is known but the text of its policy.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use cm_instance::{InstanceClaims, PolicyText};

use crate::instance::{InstanceChannel, InstanceError, connect, tls_config};
use crate::trust::{CertificateJudge, Distrust, Measurements};
use crate::{ClientError, ClientIdentity};

/// An open connection to an instance whose certificate says what its policy says.
pub struct CertifiedConnection {
    channel: InstanceChannel,
    claims: InstanceClaims,
}

impl CertifiedConnection {
    /// Connects to the instance of a policy, whose text must have come from somebody who is trusted. The instance's
    /// certificate is judged within the handshake, before the caller's is shown.
    ///
    /// `allow_insecure_software` says whether the word of the node that launched it is enough.
    ///
    /// # Errors
    /// [`ClientError::Untrusted`] if the text is no policy, or the certificate does not say what it says.
    pub async fn open(
        policy: &str,
        identity: &ClientIdentity,
        allow_insecure_software: bool,
    ) -> Result<CertifiedConnection, ClientError> {
        Self::open_measured(policy, identity, allow_insecure_software, Measurements::Any).await
    }

    /// The same for a caller who accepts fewer executables than the policy may name: the certificate must be about one
    /// that both accept.
    ///
    /// # Errors
    /// As [`CertifiedConnection::open`].
    pub async fn open_measured(
        policy: &str,
        identity: &ClientIdentity,
        allow_insecure_software: bool,
        measurements: Measurements,
    ) -> Result<CertifiedConnection, ClientError> {
        let text = PolicyText::new(policy);
        let parsed = text.parse().map_err(Distrust::from)?;
        let address = parsed.veracruz_server_url.clone();
        let verdict = Arc::new(Mutex::new(None));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let judge = CertificateJudge {
            policy: parsed,
            policy_hash: text.hash(),
            measurements,
            allow_insecure_software,
            algorithms: provider.signature_verification_algorithms,
            verdict: verdict.clone(),
        };
        let failed = |source| ClientError::Instance { address: address.clone(), source };
        let config = tls_config(provider, Arc::new(judge), identity).map_err(|error| failed(error.into()))?;
        let connected = connect(&address, config).await;
        let verdict = verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(distrust)) = verdict {
            return Err(distrust.into());
        }
        let stream = connected.map_err(|error| failed(InstanceError::Io(error)))?;
        let no_handshake = || failed(InstanceError::Io(std::io::Error::other("no handshake took place")));
        let claims = verdict.and_then(Result::ok).ok_or_else(no_handshake)?;
        let mut channel = InstanceChannel::new(stream, address);
        channel.prove_accepted(&text).await?;
        Ok(CertifiedConnection { channel, claims })
    }

    /// What the certificate says.
    pub fn claims(&self) -> InstanceClaims {
        self.claims
    }
}

impl Deref for CertifiedConnection {
    type Target = InstanceChannel;

    fn deref(&self) -> &InstanceChannel {
        &self.channel
    }
}

impl DerefMut for CertifiedConnection {
    fn deref_mut(&mut self) -> &mut InstanceChannel {
        &mut self.channel
    }
}
