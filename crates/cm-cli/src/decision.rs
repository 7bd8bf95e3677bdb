//! `can`: whether somebody may do something, and why.

use std::process::ExitCode;

use clap::Args;

use crate::{Connection, Format, Outcome, output};

/// Exit code of a refusal.
const REFUSED: u8 = 3;

/// `cryptomesh can`
#[derive(Args, Debug)]
pub struct CanArgs {
    /// The principal.
    pub user: String,
    /// What it would do: create, read, list, update, delete, invoke or grant.
    pub action: String,
    /// To what: KIND/ID, or KIND for the collection.
    pub resource: String,
}

/// Asks for a decision without acting on it. Exits with 3 when it is a refusal.
pub async fn can(args: CanArgs, connection: &Connection) -> Outcome {
    let resource = whole_reference(args.resource);
    let decision = connection.api()?.decide(&args.user, &args.action, &resource).await?;
    match connection.output {
        Format::Json | Format::Yaml => output::document_of(connection, &decision),
        Format::Table => {
            output::line(if decision.allowed { "yes" } else { "no" });
            for reason in &decision.reasons {
                output::line(&format!("  {reason}"));
            }
        }
    }
    Ok(if decision.allowed { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

/// The resource as the API names it: a collection is `KIND/*` there.
fn whole_reference(resource: String) -> String {
    if resource.contains('/') { resource } else { format!("{resource}/*") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_alone_is_its_collection() {
        assert_eq!(whole_reference("function".to_owned()), "function/*");
        assert_eq!(whole_reference("function/f".to_owned()), "function/f");
    }
}
