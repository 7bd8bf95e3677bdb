//! `cryptomesh instance-agent`: beside an instance in a container or pod.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cm_cli::Outcome;
use cm_functions::launcher::agent::{self, AgentConfig};

/// `cryptomesh instance-agent`
#[derive(Args)]
pub(crate) struct AgentArgs {
    /// Where the instance listens.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Where the node comes to.
    #[arg(long, value_name = "ADDRESS:PORT")]
    control: SocketAddr,
    /// The directory of the link's certificates and key.
    #[arg(long, value_name = "DIR")]
    credentials: PathBuf,
}

/// Serves one node with one instance, and exits as the instance did.
pub(crate) fn run(args: AgentArgs) -> Outcome {
    let AgentArgs { listen, control, credentials } = args;
    Ok(ExitCode::from(agent::run(&AgentConfig { listen, control, credentials })?))
}
