//! `policy generate`: policies from certificates, programs and rights.
//!
//! Takes the options of the published generator, so that its callers need no other, and makes besides its full
//! policies those that register a function and ask for an instance.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{ArgAction, Args, ValueEnum};
use cm_crypto::digest::sha256;
use cm_instance::draft::{self, Draft, Place};
use cm_instance::policy::{Certificate, ExecutionStrategy, FileRight, sorted_text};
use cm_instance::{FileName, Pipeline};
use cm_types::Sha256Digest;

use crate::{Connection, Outcome, UsageError, output};

/// `cryptomesh policy generate`
#[derive(Args, Debug)]
#[command(
    disable_help_flag = true,
    after_help = "One --capability belongs to each --certificate, then to each --program-binary, then to each --pipeline, in their \
order. Its rights are letters of r, w and x or a number (see `policy explain`):\n\n  \
cryptomesh policy generate --form program --function sum \\\n    --program-binary /program/sum.wasm=sum.wasm --capability /input/:r,/output/:w\n  \
cryptomesh policy generate --form user --function sum --instance today \\\n    --certificate alice.cert.pem --capability /input/:w,/program/:x,/output/:r"
)]
pub struct GenerateArgs {
    /// Which document to make.
    #[arg(long, value_enum, default_value_t = Form::Full)]
    pub form: Form,
    /// The function's name, for the forms program and user.
    #[arg(long, value_name = "NAME")]
    pub function: Option<String>,
    /// The instance's name, for the forms user and vaas.
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// The certificate of somebody who may speak to the instance, in PEM. May be repeated.
    #[arg(long, short = 'c', value_name = "FILE")]
    pub certificate: Vec<PathBuf>,
    /// What one of them may do: NAME:RIGHTS,... One for each certificate, program and pipeline.
    #[arg(long, short = 'p', value_name = "CAPABILITIES")]
    pub capability: Vec<String>,
    /// A program: FILE, or NAME=FILE with its name inside; several joined by commas. May be repeated.
    #[arg(long, short = 'w', alias = "binary", value_name = "FILE")]
    pub program_binary: Vec<String>,
    /// Programs one after the other: `a.wasm ; if /path { b.wasm } else { c.wasm }`. May be repeated.
    #[arg(long, value_name = "SCRIPT")]
    pub pipeline: Vec<String>,
    /// Another file with a fixed content, in the same way as a program. May be repeated.
    #[arg(long, short = 'h', value_name = "FILE")]
    pub hashes: Vec<String>,
    /// Where the instance listens: IP:PORT.
    #[arg(long, short = 's', value_name = "ADDRESS")]
    pub veracruz_server_ip: Option<std::net::SocketAddr>,
    /// Where its evidence is asked for: IP:PORT.
    #[arg(long, short = 't', value_name = "ADDRESS")]
    pub proxy_attestation_server_ip: Option<std::net::SocketAddr>,
    /// The certificate of the authority that certifies the instance, in PEM.
    #[arg(long, value_name = "FILE")]
    pub proxy_attestation_server_cert: Option<PathBuf>,
    /// When the instance's certificate ends, as `date --rfc-2822` prints it.
    #[arg(long, short = 'x', value_name = "MOMENT")]
    pub certificate_expiry: Option<String>,
    /// The executable that runs the instance.
    #[arg(long, short = 'b', value_name = "FILE")]
    pub css_file: Option<PathBuf>,
    /// A file with the PCR0 of a Nitro instance in hexadecimal digits.
    #[arg(long, short = 'l', value_name = "FILE")]
    pub pcr_file: Option<PathBuf>,
    /// The measurement of a SEV-SNP instance in hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    pub sevsnp_hash: Option<String>,
    /// How programs are run.
    #[arg(long, short = 'e', value_enum, default_value_t = Strategy::Jit, ignore_case = true)]
    pub execution_strategy: Strategy,
    /// Let programs read a clock.
    #[arg(long, short = 'n')]
    pub enable_clock: bool,
    /// Let reports tell what only programs know.
    #[arg(long, short = 'd')]
    pub enclave_debug_mode: bool,
    /// Most linear memory of a program, in MiB.
    #[arg(long, short = 'm', value_name = "MIB", default_value_t = cm_instance::policy::MEMORY_MIB_DEFAULT)]
    pub max_memory_mib: u32,
    /// Where to write the policy [default: standard output].
    #[arg(long, value_name = "FILE")]
    pub output_policy_file: Option<PathBuf>,
    /// Refused: instances run WebAssembly only.
    #[arg(long, hide = true)]
    pub native_module_name: Vec<String>,
    /// Refused with the above.
    #[arg(long, hide = true)]
    pub native_module_entry_point: Vec<String>,
    /// Refused with the above.
    #[arg(long, hide = true)]
    pub native_module_special_file: Vec<String>,
    /// Print help.
    #[arg(long, action = ArgAction::Help)]
    pub help: Option<bool>,
}

