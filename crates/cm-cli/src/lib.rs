//! The commands that talk to a node. They use the public API only, through `cm-client`: the command line has no
//! back door.
//!
//! One module per noun; each defines its arguments and a `run` that calls the client and prints. [`output`] decides
//! how results look; results go to standard output, everything else to standard error.

pub mod agreement;
pub mod attest;
pub mod audit;
mod belief;
pub mod cluster;
pub mod decision;
pub mod describe;
mod destination;
pub mod endpoint;
pub mod events;
mod folder;
pub mod function;
pub mod function_run;
pub mod instance;
pub mod intel;
pub mod key_files;
pub mod keys;
mod kinds;
pub mod manifest;
pub mod mfa;
pub mod mpc;
pub mod object;
pub mod output;
pub mod passkey;
pub mod pdl;
pub mod policy;
pub mod principal;
pub mod release;
pub mod removal;
mod report;
pub mod resource;
pub mod sealing;
pub mod session;
mod share;
pub mod storage;
pub mod svid;
pub mod top;
mod transfer;
pub mod trust;
pub mod xolo;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use cm_client::{Api, ClientError, Location};
use cm_crypto::secret::Secret;

/// Where the node is, who asks, and how to print: accepted by every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Connection {
    /// Base URL of the node's API [env: CRYPTOMESH_URL] [default: the node of the local data directory].
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// Bearer token [env: CRYPTOMESH_TOKEN] [default: for the node of the local data directory, the one kept there].
    #[arg(long, global = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// The local data directory [env: CRYPTOMESH_DATA_DIR] [default: ./.cryptomesh].
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How to print results.
    #[arg(long, short, global = true, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub output: Format,
    /// Print results and errors only.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What only the environment says.
    #[arg(skip)]
    pub surroundings: Surroundings,
}

/// What commands about objects take from the environment. Secrets do not belong on a command line.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `AWS_ACCESS_KEY_ID`.
    pub s3_key_id: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub s3_secret: Option<Secret<String>>,
    /// `AWS_ENDPOINT_URL_S3`, or else `AWS_ENDPOINT_URL`.
    pub s3_endpoint: Option<String>,
    /// Where the user's caches are: `XDG_CACHE_HOME`, or else `.cache` in `HOME`.
    pub cache_dir: Option<PathBuf>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON document.
    Json,
    /// For people.
    Table,
    /// One YAML document.
    Yaml,
}

impl Connection {
    /// Fills what no flag said from the environment, where a variable that is empty says nothing.
    ///
    /// Not left to the parser of the arguments: it would list what a variable sets among what an incomplete command
    /// lacks.
    #[must_use]
    pub fn or_environment(mut self, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        self.url = self.url.or_else(|| text("CRYPTOMESH_URL"));
        self.token = self.token.or_else(|| text("CRYPTOMESH_TOKEN"));
        self.data_dir = self.data_dir.or_else(|| set("CRYPTOMESH_DATA_DIR").map(PathBuf::from));
        self.surroundings = Surroundings {
            s3_key_id: text("AWS_ACCESS_KEY_ID"),
            s3_secret: text("AWS_SECRET_ACCESS_KEY").map(Secret::new),
            s3_endpoint: text("AWS_ENDPOINT_URL_S3").or_else(|| text("AWS_ENDPOINT_URL")),
            cache_dir: set("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache"))),
        };
        self
    }

    /// The node that the flags, the environment or the local data directory name.
    pub fn api(&self) -> Result<Api, ClientError> {
        let api = Api::new(self.location()?)?;
        Ok(if self.quiet { api } else { api.on_silence(Arc::new(output::silence)) })
    }

    /// See [`Connection::api`].
    pub fn location(&self) -> Result<Location, ClientError> {
        Location::resolve(self.url.clone(), self.token.clone(), self.data_dir.as_deref())
    }

    /// The local data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| PathBuf::from(".cryptomesh"))
    }
}

