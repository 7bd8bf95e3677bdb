//! `seal` and `open`: files that only the holders of a key read.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use cm_crypto::aes_file::{self, AesFileError, AesKey};
use cm_crypto::seal::{Opener, RecipientPublicKey, RecipientSecretKey, SealError, Sealer, looks_sealed};
use cm_crypto::secret::wipe;
use cm_crypto::x25519;

use self::watch::{Signals, Stoppable, Watch};
use crate::destination::Destination;
use crate::{Connection, Outcome, UsageError, output};

/// The code for what is refused.
const REFUSED: u8 = 3;
/// How much is copied at once.
const PIECE_BYTES: usize = 256 * 1024;
/// Longest blob of the earlier library, which is opened in memory.
const BLOB_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// `cryptomesh seal`
#[derive(Args, Debug)]
#[command(after_help = "Exit codes: 0 sealed, 1 failed, 2 wrong usage, 130 interrupted, 143 ended.")]
pub struct SealArgs {
    /// The file to seal; `-` reads standard input.
    pub file: PathBuf,
    /// Where to write the sealed file [default: FILE.sealed, or FILE.enc with --compat].
    #[arg(long, short = 'f', value_name = "FILE")]
    pub to_file: Option<PathBuf>,
    /// Seal for the holder of this public key: `cmpub1…`, or a file with `PUBLIC KEY`. May be given several times.
    #[arg(long = "for", value_name = "KEY", required_unless_present = "compat", conflicts_with = "compat")]
    pub recipients: Vec<String>,
    /// Which key, and which format.
    #[command(flatten)]
    pub compat: CompatArgs,
    /// Replace what is there.
    #[arg(long)]
    pub force: bool,
}

/// `cryptomesh open`
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 opened, 1 failed, 2 wrong usage, 3 altered or sealed for another key, 130 interrupted, 143 ended."
)]
pub struct OpenArgs {
    /// The sealed file.
    pub file: PathBuf,
    /// Where to write what it holds [default: FILE without its ending].
    #[arg(long, short = 'f', value_name = "FILE")]
    pub to_file: Option<PathBuf>,
    /// Which key, and which format.
    #[command(flatten)]
    pub compat: CompatArgs,
    /// Replace what is there.
    #[arg(long)]
    pub force: bool,
}

/// Which key, and which format.
#[derive(Args, Debug)]
pub struct CompatArgs {
    /// The secret key: a file of `cryptomesh keygen` or `keys seal`; with --compat one with an AES key in hexadecimal digits, or an
    /// X25519 key beside --peer.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The format of the earlier storage library, AES-GCM under a shared key: `file` as its files, `blob` as what it seals in
    /// memory.
    #[arg(long, value_name = "FORMAT")]
    pub compat: Option<Compat>,
    /// The public key of the other side, whose X25519 secret shared with --key is used as the AES key, as the earlier library
    /// does.
    #[arg(long, value_name = "FILE", requires = "compat")]
    pub peer: Option<PathBuf>,
    /// What the file was sealed with besides the key.
    #[arg(long, value_name = "TEXT", requires = "compat", default_value = "")]
    pub aad: String,
}

/// A format of the earlier storage library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compat {
    /// Ciphertext, nonce, tag.
    File,
    /// Tag, ciphertext, nonce.
    Blob,
}

