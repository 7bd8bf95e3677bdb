//! `principal`: credentials of principals. Principals themselves are made and shown by `create`, `get` and `list`.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::{Connection, Format, Outcome, output, session};

/// `cryptomesh principal …`
#[derive(Debug, Subcommand)]
pub enum PrincipalCommand {
    /// Set a password, asked for or read from standard input; ends all tokens of the principal.
    Passwd(PasswdArgs),
    /// Make an API key; its text is printed this once.
    ApiKey(ApiKeyArgs),
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
}

/// Runs one of them.
pub async fn run(command: PrincipalCommand, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    match command {
        PrincipalCommand::Passwd(args) => {
            let password = session::ask_password(&args.principal)?;
            api.set_password(&args.principal, &password).await?;
            output::note(connection, &format!("password of {} set", args.principal));
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
