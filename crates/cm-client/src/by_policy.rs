//! A connection to an instance of which nothing is known but the text of its policy.

use std::ops::{Deref, DerefMut};

use cm_instance::{InstanceClaims, PolicyText};
use tokio::net::TcpStream;

use crate::instance::InstanceChannel;
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

    /// The same over a connection that the caller made: for one who decides which addresses may be connected to.
    ///
    /// # Errors
    /// As [`CertifiedConnection::open`].
    pub async fn over(
        tcp: TcpStream,
        policy: &str,
        identity: &ClientIdentity,
        allow_insecure_software: bool,
    ) -> Result<CertifiedConnection, ClientError> {
        Self::certified(Some(tcp), policy, identity, allow_insecure_software, Measurements::Any).await
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
        Self::certified(None, policy, identity, allow_insecure_software, measurements).await
    }

    async fn certified(
        tcp: Option<TcpStream>,
        policy: &str,
        identity: &ClientIdentity,
        allow_insecure_software: bool,
        measurements: Measurements,
    ) -> Result<CertifiedConnection, ClientError> {
        let text = PolicyText::new(policy);
        let policy = text.parse().map_err(Distrust::from)?;
        let address = policy.veracruz_server_url.clone();
        let demand =
            CertificateJudge { policy, policy_hash: text.hash(), measurements, allow_insecure_software };
        let (channel, claims) = InstanceChannel::open(tcp, &address, &text, demand, identity).await?;
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