/// Commands that talk to a node.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show one resource.
    Get(resource::GetArgs),
    /// Show one resource with everything around it.
    Describe(describe::DescribeArgs),
    /// List resources of a kind.
    List(resource::ListArgs),
    /// Create a resource from a JSON document or NAME=VALUE pairs.
    Create(resource::CreateArgs),
    /// Delete a resource.
    Delete(removal::DeleteArgs),
    /// Show what files of declarations would change.
    Diff(manifest::DiffArgs),
    /// Make it so what files declare, all of it or nothing.
    Apply(manifest::ApplyArgs),
    /// Write what there is as a file that declares it.
    Export(manifest::export::ExportArgs),
    /// Store, read, list and remove objects, sealed if you wish.
    #[command(subcommand)]
    Object(object::ObjectCommand),
    /// Register and run functions, and see what became of them.
    #[command(subcommand)]
    Function(function::FunctionCommand),
    /// Start confidential instances, verify them, put files in, run programs, get results.
    #[command(subcommand)]
    Instance(instance::InstanceCommand),
    /// Release keys of sealed objects to instances that are what you demand.
    #[command(subcommand)]
    Release(release::ReleaseCommand),
    /// Make policies, check them, and say what they mean. Speaks to no node.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Deploy endpoints, detach them, and see how they are.
    #[command(subcommand)]
    Endpoint(endpoint::EndpointCommand),
    /// Compute with others on values that nobody shows: split inputs, run jobs, put results together.
    #[command(subcommand)]
    Mpc(mpc::MpcCommand),
    /// Report threats, see what others report, and who they are.
    #[command(subcommand)]
    Intel(intel::IntelCommand),
    /// Set passwords and make API keys.
    #[command(subcommand)]
    Principal(principal::PrincipalCommand),
    /// Exchange a password for a token and keep it in the local data directory.
    Login(session::LoginArgs),
    /// Guard your password by one-time codes of a device.
    #[command(subcommand)]
    Mfa(mfa::MfaCommand),
    /// List and remove passkeys; they are registered in a browser.
    #[command(subcommand)]
    Passkey(passkey::PasskeyCommand),
    /// Give workloads certificates and tokens of SPIFFE, and judge those of others.
    #[command(subcommand)]
    Svid(svid::SvidCommand),
    /// See and change whose workloads are trusted: trust domains and their bundles.
    #[command(subcommand)]
    Trust(trust::TrustCommand),
    /// Revoke the kept token and forget it.
    Logout,
    /// Show who the node takes you for.
    Whoami,
    /// Tell whether somebody may do something, and why.
    Can(decision::CanArgs),
    /// Show what happened, and follow what happens.
    Events(events::EventsArgs),
    /// Show what runs now: instances and endpoints with their state, age and limits.
    Top(top::TopArgs),
    /// Make several nodes one network that keeps one catalogue, and see how they stand.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// See and change which nodes of a network keep the chunks of objects.
    #[command(subcommand)]
    Storage(storage::StorageCommand),
    /// Read, follow and verify the audit log.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Judge evidence and attestation results. Speaks to no node.
    #[command(subcommand)]
    Attest(attest::AttestCommand),
    /// Write, check, try and compare documents of the permissions language, and put them in force.
    #[command(subcommand)]
    Pdl(pdl::PdlCommand),
    /// Seal a file, so that only the holders of a key read it. Speaks to no node.
    Seal(sealing::SealArgs),
    /// Open a sealed file: all of it, or nothing. Speaks to no node.
    Open(sealing::OpenArgs),
    /// Make a key to seal for and to exchange with. Speaks to no node.
    Keygen(key_files::KeygenArgs),
    /// Find the key that two parties share, from your secret key and the public one of the other. Speaks to no node.
    Exchange(key_files::ExchangeArgs),
    /// Execute a file of commands of the earlier identity service.
    Xolo(xolo::XoloArgs),
    /// Make keys: certificates for instances, key pairs for sealed objects.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
}

/// What a finished command says to the shell.
pub type Outcome = anyhow::Result<ExitCode>;

/// What shells say of a command that a closed pipe ended.
const PIPE_CLOSED: u8 = 141;

/// How a command ends once it is known what could not be printed since it began.
pub fn printed(outcome: Outcome) -> Outcome {
    with_failure(outcome, output::take_failure())
}

/// Prints why a command failed, as a document if that was asked for.
pub fn explain(error: &anyhow::Error, code: u8, format: Format) {
    match format {
        Format::Json => output::error_document(code_name(code), error),
        // The whole chain, once, here.
        Format::Table | Format::Yaml => output::error(&format!("{error:#}")),
    }
}

/// How a command ends that could not print everything. A reader that has enough ends it in silence, as with every filter.
fn with_failure(outcome: Outcome, failure: Option<std::io::Error>) -> Outcome {
    let Some(failure) = failure else { return outcome };
    let is_consequence = |error: &anyhow::Error| {
        error.chain().any(|cause| {
            cause.downcast_ref::<std::io::Error>().is_some_and(|cause| cause.kind() == failure.kind())
        })
    };
    match outcome {
        Err(error) if !is_consequence(&error) => Err(error),
        _ if failure.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::from(PIPE_CLOSED)),
        _ => Err(anyhow::Error::new(failure).context("not everything could be printed")),
    }
}

/// The name of an exit code where the node has given none to the reason.
fn code_name(code: u8) -> &'static str {
    match code {
        UsageError::EXIT_CODE => "usage",
        3 => "refused",
        4 => "not-found",
        5 => "conflict",
        6 => "unreachable",
        _ => "failed",
    }
}

