//! `svid`: what workloads show to each other, in the manner of SPIFFE.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use cm_client::{Api, IssuedSvid};
use cm_crypto::cert::generate_request;
use cm_types::Timestamp;
use serde_json::{Map, Value, json};

use crate::destination::Destination;
use crate::{Connection, Format, Outcome, UsageError, output};

/// How soon a renewal that failed is tried again: long before half of the shortest sensible life.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// The longest between two renewals, so that bundles are recent: as long as nodes say that theirs may be used.
const RENEW_AFTER_MAX: Duration = Duration::from_secs(300);
/// The shortest between two renewals.
const RENEW_AFTER_MIN: Duration = Duration::from_secs(1);

/// `cryptomesh svid …`
#[derive(Debug, Subcommand)]
pub enum SvidCommand {
    /// List the principals that are workloads.
    List,
    /// Make a principal a workload.
    Register(RegisterArgs),
    /// Make a principal no workload any more.
    Unregister {
        /// The principal.
        principal: String,
    },
    /// Get a certificate for a new key, with the bundles by which others are judged.
    Fetch(FetchArgs),
    /// Get a token for somebody who is to believe it; prints it.
    Token(TokenArgs),
    /// Say whom a document vouches for. Fails if for nobody.
    Verify(VerifyArgs),
}

/// `cryptomesh svid register`
#[derive(Args, Debug)]
pub struct RegisterArgs {
    /// The principal.
    pub principal: String,
    /// The longest that its documents live, in seconds; a day unless told.
    #[arg(long, value_name = "SECONDS")]
    pub ttl_max: Option<u64>,
}

/// `cryptomesh svid fetch`
#[derive(Args, Debug)]
pub struct FetchArgs {
    /// Where to write: svid.pem, svid.key, bundle.pem, and bundle.DOMAIN.pem for each trust domain of others.
    pub directory: PathBuf,
    /// Which workload; you yourself, unless told.
    #[arg(long)]
    pub principal: Option<String>,
    /// How long the certificate is to hold, in seconds; an hour unless told.
    #[arg(long, value_name = "SECONDS")]
    pub ttl: Option<u64>,
    /// Stay, and put a new key and certificate in place whenever half of the time has passed, bundles every five minutes.
    #[arg(long)]
    pub renew: bool,
}

/// `cryptomesh svid token`
#[derive(Args, Debug)]
pub struct TokenArgs {
    /// Who is to believe it; may be given several times.
    #[arg(long, required = true)]
    pub audience: Vec<String>,
    /// Which workload; you yourself, unless told.
    #[arg(long)]
    pub principal: Option<String>,
    /// How long it is to last, in seconds; five minutes unless told.
    #[arg(long, value_name = "SECONDS")]
    pub ttl: Option<u64>,
}

/// `cryptomesh svid verify`
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// A file with a certificate, or a chain of them, in PEM.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["token", "audience"])]
    pub certificates: Option<PathBuf>,
    /// A token, or `-` to read it from standard input.
    #[arg(long, requires = "audience")]
    pub token: Option<String>,
    /// For whom the token has to be.
    #[arg(long)]
    pub audience: Option<String>,
}

