//! The one binary: `up` runs a node, `demo` shows what it is for, `instance` is what a node starts for each
//! confidential instance, and everything else is a command that talks to a node.

mod agent;
mod db;
mod demo;
mod endpoint_server;
#[cfg(test)]
mod guide;
mod mpc_up;
mod up;

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use cm_cli::Connection;
use cm_cli::cluster::ClusterCommand;

/// Wrong usage or configuration.
const EXIT_USAGE: u8 = 2;
/// Something is there already.
const EXIT_CONFLICT: u8 = 5;
/// A server does not answer.
const EXIT_UNREACHABLE: u8 = 6;
/// How long threads that block are waited for at the end.
const LEFT_BEHIND: Duration = Duration::from_secs(10);

/// CryptoMesh computes on data that nobody who carries it may see.
#[derive(Parser)]
#[command(
    name = "cryptomesh",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 refused, 4 not found, 5 conflict, 6 unreachable."
)]
struct Cli {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node.
    Up(up::UpArgs),
    /// Show the main job, end to end, on a mesh in a temporary directory.
    Demo(demo::DemoArgs),
    /// Repair the administrator's access to a data directory whose node is not running.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Migrate, back up or restore the database of the catalogue.
    #[command(subcommand)]
    Db(db::DbCommand),
    /// Print the public key by which other nodes know the node of a data directory, making one if there is none.
    LinkKey,
    /// Print the completion script of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the description of the API as OpenAPI.
    #[command(hide = true)]
    Openapi,
    /// Stand beside one confidential instance in a container or pod; a node's launcher starts this.
    #[command(hide = true)]
    InstanceAgent(agent::AgentArgs),
    /// Serve one deployed endpoint; a node starts this with its inherited sockets.
    #[command(hide = true)]
    ServeEndpoint,
    #[command(flatten)]
    Remote(cm_cli::Command),
}

#[derive(Subcommand)]
enum AdminCommand {
    /// Write a new token of the built-in administrator to the data directory. Older ones stay valid until revoked.
    ResetToken,
}

fn main() -> ExitCode {
    // First of all, and without a runtime: an instance confines itself while it still has one thread.
    if is_instance() {
        return cm_enclave::run::main();
    }
    // Its runtime has one thread, so that what it is held to holds for all of it.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == cm_endpoints::launcher::COMMAND) {
        return endpoint_server::main();
    }
    let mut cli = Cli::parse();
    let flag = cli.connection.data_dir.is_some();
    cli.connection = cli.connection.or_environment(|name| std::env::var_os(name));
    // It brings a runtime of one thread, with which its instance dies.
    let format = cli.connection.output;
    let outcome = match cli.command {
        Command::InstanceAgent(args) => agent::run(args),
        _ => run(cli, flag),
    };
    match cm_cli::printed(outcome) {
        Ok(code) => code,
        Err(error) => {
            let code = exit_code(&error);
            cm_cli::explain(&error, code, format);
            ExitCode::from(code)
        }
    }
}

/// Whether a launcher has started this process to be an instance: it says nothing but `instance`, and hands over a socket
/// as standard input. What people type begins alike.
fn is_instance() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    let alone = arguments.next().is_some_and(|first| first == "instance") && arguments.next().is_none();
    let is_socket = |link: std::path::PathBuf| link.to_string_lossy().starts_with("socket:");
    // Where there is nothing to ask, only a launcher can be meant.
    alone && std::fs::read_link("/proc/self/fd/0").map_or(true, is_socket)
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.chain().any(|cause| cause.is::<cm_node::ConfigError>()) {
        return EXIT_USAGE;
    }
    match error.chain().find_map(|cause| cause.downcast_ref::<cm_node::NodeError>()) {
        Some(error) if error.is_usage() => EXIT_USAGE,
        Some(error) if error.is_conflict() => EXIT_CONFLICT,
        Some(error) if error.is_unreachable() => EXIT_UNREACHABLE,
        _ => cm_cli::exit_code(error),
    }
}

fn run(cli: Cli, data_dir_by_flag: bool) -> cm_cli::Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = match cli.command {
        Command::Up(args) => {
            let data_dir = cli.connection.data_dir.clone().filter(|_| data_dir_by_flag);
            runtime.block_on(up::run(args, data_dir, &cli.connection))
        }
        Command::Demo(args) => runtime.block_on(demo::run(args, &cli.connection)),
        Command::Admin(AdminCommand::ResetToken) => runtime.block_on(up::reset_token(&cli.connection)),
        Command::LinkKey => runtime.block_on(up::link_key(&cli.connection)),
        Command::Db(command) => {
            let data_dir = cli.connection.data_dir.clone().filter(|_| data_dir_by_flag);
            runtime.block_on(db::run(command, data_dir, &cli.connection))
        }
        Command::Completions { shell } => {
            // It gives up with a panic if it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "cryptomesh", &mut script);
            cm_cli::output::text(&String::from_utf8_lossy(&script));
            Ok(ExitCode::SUCCESS)
        }
        Command::Openapi => {
            cm_cli::output::line(&cm_node::openapi());
            Ok(ExitCode::SUCCESS)
        }
        Command::InstanceAgent(_) | Command::ServeEndpoint => Ok(ExitCode::from(EXIT_USAGE)),
        Command::Remote(cm_cli::Command::Mpc(cm_cli::mpc::MpcCommand::Up(args))) => {
            runtime.block_on(mpc_up::run(args, &cli.connection))
        }
        Command::Remote(cm_cli::Command::Cluster(
            command @ (ClusterCommand::Found(_) | ClusterCommand::Join(_)),
        )) => runtime.block_on(up::begin_cluster(command, &cli.connection)),
        Command::Remote(cm_cli::Command::Audit(cm_cli::audit::AuditCommand::Verify(args)))
            if args.offline =>
        {
            runtime.block_on(up::verify_offline(&args, &cli.connection))
        }
        Command::Remote(command) => runtime.block_on(cm_cli::run(command, &cli.connection)),
    };
    // Everything was drained: what still blocks a thread must not keep the process.
    runtime.shutdown_timeout(LEFT_BEHIND);
    outcome
}