/// Runs one command.
pub async fn run(command: Command, connection: &Connection) -> Outcome {
    match command {
        Command::Get(args) => resource::get(args, connection).await,
        Command::Describe(args) => describe::run(args, connection).await,
        Command::List(args) => resource::list(args, connection).await,
        Command::Create(args) => resource::create(args, connection).await,
        Command::Delete(args) => removal::delete(args, connection).await,
        Command::Diff(args) => manifest::diff(args, connection).await,
        Command::Apply(args) => manifest::apply(args, connection).await,
        Command::Export(args) => manifest::export::run(args, connection).await,
        Command::Object(command) => object::run(command, connection).await,
        Command::Function(command) => function::run(command, connection).await,
        Command::Instance(command) => instance::run(command, connection).await,
        Command::Release(command) => release::run(command, connection).await,
        Command::Policy(command) => policy::run(command, connection),
        Command::Endpoint(command) => endpoint::run(command, connection).await,
        Command::Mpc(command) => mpc::run(command, connection).await,
        Command::Intel(command) => intel::run(command, connection).await,
        Command::Principal(command) => principal::run(command, connection).await,
        Command::Login(args) => session::login(args, connection).await,
        Command::Mfa(command) => mfa::run(command, connection).await,
        Command::Passkey(command) => passkey::run(command, connection).await,
        Command::Svid(command) => svid::run(command, connection).await,
        Command::Trust(command) => trust::run(command, connection).await,
        Command::Logout => session::logout(connection).await,
        Command::Whoami => session::whoami(connection).await,
        Command::Can(args) => decision::can(args, connection).await,
        Command::Events(args) => events::run(args, connection).await,
        Command::Top(args) => top::run(args, connection).await,
        Command::Cluster(command) => cluster::run(command, connection).await,
        Command::Storage(command) => storage::run(command, connection).await,
        Command::Audit(command) => audit::run(command, connection).await,
        Command::Attest(command) => attest::run(command, connection),
        Command::Pdl(command) => pdl::run(command, connection).await,
        Command::Seal(args) => sealing::seal(args, connection).await,
        Command::Open(args) => sealing::open(args, connection).await,
        Command::Keygen(args) => key_files::keygen(args, connection),
        Command::Exchange(args) => key_files::exchange(args, connection),
        Command::Xolo(args) => xolo::run(args, connection).await,
        Command::Keys(command) => keys::run(command, connection).await,
    }
}

/// The command was used wrongly in a way that the parser of the arguments does not see.
#[derive(Debug)]
pub struct UsageError(
    /// What is wrong, for people.
    pub String,
);

impl UsageError {
    const EXIT_CODE: u8 = 2;
}

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// The exit code for an error: 2 for wrong usage, that of the client's error if one is in the chain, else 1.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.chain().any(|cause| cause.is::<UsageError>()) {
        return UsageError::EXIT_CODE;
    }
    error.chain().find_map(|cause| cause.downcast_ref::<ClientError>()).map_or(1, ClientError::exit_code)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        connection: Connection,
    }

    #[test]
    fn what_could_not_be_printed_decides_unless_more_went_wrong() {
        let failure = |kind: ErrorKind| Some(std::io::Error::from(kind));
        let written = |kind| Err(anyhow::Error::new(std::io::Error::from(kind)).context("cannot write"));
        let done = || Ok(ExitCode::SUCCESS);
        let (closed, full) = (ErrorKind::BrokenPipe, ErrorKind::StorageFull);
        assert!(with_failure(done(), None).is_ok_and(|code| code == ExitCode::SUCCESS));
        for outcome in [done(), written(closed), Ok(ExitCode::FAILURE)] {
            assert!(
                with_failure(outcome, failure(closed)).is_ok_and(|code| code == ExitCode::from(PIPE_CLOSED))
            );
        }
        for outcome in [done(), written(full)] {
            assert_eq!(exit_code(&with_failure(outcome, failure(full)).unwrap_err()), 1);
        }
        let refused = Err(UsageError("wrong".to_owned()).into());
        assert_eq!(exit_code(&with_failure(refused, failure(closed)).unwrap_err()), 2);
    }

    #[test]
    fn a_flag_wins_over_a_variable_and_an_empty_one_says_nothing() {
        let check = |line: &[&str], set: &[(&str, &str)], expected: (Option<&str>, Option<&str>)| {
            let parsed = Line::try_parse_from([&["x"], line].concat()).map_err(|error| error.to_string());
            let value =
                |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
            let found = parsed.unwrap_or_else(|error| panic!("{error}")).connection.or_environment(value);
            assert_eq!((found.url.as_deref(), found.token.as_deref()), expected);
        };
        check(&[], &[], (None, None));
        check(&[], &[("CRYPTOMESH_URL", "u"), ("CRYPTOMESH_TOKEN", "")], (Some("u"), None));
        check(&["--url", "f"], &[("CRYPTOMESH_URL", "u"), ("CRYPTOMESH_TOKEN", "t")], (Some("f"), Some("t")));
    }
}