/// Runs one of them.
pub async fn run(command: SvidCommand, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    match command {
        SvidCommand::List => {
            let all: Vec<Map<String, Value>> = api.get("/api/v1/workloads").await?;
            output::entries(connection, &all);
        }
        SvidCommand::Register(RegisterArgs { principal, ttl_max }) => {
            let id = api.register_workload(&principal, ttl_max).await?;
            output::done(connection, &format!("{principal} is {id}"), &json!({ "spiffe_id": id }));
        }
        SvidCommand::Unregister { principal } => {
            api.remove_workload(&principal).await?;
            let said = format!("{principal} is no workload any more; what it has ends by itself");
            output::done(connection, &said, &json!({ "principal": principal }));
        }
        SvidCommand::Fetch(args) => return fetch(&args, &api, connection).await,
        SvidCommand::Token(TokenArgs { audience, principal, ttl }) => {
            let principal = whom(&api, principal).await?;
            let issued = api.issue_workload_token(&principal, &audience, ttl).await?;
            match connection.output {
                Format::Table => output::line(&issued.token),
                Format::Json | Format::Yaml => {
                    let (id, token) = (&issued.spiffe_id, &issued.token);
                    let ends = &issued.expires_at;
                    let document = json!({ "spiffe_id": id, "token": token, "expires_at": ends });
                    output::document_of(connection, &document);
                }
            }
        }
        SvidCommand::Verify(args) => return verify(args, &api, connection).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn whom(api: &Api, principal: Option<String>) -> anyhow::Result<String> {
    if let Some(principal) = principal {
        return Ok(principal);
    }
    let own = api.whoami().await?;
    let name = own.get("principal").and_then(Value::as_str).map(str::to_owned);
    name.context("the node does not say who you are; give --principal")
}

async fn verify(args: VerifyArgs, api: &Api, connection: &Connection) -> Outcome {
    let body = match args {
        VerifyArgs { certificates: Some(file), .. } => {
            let text = std::fs::read_to_string(&file);
            json!({ "certificates": text.with_context(|| format!("cannot read {}", file.display()))? })
        }
        VerifyArgs { token: Some(token), audience, .. } => {
            let token = match token.as_str() {
                "-" => std::io::read_to_string(std::io::stdin()).context("cannot read the token")?,
                _ => token,
            };
            json!({ "token": token.trim(), "audience": audience })
        }
        _ => return Err(UsageError("expected --certificates, or --token and --audience".to_owned()).into()),
    };
    let verdict: Map<String, Value> = api.post("/api/v1/svids/verify", &body).await?;
    let valid = verdict.get("valid").and_then(Value::as_bool).unwrap_or(false);
    output::entry(connection, &verdict);
    Ok(if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn fetch(args: &FetchArgs, api: &Api, connection: &Connection) -> Outcome {
    let principal = whom(api, args.principal.clone()).await?;
    std::fs::create_dir_all(&args.directory)
        .with_context(|| format!("cannot make {}", args.directory.display()))?;
    let began = Timestamp::from(std::time::SystemTime::now());
    let issued = once(args, api, &principal).await?;
    let said = format!("{} until {}", issued.spiffe_id, issued.expires_at);
    let document = json!({ "spiffe_id": issued.spiffe_id, "expires_at": issued.expires_at });
    output::done(connection, &said, &document);
    match args.renew {
        true => keep(args, api, &principal, (began, issued), connection).await,
        false => Ok(ExitCode::SUCCESS),
    }
}

/// Renews for as long as the process lives. What fails is tried again until it does not: what is there holds for as long again.
async fn keep(
    args: &FetchArgs,
    api: &Api,
    principal: &str,
    (mut began, mut issued): (Timestamp, IssuedSvid),
    connection: &Connection,
) -> Outcome {
    loop {
        tokio::time::sleep(renew_after(began, &issued.expires_at)).await;
        loop {
            began = Timestamp::from(std::time::SystemTime::now());
            match once(args, api, principal).await {
                Ok(next) => {
                    issued = next;
                    break;
                }
                Err(error) => {
                    output::error(&format!("not renewed, and tried again soon: {error:#}"));
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
        output::note(connection, &format!("renewed until {}", issued.expires_at));
    }
}

/// How long to wait before the next renewal: half of the time that is left, but no longer than bundles may stay as they are.
fn renew_after(now: Timestamp, expires_at: &str) -> Duration {
    let left = expires_at.parse::<Timestamp>().map_or(Duration::ZERO, |ends| ends.since(now));
    (left / 2).clamp(RENEW_AFTER_MIN, RENEW_AFTER_MAX)
}

/// One new key, its certificate, and the bundles.
async fn once(args: &FetchArgs, api: &Api, principal: &str) -> anyhow::Result<IssuedSvid> {
    let (key, request) = generate_request()?;
    let issued = api.issue_svid(principal, &request, args.ttl).await?;
    let own = issued.spiffe_id.strip_prefix("spiffe://").and_then(|rest| rest.split('/').next());
    // The certificate last: whoever looks for a new one finds everything else in place.
    for (domain, bundle) in &issued.bundles {
        let name = match Some(domain.as_str()) == own {
            true => "bundle.pem".to_owned(),
            false => format!("bundle.{domain}.pem"),
        };
        write(&args.directory, &name, bundle, 0o644)?;
    }
    forget_others(&args.directory, &issued)?;
    write(&args.directory, "svid.key", key.private_key_pem().expose(), 0o600)?;
    write(&args.directory, "svid.pem", &issued.certificate, 0o644)?;
    Ok(issued)
}

/// Removes bundles of trust domains that are trusted no more.
fn forget_others(directory: &Path, issued: &IssuedSvid) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().and_then(|name| name.strip_prefix("bundle.")?.strip_suffix(".pem"));
        if name.is_some_and(|domain| !issued.bundles.contains_key(domain)) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn write(directory: &Path, name: &str, text: &str, mode: u32) -> anyhow::Result<()> {
    // Names of domains come from the node; they are no paths.
    if name.contains('/') {
        anyhow::bail!("`{name}` is no name of a file");
    }
    let mut destination = Destination::create(&directory.join(name), mode, true)?;
    destination.write_all(text.as_bytes())?;
    destination.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_come_long_before_the_end() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let after = |ends: &str| renew_after(now, ends).as_secs();
        assert_eq!(after("2026-03-01T12:01:00Z"), 30);
        assert_eq!(after("2026-03-02T12:00:00Z"), 300, "bundles change sooner");
        assert_eq!(after("2026-03-01T11:00:00Z"), 1);
        assert_eq!(after("soon"), 1);
    }
}
