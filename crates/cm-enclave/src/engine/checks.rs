//! The checks by which a compiled program can be stopped: one read of a page at every place that a program which
//! goes on for ever passes again and again.
//!
//! A module gets one more memory, and reads a byte of it
//!
//! - at the head of every loop, and
//! - at the entry of every function that calls others: without loops, only calls can take more time than the
//!   function is long, and whoever calls is checked.
//!
//! The memory holds nothing. Its pages are made inaccessible when the program has to stop; the next read traps. A
//! read without branch or call costs one instruction, whereas wasmtime's epochs make several registers move to
//! the stack and back in each turn of a tight loop. See `docs/adr/0010-stopping-programs.md`.
//!
//! # Why the reads stay
//!
//! The compiler keeps a read that may trap even though nobody uses its value. It may leave out a read that repeats
//! an earlier one of the same address, which is why each check of a function has an address of its own, and why
//! functions must not be inlined: two copies of one check would be such a repetition. Nor would writes do: one that
//! writes what is there already may be left out.
//!
//! # What the program notices
//!
//! Nothing. It was validated without the additional memory, so that no instruction of it has the memory's number, and
//! it cannot look up exports. The start function becomes an export that the engine calls first, because during
//! instantiation nobody knows where the page will be.

use std::borrow::Cow;

use wasmparser::{FunctionBody, KnownCustom, Operator, Parser, Payload, TypeRef};
use wasmtime::{ExternType, Module};

/// What the names of the additional exports begin with. No program may have such.
const RESERVED: &str = "cryptomesh:";
/// The additional memory, as an export.
pub(super) const STOP: &str = "cryptomesh:stop";
/// The start function, as an export.
pub(super) const START: &str = "cryptomesh:start";

/// Magic number and version.
const HEADER_LEN: usize = 8;
const PAGE_LEN: u32 = 65_536;

const CUSTOM_SECTION: u8 = 0;
const MEMORY_SECTION: u8 = 5;
const EXPORT_SECTION: u8 = 7;
const CODE_SECTION: u8 = 10;
/// Sections in the order of the binary format (core specification, 5.5.17). Tags (13) and the data count (12) came
/// later than their places.
const ORDER: [u8; 13] = [1, 2, 3, 4, MEMORY_SECTION, 13, 6, EXPORT_SECTION, 8, 9, 12, CODE_SECTION, 11];

const EXPORT_FUNCTION: u8 = 0;
const EXPORT_MEMORY: u8 = 2;
/// Limits with a minimum and a maximum.
const BOUNDED: u8 = 1;
const I32_CONST: u8 = 0x41;
const I32_LOAD8_U: u8 = 0x2d;
const DROP: u8 = 0x1a;
/// Alignment of one byte, and that the number of a memory follows.
const BYTE_IN_MEMORY: u8 = 0x40;

/// Why a module gets no checks.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    /// It is no module.
    #[error(transparent)]
    Parse(#[from] wasmparser::Error),
    /// It has an export of a reserved name.
    #[error("the export name {0:?} is reserved")]
    Reserved(String),
    /// It is a component.
    #[error("components cannot run here")]
    Component,
    /// With the checks it would be longer than modules may be.
    #[error("the module is too large")]
    Size,
}

/// Adds the checks to a valid module.
pub(super) fn insert(wasm: &[u8]) -> Result<Vec<u8>, CheckError> {
    let parts = Parts::read(wasm)?;
    let additions = parts.additions()?;
    let mut additions = additions.iter().peekable();
    let mut out = Vec::with_capacity(wasm.len() + wasm.len() / 8);
    out.extend_from_slice(&wasm[..HEADER_LEN.min(wasm.len())]);
    for (id, content) in &parts.sections {
        while let Some(missing) = additions.next_if(|addition| addition.precedes(*id)) {
            section(&mut out, missing.section, &missing.alone())?;
        }
        match additions.next_if(|addition| addition.section == *id) {
            Some(addition) => section(&mut out, *id, &addition.appended_to(content)?)?,
            None => section(&mut out, *id, content)?,
        }
    }
    for missing in additions {
        section(&mut out, missing.section, &missing.alone())?;
    }
    Ok(out)
}

/// How many bytes of memory the checks of a compiled module take; `None` if it has no checks.
pub(super) fn stop_len(module: &Module) -> Option<usize> {
    match module.get_export(STOP)? {
        ExternType::Memory(memory) => usize::try_from(memory.minimum().checked_mul(memory.page_size())?).ok(),
        _ => None,
    }
}

/// A module, its code with checks, the rest as it was.
#[derive(Default)]
struct Parts<'a> {
    sections: Vec<(u8, Cow<'a, [u8]>)>,
    memories: u32,
    start: Option<u32>,
    checks_max: u32,
}

