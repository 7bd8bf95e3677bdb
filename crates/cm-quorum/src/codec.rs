//! Messages and entries as bytes.
//!
//! All numbers are big-endian; whatever has a length has it first. What is decoded is bounded by what came.

use std::sync::Arc;

use crate::log::CHANGES_LEN_MAX;
use crate::{
    Batch, Body, CONTACT_LEN_MAX, ClusterId, Entry, Frame, MEMBERS_MAX, Member, MemberId, Members, Message,
    PIECE_LEN_MAX, Position, SnapshotMeta,
};

/// Longest message, in bytes.
pub const MESSAGE_LEN_MAX: usize = CHANGES_LEN_MAX + (4 << 20);
/// The version of the format.
const FORMAT: u8 = 1;
/// Most entries in one message.
const ENTRIES_MAX: usize = 1 << 16;

/// Bytes that are no message, entry or list of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMessage {
    /// It ends too early.
    #[error("it is cut short")]
    Truncated,
    /// Something follows its end.
    #[error("something follows its end")]
    TooLong,
    /// A program of another version wrote it.
    #[error("it has format {found}, known is format {}", FORMAT)]
    Format {
        /// The format that it says.
        found: u8,
    },
    /// It has a part that does not exist.
    #[error("{0} is none")]
    Invalid(&'static str),
}

type Result<T> = std::result::Result<T, InvalidMessage>;

impl Frame {
    /// As bytes, at most [`MESSAGE_LEN_MAX`].
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.push(FORMAT);
        out.extend(self.cluster.0.to_be_bytes());
        put_message(&mut out, &self.message);
        out
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Frame> {
        let mut input = Input(bytes);
        let format = input.u8()?;
        if format != FORMAT {
            return Err(InvalidMessage::Format { found: format });
        }
        let cluster = ClusterId(u128::from_be_bytes(input.array()?));
        let message = message(&mut input)?;
        input.end()?;
        Ok(Frame { cluster, message })
    }
}

/// What an entry says, as bytes.
pub fn encode_body(body: &Body) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    put_body(&mut out, body);
    out
}

/// What an entry says, from bytes.
pub fn decode_body(bytes: &[u8]) -> Result<Body> {
    let mut input = Input(bytes);
    let body = body(&mut input)?;
    input.end()?;
    Ok(body)
}

/// Members, as bytes.
pub fn encode_members(members: &Members) -> Vec<u8> {
    let mut out = Vec::new();
    put_members(&mut out, members);
    out
}

/// Members, from bytes.
pub fn decode_members(bytes: &[u8]) -> Result<Members> {
    let mut input = Input(bytes);
    let members = members(&mut input)?;
    input.end()?;
    Ok(members)
}

fn put_message(out: &mut Vec<u8>, message: &Message) {
    let mut tag = |tag: u8, numbers: &[u64]| {
        out.push(tag);
        numbers.iter().for_each(|number| out.extend(number.to_be_bytes()));
    };
    match message {
        Message::Vote { term, last, pre, transfer } => {
            tag(1, &[*term, last.index, last.term]);
            out.extend([u8::from(*pre), u8::from(*transfer)]);
        }
        Message::VoteReply { term, granted, pre } => {
            tag(2, &[*term]);
            out.extend([u8::from(*granted), u8::from(*pre)]);
        }
        Message::Append { term, previous, entries, commit, probe } => {
            tag(3, &[*term, previous.index, previous.term, *commit, *probe]);
            put_len(out, entries.len());
            for entry in entries {
                out.extend(entry.at.index.to_be_bytes());
                out.extend(entry.at.term.to_be_bytes());
                put_body(out, &entry.body);
            }
        }
        Message::Appended { term, matched, probe } => tag(4, &[*term, *matched, *probe]),
        Message::Refused { term, next, probe } => tag(5, &[*term, *next, *probe]),
        Message::Piece { term, meta, offset, bytes } => {
            tag(6, &[*term, meta.id, meta.at.index, meta.at.term, meta.version, meta.len, *offset]);
            out.extend(meta.digest);
            put_members(out, &meta.members);
            put_bytes(out, bytes);
        }
        Message::PieceReply { term, id, offset } => tag(7, &[*term, *id, *offset]),
        Message::TakeOver { term } => tag(8, &[*term]),
        Message::Ask { request } => tag(9, &[*request]),
        Message::Grant { request, index } => tag(10, &[*request, *index]),
        Message::Renew { request } => tag(11, &[*request]),
        Message::Release { request } => tag(12, &[*request]),
        Message::Submit { batch } => {
            tag(13, &[]);
            put_batch(out, batch);
        }
        Message::Submitted { request, term } => tag(14, &[*request, *term]),
        Message::Barrier { request } => tag(15, &[*request]),
        Message::BarrierReply { request, index } => tag(16, &[*request, *index]),
    }
}

