//! `keygen` and `exchange`: keys in files, and keys that two parties agree on.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use cm_crypto::aes_file::AesKey;
use cm_crypto::x25519::SecretKey;

use crate::destination::Destination;
use crate::sealing::{pem_public, pem_secret};
use crate::{Connection, Outcome, output};

/// `cryptomesh keygen`
#[derive(Args, Debug)]
pub struct KeygenArgs {
    /// Where to write the key; the public one is written beside it as FILE.pub.
    pub file: PathBuf,
    /// What kind of key.
    #[arg(long, default_value = "x25519")]
    pub kind: KeyKind,
}

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    /// A key pair, to seal for and to exchange with: PKCS#8 and SPKI in PEM.
    X25519,
    /// A key of 128 bits that both sides hold, in hexadecimal digits.
    Aes128,
    /// As before, of 192 bits.
    Aes192,
    /// As before, of 256 bits.
    Aes256,
}

/// `cryptomesh exchange`
#[derive(Args, Debug)]
pub struct ExchangeArgs {
    /// Your secret key, of X25519.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The public key of the other side.
    #[arg(long, value_name = "FILE")]
    pub peer: PathBuf,
    /// Where to write the key that both sides find, of 256 bits, in hexadecimal digits.
    #[arg(long, short = 'f', value_name = "FILE")]
    pub to_file: PathBuf,
    /// What the key is for. The other side must say the same, and finds another key for everything else.
    #[arg(long, value_name = "TEXT", default_value = "files", conflicts_with = "raw")]
    pub purpose: String,
    /// The shared secret as it is, which the earlier library uses as a key. For exchange with that only.
    #[arg(long)]
    pub raw: bool,
}

/// Makes a key.
pub fn keygen(args: KeygenArgs, connection: &Connection) -> Outcome {
    let bits = match args.kind {
        KeyKind::X25519 => return pair(&args.file, connection),
        KeyKind::Aes128 => 128,
        KeyKind::Aes192 => 192,
        KeyKind::Aes256 => 256,
    };
    let key = AesKey::generate(bits).expect("AES has keys of these lengths");
    write(&args.file, &format!("{}\n", key.to_hex().as_str()), 0o600)?;
    let document = serde_json::json!({ "key": args.file, "bits": bits });
    output::done(connection, &format!("{} written", args.file.display()), &document);
    Ok(ExitCode::SUCCESS)
}

fn pair(file: &Path, connection: &Connection) -> Outcome {
    let secret = SecretKey::generate();
    let mut public_file = file.as_os_str().to_owned();
    public_file.push(".pub");
    let public_file = PathBuf::from(public_file);
    // The public one first: a secret key is never there without it.
    write(&public_file, &secret.public_key().to_pem(), 0o644)?;
    if let Err(error) = write(file, &secret.to_pem(), 0o600) {
        let _ = std::fs::remove_file(&public_file);
        return Err(error);
    }
    let public = secret.public_key().to_recipient().to_string();
    let document = serde_json::json!({ "key": file, "public_key": public_file, "recipient": public });
    let said = format!("{} and {} written; others seal for {public}", file.display(), public_file.display());
    output::done(connection, &said, &document);
    Ok(ExitCode::SUCCESS)
}

/// Finds the key that two parties share.
pub fn exchange(args: ExchangeArgs, connection: &Connection) -> Outcome {
    let (own, other) = (pem_secret(&args.key)?, pem_public(&args.peer)?);
    let shared = match args.raw {
        true => own.agree_raw(&other)?,
        false => own.agree(&other, &args.purpose)?,
    };
    let key = AesKey::from_bytes(shared.expose())?;
    write(&args.to_file, &format!("{}\n", key.to_hex().as_str()), 0o600)?;
    let document = serde_json::json!({ "key": args.to_file, "raw": args.raw });
    output::done(connection, &format!("{} written", args.to_file.display()), &document);
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that must not exist yet: a key that is overwritten is lost.
fn write(file: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut destination = Destination::create(file, mode, false)?;
    destination.write_all(text.as_bytes())?;
    destination.finish()
}
