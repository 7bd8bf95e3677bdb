//! What the three parties do.

use std::time::Duration;

use anyhow::{Context, ensure};
use cm_client::trust::Measurements;
use cm_client::{Api, ClientIdentity, Terms, Trust};
use cm_crypto::seal::RecipientSecretKey;
use cm_crypto::secret::Secret;
use cm_crypto::sign::VerifyingKey;
use cm_types::{BucketName, ObjectKey, ResourceKind, Sha256Digest};
use serde_json::{Value, json};

use super::Narrator;
use super::dataset::Points;
use super::mesh::Mesh;
use super::refusals::{self, Attempts};

/// The algorithm: ordinary least squares; source in `examples/linear-regression`.
pub(super) const PROGRAM: &[u8] =
    include_bytes!("../../../../examples/linear-regression/linear-regression.wasm");
pub(super) const PROGRAM_NAME: &str = "linear-regression.wasm";
pub(super) const FUNCTION: &str = "linear-regression";
pub(super) const INSTANCE: &str = "regression-1";
pub(super) const INPUT: &str = "input-0";
pub(super) const RESULT: &str = "output";

/// Open, seek and read.
const READ: u32 = 8198;
/// Open, create, truncate, seek and write.
const WRITE: u32 = 533_572;

/// Relative difference up to which two ways to sum the same numbers agree.
const TOLERANCE: f64 = 1e-9;

/// Somebody who takes part.
pub(super) struct Party {
    /// The API as it sees it.
    pub(super) api: Api,
    /// What instances know it by.
    pub(super) identity: ClientIdentity,
    /// Its certificate, as policies name it.
    pub(super) certificate_pem: String,
}

/// How it ended.
pub(super) struct Ending {
    pub(super) slope: f64,
    pub(super) intercept: f64,
    /// The result file, byte for byte.
    pub(super) result: Vec<u8>,
    /// When the instance was still running, the search of the operator had begun.
    pub(super) pid_of_node: Option<u32>,
}

/// Runs the whole story; fails at the first thing that does not go as it should.
pub(super) async fn tell(mesh: &Mesh, data: &Points, narrator: &mut Narrator<'_>) -> anyhow::Result<Ending> {
    narrator.chapter("A node, and three parties who do not trust each other");
    let admin = mesh.as_administrator()?;
    admin.create(ResourceKind::Role, &data_owner_role()).await.context("the data owner's role")?;
    let owner = enrol(&admin, mesh, "data-owner", &["data-owner"]).await?;
    let author = enrol(&admin, mesh, "algorithm-owner", &["developer"]).await?;
    let receiver = enrol(&admin, mesh, "receiver", &["analyst"]).await?;
    narrator.step("data-owner, algorithm-owner and receiver have credentials and certificates of their own");

    narrator.chapter("The data owner seals its data before it leaves its hands");
    let secret = RecipientSecretKey::generate();
    let (bucket, key) = store_sealed(&owner, data, &secret).await?;
    narrator.step(&format!(
        "{} points sealed and stored as {bucket}/{key}: the node holds ciphertext",
        data.len()
    ));

    narrator.chapter("The algorithm owner registers a function by its digest");
    let digest = cm_crypto::digest::sha256(PROGRAM);
    refusals::tampered_program(&author, digest, narrator).await?;
    register(&author, digest).await?;
    narrator.step(&format!("{FUNCTION} registered: {PROGRAM_NAME} is SHA-256 {digest}"));

    narrator.chapter("The receiver asks for an instance under a policy, and verifies what it got");
    let user_policy = user_policy(&owner, &receiver);
    let instance = receiver.api.create_instance(&user_policy).await.context("creating the instance")?;
    let policy = instance.policy.context("the node did not return the policy")?;
    narrator.step(&format!(
        "instance {INSTANCE} listens on {}, policy {}",
        instance.address, instance.policy_hash
    ));
    // Both parties insist on exactly this: the program by its digest, and nobody but these two certificates.
    let terms = Terms::of_policies(&program_policy(digest).to_string(), &user_policy)?;
    let trust = trust(mesh, &receiver.api).await?;
    let attempts = Attempts { policy: &policy, trust: &trust, terms: &terms };
    refusals::before_trust(&receiver, &attempts, narrator).await?;
    let mut from_receiver =
        receiver.api.open_instance(INSTANCE, &policy, &terms, &trust, &receiver.identity).await?;
    narrator.step(&format!(
        "evidence verified ({}): measurement, TLS key, policy hash, nonce, and the policy's terms",
        from_receiver.claims().kind
    ));

    narrator.step(&isolation(from_receiver.claims()));

    narrator.chapter("The data owner verifies the same instance for itself, then sends the data into it");
    let sealed = fetch_sealed(&owner, &bucket, &key, secret).await?;
    let mut from_owner = owner.api.open_instance(INSTANCE, &policy, &terms, &trust, &owner.identity).await?;
    from_owner.write_file(INPUT, &sealed).await.context("sending the data")?;
    narrator.step(&format!(
        "{} bytes opened locally and sent over TLS that ends inside the instance",
        sealed.len()
    ));
    refusals::within_instance(&mut from_owner, &author, &attempts, narrator).await?;

    narrator.chapter("The function runs inside; only the receiver gets the result");
    let report = from_receiver.execute(PROGRAM_NAME, RUN_DEADLINE).await.context("running the program")?;
    ensure!(report.succeeded(), "the program ended with {report:?}");
    narrator.step(&format!("{PROGRAM_NAME} completed in {} ms", report.wall_ms));
    refusals::result_for_others(&mut from_owner, narrator).await?;
    let result = from_receiver.read_file(RESULT).await.context("reading the result")?;
    let (slope, intercept) = decode(&result)?;
    check(data, slope, intercept)?;
    narrator.step("the receiver read the result; it agrees with a plain computation on the same data");
    trail(&receiver.api, narrator).await?;
    Ok(Ending { slope, intercept, result, pid_of_node: mesh.pid() })
}

