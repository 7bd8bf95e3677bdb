//! Instances that do not behave, played by a task behind a launcher whose places are warm.

use std::sync::atomic::{AtomicUsize, Ordering};

use cm_instance::control::{
    FromInstance, HEADER_LEN, IsolationLayer, MESSAGE_LEN_MAX, RAW_LEN_MAX, Ready, ToInstance, announced,
    decode, encode, raw_header,
};
use cm_kernel::KernelError;
use cm_kernel::catalog::CatalogError;
use cm_types::Sha256Digest;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;
use crate::FileKind;
use crate::launcher::{Ended, LaunchError, Launcher, Order, Place, Started, Vessel};

const PROVIDED: &[(&str, u32)] = &[("table.csv", 533_572), ("output", 8198)];
/// Longer than anything that is said, so that nobody waits for a reader.
const BUFFER: usize = 64 << 20;

/// What an instance does instead of what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mischief {
    None,
    /// Sends an artefact of this digest as often as it can.
    Artefacts(Sha256Digest),
    /// Announces an artefact of this digest as long as a frame can be.
    LongArtefact(Sha256Digest),
    /// Asks for a second certificate.
    TwoCertificates,
}

struct Played {
    mischief: Mischief,
    tasks: Tasks,
    certified: Arc<AtomicUsize>,
}

struct WarmPlace {
    mischief: Mischief,
    tasks: Tasks,
    certified: Arc<AtomicUsize>,
}

struct Task(CancellationToken);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Vessel for Task {
    fn kill(&mut self) {
        self.0.cancel();
    }

    fn ended(&mut self) -> BoxFuture<'_, Ended> {
        self.0.cancelled().map(|()| Ended::Killed).boxed()
    }
}

impl Launcher for Played {
    fn name(&self) -> &'static str {
        "played"
    }

    fn measurement(&self) -> Sha256Digest {
        sha256(b"played")
    }

    fn reserve(&self) -> BoxFuture<'_, Result<Box<dyn Place>, LaunchError>> {
        let Self { mischief, tasks, certified } = self;
        let place = WarmPlace { mischief: *mischief, tasks: tasks.clone(), certified: certified.clone() };
        futures::future::ready(Ok(Box::new(place) as Box<dyn Place>)).boxed()
    }

    fn sweep(&self) -> BoxFuture<'_, Result<usize, LaunchError>> {
        futures::future::ready(Ok(0)).boxed()
    }

    fn drain(&self) {}
}

impl Place for WarmPlace {
    fn port(&self) -> u16 {
        1
    }

    fn is_warm(&self) -> bool {
        true
    }

    fn start<'a>(self: Box<Self>, _: &'a Order) -> BoxFuture<'a, Result<Started, LaunchError>> {
        let (control, theirs) = tokio::io::duplex(BUFFER);
        let end = CancellationToken::new();
        let stop = end.clone();
        self.tasks.clone().spawn("played-instance", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                // The node hangs up on it.
                _ = play(theirs, self.mischief, &self.certified) => {}
            }
        });
        let started = Started { control: Box::new(control), vessel: Box::new(Task(end)) };
        futures::future::ready(Ok(started)).boxed()
    }
}

