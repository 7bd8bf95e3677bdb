//! What the launcher and an instance's process say to each other, over the inherited socket.
//!
//! A message is a frame: its length as an unsigned big-endian number of 32 bits, then a JSON text. Some
//! messages announce raw bytes, which follow as frames of their own without any encoding, in the order in
//! which the message names them.
//!
//! The launcher is trusted with neither inputs nor results, and none travel here: programs, data files that
//! belong to the function, and compiled artefacts do.

use cm_types::Sha256Digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{ExecutionReport, GuestPath, PolicyText, Refused};

#[cfg(test)]
mod tests;

/// The descriptor of the control socket in the instance's process: standard input, which every way of starting a
/// process can place without running code between fork and exec.
pub const CONTROL_FD: i32 = 0;
/// The descriptor of the listening socket in the instance's process: standard output, for the same reason.
pub const LISTEN_FD: i32 = 1;
/// Longest JSON message, in bytes: a policy text and what stands around it.
pub const MESSAGE_LEN_MAX: usize = 4 * 1024 * 1024;
/// Longest raw frame, in bytes: the largest data file that the published services take.
pub const RAW_LEN_MAX: usize = 300_000_000;
/// Length of the number before each frame, in bytes.
pub const HEADER_LEN: usize = 4;

/// What is wrong with a control message. The process at the other end is not to be trusted after it.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The frame is longer than its kind may be.
    #[error("a frame of {found} bytes, at most {max} are allowed")]
    TooLong {
        /// Its length.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// The text is no message.
    #[error("not a control message")]
    Json(#[from] serde_json::Error),
}

/// From the launcher to the instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToInstance {
    /// The first message. Raw frames follow: for each program its bytes and then, if announced, its
    /// artefact; then each data file.
    Launch(Box<Launch>),
    /// The answer to [`FromInstance::CertificateRequest`]: the certificate for the instance's key, and behind it those that
    /// lead to the authority of the policy, without the latter.
    Certificate {
        /// The certificates (DER, hexadecimal digits).
        #[serde(with = "hex_list")]
        chain_der: Vec<Vec<u8>>,
    },
    /// End: refuse new connections, end runs, exit.
    Shutdown,
}

/// From the instance to the launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromInstance {
    /// The instance has made its key and asks for a certificate. Said once, before [`Ready`].
    CertificateRequest {
        /// The public key (SubjectPublicKeyInfo, DER, hexadecimal digits).
        #[serde(with = "hex_bytes")]
        spki_der: Vec<u8>,
    },
    /// The instance accepts connections.
    Ready(Ready),
    /// A program was compiled; a raw frame with the sealed artefact follows.
    Artefact {
        /// SHA-256 of the program.
        wasm_sha256: Sha256Digest,
    },
    /// A run changed its state.
    State(RunState),
    /// Something was refused for the sake of security. Told at most once a second for each kind and identity.
    Refused(Refused),
    /// An identity handed over the key of a sealed file.
    KeyProvided(KeyProvided),
    /// The instance could not be launched, and exits.
    Failed {
        /// Why, for people and logs.
        reason: String,
    },
    /// The instance ends of its own accord, as when a client asked for it.
    Exited {
        /// Why.
        reason: ExitReason,
    },
}

/// Everything an instance needs to begin.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// The exact text of the full policy.
    pub policy_text: PolicyText,
    /// What it may use.
    pub limits: Limits,
    /// The key that compiled artefacts are sealed under, in hexadecimal digits.
    pub module_cache_key: CacheKey,
    /// The programs, in the order of the raw frames.
    pub programs: Vec<LaunchProgram>,
    /// The data files, in the order of the raw frames, which is that of loading.
    pub data_files: Vec<LaunchFile>,
    /// The layers of isolation without which the instance must not begin.
    pub require_isolation: Vec<String>,
}

impl std::fmt::Debug for Launch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launch")
            .field("policy_hash", &self.policy_text.hash())
            .field("limits", &self.limits)
            .field("programs", &self.programs)
            .field("data_files", &self.data_files)
            .field("require_isolation", &self.require_isolation)
            .finish_non_exhaustive()
    }
}

/// A key of 32 bytes that is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CacheKey([u8; 32]);

/// The text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key of 64 hexadecimal digits")]
pub struct InvalidCacheKey;

