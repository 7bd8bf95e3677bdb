//! `demo --scenario video`: a video that nobody may see is searched for motion.
//!
//! The story of the earlier project, in its order and with its services: a function is registered with CCFaaS, which asks
//! VaaS for an instance; the user verifies it by its policy and gives it the key; the S3 app brings the encrypted video
//! from a bucket, here one of the mesh itself; the program decrypts and watches it inside; the user reads what it saw.

use std::time::Duration;

use anyhow::{Context, ensure};
use cm_cli::{Connection, Outcome, output};
use cm_client::{Api, CertifiedConnection, ClientIdentity};
use cm_crypto::secret::Secret;
use cm_types::{BucketName, ObjectKey, ResourceKind};
use serde_json::{Value, json};

use super::Narrator;
use super::mesh::Mesh;

/// The program; source in `examples/motion`.
const PROGRAM: &[u8] = include_bytes!("../../../../examples/motion/motion.wasm");
const POLICY: &str = include_str!("../../../../examples/motion/policy.json");
/// The video as the camera encrypted it, with its key and first counter.
const VIDEO: &[u8] = include_bytes!("../../../../examples/motion/data/clip.y4m.aes");
const KEY: &[u8] = include_bytes!("../../../../examples/motion/data/key");
const COUNTER: &[u8] = include_bytes!("../../../../examples/motion/data/iv");
/// What the example's library finds natively.
const DETECTIONS: &[u8] = include_bytes!("../../../../examples/motion/data/detections");

const FUNCTION: &str = "motion";
const PROGRAM_NAME: &str = "motion.wasm";
const INSTANCE: &str = "watch-1";
const BUCKET: &str = "videos";
const FILE: &str = "clip.y4m.aes";
/// Open, seek and read.
const READ: u32 = 8198;
/// Open, create, truncate, seek and write.
const WRITE: u32 = 533_572;
/// How long a certificate of this story holds.
const CERTIFICATE_VALID: Duration = Duration::from_secs(3600);
/// How long the program may watch, and how long a service may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// Runs the story; fails at the first thing that does not go as it should.
pub(super) async fn run(keep: bool, connection: &Connection) -> Outcome {
    let mut narrator = Narrator { connection, step: 0 };
    let mesh = narrator.start().await?;
    let told = tell(&mesh, &mut narrator).await;
    if let Err(error) = &told {
        output::note(connection, &format!("\nlast lines of the node's log:\n{}", mesh.log_tail(20)));
        output::note(connection, &format!("\nthe demonstration failed: {error:#}"));
    }
    let stopped = mesh.stop(keep).await;
    let detections = told?;
    if let Some(kept) = stopped? {
        output::note(connection, &format!("\nthe node's data directory is kept in {}", kept.display()));
    }
    narrator.chapter("Detections, read by the user alone: frame, changed blocks, from x,y to x,y");
    match connection.output {
        cm_cli::Format::Table => output::line(detections.trim_end()),
        _ => {
            output::document_of(connection, &json!({ "detections": detections.lines().collect::<Vec<_>>() }))
        }
    }
    Ok(std::process::ExitCode::SUCCESS)
}

/// Somebody's certificate and key.
struct Pair {
    certificate: String,
    key: Secret<String>,
}

impl Pair {
    fn new(name: &str) -> anyhow::Result<Self> {
        let now = std::time::SystemTime::now().into();
        let made = cm_crypto::cert::generate_identity(name, now, CERTIFICATE_VALID)?;
        Ok(Self { certificate: made.certificate_pem(), key: made.private_key_pem() })
    }
}

/// A service as the holder of a token sees it.
struct Service {
    http: reqwest::Client,
    url: String,
    token: Secret<String>,
}

impl Service {
    fn new(mesh: &Mesh, listener: &str, token: &Secret<String>) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build()?;
        let url = format!("http://{}", mesh.address(listener)?);
        Ok(Self { http, url, token: Secret::new(token.expose().clone()) })
    }

    /// What is answered to a request that is carried out.
    async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Vec<u8>,
        kind: &str,
    ) -> anyhow::Result<String> {
        let request =
            self.http.request(method, format!("{}{path}", self.url)).bearer_auth(self.token.expose());
        let answer = request.header("content-type", kind).body(body).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{path} answered {status}: {text}");
        Ok(text)
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<String> {
        self.call(reqwest::Method::POST, path, body.to_string().into_bytes(), "application/json").await
    }
}

