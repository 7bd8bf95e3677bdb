//! Whom the handshake lets pass.

use std::sync::Arc;

use cm_tls::Judge;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, ClientConfig, Error, ServerConfig};
use tokio::sync::watch;

use crate::{Directory, Identity, PeerKey};

/// The protocol that both ends must name in the handshake.
pub(crate) const PROTOCOL: &[u8] = b"cryptomesh-link/1";
/// The same for connections that carry one conversation.
pub(crate) const DIRECT: &[u8] = b"cryptomesh-direct/1";

/// The same for one question of somebody who is not known yet.
pub(crate) const GUEST: &[u8] = b"cryptomesh-guest/1";

/// The one key that a peer which is called must have.
#[derive(Debug)]
struct Exactly(PeerKey);

impl Judge for Exactly {
    fn judge(&self, peer: &CertificateDer<'_>, _: &[CertificateDer<'_>], _: UnixTime) -> Result<(), Error> {
        if PeerKey::of_certificate(peer).is_ok_and(|key| key == self.0) { Ok(()) } else { Err(unknown()) }
    }
}

/// The keys that callers may have.
#[derive(Debug)]
struct AnyOf(watch::Receiver<Arc<Directory>>);

impl Judge for AnyOf {
    fn judge(&self, peer: &CertificateDer<'_>, _: &[CertificateDer<'_>], _: UnixTime) -> Result<(), Error> {
        let key = PeerKey::of_certificate(peer).map_err(|_| unknown())?;
        if self.0.borrow().peer_of(&key).is_some() { Ok(()) } else { Err(unknown()) }
    }
}

/// Whoever proves to have the key that it shows.
#[derive(Debug)]
struct Anybody;

impl Judge for Anybody {
    fn judge(&self, peer: &CertificateDer<'_>, _: &[CertificateDer<'_>], _: UnixTime) -> Result<(), Error> {
        PeerKey::of_certificate(peer).map(drop).map_err(|_| unknown())
    }
}

fn unknown() -> Error {
    CertificateError::UnknownIssuer.into()
}

/// The keys that somebody else knows.
struct Known(Arc<dyn Fn(&PeerKey) -> bool + Send + Sync>);

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known(..)")
    }
}

impl Judge for Known {
    fn judge(&self, peer: &CertificateDer<'_>, _: &[CertificateDer<'_>], _: UnixTime) -> Result<(), Error> {
        let key = PeerKey::of_certificate(peer).map_err(|_| unknown())?;
        if (self.0)(&key) { Ok(()) } else { Err(unknown()) }
    }
}

impl Identity {
    /// For calling the holder of a key by another protocol than those of [`Links`](crate::Links).
    ///
    /// # Errors
    /// When the library refuses the identity.
    pub fn calling(&self, key: PeerKey, protocol: &[u8]) -> Result<ClientConfig, Error> {
        caller(self, key, protocol)
    }

    /// For being called, by another protocol than those of [`Links`](crate::Links), by holders of keys that are known at that moment.
    ///
    /// # Errors
    /// When the library refuses the identity.
    pub fn called_by(
        &self,
        known: Arc<dyn Fn(&PeerKey) -> bool + Send + Sync>,
        protocol: &[u8],
    ) -> Result<ServerConfig, Error> {
        server(self, Known(known), &[protocol])
    }
}

/// For calling the peer with this key.
pub(crate) fn caller(identity: &Identity, key: PeerKey, protocol: &[u8]) -> Result<ClientConfig, Error> {
    let config = cm_tls::client(Arc::new(Exactly(key)));
    let mut config = config.with_client_auth_cert(identity.chain(), identity.private_key())?;
    config.alpn_protocols = vec![protocol.to_vec()];
    // A resumed session would not judge the certificate anew.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// For being called by the peers of the directory, as it is at the moment of the call.
pub(crate) fn called(
    identity: &Identity,
    directory: watch::Receiver<Arc<Directory>>,
) -> Result<ServerConfig, Error> {
    server(identity, AnyOf(directory), &[PROTOCOL, DIRECT])
}

/// For being called by guests.
pub(crate) fn hosting(identity: &Identity) -> Result<ServerConfig, Error> {
    server(identity, Anybody, &[GUEST])
}

fn server<J: Judge>(identity: &Identity, judge: J, protocols: &[&[u8]]) -> Result<ServerConfig, Error> {
    let config = cm_tls::server(Arc::new(judge));
    let mut config = config.with_single_cert(identity.chain(), identity.private_key())?;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}
