//! What a batch changes, as bytes that every node understands.
//!
//! A version of the format; the data's versions if they change; the tables that are created; then table by table the changed
//! keys, each with its value or none. All lengths come first, big-endian.

use std::collections::BTreeMap;

use crate::engine::WriteStore;
use crate::engine::overlay::Changes;
use crate::tx::{KEY_LEN_MAX, ROW_LEN_MAX};
use crate::{DbError, Versions};

use super::journal::damaged;

const FORMAT: u8 = 1;
/// Longest name of a table, in bytes.
const NAME_LEN_MAX: usize = 61;

pub(super) fn encode(
    versions: Option<Versions>,
    created: &[String],
    tables: &BTreeMap<String, Changes>,
) -> Vec<u8> {
    let mut out = vec![FORMAT, u8::from(versions.is_some())];
    let Versions { data, compatible_from } = versions.unwrap_or_default();
    out.extend(data.to_be_bytes());
    out.extend(compatible_from.to_be_bytes());
    put_len(&mut out, created.len());
    created.iter().for_each(|name| put_bytes(&mut out, name.as_bytes()));
    put_len(&mut out, tables.len());
    for (name, changes) in tables {
        put_bytes(&mut out, name.as_bytes());
        put_len(&mut out, changes.len());
        for (key, value) in changes {
            put_bytes(&mut out, key);
            out.push(u8::from(value.is_some()));
            put_bytes(&mut out, value.as_deref().unwrap_or_default());
        }
    }
    out
}

/// Whether the changes can be made by every node of this version: what cannot be decoded would stop all of them.
pub(super) fn check(bytes: &[u8]) -> Result<(), DbError> {
    struct Nothing;
    impl Sink for Nothing {}
    walk(bytes, &Nothing)
}

/// What is done with changes. Nothing, unless said.
trait Sink {
    fn create_table(&self, _table: &str) -> Result<(), DbError> {
        Ok(())
    }

    fn set(&self, _table: &str, _key: &[u8], _value: Option<&[u8]>) -> Result<(), DbError> {
        Ok(())
    }

    fn set_versions(&self, _versions: Versions) -> Result<(), DbError> {
        Ok(())
    }
}

struct Store<'a>(&'a dyn WriteStore);

impl Sink for Store<'_> {
    fn create_table(&self, table: &str) -> Result<(), DbError> {
        self.0.create_table(table)
    }

    fn set(&self, table: &str, key: &[u8], value: Option<&[u8]>) -> Result<(), DbError> {
        match value {
            Some(value) => self.0.put(table, key, value),
            None => self.0.delete(table, key).map(drop),
        }
    }

    fn set_versions(&self, versions: Versions) -> Result<(), DbError> {
        self.0.set_versions(versions)
    }
}

/// Makes the changes.
pub(super) fn apply(bytes: &[u8], store: &dyn WriteStore) -> Result<(), DbError> {
    walk(bytes, &Store(store))
}

fn walk(bytes: &[u8], store: &impl Sink) -> Result<(), DbError> {
    let mut input = Input(bytes);
    if input.u8()? != FORMAT {
        return Err(damaged(
            "an entry was written by a newer program; start the version that the other nodes have",
        ));
    }
    let versions = input.u8()? == 1;
    let (data, compatible_from) = (input.u32()?, input.u32()?);
    for _ in 0..input.u32()? {
        store.create_table(&input.name()?)?;
    }
    for _ in 0..input.u32()? {
        let name = input.name()?;
        for _ in 0..input.u32()? {
            let key = input.bytes(KEY_LEN_MAX)?;
            let is_there = input.u8()? == 1;
            let value = input.bytes(ROW_LEN_MAX)?;
            store.set(&name, key, is_there.then_some(value))?;
        }
    }
    if versions {
        store.set_versions(Versions { data, compatible_from })?;
    }
    if input.0.is_empty() { Ok(()) } else { Err(damaged("an entry has something after its end")) }
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    out.extend(u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend(bytes);
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], DbError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(|| damaged("an entry is cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, DbError> {
        Ok(self.take(1)?.iter().fold(0, |_, byte| *byte))
    }

    fn u32(&mut self) -> Result<u32, DbError> {
        Ok(self.take(4)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn bytes(&mut self, max: usize) -> Result<&'a [u8], DbError> {
        let len = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if len > max { Err(damaged("an entry has a length that is none")) } else { self.take(len) }
    }

    /// A name that becomes a part of SQL text.
    fn name(&mut self) -> Result<String, DbError> {
        let name = self.bytes(NAME_LEN_MAX)?;
        let valid = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'_';
        if name.is_empty() || !name.iter().all(valid) {
            return Err(damaged("a table's name is none"));
        }
        String::from_utf8(name.to_vec()).map_err(damaged)
    }
}