impl CacheKey {
    /// Wraps the bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CacheKey([redacted])")
    }
}

impl TryFrom<String> for CacheKey {
    type Error = InvalidCacheKey;

    fn try_from(text: String) -> Result<Self, InvalidCacheKey> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidCacheKey)?;
        Ok(Self(bytes))
    }
}

impl From<CacheKey> for String {
    fn from(key: CacheKey) -> String {
        hex::encode(key.0)
    }
}

/// What an instance may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Linear memory of a run, in bytes.
    pub memory_bytes: u64,
    /// The longest run, in milliseconds.
    pub wall_ms: u64,
    /// All files together, in bytes.
    pub storage_bytes: u64,
    /// One file, in bytes.
    pub file_bytes: u64,
    /// Connections at once.
    pub connections: u32,
}

/// A program that comes with the launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchProgram {
    /// The file that it is stored as.
    pub path: GuestPath,
    /// Whether a sealed artefact follows behind its bytes.
    pub artefact: bool,
}

/// A data file that comes with the launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchFile {
    /// The file that it is stored as.
    pub path: GuestPath,
}

/// The instance accepts connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// The public key of its TLS certificate (SubjectPublicKeyInfo, DER, hexadecimal digits).
    #[serde(with = "hex_bytes")]
    pub tls_spki_der: Vec<u8>,
    /// Its TLS certificate (DER, hexadecimal digits).
    #[serde(with = "hex_bytes")]
    pub tls_cert_der: Vec<u8>,
    /// The layers of isolation, active or not.
    pub isolation: Vec<IsolationLayer>,
}

/// One layer that separates the instance from the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IsolationLayer {
    /// Its name, as `seccomp`.
    pub name: String,
    /// Whether it is in force.
    pub active: bool,
    /// Why not, when it is not.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A run's new state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunState {
    /// Numbers the runs of one instance from 1.
    pub run_id: u64,
    /// The program.
    pub program: GuestPath,
    /// The number of the identity that started it.
    pub identity: u64,
    /// The state.
    pub state: RunPhase,
    /// How it ended, once it has.
    #[serde(default)]
    pub report: Option<ExecutionReport>,
}

/// An identity handed over the key of a sealed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyProvided {
    /// The number of the identity.
    pub identity: u64,
    /// The file that the key is for, if the policy names it. Other names are told by clients, and stay inside.
    #[serde(default)]
    pub file: Option<GuestPath>,
    /// SHA-256 of the header of the sealed file.
    pub sealed_header: Sha256Digest,
}

/// Where a run is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunPhase {
    /// Asked for; the program is being made ready.
    Starting,
    /// Instructions run.
    Running,
    /// It ended and did what it was meant to.
    Completed,
    /// It ended otherwise; the report says how.
    Failed,
}

/// Why an instance ended of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitReason {
    /// A client asked for it.
    Client,
    /// The launcher asked for it.
    Launcher,
    /// The launcher is gone.
    Orphaned,
    /// Its certificate ended.
    Expired,
}

/// The frame of a message.
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, ControlError> {
    let text = serde_json::to_vec(message)?;
    let header = raw_header(text.len(), MESSAGE_LEN_MAX)?;
    Ok([header.as_slice(), &text].concat())
}

/// The message in a frame, without the frame's header.
pub fn decode<M: DeserializeOwned>(text: &[u8]) -> Result<M, ControlError> {
    Ok(serde_json::from_slice(text)?)
}

/// The header of a frame of so many bytes, if that is allowed.
pub fn raw_header(length: usize, max: usize) -> Result<[u8; HEADER_LEN], ControlError> {
    match u32::try_from(length) {
        Ok(announced) if length <= max => Ok(announced.to_be_bytes()),
        _ => Err(ControlError::TooLong { found: length, max }),
    }
}

/// How many bytes follow a header, if that is allowed.
pub fn announced(header: [u8; HEADER_LEN], max: usize) -> Result<usize, ControlError> {
    let found = u32::from_be_bytes(header) as usize;
    if found > max { Err(ControlError::TooLong { found, max }) } else { Ok(found) }
}

mod hex_list {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(list: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(hex::encode))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let list = Vec::<String>::deserialize(deserializer)?;
        list.into_iter().map(|text| hex::decode(text).map_err(D::Error::custom)).collect()
    }
}

mod hex_bytes {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
