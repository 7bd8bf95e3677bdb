//! Inputs and results that are objects of the mesh. They are split, sealed and opened here: no node sees the numbers of a sealed one.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use cm_client::{Api, ClientError};
use cm_computation::{Literal, Shape};
use cm_crypto::seal::{MAGIC, RecipientPublicKey, RecipientSecretKey, open_slice};

use super::end::rows;
use super::numbers;
use crate::object::{address, read_secret};
use crate::{Connection, Outcome, UsageError, output};

/// What inputs begin with that are objects.
const PREFIX: &str = "object:";
/// Longest object whose numbers are read, in bytes.
const OBJECT_LEN_MAX: usize = 512 << 20;

/// Numbers as [`numbers::read`] takes them, or those of an object, `object:BUCKET/KEY` or `object:BUCKET/KEY:COLUMN`, opened with
/// the secret key in a file if one is named.
pub(super) async fn read_numbers(
    api: &Api,
    text: &str,
    open_with: Option<&Path>,
) -> anyhow::Result<Vec<Literal>> {
    let Some(object) = text.strip_prefix(PREFIX) else { return numbers::read(text) };
    let secret = open_with.map(read_secret).transpose()?;
    let missing = |error: &anyhow::Error| matches!(error.downcast_ref(), Some(ClientError::Refused(refusal)) if refusal.status == 404);
    let (bytes, column) = match (fetch(api, object, secret.as_ref()).await, object.rsplit_once(':')) {
        (Err(error), Some((object, column))) if missing(&error) => {
            (fetch(api, object, secret.as_ref()).await, Some(column))
        }
        (fetched, _) => (fetched, None),
    };
    let bytes = bytes.with_context(|| object.to_owned())?;
    numbers::of_csv(bytes.as_slice(), column).with_context(|| object.to_owned())
}

/// What a whole object says, none longer than the limit; opened if it is sealed.
async fn fetch(api: &Api, object: &str, secret: Option<&RecipientSecretKey>) -> anyhow::Result<Vec<u8>> {
    let (bucket, key) = address(object)?;
    let (mut download, mut bytes) = (api.get_object(&bucket, &key).await?, Vec::new());
    while let Some(part) = download.next().await? {
        if bytes.len() + part.len() > OBJECT_LEN_MAX {
            bail!("it is longer than {} MiB", OBJECT_LEN_MAX >> 20);
        }
        bytes.extend_from_slice(&part);
    }
    match secret {
        _ if !bytes.starts_with(&MAGIC) => Ok(bytes),
        Some(secret) => Ok(open_slice(&bytes, secret)?.to_vec()),
        None => {
            Err(UsageError("it is sealed: name the file of your secret key with --open-with".to_owned())
                .into())
        }
    }
}

/// Stores a result as a table of commas that only these can open.
pub(super) async fn store(
    api: &Api,
    target: &str,
    (values, shape): (&[Literal], &Shape),
    recipients: Vec<RecipientPublicKey>,
    connection: &Connection,
) -> Outcome {
    let (bucket, key) = address(target)?;
    if recipients.is_empty() {
        bail!("nobody could open it");
    }
    let mut table = String::new();
    for row in rows(values, shape) {
        table.push_str(&row.join(","));
        table.push('\n');
    }
    let size = table.len() as u64;
    let table = io::Cursor::new(table.into_bytes());
    let view = api.put_object_sealed(&bucket, &key, table, Some(size), recipients, None).await?;
    let serde_json::Value::Object(entry) = serde_json::to_value(&view)? else { return Ok(ExitCode::SUCCESS) };
    output::entry(connection, &entry);
    Ok(ExitCode::SUCCESS)
}

/// Public keys as they are given on the command line.
pub(super) fn recipients(texts: &[String]) -> Result<Vec<RecipientPublicKey>, UsageError> {
    let parsed =
        |text: &String| text.parse().map_err(|error| UsageError(format!("--seal-to {text}: {error}")));
    texts.iter().map(parsed).collect()
}
