//! `login`, `logout`, `whoami`.

use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use cm_client::{ClientError, Location};
use cm_types::TenantId;

use crate::{Connection, Format, Outcome, output};

/// `cryptomesh login`
#[derive(Args, Debug)]
pub struct LoginArgs {
    /// The principal.
    pub principal: String,
    /// Its tenant.
    #[arg(long, default_value_t = TenantId::default_tenant().to_string())]
    pub tenant: String,
    /// A code of its second factor, or a recovery code; asked for at a terminal when one is needed.
    #[arg(long)]
    pub code: Option<String>,
    /// Print the token instead of keeping it in the local data directory.
    #[arg(long)]
    pub print: bool,
}

/// Exchanges a password, asked for or read from standard input, for a token.
pub async fn login(args: LoginArgs, connection: &Connection) -> Outcome {
    let location = connection.location()?;
    let token_file = location.token_file.clone();
    let password = ask_password(&args.principal)?;
    let api = cm_client::Api::new(Location { token: None, ..location })?;
    let name = (args.tenant.as_str(), args.principal.as_str());
    let issued = match api.login_with_code(name, &password, args.code.as_deref()).await {
        Err(ClientError::Refused(refusal)) if args.code.is_none() && needs_code(&refusal.details) => {
            api.login_with_code(name, &password, Some(&ask_code()?)).await?
        }
        outcome => outcome?,
    };
    let mut document = serde_json::json!({ "principal": args.principal, "expires_at": issued.expires_at });
    if args.print {
        match connection.output {
            Format::Table => output::line(&issued.token),
            Format::Json | Format::Yaml => {
                document["token"] = issued.token.as_str().into();
                output::document_of(connection, &document);
            }
        }
    } else {
        keep(&token_file, &issued.token)?;
        let said = format!("logged in as {} until {}", args.principal, issued.expires_at);
        output::done(connection, &said, &document);
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn needs_code(details: &serde_json::Value) -> bool {
    details.get("second_factor").and_then(serde_json::Value::as_str) == Some("required")
}

/// A code of a second factor, typed or taken from the next line of standard input.
pub(crate) fn ask_code() -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password("Code: ").context("cannot read the code");
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("cannot read the code")?;
    Ok(line.trim().to_owned())
}

/// A password, typed unseen or taken from the first line of standard input.
pub(crate) fn ask_password(principal: &str) -> anyhow::Result<String> {
    ask_secret(&format!("Password of {principal}: "))
}

/// As [`ask_password`], one that is to be set.
pub(crate) fn ask_new_password(principal: &str) -> anyhow::Result<String> {
    ask_secret(&format!("New password of {principal}: "))
}

/// As [`ask_password`], the one that is replaced.
pub(crate) fn ask_old_password(principal: &str) -> anyhow::Result<String> {
    ask_secret(&format!("Old password of {principal}: "))
}

/// A secret, typed unseen or taken from the first line of standard input.
pub(crate) fn ask_secret(prompt: &str) -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password(prompt).context("cannot read the secret");
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("cannot read the secret")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Writes a token so that nobody else can read it; the file appears whole or not at all.
fn keep(path: &Path, token: &str) -> anyhow::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let temporary = path.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)?;
        writeln!(file, "{token}")?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Revokes the token in use and forgets the kept one.
pub async fn logout(connection: &Connection) -> Outcome {
    let location = connection.location()?;
    let token_file = location.token_file.clone();
    cm_client::Api::new(location)?.logout().await?;
    if token_file.exists() {
        std::fs::remove_file(&token_file)
            .with_context(|| format!("cannot remove {}", token_file.display()))?;
    }
    output::done(connection, "logged out", &serde_json::json!({ "logged_out": true }));
    Ok(ExitCode::SUCCESS)
}

/// Shows who the node takes the caller for.
pub async fn whoami(connection: &Connection) -> Outcome {
    let entry = connection.api()?.whoami().await?;
    output::entry(connection, &entry);
    Ok(ExitCode::SUCCESS)
}
