//! Keys as bytes that sort like the keys and say where they end.
//!
//! Texts and byte strings are written with every `00` as `00 FF` and closed by `00 01`: a text that is
//! the beginning of another sorts first, and whatever follows cannot be mistaken for a part of it.
//! Numbers are big-endian. A tuple is its parts in order, so that the encoding of `a` is the beginning
//! of the encoding of every `(a, _)`. (The idea is that of FoundationDB's tuple layer; two bytes close
//! a text here, because the next part may begin with `FF`.)

use cm_types::{
    BucketName, ObjectKey, PrincipalId, RequestId, ResourceId, ResourceKind, ResourceRef, Sha256Digest,
    TenantId, Timestamp,
};

/// Stored bytes that are no key of the expected type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The bytes end too early.
    #[error("key ends after {0} bytes, too early")]
    Short(usize),
    /// Bytes remain after the last part.
    #[error("{0} bytes follow the key")]
    Long(usize),
    /// A zero byte that neither is escaped nor closes the text.
    #[error("key contains an unescaped zero byte")]
    Escape,
    /// A text is not UTF-8, or not what the type allows.
    #[error("key part is no {0}")]
    Value(&'static str),
}

/// A value that names a row. Its bytes sort as the value does.
pub trait Key: Sized {
    /// Appends the bytes.
    fn encode_to(&self, out: &mut Vec<u8>);

    /// Takes one value off the front of `input`.
    fn decode_from(input: &mut &[u8]) -> Result<Self, InvalidKey>;

    /// The bytes.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        self.encode_to(&mut out);
        out
    }

    /// The value of exactly these bytes.
    fn decode(mut bytes: &[u8]) -> Result<Self, InvalidKey> {
        let key = Self::decode_from(&mut bytes)?;
        if bytes.is_empty() { Ok(key) } else { Err(InvalidKey::Long(bytes.len())) }
    }
}

/// Appends bytes, escaped but not closed.
pub(crate) fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
}

fn unescape(input: &mut &[u8]) -> Result<Vec<u8>, InvalidKey> {
    let mut bytes = Vec::with_capacity(input.len());
    let mut at = 0;
    while let Some(&byte) = input.get(at) {
        if byte != 0 {
            bytes.push(byte);
            at += 1;
            continue;
        }
        match input.get(at + 1) {
            Some(0xff) => bytes.push(0),
            Some(0x01) => {
                *input = &input[at + 2..];
                return Ok(bytes);
            }
            Some(_) => return Err(InvalidKey::Escape),
            None => break,
        }
        at += 2;
    }
    Err(InvalidKey::Short(input.len()))
}

fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], InvalidKey> {
    let (head, rest) = input.split_first_chunk::<N>().ok_or(InvalidKey::Short(input.len()))?;
    *input = rest;
    Ok(*head)
}

impl Key for Vec<u8> {
    fn encode_to(&self, out: &mut Vec<u8>) {
        escape(self, out);
        out.extend([0x00, 0x01]);
    }

    fn decode_from(input: &mut &[u8]) -> Result<Self, InvalidKey> {
        unescape(input)
    }
}

fn encode_text(text: &str, out: &mut Vec<u8>) {
    escape(text.as_bytes(), out);
    out.extend([0x00, 0x01]);
}

impl Key for String {
    fn encode_to(&self, out: &mut Vec<u8>) {
        encode_text(self, out);
    }

    fn decode_from(input: &mut &[u8]) -> Result<Self, InvalidKey> {
        String::from_utf8(unescape(input)?).map_err(|_| InvalidKey::Value("text"))
    }
}

macro_rules! text_key {
    ($($type:ty => $what:literal),+ $(,)?) => {$(
        impl Key for $type {
            fn encode_to(&self, out: &mut Vec<u8>) {
                encode_text(self.as_str(), out);
            }

            fn decode_from(input: &mut &[u8]) -> Result<Self, InvalidKey> {
                String::decode_from(input)?.parse().map_err(|_| InvalidKey::Value($what))
            }
        }
    )+};
}

text_key! {
    ResourceId => "resource id",
    TenantId => "tenant id",
    PrincipalId => "principal id",
    BucketName => "bucket name",
    ObjectKey => "object key",
    RequestId => "request id",
    ResourceKind => "resource kind",
}

macro_rules! number_key {
    ($($type:ty),+) => {$(
        impl Key for $type {
            fn encode_to(&self, out: &mut Vec<u8>) {
                out.extend(self.to_be_bytes());
            }

            fn decode_from(input: &mut &[u8]) -> Result<Self, InvalidKey> {
                take(input).map(<$type>::from_be_bytes)
            }
        }
    )+};
}

number_key!(u8, u16, u32, u64);

impl Key for Timestamp {
    fn encode_to(&self, out: &mut Vec<u8>) {
        // Never negative, hence ordered as an unsigned number.
        out.extend(self.as_micros().to_be_bytes());
    }

    fn decode_from(input: &mut &[u8]) -> Result<Self, InvalidKey> {
        let micros = i64::from_be_bytes(take(input)?);
        let time = Timestamp::from_micros(micros);
        if time.as_micros() == micros { Ok(time) } else { Err(InvalidKey::Value("time")) }
    }
}

impl Key for Sha256Digest {
    fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend(self.as_bytes());
    }

    fn decode_from(input: &mut &[u8]) -> Result<Self, InvalidKey> {
        take(input).map(Sha256Digest::from_bytes)
    }
}

impl Key for ResourceRef {
    fn encode_to(&self, out: &mut Vec<u8>) {
        self.kind.encode_to(out);
        self.id.encode_to(out);
    }

    fn decode_from(input: &mut &[u8]) -> Result<Self, InvalidKey> {
        Ok(ResourceRef { kind: Key::decode_from(input)?, id: Key::decode_from(input)? })
    }
}

/// The key of a table with a single row.
impl Key for () {
    fn encode_to(&self, _: &mut Vec<u8>) {}

    fn decode_from(_: &mut &[u8]) -> Result<Self, InvalidKey> {
        Ok(())
    }
}

macro_rules! tuple_key {
    ($($part:ident $at:tt),+) => {
        impl<$($part: Key),+> Key for ($($part,)+) {
            fn encode_to(&self, out: &mut Vec<u8>) {
                $(self.$at.encode_to(out);)+
            }

            fn decode_from(input: &mut &[u8]) -> Result<Self, InvalidKey> {
                Ok(($($part::decode_from(input)?,)+))
            }
        }
    };
}

tuple_key!(A 0, B 1);
tuple_key!(A 0, B 1, C 2);
tuple_key!(A 0, B 1, C 2, D 3);

#[cfg(test)]
mod tests;
