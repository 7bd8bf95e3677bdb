//! The arithmetic alone, and the verification alone: in this process, on one core.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cm_crypto::Secret;
use cm_crypto::password::{self, PasswordHash};
use cm_crypto::sign::{Signature, SigningKey, VerifyingKey};
use cm_e2e::measure::{Outcome, Run};
use cm_kernel::catalog::{Integrity, Limits};
use cm_kernel::identity::TOKEN_TTL_DEFAULT;
use cm_kernel::{Kernel, KernelConfig, OpContext};
use cm_runtime::{SystemClock, Tasks};
use cm_types::RequestId;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Bytes that a token's signature is about, give or take.
const MESSAGE_BYTES: usize = 600;

/// What is measured without a node.
pub(crate) struct Alone {
    runtime: Runtime,
    kernel: Kernel,
    token: Secret<String>,
    password: (Secret<String>, PasswordHash),
    signed: (VerifyingKey, Vec<u8>, Signature),
}

impl Alone {
    /// Opens a kernel in this directory, and makes a token.
    pub(crate) fn open(directory: &Path) -> Outcome<Alone> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (kernel, token) = runtime.block_on(kernel(directory))?;
        let text = Secret::new("correct horse battery staple".to_owned());
        let hash = password::hash(&text);
        let (key, message) = (SigningKey::generate(), vec![b'm'; MESSAGE_BYTES]);
        let signature = key.sign(&message);
        let signed = (key.verifying_key(), message, signature);
        Ok(Alone { runtime, kernel, token, password: (text, hash), signed })
    }

    /// Passwords compared with their hash.
    pub(crate) fn hashes(&self, window: Duration) -> Run {
        let (text, hash) = &self.password;
        again_and_again(window, || {
            assert!(password::verify(text, hash), "the password is the one of the hash");
            Ok(())
        })
        .expect("the work above has no error")
    }

    /// Signatures verified.
    pub(crate) fn signatures(&self, window: Duration) -> Outcome<Run> {
        let (key, message, signature) = &self.signed;
        again_and_again(window, || Ok(key.verify(message, signature)?))
    }

    /// Tokens verified and looked up: signature, key, principal, revocation, session.
    pub(crate) fn judged(&self, window: Duration) -> Outcome<Run> {
        let identity = self.kernel.identity();
        self.runtime.block_on(async {
            let (mut waits, began) = (Vec::new(), Instant::now());
            while began.elapsed() < window {
                let asked = Instant::now();
                identity.authenticate(self.token.expose()).await?;
                waits.push(asked.elapsed());
            }
            Ok(Run::of(waits, began.elapsed()))
        })
    }

    /// The same token as every request presents it, known again.
    pub(crate) fn known(&self, window: Duration) -> Outcome<Run> {
        self.runtime.block_on(async {
            let (mut waits, began) = (Vec::new(), Instant::now());
            while began.elapsed() < window {
                let asked = Instant::now();
                self.kernel.authenticate(self.token.expose()).await?;
                waits.push(asked.elapsed());
            }
            Ok(Run::of(waits, began.elapsed()))
        })
    }
}

async fn kernel(directory: &Path) -> Outcome<(Kernel, Secret<String>)> {
    let config = KernelConfig {
        data_dir: directory.to_owned(),
        limits: Limits::default(),
        integrity: Integrity::Enforced,
        objects: cm_kernel::objects::Config {
            object_bytes_max: 1 << 30,
            ..cm_kernel::objects::Config::default()
        },
        node_name: "alone".into(),
    };
    std::fs::create_dir_all(directory)?;
    let kept = Arc::new(std::sync::Mutex::new(None));
    let keep = Arc::clone(&kept);
    let kernel = Kernel::open(config, Arc::new(SystemClock), &Tasks::new(), move |key| {
        *keep.lock().expect("nobody panics while holding it") = Some(key.clone());
        Ok(())
    })
    .await?;
    let key = kept.lock().expect("nobody panics while holding it").take().ok_or("a first start has a key")?;
    let actor = kernel.authenticate(key.expose()).await?;
    let op = OpContext::new(actor, RequestId::random(), CancellationToken::new());
    let authenticated = op.authenticated().ok_or("the key is a principal's")?.clone();
    let (token, _) = kernel.issue_token(&op, &authenticated, TOKEN_TTL_DEFAULT).await?;
    Ok((kernel, token))
}

fn again_and_again(window: Duration, mut work: impl FnMut() -> Outcome<()>) -> Outcome<Run> {
    let (mut waits, began) = (Vec::new(), Instant::now());
    while began.elapsed() < window {
        let asked = Instant::now();
        work()?;
        waits.push(asked.elapsed());
    }
    Ok(Run::of(waits, began.elapsed()))
}