/// How long the program may run.
const RUN_DEADLINE: Duration = Duration::from_secs(60);

async fn enrol(admin: &Api, mesh: &Mesh, name: &str, roles: &[&str]) -> anyhow::Result<Party> {
    admin
        .create(ResourceKind::Principal, &json!({ "id": name, "roles": roles }))
        .await
        .context(name.to_owned())?;
    let issued = admin.create_api_key(name, "demonstration").await?;
    let now = std::time::SystemTime::now().into();
    let certificate = cm_crypto::cert::generate_identity(name, now, Duration::from_secs(24 * 3600))?;
    let certificate_pem = certificate.certificate_pem();
    let identity = ClientIdentity::from_pem(&certificate_pem, certificate.private_key_pem().expose())?;
    Ok(Party { api: mesh.with_token(Secret::new(issued.key))?, identity, certificate_pem })
}

/// Somebody who keeps data here and hands it to instances that others start; nothing else.
fn data_owner_role() -> Value {
    let permissions = ["bucket:create", "instance:list", "instance:read", "instance:invoke"];
    json!({ "id": "data-owner", "name": "data-owner", "permissions": permissions })
}

async fn store_sealed(
    owner: &Party,
    data: &Points,
    secret: &RecipientSecretKey,
) -> anyhow::Result<(BucketName, ObjectKey)> {
    let (bucket, key) = (BucketName::parse("measurements")?, ObjectKey::parse("cars.points")?);
    owner.api.create(ResourceKind::Bucket, &json!({ "name": bucket.as_str() })).await?;
    let plain = data.encode();
    let size = Some(plain.len() as u64);
    let recipients = vec![secret.public_key()];
    owner.api.put_object_sealed(&bucket, &key, std::io::Cursor::new(plain), size, recipients, None).await?;
    Ok((bucket, key))
}

async fn fetch_sealed(
    owner: &Party,
    bucket: &BucketName,
    key: &ObjectKey,
    secret: RecipientSecretKey,
) -> anyhow::Result<Vec<u8>> {
    let mut file = tempfile::tempfile()?;
    owner.api.get_object_sealed(bucket, key, file.try_clone()?, secret, None).await?;
    let mut plain = Vec::new();
    std::io::Seek::rewind(&mut file)?;
    std::io::Read::read_to_end(&mut file, &mut plain)?;
    Ok(plain)
}

/// The program policy, in the form of the seed system.
pub(super) fn program_policy(digest: Sha256Digest) -> Value {
    json!({
        "function": FUNCTION,
        "execution_strategy": "JIT",
        "programs": [{
            "id": 0,
            "pi_hash": digest,
            "program_file_name": PROGRAM_NAME,
            "file_rights": [
                { "file_name": INPUT, "rights": READ },
                { "file_name": RESULT, "rights": WRITE },
            ],
        }],
    })
}