async fn tell(mesh: &Mesh, narrator: &mut Narrator<'_>) -> anyhow::Result<String> {
    let admin = mesh.as_administrator()?;
    let token = enrol(&admin).await?;
    narrator.chapter("The administrator registers the function");
    register(mesh, narrator).await?;

    narrator.chapter("A camera has stored a video that only the user can decrypt");
    let credentials = store_video(&admin).await?;
    narrator.step(&format!("{} encrypted bytes in the bucket {BUCKET} of the mesh", VIDEO.len()));

    narrator.chapter("The user asks for an instance");
    let (user, courier) = (Pair::new("user application")?, Pair::new("S3 app")?);
    narrator.step("the user makes a certificate for itself, and a temporary one for the S3 app");
    let request = json!({ "function": FUNCTION, "instanceid": INSTANCE, "identities": [
        { "certificate": user.certificate, "file_rights": [
            { "file_name": "/user_input/", "rights": WRITE }, { "file_name": "/output/detections", "rights": READ } ] },
        { "certificate": courier.certificate, "file_rights": [{ "file_name": "/input/video", "rights": WRITE }] },
    ] });
    narrator.step("it writes down who may write the key, who the video, and who may read the detections");
    let ccfaas = Service::new(mesh, "ccfaas", &token)?;
    narrator.step("it sends that to CCFaaS, which joins it with the function's policy");
    let answer: Value = serde_json::from_str(&ccfaas.post("/instance", &request).await?)?;
    let policy = answer["policy"].as_str().context("CCFaaS returned no policy")?.to_owned();
    for step in [
        "CCFaaS hands the policy to VaaS",
        "VaaS adds where the instance listens and what vouches for it, and starts the instance",
        "VaaS returns the complete policy",
        "CCFaaS loads the program, by its hash",
        "CCFaaS returns the policy to the user, and has no further part in this",
    ] {
        narrator.step(step);
    }

    narrator.chapter("The user verifies the instance, and gives it the key");
    let hash = cm_crypto::digest::sha256(policy.as_bytes());
    narrator.step(&format!("the policy that was returned has the hash {hash}"));
    let identity = ClientIdentity::from_pem(&user.certificate, user.key.expose())?;
    let refused = CertifiedConnection::open(&format!("{policy} "), &identity, true).await;
    ensure!(refused.is_err(), "an instance was believed to obey another policy than its own");
    let mut inside =
        CertifiedConnection::open(&policy, &identity, true).await.context("verifying the instance")?;
    ensure!(inside.claims().policy_hash == hash, "the instance obeys another policy");
    narrator.step("the user connects to the instance: its certificate names this policy and what runs it");
    inside.write_file("/user_input/key", KEY).await?;
    inside.write_file("/user_input/iv", COUNTER).await?;
    narrator.step("the video's key goes to the instance encrypted, over TLS that ends inside it");

    narrator.chapter("The S3 app brings the video");
    let s3 = json!({
        "bucket": BUCKET, "filename": FILE, "region_name": "us-east-1", "aws_access_key_id": credentials.0,
        "aws_secret_access_key": credentials.1, "endpoint_url": format!("http://{}", mesh.address("s3")?),
    });
    let veracruz = json!({
        "filename": "/input/video", "policy": policy, "certificate": courier.certificate, "key": courier.key.expose(),
    });
    narrator
        .step("the user writes down bucket, file, instance and the temporary certificate, and not the key");
    let said = Service::new(mesh, "s3app", &token)?
        .post("/s3_stream_veracruz", &json!({ "s3": s3, "veracruz": veracruz }))
        .await?;
    narrator.step("the S3 app reads the object and writes it into the instance as it arrives");
    let said = said.trim().trim_start_matches("<p>").trim_end_matches("</p>");
    narrator.step(&format!("the S3 app closes its connection and answers: {said}"));
    let stolen = ClientIdentity::from_pem(&courier.certificate, courier.key.expose())?;
    let mut spying = CertifiedConnection::open(&policy, &stolen, true).await?;
    ensure!(spying.read_file("/user_input/key").await.is_err(), "the S3 app could read the key");
    narrator.step("the S3 app tried to read the key, and was refused");

    narrator.chapter("The program watches the video inside");
    let report = inside.execute(PROGRAM_NAME, DEADLINE).await.context("running the program")?;
    ensure!(report.succeeded(), "the program ended with {report:?}");
    narrator.step(&format!("{PROGRAM_NAME} decrypted and watched it in {} ms", report.wall_ms));
    let found = inside.read_file("/output/detections").await?;
    ensure!(found == DETECTIONS, "the detections are not those that are known of this clip");
    narrator.step("the user reads the detections: they are those that are known of this clip");
    inside.shut_down().await?;
    narrator.step("the user ends the instance");
    let path = format!("/instance/{INSTANCE}");
    ccfaas.call(reqwest::Method::DELETE, &path, Vec::new(), "text/plain").await?;
    narrator.step("its port is free for the next");
    String::from_utf8(found).context("detections are lines of text")
}

/// Makes the user; returns its token.
async fn enrol(admin: &Api) -> anyhow::Result<Secret<String>> {
    let body = json!({ "id": "video-user", "roles": ["developer", "analyst"] });
    admin.create(ResourceKind::Principal, &body).await.context("the user")?;
    Ok(Secret::new(admin.create_api_key("video-user", "demonstration").await?.key))
}

async fn register(mesh: &Mesh, narrator: &mut Narrator<'_>) -> anyhow::Result<()> {
    let ccfaas = Service::new(mesh, "ccfaas", mesh.admin_token())?;
    ccfaas.post("/function", &serde_json::from_str(POLICY)?).await?;
    let path = format!("/function/{FUNCTION}/program/{PROGRAM_NAME}");
    ccfaas.call(reqwest::Method::POST, &path, PROGRAM.to_vec(), "application/octet-stream").await?;
    let digest = cm_crypto::digest::sha256(PROGRAM);
    narrator.step(&format!("{FUNCTION} is registered at CCFaaS: {PROGRAM_NAME} is SHA-256 {digest}"));
    Ok(())
}

/// Stores the video; returns credentials for S3.
async fn store_video(admin: &Api) -> anyhow::Result<(String, String)> {
    admin.create(ResourceKind::Bucket, &json!({ "name": BUCKET })).await.context("the bucket")?;
    let (bucket, key) = (BucketName::parse(BUCKET)?, ObjectKey::parse(FILE)?);
    let body = std::io::Cursor::new(VIDEO);
    admin.put_object(&bucket, &key, body, Some(VIDEO.len() as u64), None).await?;
    let made = admin.create_s3_key("admin", "S3 app").await?;
    Ok((made.id, made.key))
}
