//! `mfa`: one-time codes as a second factor of one's own password.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use crate::{Connection, Format, Outcome, output};

const PATH: &str = "/api/v1/auth/mfa";

/// `cryptomesh mfa …`
#[derive(Debug, Subcommand)]
pub enum MfaCommand {
    /// Show whether your password has a second factor, and whether it was used.
    Status,
    /// Get the secret for a device that makes codes. Nothing changes before `confirm`.
    Enrol,
    /// Show by a code that the device has the secret; prints recovery codes, once.
    Confirm(CodeArgs),
    /// Take your second factor away.
    Remove(CodeArgs),
    /// Take the second factor of somebody away who lost it.
    Reset {
        /// The principal.
        principal: String,
    },
}

/// A code of the device, or a recovery code.
#[derive(Args, Debug)]
pub struct CodeArgs {
    /// The code; asked for unless given.
    pub code: Option<String>,
}

impl CodeArgs {
    fn code(self) -> anyhow::Result<String> {
        self.code.map_or_else(crate::session::ask_code, Ok)
    }
}

/// Runs one of them.
pub async fn run(command: MfaCommand, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    match command {
        MfaCommand::Status => {
            let status: Map<String, Value> = api.get(PATH).await?;
            output::entries(connection, &[status]);
        }
        MfaCommand::Enrol => {
            let enrolment: Value = api.post(PATH, &serde_json::json!({})).await?;
            match connection.output {
                Format::Table => {
                    let text = |name: &str| enrolment.get(name).and_then(Value::as_str).unwrap_or_default();
                    output::line(&format!("secret: {}", text("secret")));
                    output::line(&format!("url:    {}", text("url")));
                    output::note(
                        connection,
                        "give one of them to your device, then run: cryptomesh mfa confirm",
                    );
                }
                Format::Json | Format::Yaml => output::document_of(connection, &enrolment),
            }
        }
        MfaCommand::Confirm(args) => {
            let body = serde_json::json!({ "code": args.code()? });
            let answer: Value = api.post(&format!("{PATH}/confirm"), &body).await?;
            match connection.output {
                Format::Table => {
                    let codes = answer.get("recovery_codes").and_then(Value::as_array);
                    for code in codes.into_iter().flatten().filter_map(Value::as_str) {
                        output::line(code);
                    }
                    output::note(
                        connection,
                        "keep these for the day the device is lost; each is of use once",
                    );
                }
                Format::Json | Format::Yaml => output::document_of(connection, &answer),
            }
        }
        MfaCommand::Remove(args) => {
            api.remove_second_factor(&args.code()?).await?;
            output::done(connection, "your password alone is enough again", &Value::Null);
        }
        MfaCommand::Reset { principal } => {
            api.reset_second_factor(&principal).await?;
            output::done(
                connection,
                &format!("the password of {principal} alone is enough again"),
                &Value::Null,
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