impl<'a> Parts<'a> {
    fn read(wasm: &'a [u8]) -> Result<Self, CheckError> {
        let mut parts = Parts::default();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            parts.note(&payload)?;
            match payload {
                Payload::Version { encoding: wasmparser::Encoding::Component, .. } => {
                    return Err(CheckError::Component);
                }
                Payload::StartSection { func, .. } => parts.start = Some(func),
                Payload::CodeSectionStart { count, .. } => {
                    parts.sections.push((CODE_SECTION, number(count).into()));
                }
                Payload::CodeSectionEntry(body) => parts.add_function(&body)?,
                // Other sections of this kind may speak of places in the code, which have moved.
                Payload::CustomSection(custom) if !matches!(custom.as_known(), KnownCustom::Name(_)) => {}
                other => {
                    if let Some((id, range)) = other.as_section() {
                        parts.sections.push((id, wasm[range].into()));
                    }
                }
            }
        }
        Ok(parts)
    }

    /// Takes in what the additions depend on.
    fn note(&mut self, payload: &Payload<'_>) -> Result<(), CheckError> {
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    self.memories += u32::from(matches!(import?.ty, TypeRef::Memory(_)));
                }
            }
            Payload::MemorySection(memories) => self.memories += memories.count(),
            Payload::ExportSection(exports) => {
                for export in exports.clone() {
                    let name = export?.name;
                    if name.starts_with(RESERVED) {
                        return Err(CheckError::Reserved(name.to_owned()));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds a function with its checks to the code, which is the last section so far.
    fn add_function(&mut self, body: &FunctionBody<'_>) -> Result<(), CheckError> {
        let (checked, checks) = with_checks(body, self.memories)?;
        self.checks_max = self.checks_max.max(checks);
        if let Some((CODE_SECTION, code)) = self.sections.last_mut() {
            let code = code.to_mut();
            code.extend(number(length(&checked)?));
            code.extend(checked);
        }
        Ok(())
    }

    /// The memory, large enough for the addresses of all checks, and the exports.
    fn additions(&self) -> Result<[Addition; 2], CheckError> {
        let pages = self.checks_max.div_ceil(PAGE_LEN).max(1);
        let memory = [vec![BOUNDED], number(pages), number(pages)].concat();
        let mut exports = export(STOP, EXPORT_MEMORY, self.memories)?;
        if let Some(start) = self.start {
            exports.extend(export(START, EXPORT_FUNCTION, start)?);
        }
        let count = 1 + u32::from(self.start.is_some());
        Ok([
            Addition { section: MEMORY_SECTION, count: 1, entries: memory },
            Addition { section: EXPORT_SECTION, count, entries: exports },
        ])
    }
}

/// Entries that a section gets behind its own.
struct Addition {
    section: u8,
    count: u32,
    entries: Vec<u8>,
}

impl Addition {
    /// Whether a section of its own would have to stand before one that follows.
    fn precedes(&self, id: u8) -> bool {
        let rank = |id| ORDER.iter().position(|other| *other == id);
        id != CUSTOM_SECTION && rank(self.section) < rank(id)
    }

    fn alone(&self) -> Vec<u8> {
        [number(self.count), self.entries.clone()].concat()
    }

    fn appended_to(&self, content: &[u8]) -> Result<Vec<u8>, CheckError> {
        let mut reader = wasmparser::BinaryReader::new(content, 0);
        let count = reader.read_var_u32()?;
        let own = &content[reader.original_position()..];
        Ok([&number(count.saturating_add(self.count)), own, &self.entries].concat())
    }
}

/// A function's body with its checks, and how many there are.
fn with_checks(body: &FunctionBody<'_>, memory: u32) -> Result<(Vec<u8>, u32), CheckError> {
    let offset = body.range().start;
    let mut operators = body.get_operators_reader()?;
    let entry = operators.original_position() - offset;
    let mut places = Vec::new();
    let mut calls = false;
    while !operators.eof() {
        match operators.read()? {
            Operator::Loop { .. } => places.push(operators.original_position() - offset),
            // Everything that may enter a function, of proposals that are switched off too.
            Operator::Call { .. }
            | Operator::CallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
            | Operator::Resume { .. }
            | Operator::ResumeThrow { .. }
            | Operator::ResumeThrowRef { .. }
            | Operator::Switch { .. } => calls = true,
            _ => {}
        }
    }
    if calls {
        places.insert(0, entry);
    }
    let bytes = body.as_bytes();
    let mut out = Vec::with_capacity(bytes.len() + 16 * places.len());
    let (mut copied, mut checks) = (0, 0);
    for place in places {
        out.extend_from_slice(&bytes[copied..place]);
        out.extend([I32_CONST, 0, I32_LOAD8_U, BYTE_IN_MEMORY]);
        out.extend(number(memory));
        out.extend(number(checks));
        out.push(DROP);
        copied = place;
        checks += 1;
    }
    out.extend_from_slice(&bytes[copied..]);
    Ok((out, checks))
}

fn export(name: &str, kind: u8, index: u32) -> Result<Vec<u8>, CheckError> {
    Ok([number(length(name.as_bytes())?), name.into(), vec![kind], number(index)].concat())
}

fn section(out: &mut Vec<u8>, id: u8, content: &[u8]) -> Result<(), CheckError> {
    out.push(id);
    out.extend(number(length(content)?));
    out.extend_from_slice(content);
    Ok(())
}

fn length(bytes: &[u8]) -> Result<u32, CheckError> {
    u32::try_from(bytes.len()).map_err(|_| CheckError::Size)
}

/// A number as the format writes it: LEB128.
fn number(mut value: u32) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
    out
}

#[cfg(test)]
mod tests;
