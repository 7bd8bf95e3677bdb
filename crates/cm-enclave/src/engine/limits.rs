//! The limit on a program's memory.

use cm_instance::Limit;
use wasmtime::ResourceLimiter;

use crate::wasi::End;

/// Most entries of all tables of a program together; a table entry takes 8 bytes.
const TABLE_ENTRIES_MAX: usize = 1_000_000;
/// Most instances, memories and tables of a component, each. Every memory reserves gibibytes of addresses.
const PARTS_MAX: usize = 100;

/// Counts and limits the memory of one run.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    /// What the engine adds to the program's own memory.
    bytes_added: usize,
    bytes_max: usize,
    bytes: usize,
    bytes_peak: usize,
    table_entries: usize,
}

impl MemoryLimit {
    /// A limit on the program's memory, of which the engine's addition is no part.
    pub(crate) fn new(bytes_max: u64, bytes_added: usize) -> Self {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX).saturating_add(bytes_added);
        Self { bytes_added, bytes_max, bytes: 0, bytes_peak: 0, table_entries: 0 }
    }

    /// Counts memory that the host holds for the program, together with its own.
    pub(crate) fn reserve(&mut self, bytes: u64) -> Result<(), End> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let bytes = self.bytes.saturating_add(bytes);
        if bytes > self.bytes_max {
            return Err(End::Limit(Limit::Memory));
        }
        self.bytes = bytes;
        self.bytes_peak = self.bytes_peak.max(bytes);
        Ok(())
    }

    /// Counts so much of it no longer.
    pub(crate) fn release(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    pub(super) fn bytes_peak(&self) -> u64 {
        self.bytes_peak.saturating_sub(self.bytes_added) as u64
    }
}

fn exceeded() -> wasmtime::Error {
    wasmtime::Error::new(End::Limit(Limit::Memory))
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        if bytes > self.bytes_max {
            return Err(exceeded());
        }
        self.bytes = bytes;
        self.bytes_peak = self.bytes_peak.max(bytes);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let entries = self.table_entries.saturating_add(desired.saturating_sub(current));
        if entries > TABLE_ENTRIES_MAX {
            return Err(exceeded());
        }
        self.table_entries = entries;
        Ok(true)
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }
}