async fn frame(stream: &mut DuplexStream, len_max: usize) -> std::io::Result<Vec<u8>> {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).await?;
    let mut frame = vec![0; announced(header, len_max).unwrap()];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn play(mut stream: DuplexStream, mischief: Mischief, certified: &AtomicUsize) -> std::io::Result<()> {
    let ToInstance::Launch(launch) = decode(&frame(&mut stream, MESSAGE_LEN_MAX).await?).unwrap() else {
        panic!("the first message is no launch");
    };
    for _ in 0..launch.programs.len() + launch.data_files.len() {
        frame(&mut stream, RAW_LEN_MAX).await?;
    }
    match mischief {
        Mischief::Artefacts(wasm_sha256) => loop {
            stream.write_all(&encode(&FromInstance::Artefact { wasm_sha256 }).unwrap()).await?;
            stream.write_all(&raw_header(5, RAW_LEN_MAX).unwrap()).await?;
            stream.write_all(b"bytes").await?;
        },
        Mischief::LongArtefact(wasm_sha256) => {
            stream.write_all(&encode(&FromInstance::Artefact { wasm_sha256 }).unwrap()).await?;
            stream.write_all(&raw_header(RAW_LEN_MAX, RAW_LEN_MAX).unwrap()).await?;
        }
        Mischief::None | Mischief::TwoCertificates => {}
    }
    let now = Timestamp::from(std::time::SystemTime::now());
    let made = cm_crypto::cert::generate_identity("instance", now, Duration::from_secs(60)).unwrap();
    let spki_der = cm_crypto::cert::spki_der(&made.certificate_der).unwrap();
    for _ in 0..if mischief == Mischief::TwoCertificates { 2 } else { 1 } {
        let request = FromInstance::CertificateRequest { spki_der: spki_der.clone() };
        stream.write_all(&encode(&request).unwrap()).await?;
        let answer: ToInstance = decode(&frame(&mut stream, MESSAGE_LEN_MAX).await?).unwrap();
        assert!(matches!(answer, ToInstance::Certificate { .. }), "{answer:?}");
        certified.fetch_add(1, Ordering::SeqCst);
    }
    let isolation = vec![IsolationLayer { name: "none".into(), active: false, reason: None }];
    let ready = Ready { tls_spki_der: spki_der, tls_cert_der: made.certificate_der, isolation };
    stream.write_all(&encode(&FromInstance::Ready(ready)).unwrap()).await?;
    // Until it is told to end.
    frame(&mut stream, MESSAGE_LEN_MAX).await.map(drop)
}

/// A house with such instances, and how many of them were certified.
async fn house(mischief: Mischief) -> (House, Arc<AtomicUsize>) {
    let mut house = House::open("false").await;
    let certified = Arc::new(AtomicUsize::new(0));
    let launcher = Played { mischief, tasks: house.tasks.clone(), certified: certified.clone() };
    let config = config(house.dir.path());
    let cache = ModuleCache::open(&config.module_cache_dir, config.module_cache_bytes_max).unwrap();
    let launcher = Arc::new(launcher);
    let functions =
        Functions::with_launcher(house.kernel.clone(), &house.tasks, config, launcher, cache).await;
    house.functions = functions.unwrap();
    (house, certified)
}

async fn function(house: &House) -> Record {
    let function = house.function("f", &program_policy("f")).await;
    house.put(&function, FileKind::Program, "program.wasm", PROGRAM).await.unwrap();
    function
}

#[tokio::test]
async fn a_warm_instance_serves_only_with_its_record() {
    let (house, certified) = house(Mischief::None).await;
    let function = function(&house).await;
    house.instance(&function, &user_policy("f", "i", PROVIDED)).await.unwrap();
    assert_eq!(certified.load(Ordering::SeqCst), 1);
    let record = &house.records(ResourceKind::Instance).await[0];
    assert_eq!(record.status["state"], "ready");
    house.functions.drain().await;
    assert_eq!(house.functions.running_count(), 0);

    // The record is still there, and so the id is taken.
    let outcome = house.instance(&function, &user_policy("f", "i", PROVIDED)).await;
    let taken = |error: &FunctionError| {
        matches!(error, FunctionError::Kernel(KernelError::Catalog(CatalogError::Exists(_))))
    };
    assert!(outcome.as_ref().is_err_and(taken), "{outcome:?}");
    assert_eq!(certified.load(Ordering::SeqCst), 1, "an instance without a record could serve");
    assert_eq!(house.functions.running_count(), 0);
    assert!(house.functions.0.launches.reserve().await.is_ok(), "a place was left taken");
}

#[tokio::test]
async fn an_instance_that_sends_what_it_was_not_asked_for_is_ended() {
    let program = sha256(PROGRAM);
    for mischief in [
        Mischief::Artefacts(program),
        Mischief::Artefacts(sha256(b"unknown")),
        Mischief::LongArtefact(program),
        Mischief::TwoCertificates,
    ] {
        let (house, certified) = house(mischief).await;
        let function = function(&house).await;
        let outcome = house.instance(&function, &user_policy("f", "i", PROVIDED)).await;
        let refused =
            matches!(outcome, Err(FunctionError::Launch(LaunchError::Unexpected | LaunchError::Control(_))));
        assert!(refused, "{mischief:?}: {outcome:?}");
        assert!(certified.load(Ordering::SeqCst) <= 1, "{mischief:?}");
        assert!(house.records(ResourceKind::Instance).await.is_empty(), "a record was left");
        assert!(house.functions.0.launches.reserve().await.is_ok(), "a place was left taken");
    }
}