fn message(input: &mut Input<'_>) -> Result<Message> {
    Ok(match input.u8()? {
        1 => Message::Vote {
            term: input.u64()?,
            last: input.position()?,
            pre: input.bool()?,
            transfer: input.bool()?,
        },
        2 => Message::VoteReply { term: input.u64()?, granted: input.bool()?, pre: input.bool()? },
        3 => {
            let (term, previous, commit, probe) =
                (input.u64()?, input.position()?, input.u64()?, input.u64()?);
            let mut entries = Vec::new();
            for _ in 0..input.len(ENTRIES_MAX)? {
                entries.push(Entry { at: input.position()?, body: body(input)? });
            }
            Message::Append { term, previous, entries, commit, probe }
        }
        4 => Message::Appended { term: input.u64()?, matched: input.u64()?, probe: input.u64()? },
        5 => Message::Refused { term: input.u64()?, next: input.u64()?, probe: input.u64()? },
        6 => {
            let (term, id, at) = (input.u64()?, input.u64()?, input.position()?);
            let (version, len, offset) = (input.u64()?, input.u64()?, input.u64()?);
            let digest = input.array()?;
            let members = members(input)?;
            let bytes = input.bytes(PIECE_LEN_MAX)?.into();
            let meta = Box::new(SnapshotMeta { id, at, version, members, len, digest });
            Message::Piece { term, meta, offset, bytes }
        }
        7 => Message::PieceReply { term: input.u64()?, id: input.u64()?, offset: input.u64()? },
        8 => Message::TakeOver { term: input.u64()? },
        9 => Message::Ask { request: input.u64()? },
        10 => Message::Grant { request: input.u64()?, index: input.u64()? },
        11 => Message::Renew { request: input.u64()? },
        12 => Message::Release { request: input.u64()? },
        13 => Message::Submit { batch: batch(input)? },
        14 => Message::Submitted { request: input.u64()?, term: input.u64()? },
        15 => Message::Barrier { request: input.u64()? },
        16 => Message::BarrierReply { request: input.u64()?, index: input.u64()? },
        _ => return Err(InvalidMessage::Invalid("a kind of message")),
    })
}

fn put_body(out: &mut Vec<u8>, body: &Body) {
    match body {
        Body::Blank => out.push(0),
        Body::Members(members) => {
            out.push(1);
            put_members(out, members);
        }
        Body::Batch(batch) => {
            out.push(2);
            put_batch(out, batch);
        }
    }
}

fn body(input: &mut Input<'_>) -> Result<Body> {
    match input.u8()? {
        0 => Ok(Body::Blank),
        1 => members(input).map(Body::Members),
        2 => batch(input).map(Body::Batch),
        _ => Err(InvalidMessage::Invalid("a kind of entry")),
    }
}

fn put_batch(out: &mut Vec<u8>, batch: &Batch) {
    [batch.origin.0, batch.request, batch.base].iter().for_each(|number| out.extend(number.to_be_bytes()));
    put_bytes(out, &batch.changes);
}

fn batch(input: &mut Input<'_>) -> Result<Batch> {
    let (origin, request, base) = (MemberId(input.u64()?), input.u64()?, input.u64()?);
    Ok(Batch { origin, request, base, changes: Arc::from(input.bytes(CHANGES_LEN_MAX)?) })
}

fn put_members(out: &mut Vec<u8>, members: &Members) {
    put_len(out, members.len());
    for (id, member) in members.iter() {
        out.extend(id.0.to_be_bytes());
        out.push(u8::from(member.voter));
        put_bytes(out, member.contact.as_bytes());
    }
}

fn members(input: &mut Input<'_>) -> Result<Members> {
    let mut members = Members::new();
    for _ in 0..input.len(MEMBERS_MAX)? {
        let (id, voter) = (MemberId(input.u64()?), input.bool()?);
        let contact = std::str::from_utf8(input.bytes(CONTACT_LEN_MAX)?)
            .map_err(|_| InvalidMessage::Invalid("a contact"))?;
        if members.get(id).is_some() {
            return Err(InvalidMessage::Invalid("a member twice"));
        }
        members = members.with(id, Member { voter, contact: contact.to_owned() });
    }
    Ok(members)
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    out.extend(u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend(bytes);
}

/// What is still to be decoded.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(InvalidMessage::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| InvalidMessage::Truncated)
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn bool(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(InvalidMessage::Invalid("a yes or no")),
        }
    }

    fn position(&mut self) -> Result<Position> {
        Ok(Position { index: self.u64()?, term: self.u64()? })
    }

    fn len(&mut self, max: usize) -> Result<usize> {
        let len = usize::try_from(u32::from_be_bytes(self.array()?)).unwrap_or(usize::MAX);
        if len > max { Err(InvalidMessage::Invalid("a length")) } else { Ok(len) }
    }

    fn bytes(&mut self, max: usize) -> Result<&'a [u8]> {
        let len = self.len(max)?;
        self.take(len)
    }

    fn end(&self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(InvalidMessage::TooLong) }
    }
}

#[cfg(test)]
mod tests;
