//! `passkey`: keys of devices that log in without a password. Devices make them in browsers, and so in the console.

use std::process::ExitCode;

use clap::Subcommand;
use cm_client::Api;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{Connection, Outcome, output};

/// `cryptomesh passkey …`
#[derive(Debug, Subcommand)]
#[command(
    long_about = "List and remove passkeys: keys of devices that log in without a password, and count as a second factor.\n\n\
                  A passkey is registered in a browser, on a page of the console that `ls` names. To remove one of your own \
                  takes a session that began with a passkey or with a code of your second factor (`cryptomesh login`)."
)]
pub enum PasskeyCommand {
    /// List your passkeys, and say where to register one.
    Ls,
    /// Remove one of your passkeys, and end the sessions that it began.
    Rm {
        /// Its id.
        id: String,
    },
    /// Remove all passkeys of somebody who lost them.
    Reset {
        /// The principal.
        principal: String,
    },
}

#[derive(Deserialize)]
struct Own {
    passkeys: Vec<Map<String, Value>>,
}

/// A question for a browser; the command line reads where it may be asked.
#[derive(Deserialize)]
struct Question {
    origins: Vec<String>,
}

/// Runs one of them.
pub async fn run(command: PasskeyCommand, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    match command {
        PasskeyCommand::Ls => {
            let own: Own = api.get("/api/v1/auth/passkeys").await?;
            output::whole_entries(connection, &own.passkeys);
            output::note(connection, &where_to_register(&api).await);
        }
        PasskeyCommand::Rm { id } => {
            api.remove_passkey(&id).await?;
            output::done(connection, &format!("{id} logs in no more"), &Value::Null);
        }
        PasskeyCommand::Reset { principal } => {
            api.reset_passkeys(&principal).await?;
            output::done(connection, &format!("{principal} has no passkeys any more"), &Value::Null);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn where_to_register(api: &Api) -> String {
    match api.post::<Question>("/api/v1/auth/login/passkey", &json!({})).await {
        Ok(question) => match question.origins.first() {
            Some(origin) => {
                format!("register one in a browser: {origin}/console/#/passkeys")
            }
            None => "this node has no passkeys".to_owned(),
        },
        Err(error) => error.to_string(),
    }
}