/// Which document to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// What an instance obeys.
    Full,
    /// Asks for an instance and brings its programs.
    Vaas,
    /// Registers a function.
    Program,
    /// Asks for an instance of a function.
    User,
}

/// How programs are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    /// By an interpreter.
    #[value(name = "Interpretation")]
    Interpretation,
    /// Compiled.
    #[value(name = "JIT")]
    Jit,
}

/// Makes one.
pub(crate) fn run(args: &GenerateArgs, connection: &Connection) -> Outcome {
    let draft = draft(args)?;
    let text = match args.form {
        Form::Program => sorted_text(&draft.program_policy(needed(args.function.as_deref(), "--function")?)?),
        Form::User => {
            let function = needed(args.function.as_deref(), "--function")?;
            sorted_text(&draft.user_policy(function, needed(args.instance.as_deref(), "--instance")?)?)
        }
        Form::Vaas => {
            let expiry = args.certificate_expiry.as_deref().map(draft::moment).transpose().map_err(wrong)?;
            sorted_text(&draft.vaas_policy(args.instance.as_deref(), expiry)?)
        }
        Form::Full => draft.full_policy(&place(args)?)?.to_text().as_str().to_owned(),
    };
    match &args.output_policy_file {
        None => output::line(&text),
        Some(file) => {
            write(file, &text).with_context(|| format!("cannot write {}", file.display()))?;
            let hash = sha256(text.as_bytes());
            let document = serde_json::json!({ "file": file, "sha256": hash });
            output::done(connection, &format!("{} written, SHA-256 {hash}", file.display()), &document);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The file has exactly the text's bytes: no line end that would change the hash.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let mut written = std::fs::File::create(file)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()
}

fn draft(args: &GenerateArgs) -> anyhow::Result<Draft> {
    if !args.native_module_name.is_empty() {
        return Err(wrong("native modules are not supported: instances run WebAssembly only"));
    }
    let programs = contents(&args.program_binary)?;
    let pipelines: Vec<Pipeline> = args
        .pipeline
        .iter()
        .map(|text| Pipeline::parse(text.as_str()).map_err(|error| wrong(format!("--pipeline: {error}"))))
        .collect::<anyhow::Result<_>>()?;
    if args.form == Form::User && !(programs.is_empty() && pipelines.is_empty()) {
        return Err(wrong("a user policy has certificates only; programs belong to the function's policy"));
    }
    if args.form == Form::Program && !args.certificate.is_empty() {
        return Err(wrong("a program policy has no certificates; they belong to the policy of whoever asks"));
    }
    let expected = args.certificate.len() + programs.len() + pipelines.len();
    if args.capability.len() != expected {
        let (found, certificates) = (args.capability.len(), args.certificate.len());
        return Err(wrong(format!(
            "{found} --capability for {certificates} certificates, {} programs and {} pipelines; give one for each",
            programs.len(),
            pipelines.len(),
        )));
    }
    let mut rights = Vec::new();
    for text in &args.capability {
        rights
            .push(draft::capabilities(text).map_err(|error| wrong(format!("--capability {text}: {error}")))?);
    }
    let mut rights = rights.into_iter();
    let mut next = || -> Vec<FileRight> { rights.next().unwrap_or_default() };
    let certificates: Vec<Certificate> =
        args.certificate.iter().map(|file| certificate(file)).collect::<anyhow::Result<_>>()?;
    Ok(Draft {
        certificates: certificates.into_iter().map(|certificate| (certificate, next())).collect(),
        programs: programs.into_iter().map(|(name, hash)| (name, hash, next())).collect(),
        pipelines: pipelines.into_iter().map(|pipeline| (pipeline, next())).collect(),
        files: contents(&args.hashes)?,
        execution_strategy: match args.execution_strategy {
            Strategy::Interpretation => ExecutionStrategy::Interpretation,
            Strategy::Jit => ExecutionStrategy::Jit,
        },
        enable_clock: args.enable_clock,
        debug: args.enclave_debug_mode,
        max_memory_mib: args.max_memory_mib,
    })
}

fn place(args: &GenerateArgs) -> anyhow::Result<Place> {
    let attestation =
        needed(args.proxy_attestation_server_cert.as_deref(), "--proxy-attestation-server-cert")?;
    let expiry = needed(args.certificate_expiry.as_deref(), "--certificate-expiry")?;
    let address = needed(args.proxy_attestation_server_ip, "--proxy-attestation-server-ip")?;
    let text = |file: &PathBuf| {
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
    };
    let nitro = args.pcr_file.as_ref().map(text).transpose()?;
    let linux = args.css_file.as_deref().map(digest).transpose()?;
    if nitro.is_none() && linux.is_none() && args.sevsnp_hash.is_none() {
        return Err(wrong("say what may run the instance: --css-file, --pcr-file or --sevsnp-hash"));
    }
    let sevsnp = args.sevsnp_hash.as_ref().map(|digits| digits.to_ascii_lowercase());
    if sevsnp.as_ref().is_some_and(|digits| !digits.bytes().all(|digit| digit.is_ascii_hexdigit())) {
        return Err(wrong("--sevsnp-hash must be hexadecimal digits"));
    }
    Ok(Place {
        server: needed(args.veracruz_server_ip, "--veracruz-server-ip")?.to_string(),
        attestation_server: address.to_string(),
        attestation_certificate: certificate(attestation)?,
        expiry: draft::moment(expiry).map_err(wrong)?,
        linux: linux.map(|hash| hash.to_string()),
        nitro: nitro.as_deref().map(draft::nitro_measurement).transpose().map_err(wrong)?,
        sevsnp,
    })
}

fn certificate(file: &Path) -> anyhow::Result<Certificate> {
    let pem = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Certificate::parse(pem.trim()).with_context(|| format!("{} is no certificate in PEM", file.display()))
}

/// Names and hashes of files given as `FILE` or `NAME=FILE`, several joined by commas.
fn contents(values: &[String]) -> anyhow::Result<Vec<(FileName, Sha256Digest)>> {
    let mut found = Vec::new();
    for entry in values.iter().flat_map(|value| value.split(',')) {
        let (name, file) = entry.split_once('=').unwrap_or((entry, entry));
        let name = draft::file_name(name).map_err(|error| wrong(format!("`{entry}`: {error}")))?;
        found.push((name, digest(Path::new(file))?));
    }
    Ok(found)
}

/// SHA-256 of a file, whatever its length.
fn digest(file: &Path) -> anyhow::Result<Sha256Digest> {
    use std::io::Read as _;
    let unreadable = || format!("cannot read {}", file.display());
    let mut opened = std::fs::File::open(file).with_context(unreadable)?;
    let mut hash = cm_crypto::digest::Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match opened.read(&mut buffer).with_context(unreadable)? {
            0 => return Ok(hash.finish()),
            length => hash.update(&buffer[..length]),
        }
    }
}

fn needed<T>(value: Option<T>, option: &str) -> anyhow::Result<T> {
    value.ok_or_else(|| wrong(format!("{option} is needed for this form of policy")))
}

fn wrong(what: impl std::fmt::Display) -> anyhow::Error {
    UsageError(what.to_string()).into()
}
