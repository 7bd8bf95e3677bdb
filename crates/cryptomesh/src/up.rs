//! `cryptomesh up`: read the configuration, start the node, say that it is ready, drain when told to stop.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use cm_cli::cluster::ClusterCommand;
use cm_cli::{Connection, Format, Outcome, output};
use cm_crypto::Secret;
use cm_node::{Config, Node, Overrides, Stopped};
use cm_runtime::CancellationToken;
use tokio::signal::unix::{SignalKind, signal};

/// Far more than an invitation takes.
const INVITATION_LEN_MAX: u64 = 16 * 1024;

/// `cryptomesh up`
#[derive(Args)]
#[command(after_help = help())]
pub(crate) struct UpArgs {
    /// A configuration file in TOML.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Set one key of the configuration. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Serve without authentication, on loopback only.
    #[arg(long)]
    open: bool,
}

/// What can be set; defaults, units and effects are in docs/guide/configuration.md.
fn help() -> String {
    let variables: Vec<_> = cm_node::environment::variables().collect();
    format!(
        "Settings come from defaults, then the file, then the environment (CRYPTOMESH_SECTION_KEY), then --set, then \
         flags.\n\nKeys: {}.\n\nVariables that have or had other names: {}. Those without effect here are reported at \
         start.",
        cm_node::config::KEYS.join(", "),
        variables.join(", ")
    )
}

/// Runs a node until it is told to stop. `data_dir` is that of the flag, if it was given: as a variable it would come
/// after `--set`.
pub(crate) async fn run(args: UpArgs, data_dir: Option<PathBuf>, connection: &Connection) -> Outcome {
    let overrides = Overrides { data_dir, file: args.config, set: args.set, open: args.open };
    let config = Config::gather(overrides, variables())?;
    let _logs = cm_node::start_logging(&config)?;
    let deadline = config.shutdown_deadline;
    // Installed before anything is started, so that no signal is missed.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let starting = Node::start_unless(config, stop.clone());
    let mut starting = std::pin::pin!(starting);
    let node = tokio::select! {
        started = &mut starting => started?,
        // It may be waiting for others; what it has begun it ends.
        _ = async { tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} } } => {
            stop.cancel();
            match starting.await {
                Ok(node) => return Ok(match node.stop().await {
                    Stopped::Clean => ExitCode::SUCCESS,
                    Stopped::Failed => ExitCode::FAILURE,
                }),
                Err(cm_node::NodeError::Stopped) => return Ok(ExitCode::SUCCESS),
                Err(error) => return Err(error.into()),
            }
        }
    };
    announce(&node, connection);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    output::note(
        connection,
        &format!("stopping; a second signal stops at once, {}s at most", deadline.as_secs()),
    );
    tokio::select! {
        stopped = node.stop() => Ok(match stopped {
            Stopped::Clean => ExitCode::SUCCESS,
            Stopped::Failed => ExitCode::FAILURE,
        }),
        _ = terminate.recv() => Ok(ExitCode::FAILURE),
        _ = interrupt.recv() => Ok(ExitCode::FAILURE),
    }
}

fn announce(node: &Node, connection: &Connection) {
    for (name, address) in node.listeners() {
        output::note(connection, &format!("{name} listening on {address}"));
    }
    if let Some(path) = node.first_start_token() {
        output::note(
            connection,
            &format!(
                "first start: the administrator's token is in {}\n  try: cryptomesh --data-dir {} whoami",
                path.display(),
                node.data_dir().display()
            ),
        );
    }
    if connection.output == Format::Json {
        output::line(&node.ready_line());
    }
}

/// Checks the event log of a data directory whose node is not running.
pub(crate) async fn verify_offline(args: &cm_cli::audit::VerifyArgs, connection: &Connection) -> Outcome {
    let outcome = cm_node::verify_log(&offline(connection)?, args.anchor.as_deref()).await?;
    cm_cli::audit::report(&outcome.report, outcome.intact, outcome.records, connection);
    Ok(if outcome.intact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Gives the administrator a new key, when nobody has a working one. The node must not be running.
pub(crate) async fn reset_token(connection: &Connection) -> Outcome {
    let path = cm_node::reset_admin_token(&offline(connection)?).await?;
    let said = format!("a new administrator's token is in {}", path.display());
    output::done(connection, &said, &serde_json::json!({ "token_file": path }));
    Ok(ExitCode::SUCCESS)
}

/// Makes the node of a data directory the first of a network, or one more of it.
pub(crate) async fn begin_cluster(command: ClusterCommand, connection: &Connection) -> Outcome {
    let config = offline(connection)?;
    let (said, (network, node)) = match command {
        ClusterCommand::Found(args) => {
            ("network founded; start the node", cm_node::cluster::found(&config, &args.address).await?)
        }
        ClusterCommand::Join(args) => {
            let invitation = read_invitation(&args.invitation)
                .with_context(|| format!("cannot read {}", args.invitation.display()))?;
            let joined = cm_node::cluster::join(&config, invitation.expose(), &args.place.address).await?;
            ("let in; start the node", joined)
        }
        _ => anyhow::bail!("this is asked of a running node"),
    };
    let document = serde_json::json!({ "network": network, "node": node });
    output::done(connection, &format!("{said} (network {network}, node {node})"), &document);
    Ok(ExitCode::SUCCESS)
}

fn read_invitation(file: &std::path::Path) -> std::io::Result<Secret<String>> {
    let mut text = String::new();
    if file == std::path::Path::new("-") {
        std::io::stdin().lock().take(INVITATION_LEN_MAX).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(file)?.take(INVITATION_LEN_MAX).read_to_string(&mut text)?;
    }
    Ok(Secret::new(text))
}

/// Says the public key for links, which other nodes are told.
pub(crate) async fn link_key(connection: &Connection) -> Outcome {
    let key = cm_node::link_key(&offline(connection)?.data_dir).await?.to_string();
    match connection.output {
        Format::Table => output::line(&key),
        Format::Json | Format::Yaml => {
            output::document_of(connection, &serde_json::json!({ "link_key": key }));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a node would use, as far as the command line and the environment say it.
fn offline(connection: &Connection) -> anyhow::Result<Config> {
    let overrides = Overrides { data_dir: Some(connection.data_dir()), ..Overrides::default() };
    Ok(Config::gather(overrides, variables())?)
}

/// The process's environment; what is not UTF-8 is none of ours.
pub(crate) fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