/// Runs the work beside the runtime until it is done or somebody stops it, by Ctrl-C or by ending the command; either way nothing
/// half is left.
async fn watched(
    connection: &Connection,
    (file, total): (&Path, Option<u64>),
    work: impl FnOnce(&Watch) -> anyhow::Result<(PathBuf, u64)> + Send + 'static,
    verb: &str,
) -> Outcome {
    let (bar, progress) = output::progress(connection, total, &file.display().to_string());
    let watch = Watch::new(progress);
    let mut signals = Signals::listen()?;
    let inner = watch.clone();
    let mut working = tokio::task::spawn_blocking(move || work(&inner));
    let (done, signal) = tokio::select! {
        done = &mut working => (done?, None),
        signal = signals.heard() => {
            watch.stop();
            (working.await?, Some(signal))
        }
    };
    bar.finish_and_clear();
    match done {
        Ok((target, size)) => {
            let document = serde_json::json!({ "file": file, "to": target, "size": size });
            output::done(
                connection,
                &format!("{} {verb} as {}", file.display(), target.display()),
                &document,
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(_) if let Some(signal) = signal => {
            output::note(connection, "interrupted; nothing was written");
            Ok(ExitCode::from(signal))
        }
        Err(error) if is_refusal(&error) => {
            output::error(&format!("{error:#}; nothing was written"));
            Ok(ExitCode::from(REFUSED))
        }
        Err(error) => Err(error),
    }
}

fn is_refusal(error: &anyhow::Error) -> bool {
    let sealed = |error: &SealError| {
        !matches!(error, SealError::Io(_) | SealError::Recipients { .. } | SealError::TooLong)
    };
    error.chain().any(|cause| {
        matches!(cause.downcast_ref::<AesFileError>(), Some(AesFileError::Sealed | AesFileError::Changed))
            || cause.downcast_ref::<SealError>().is_some_and(sealed)
            || cause.downcast_ref::<cm_crypto::CryptoError>() == Some(&cm_crypto::CryptoError::Sealed)
            || cause
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
                .is_some_and(|inner| inner.downcast_ref::<SealError>().is_some_and(sealed))
    })
}

/// Seals a file.
pub async fn seal(args: SealArgs, connection: &Connection) -> Outcome {
    let ending = if args.compat.compat.is_some() { "enc" } else { "sealed" };
    let named =
        args.to_file.or_else(|| (args.file != Path::new("-")).then(|| with_ending(&args.file, ending)));
    let target = named.ok_or_else(|| {
        UsageError("--to-file says where to write what standard input is sealed as".to_owned())
    })?;
    let total = std::fs::metadata(&args.file).map(|found| found.len()).ok();
    let how = args.compat.how()?;
    let recipients = args.recipients.iter().map(|key| recipient(key)).collect::<anyhow::Result<Vec<_>>>()?;
    let (file, force) = (args.file.clone(), args.force);
    let work = move |watch: &Watch| {
        let source: Box<dyn Read> = match file == Path::new("-") {
            // Without the buffer of the library, in which bytes could wait while nothing more comes.
            true => Box::new(Stoppable::new(File::from(io::stdin().as_fd().try_clone_to_owned()?), watch)),
            false => Box::new(Stoppable::new(open_file(&file)?, watch)),
        };
        let mut destination = Destination::create(&target, 0o644, force)?;
        let size = match &how {
            None => seal_for(source, &mut destination, &recipients, watch)?,
            Some((Compat::File, key, aad)) => {
                aes_file::seal(key, aad.as_bytes(), source, &mut destination, |bytes| watch.moved(bytes))?
            }
            Some((Compat::Blob, key, aad)) => {
                let mut plaintext = in_memory(source)?;
                let blob = aes_file::seal_blob(key, aad.as_bytes(), &plaintext);
                let size = plaintext.len() as u64;
                wipe(&mut plaintext);
                watch.moved(size)?;
                destination.write_all(&blob)?;
                size
            }
        };
        destination.finish()?;
        Ok((target, size))
    };
    watched(connection, (&args.file, total), work, "sealed").await
}

fn seal_for(
    mut source: impl Read,
    destination: &mut Destination,
    recipients: &[RecipientPublicKey],
    watch: &Watch,
) -> anyhow::Result<u64> {
    let mut sealer = Sealer::new(destination, recipients)?;
    let size = copy(&mut source, &mut sealer, watch)?;
    sealer.finish()?;
    Ok(size)
}

/// Opens a file.
pub async fn open(args: OpenArgs, connection: &Connection) -> Outcome {
    // Before anything is asked about it: a name with a typing error often has no ending either.
    std::fs::metadata(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let target = match args.to_file {
        Some(target) => target,
        None => without_ending(&args.file)?,
    };
    let total = std::fs::metadata(&args.file).map(|found| found.len()).ok();
    let how = args.compat.how()?;
    let secret = match (&how, &args.compat.key) {
        (None, Some(key)) => Some(secret(key)?),
        (None, None) => {
            return Err(UsageError("--key says which secret key opens the file".to_owned()).into());
        }
        (Some(_), _) => None,
    };
    let (file, force) = (args.file.clone(), args.force);
    // A file of the earlier format is read twice.
    let total = total.map(|total| if matches!(how, Some((Compat::File, ..))) { 2 * total } else { total });
    let work = move |watch: &Watch| {
        let mut source = open_file(&file)?;
        // What is opened was sealed so that not everybody reads it.
        let mut destination = Destination::create(&target, 0o600, force)?;
        let size = match (&how, &secret) {
            (Some((Compat::File, key, aad)), _) => {
                aes_file::open(key, aad.as_bytes(), source, &mut destination, |bytes| watch.moved(bytes))?
            }
            (Some((Compat::Blob, key, aad)), _) => {
                let blob = in_memory(source)?;
                let plaintext = aes_file::open_blob(key, aad.as_bytes(), &blob)?;
                watch.moved(blob.len() as u64)?;
                destination.write_all(&plaintext)?;
                plaintext.len() as u64
            }
            (None, Some(secret)) => {
                demand_sealed(&mut source, &file)?;
                let mut opener = Opener::new(source, secret)?;
                // The end was reached, hence every segment was authentic and none is missing.
                copy(&mut opener, &mut destination, watch)?
            }
            (None, None) => unreachable!("a key was demanded above"),
        };
        destination.finish()?;
        Ok((target, size))
    };
    watched(connection, (&args.file, total), work, "opened").await
}

fn copy(source: &mut impl Read, target: &mut impl Write, watch: &Watch) -> anyhow::Result<u64> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut size = 0;
    loop {
        let read = match source.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        target.write_all(&piece[..read])?;
        size += read as u64;
        watch.moved(size)?;
    }
    wipe(&mut piece);
    Ok(size)
}

impl CompatArgs {
    /// The format and the key of the earlier library, if that is asked for.
    fn how(&self) -> anyhow::Result<Option<(Compat, AesKey, String)>> {
        let Some(compat) = self.compat else { return Ok(None) };
        let file = self.key.as_deref();
        let file = file.ok_or_else(|| UsageError("--key says under which key".to_owned()))?;
        let key = match &self.peer {
            None => AesKey::from_hex(&text(file)?).with_context(|| {
                format!("{} holds no AES key of 128, 192 or 256 bits in hexadecimal digits", file.display())
            })?,
            Some(peer) => {
                let shared = pem_secret(file)?.agree_raw(&pem_public(peer)?)?;
                AesKey::from_bytes(shared.expose())?
            }
        };
        Ok(Some((compat, key, self.aad.clone())))
    }
}

fn demand_sealed(source: &mut File, file: &Path) -> anyhow::Result<()> {
    let mut beginning = [0; 8];
    let is_sealed = source.read_exact(&mut beginning).is_ok() && looks_sealed(&beginning);
    io::Seek::rewind(source)?;
    if is_sealed {
        return Ok(());
    }
    let message = format!(
        "{} is no sealed file; if the earlier library made it, --compat file says so",
        file.display()
    );
    Err(UsageError(message).into())
}

fn in_memory(source: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(BLOB_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > BLOB_BYTES_MAX {
        true => Err(UsageError(format!(
            "a blob may have at most {BLOB_BYTES_MAX} bytes; --compat file has no such limit"
        ))
        .into()),
        false => Ok(bytes),
    }
}

fn open_file(file: &Path) -> anyhow::Result<File> {
    File::open(file).with_context(|| format!("cannot read {}", file.display()))
}

pub(crate) fn text(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// A public key: its text, or a file with one.
fn recipient(key: &str) -> anyhow::Result<RecipientPublicKey> {
    if key.starts_with("cmpub1") {
        return Ok(key.parse()?);
    }
    Ok(pem_public(Path::new(key))?.to_recipient())
}

/// A secret key: `PRIVATE KEY`, or the text form among comments.
fn secret(file: &Path) -> anyhow::Result<RecipientSecretKey> {
    let text = text(file)?;
    if text.contains("-----BEGIN") {
        return Ok(pem_secret(file)?.to_recipient());
    }
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    line.unwrap_or_default().parse().with_context(|| format!("{} holds no secret key", file.display()))
}

pub(crate) fn pem_secret(file: &Path) -> anyhow::Result<x25519::SecretKey> {
    x25519::SecretKey::from_pem(&text(file)?)
        .with_context(|| format!("{} holds no private key of X25519", file.display()))
}

pub(crate) fn pem_public(file: &Path) -> anyhow::Result<x25519::PublicKey> {
    x25519::PublicKey::from_pem(&text(file)?)
        .with_context(|| format!("{} holds no public key of X25519", file.display()))
}

fn with_ending(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn without_ending(file: &Path) -> anyhow::Result<PathBuf> {
    let known = file.extension().is_some_and(|ending| ending == "sealed" || ending == "enc");
    match known {
        true => Ok(file.with_extension("")),
        false => Err(UsageError("--to-file says where to write what the file holds".to_owned()).into()),
    }
}

mod watch;

#[cfg(test)]
mod tests;
