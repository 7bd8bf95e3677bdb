//! `cluster`: the network of nodes that keep one catalogue together. Founding and joining are done without a running node, by the
//! binary; here is what is asked of one.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use cm_client::resources::{NetworkInfo, NetworkNodeInfo};

use crate::{Connection, Format, Outcome, output};

/// `cryptomesh cluster …`
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Make the node of the data directory, which must not run, the first of a new network.
    Found(PlaceArgs),
    /// Join a network with a new data directory, by an invitation.
    Join(JoinArgs),
    /// Make an invitation, by which one node can join. It is a secret.
    Invite(InviteArgs),
    /// Show the nodes of the network, and how they stand.
    Status,
    /// Take a node out of the network.
    Remove(RemoveArgs),
}

/// `cryptomesh cluster found`
#[derive(Args, Debug)]
pub struct PlaceArgs {
    /// Where other nodes reach this one: the host, and the port of `listen.peers`.
    #[arg(long, value_name = "HOST:PORT")]
    pub address: String,
}

/// `cryptomesh cluster join`
#[derive(Args, Debug)]
pub struct JoinArgs {
    /// A file with the invitation, or `-` for standard input.
    pub invitation: std::path::PathBuf,
    /// Where it is reached.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// `cryptomesh cluster invite`
#[derive(Args, Debug)]
pub struct InviteArgs {
    /// Minutes for which it can be used.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    pub minutes: u64,
}

/// `cryptomesh cluster remove`
#[derive(Args, Debug)]
pub struct RemoveArgs {
    /// The node's id, as `cluster status` shows it.
    pub node: String,
}

/// Runs what is asked of a running node; `found` and `join` are the binary's.
pub async fn run(command: ClusterCommand, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    match command {
        ClusterCommand::Found(_) | ClusterCommand::Join(_) => {
            anyhow::bail!(
                "this needs the program of a node; run `cryptomesh cluster` with its data directory"
            )
        }
        ClusterCommand::Invite(InviteArgs { minutes }) => {
            let made = api.invite_node(minutes * 60).await?;
            output::note(
                connection,
                &format!(
                    "for one node, until {}; on its machine: cryptomesh cluster join FILE --address HOST:PORT",
                    made.expires_at
                ),
            );
            let document = serde_json::json!({
                "id": made.id, "invitation": made.invitation, "expires_at": made.expires_at,
            });
            match connection.output {
                Format::Table => output::line(&made.invitation),
                Format::Json | Format::Yaml => output::document_of(connection, &document),
            }
        }
        ClusterCommand::Status => status(&api.network().await?, connection),
        ClusterCommand::Remove(RemoveArgs { node }) => {
            api.remove_node(&node).await?;
            let said = format!("{node} is being taken out; `cluster status` shows when it is");
            output::done(connection, &said, &serde_json::json!({ "node": node }));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn status(network: &NetworkInfo, connection: &Connection) {
    if connection.output != Format::Table {
        return output::document_of(connection, network);
    }
    match &network.leader {
        Some(leader) => output::note(connection, &format!("network {}, led by {leader}", network.name)),
        None => output::note(
            connection,
            &format!(
                "network {}, led by nobody: nothing can be written until most nodes are reached",
                network.name
            ),
        ),
    }
    let line = |node: &NetworkNodeInfo| {
        let state = match node.reached {
            None => "this node",
            Some(true) => "reached",
            Some(false) => "not reached",
        };
        let role = if node.leads {
            "leads"
        } else if node.votes {
            "votes"
        } else {
            "learns"
        };
        format!("{}  {:6}  {:11}  {}", node.id, role, state, node.address)
    };
    network.nodes.iter().for_each(|node| output::line(&line(node)));
}