async fn register(author: &Party, digest: Sha256Digest) -> anyhow::Result<()> {
    author.api.register_function(FUNCTION, None, &program_policy(digest).to_string()).await?;
    author.api.put_program(FUNCTION, PROGRAM_NAME, PROGRAM.to_vec()).await?;
    Ok(())
}

fn user_policy(owner: &Party, receiver: &Party) -> Value {
    json!({
        "function": FUNCTION,
        "instanceid": INSTANCE,
        "identities": [
            { "certificate": owner.certificate_pem, "file_rights": [{ "file_name": INPUT, "rights": WRITE }] },
            { "certificate": receiver.certificate_pem, "file_rights": [{ "file_name": RESULT, "rights": READ }] },
        ],
    })
}

/// How the instance is confined on this machine, as its evidence states.
fn isolation(claims: &cm_client::Claims) -> String {
    let active = claims.isolation.iter().filter(|layer| layer.active).count();
    let missing = claims.isolation.iter().filter(|layer| !layer.active);
    let missing: Vec<String> = missing
        .map(|layer| format!("{} ({})", layer.name, layer.reason.as_deref().unwrap_or("no reason given")))
        .collect();
    let missing = if missing.is_empty() {
        "none is missing".to_owned()
    } else {
        format!("missing: {}", missing.join(", "))
    };
    format!("its evidence states {active} isolation layers; {missing}")
}

/// Whom and what the parties believe: the key that the operator handed them, and the measurement of the very
/// executable that they run themselves.
async fn trust(mesh: &Mesh, api: &Api) -> anyhow::Result<Trust> {
    let executable = std::fs::read("/proc/self/exe").context("cannot read this executable")?;
    let measurement = cm_crypto::digest::sha256(&executable);
    let claimed = api.node().await?.measurement;
    ensure!(claimed == measurement, "the node claims to run {claimed}, this executable is {measurement}");
    Ok(Trust {
        node_keys: vec![VerifyingKey::from_spki_pem(&mesh.verifying_key()?)?],
        measurements: Measurements::OneOf(vec![measurement]),
        // This machine's evidence is software only. The flag says so aloud; without it nothing would be sent.
        allow_insecure_software: true,
        require_isolation: Vec::new(),
    })
}

fn decode(result: &[u8]) -> anyhow::Result<(f64, f64)> {
    let number = |bytes: &[u8]| bytes.try_into().map(f64::from_le_bytes);
    ensure!(result.len() == 16, "the result has {} bytes instead of 16", result.len());
    Ok((number(&result[..8])?, number(&result[8..])?))
}

fn check(data: &Points, slope: f64, intercept: f64) -> anyhow::Result<()> {
    let (plain_slope, plain_intercept) = data.plain_regression();
    let near = |a: f64, b: f64| (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0);
    ensure!(
        near(slope, plain_slope) && near(intercept, plain_intercept),
        "the result {slope}, {intercept} differs from the plain computation {plain_slope}, {plain_intercept}"
    );
    Ok(())
}

/// Shows that the run left its states and its result in the catalogue.
///
/// The instance answers the receiver as soon as the program has ended; the node writes down what the instance tells it
/// at the same time, hence the waiting.
async fn trail(api: &Api, narrator: &mut Narrator<'_>) -> anyhow::Result<()> {
    let mut pace = tokio::time::interval(TRAIL_PACE);
    let wait = async {
        loop {
            pace.tick().await;
            let results = api.function_history(ResourceKind::FunctionResult, FUNCTION, 1).await?;
            if let Some(result) = results.into_iter().next() {
                return anyhow::Ok(result);
            }
        }
    };
    let result =
        tokio::time::timeout(TRAIL_DEADLINE, wait).await.context("no result was recorded in time")??;
    let states = api.function_history(ResourceKind::FunctionState, FUNCTION, 10).await?;
    let names: Vec<&str> = states.iter().rev().filter_map(|state| state["state"].as_str()).collect();
    ensure!(names.last() == Some(&"completed"), "the states end with {names:?}");
    ensure!(result["state_id"] == states[0]["id"], "the result is not linked to the last state");
    narrator.step(&format!("the catalogue shows the run: {}, and one result", names.join(" → ")));
    Ok(())
}

/// How often the catalogue is asked, and for how long.
const TRAIL_PACE: Duration = Duration::from_millis(50);
const TRAIL_DEADLINE: Duration = Duration::from_secs(10);
