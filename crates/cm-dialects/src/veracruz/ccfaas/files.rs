//! Programs and data files of functions.
//!
//! A file is named as the policy names it, percent-encoded where an address demands it; what is no such name is tried as
//! the Base64 of one, as later clients write it. A file is there as a whole and with the hash of the policy, or not at all: an
//! upload that fails, for whatever reason, can be repeated.

use std::io;

use axum::extract::{Path, State};
use axum::response::Response;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use cm_door::{Caller, confirmed};
use cm_functions::{FileKind, FileView, FunctionError};
use cm_http::{Failure, Upload};
use cm_instance::GuestPath;
use cm_kernel::OpContext;
use cm_kernel::catalog::Record;
use cm_kernel::objects::ObjectError;
use cm_kernel::policy::{Permit, Read, Update};
use futures::{Stream, StreamExt as _};
use serde_json::json;

use super::functions::find;
use crate::failure::function_refusal;
use crate::veracruz::Veracruz;
use crate::veracruz::flask::{missing, object, refused, said};

/// As files are named in lists, and read with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What the service says about one kind of files.
struct Words {
    kind: FileKind,
    /// What a file is called in sentences.
    noun: &'static str,
    /// What a list of them is called.
    list: &'static str,
    /// The first length that is too long, in bytes.
    bytes_end: u64,
    /// The same in a sentence.
    limit: &'static str,
}

const PROGRAMS: Words =
    Words { kind: FileKind::Program, noun: "program", list: "programs", bytes_end: 10_000_000, limit: "10M" };
const DATA_FILES: Words = Words {
    kind: FileKind::DataFile,
    noun: "data_file",
    list: "data_files",
    bytes_end: 300_000_000,
    limit: "300M",
};

/// One file of a function, as the address names it.
type Address = Path<(String, String)>;

impl Words {
    async fn files(
        &self,
        veracruz: &Veracruz,
        op: &OpContext,
        function: &Record,
        permit: &Permit<Read>,
    ) -> Result<Vec<FileView>, Failure> {
        veracruz.functions.list_files(op, function, permit, self.kind).await.map_err(function_refusal)
    }

    /// The file that the address means; `None` if the function's policy names none such.
    async fn file(
        &self,
        veracruz: &Veracruz,
        op: &OpContext,
        function: &str,
        file: &str,
    ) -> Result<Option<FileView>, Failure> {
        let (record, permit, _) = find::<Read>(veracruz, op, function).await?;
        let mut files = self.files(veracruz, op, &record, &permit).await?;
        let decoded = BASE64.decode(file).ok().and_then(|name| String::from_utf8(name).ok());
        let names = [Some(file.to_owned()), decoded];
        let mut paths = names.into_iter().flatten().filter_map(|name| GuestPath::parse(&name).ok());
        let at = paths.find_map(|path| files.iter().position(|file| is_at(file, &path)));
        Ok(at.map(|at| files.swap_remove(at)))
    }

    async fn list(&self, veracruz: Veracruz, caller: Caller, function: &str) -> Result<Response, Failure> {
        let names: Vec<String> = match find::<Read>(&veracruz, &caller, function).await {
            Ok((record, permit, _)) => {
                let files = self.files(&veracruz, &caller, &record, &permit).await?;
                let loaded = files.into_iter().filter(|file| file.size.is_some());
                loaded.map(|file| BASE64.encode(file.name)).collect()
            }
            // Nothing is loaded into a function that does not exist; clients ask before they register it.
            Err(failure) if failure.class() == cm_http::FailureClass::NotFound => Vec::new(),
            Err(failure) => return Err(failure),
        };
        Ok(object(&json!({ self.list: names })))
    }

    async fn read(
        &self,
        veracruz: Veracruz,
        caller: Caller,
        Path((function, file)): Address,
    ) -> Result<Response, Failure> {
        let noun = self.noun;
        let found = self.file(&veracruz, &caller, &function, &file).await?;
        match found.filter(|found| found.size.is_some()) {
            Some(found) => Ok(said(&format!("{noun} {} is loaded in function {function}", found.name))),
            None => Err(missing(format!("{noun} {file} for function {function} is not loaded"))),
        }
    }

