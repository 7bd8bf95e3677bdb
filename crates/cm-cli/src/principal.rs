//! `principal`: credentials of principals. Principals themselves are made and shown by `create`, `get` and `list`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use cm_client::{Api, ClientError, EndedPasskeys};

use crate::{Connection, Format, Outcome, output, session};

/// `cryptomesh principal …`
#[derive(Debug, Subcommand)]
pub enum PrincipalCommand {
    /// Set a password, asked for or read from standard input; ends all tokens of the principal. Your own takes the old one besides, and ends your passkeys.
    Passwd(PasswdArgs),
    /// Make an API key, or one for S3; its text is printed this once.
    ApiKey(ApiKeyArgs),
    /// List the API keys of a principal, without their secrets.
    ApiKeys(ApiKeysArgs),
    /// Revoke an API key, or one for S3.
    RevokeApiKey(RevokeApiKeyArgs),
}

/// `cryptomesh principal passwd`
#[derive(Args, Debug)]
pub struct PasswdArgs {
    /// The principal.
    pub principal: String,
}

/// `cryptomesh principal api-key`
#[derive(Args, Debug)]
pub struct ApiKeyArgs {
    /// The principal.
    pub principal: String,
    /// What the key is for.
    #[arg(long)]
    pub label: String,
    /// Make a pair of an access key id and a secret, to sign requests of S3 with.
    #[arg(long)]
    pub s3: bool,
}

/// `cryptomesh principal api-keys`
#[derive(Args, Debug)]
pub struct ApiKeysArgs {
    /// The principal.
    pub principal: String,
}

/// `cryptomesh principal revoke-api-key`
#[derive(Args, Debug)]
pub struct RevokeApiKeyArgs {
    /// The principal.
    pub principal: String,
    /// The id of the key; for S3, the access key id.
    pub key: String,
}

fn needs_old_password(details: &serde_json::Value) -> bool {
    details.get("old_password").and_then(serde_json::Value::as_str) == Some("required")
}

/// The old password is the next line of standard input, and the code the one behind it, where they are not typed.
async fn change_own(api: &Api, principal: &str, password: &str) -> anyhow::Result<EndedPasskeys> {
    let old = session::ask_old_password(principal)?;
    match api.change_password(principal, (&old, None), password).await {
        Err(ClientError::Refused(refusal)) if session::needs_code(&refusal.details) => {
            let code = session::ask_code()?;
            Ok(api.change_password(principal, (&old, Some(&code)), password).await?)
        }
        outcome => Ok(outcome?),
    }
}

/// What became of passkeys, for who changed the password.
fn say_ended(connection: &Connection, principal: &str, ended: EndedPasskeys) {
    let EndedPasskeys { passkeys_removed: removed, passkeys_closed: closed } = ended;
    if removed > 0 {
        output::note(
            connection,
            &format!("passkeys removed: {removed}; register yours again in the console"),
        );
    }
    if closed > 0 {
        let help = format!("`cryptomesh passkey reset {principal}`");
        output::note(
            connection,
            &format!(
                "passkeys that log in no more: {closed}, since no factor was shown; who may grant resets them by {help}"
            ),
        );
    }
}

/// Runs one of them.
pub async fn run(command: PrincipalCommand, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    match command {
        PrincipalCommand::Passwd(args) => {
            let password = session::ask_new_password(&args.principal)?;
            let ended = match api.set_password(&args.principal, &password).await {
                Err(ClientError::Refused(refusal)) if needs_old_password(&refusal.details) => {
                    change_own(&api, &args.principal, &password).await?
                }
                outcome => outcome.map(|()| EndedPasskeys::default())?,
            };
            let EndedPasskeys { passkeys_removed, passkeys_closed } = ended;
            let document = serde_json::json!({ "principal": args.principal, "password_set": true,
                "passkeys_removed": passkeys_removed, "passkeys_closed": passkeys_closed });
            output::done(connection, &format!("password of {} set", args.principal), &document);
            say_ended(connection, &args.principal, ended);
        }
        PrincipalCommand::ApiKey(args) if args.s3 => {
            let made = api.create_s3_key(&args.principal, &args.label).await?;
            match connection.output {
                Format::Json | Format::Yaml => output::document_of(
                    connection,
                    &serde_json::json!({ "access_key_id": made.id, "secret_access_key": made.key }),
                ),
                // As the tools of S3 read them from the environment.
                Format::Table => {
                    output::line(&format!("AWS_ACCESS_KEY_ID={}", made.id));
                    output::line(&format!("AWS_SECRET_ACCESS_KEY={}", made.key));
                }
            }
            output::note(connection, "keep it: the secret is not shown again");
        }
        PrincipalCommand::ApiKeys(args) => {
            let keys = api.api_keys(&args.principal).await?;
            let rows = keys.iter().filter_map(|key| match serde_json::to_value(key) {
                Ok(serde_json::Value::Object(row)) => Some(row),
                _ => None,
            });
            output::entries(connection, &rows.collect::<Vec<_>>());
        }
        PrincipalCommand::RevokeApiKey(args) => {
            api.revoke_api_key(&args.principal, &args.key).await?;
            let document = serde_json::json!({ "principal": args.principal, "revoked": args.key });
            output::done(connection, &format!("key {} of {} revoked", args.key, args.principal), &document);
        }
        PrincipalCommand::ApiKey(args) => {
            let made = api.create_api_key(&args.principal, &args.label).await?;
            match connection.output {
                Format::Json | Format::Yaml => {
                    output::document_of(connection, &serde_json::json!({ "key": made.key }));
                }
                Format::Table => output::line(&made.key),
            }
            output::note(connection, "keep it: it is not shown again");
        }
    }
    Ok(ExitCode::SUCCESS)
}
