//! `keys`: certificates that instances know people by, key pairs for sealed objects, and the node's signing keys.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use cm_crypto::seal::RecipientSecretKey;
use serde_json::{Map, Value};

use crate::{Connection, Format, Outcome, output};

/// `cryptomesh keys …`
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a certificate and its key, by which the policy of an instance can name you.
    Identity(IdentityArgs),
    /// Make a key pair for sealed objects; prints the public key.
    Seal(SealArgs),
    /// List the keys that sign what the node issues, and those that still verify.
    List,
    /// Put a new signing key in the place of the active one.
    Rotate(RotateArgs),
}

/// `cryptomesh keys rotate`
#[derive(Args, Debug)]
pub struct RotateArgs {
    /// What it signs.
    #[arg(value_parser = ["tokens", "xolo", "workload-tokens", "workloads"])]
    pub purpose: String,
    /// Refuse from now on what earlier keys signed, because somebody else has them.
    #[arg(long)]
    pub now: bool,
}

/// `cryptomesh keys identity`
#[derive(Args, Debug)]
pub struct IdentityArgs {
    /// Whom the certificate names.
    pub name: String,
    /// Where to write the certificate [default: NAME.cert.pem].
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Where to write the key [default: NAME.key.pem].
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Days for which the certificate is valid.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub days: u64,
}

/// `cryptomesh keys seal`
#[derive(Args, Debug)]
pub struct SealArgs {
    /// Where to write the secret key.
    pub file: PathBuf,
}

/// Runs one of them.
pub async fn run(command: KeysCommand, connection: &Connection) -> Outcome {
    match command {
        KeysCommand::Identity(args) => identity(args, connection),
        KeysCommand::Seal(args) => seal(args, connection),
        KeysCommand::List => {
            let keys: Vec<Map<String, Value>> = connection.api()?.get("/api/v1/keys").await?;
            output::entries(connection, &keys);
            Ok(ExitCode::SUCCESS)
        }
        KeysCommand::Rotate(RotateArgs { purpose, now }) => {
            let body = serde_json::json!({ "at_once": now });
            let key: Value = connection.api()?.post(&format!("/api/v1/keys/{purpose}/rotate"), &body).await?;
            let id = key.get("id").and_then(Value::as_str).unwrap_or_default();
            let when = match key.get("active").and_then(Value::as_bool) {
                Some(false) => "ten minutes from now, when others know it",
                _ => "now on",
            };
            output::done(connection, &format!("{purpose} are signed with {id} from {when}"), &key);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn identity(args: IdentityArgs, connection: &Connection) -> Outcome {
    let days = Duration::from_secs(args.days * 24 * 3600);
    let identity = cm_crypto::cert::generate_identity(&args.name, std::time::SystemTime::now().into(), days)?;
    let certificate = args.certificate.unwrap_or_else(|| PathBuf::from(format!("{}.cert.pem", args.name)));
    let key = args.key.unwrap_or_else(|| PathBuf::from(format!("{}.key.pem", args.name)));
    write_new(&key, identity.private_key_pem().expose(), 0o600)?;
    write_new(&certificate, &identity.certificate_pem(), 0o644)?;
    let document = serde_json::json!({ "name": args.name, "certificate": certificate, "key": key });
    let said = format!("{} and {} written", certificate.display(), key.display());
    output::done(connection, &said, &document);
    Ok(ExitCode::SUCCESS)
}

fn seal(args: SealArgs, connection: &Connection) -> Outcome {
    let secret = RecipientSecretKey::generate();
    let public = secret.public_key();
    write_new(&args.file, &format!("# public key: {public}\n{}\n", secret.to_text().as_str()), 0o600)?;
    output::note(connection, &format!("{} written; give others this public key:", args.file.display()));
    match connection.output {
        Format::Table => output::line(&public.to_string()),
        Format::Json | Format::Yaml => {
            let document =
                serde_json::json!({ "public_key": public.to_string(), "secret_key_file": args.file });
            output::document_of(connection, &document);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that must not exist yet: a key that is overwritten is lost.
fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