    async fn write(
        &self,
        veracruz: Veracruz,
        caller: Caller,
        Path((function, file)): Address,
        body: Upload,
    ) -> Result<Response, Failure> {
        let noun = self.noun;
        let (record, permit, _) = find::<Update>(&veracruz, &caller, &function).await?;
        let Some(found) = self.file(&veracruz, &caller, &function, &file).await? else {
            return Err(missing(format!("{noun} {file} does not exist on function {function}")));
        };
        let name = found.name;
        if found.size.is_some() {
            return Err(refused(format!("{noun} {name} for function {function} already exists")));
        }
        let too_large = {
            let (end, limit) = (self.bytes_end, self.limit);
            let sentence =
                format!("{noun} {name} for function {function} is too large, it must be below {limit}");
            move |length: u64| (length >= end).then(|| refused(sentence.clone()))
        };
        if let Some(failure) = body.content_length().and_then(&too_large) {
            return Err(failure);
        }
        let body = bounded(body.into_stream(), too_large);
        let body = confirmed(body, still_permitted(veracruz.clone(), caller.clone(), function.clone()));
        let put = veracruz.functions.put_file(&caller, &record, &permit, self.kind, &name, body).await;
        put.map_err(|error| match error {
            FunctionError::Objects(ObjectError::DigestMismatch { expected, found, .. }) => refused(format!(
                "{noun} {name} for function {function} hash {found} does not match function description {expected}"
            )),
            FunctionError::Objects(ObjectError::TooLarge { .. }) => {
                refused(format!("{noun} {name} for function {function} is too large"))
            }
            error => function_refusal(error),
        })?;
        Ok(match self.kind {
            FileKind::Program => said("function loaded!"),
            FileKind::DataFile => said(&format!("{noun} {name} loaded!")),
        })
    }

    async fn delete(
        &self,
        veracruz: Veracruz,
        caller: Caller,
        Path((function, file)): Address,
    ) -> Result<Response, Failure> {
        let noun = self.noun;
        let (record, permit, _) = find::<Update>(&veracruz, &caller, &function).await?;
        let not_loaded = || missing(format!("{noun} {file} for function {function} is not loaded"));
        let found = self.file(&veracruz, &caller, &function, &file).await?;
        let name = found.filter(|found| found.size.is_some()).ok_or_else(not_loaded)?.name;
        let deleted = veracruz.functions.delete_file(&caller, &record, &permit, self.kind, &name).await;
        match deleted.map_err(function_refusal)? {
            true => Ok(said(&format!("{noun} {name} is deleted from function {function}"))),
            false => Err(not_loaded()),
        }
    }
}

fn is_at(file: &FileView, path: &GuestPath) -> bool {
    GuestPath::parse(&file.name).is_ok_and(|named| named == *path)
}

/// The body, which ends with a failure as soon as it is too long.
fn bounded(
    body: impl Stream<Item = io::Result<Bytes>> + Send,
    too_large: impl Fn(u64) -> Option<Failure> + Send,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let mut length = 0;
    body.map(move |piece| {
        let piece = piece?;
        length += piece.len() as u64;
        match too_large(length) {
            Some(failure) => Err(io::Error::new(io::ErrorKind::FileTooLarge, failure)),
            None => Ok(piece),
        }
    })
}

/// Whether the caller may, when the body has arrived, still change the function.
async fn still_permitted(veracruz: Veracruz, caller: Caller, function: String) -> Result<(), Failure> {
    let caller = caller.again(&veracruz.kernel).await?;
    find::<Update>(&veracruz, &caller, &function).await.map(drop)
}

/// The handlers of one kind of files.
macro_rules! handlers {
    ($words:ident: $list:ident, $read:ident, $write:ident, $delete:ident) => {
        pub(super) async fn $list(
            State(veracruz): State<Veracruz>,
            caller: Caller,
            Path(function): Path<String>,
        ) -> Result<Response, Failure> {
            $words.list(veracruz, caller, &function).await
        }

        pub(super) async fn $read(
            State(veracruz): State<Veracruz>,
            caller: Caller,
            address: Address,
        ) -> Result<Response, Failure> {
            $words.read(veracruz, caller, address).await
        }

        pub(super) async fn $write(
            State(veracruz): State<Veracruz>,
            caller: Caller,
            address: Address,
            body: Upload,
        ) -> Result<Response, Failure> {
            $words.write(veracruz, caller, address, body).await
        }

        pub(super) async fn $delete(
            State(veracruz): State<Veracruz>,
            caller: Caller,
            address: Address,
        ) -> Result<Response, Failure> {
            $words.delete(veracruz, caller, address).await
        }
    };
}

handlers!(PROGRAMS: list_programs, read_program, write_program, delete_program);
handlers!(DATA_FILES: list_data_files, read_data_file, write_data_file, delete_data_file);
