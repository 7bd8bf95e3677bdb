//! A program's memory, every access checked.

use crate::vfs::Errno;

/// A program's linear memory during one call.
#[derive(Debug)]
pub struct Guest<'a>(&'a mut [u8]);

impl<'a> Guest<'a> {
    /// Wraps the memory.
    pub fn new(memory: &'a mut [u8]) -> Self {
        Self(memory)
    }

    fn range(&self, at: u32, len: u32) -> Result<std::ops::Range<usize>, Errno> {
        let end = (at as usize).checked_add(len as usize).ok_or(Errno::Fault)?;
        if end > self.0.len() { Err(Errno::Fault) } else { Ok(at as usize..end) }
    }

    /// So many bytes at a place.
    pub fn bytes(&self, at: u32, len: u32) -> Result<&[u8], Errno> {
        let range = self.range(at, len)?;
        Ok(&self.0[range])
    }

    /// So many bytes at a place, to be written.
    pub fn bytes_mut(&mut self, at: u32, len: u32) -> Result<&mut [u8], Errno> {
        let range = self.range(at, len)?;
        Ok(&mut self.0[range])
    }

    /// A name.
    pub fn text(&self, at: u32, len: u32) -> Result<String, Errno> {
        let text = std::str::from_utf8(self.bytes(at, len)?).map_err(|_| Errno::Ilseq)?;
        Ok(text.to_owned())
    }

    fn array<const N: usize>(&self, at: u32) -> Result<[u8; N], Errno> {
        let bytes = self.bytes(at, N as u32)?;
        bytes.try_into().map_err(|_| Errno::Fault)
    }

    /// A number of 16 bits.
    pub fn u16(&self, at: u32) -> Result<u16, Errno> {
        self.array(at).map(u16::from_le_bytes)
    }

    /// A number of 32 bits.
    pub fn u32(&self, at: u32) -> Result<u32, Errno> {
        self.array(at).map(u32::from_le_bytes)
    }

    /// A number of 64 bits.
    pub fn u64(&self, at: u32) -> Result<u64, Errno> {
        self.array(at).map(u64::from_le_bytes)
    }

    /// Stores bytes.
    pub fn put(&mut self, at: u32, bytes: &[u8]) -> Result<(), Errno> {
        let len = u32::try_from(bytes.len()).map_err(|_| Errno::Fault)?;
        self.bytes_mut(at, len)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Stores a number of 32 bits.
    pub fn put_u32(&mut self, at: u32, value: u32) -> Result<(), Errno> {
        self.put(at, &value.to_le_bytes())
    }

    /// Stores a number of 64 bits.
    pub fn put_u64(&mut self, at: u32, value: u64) -> Result<(), Errno> {
        self.put(at, &value.to_le_bytes())
    }

    /// The place and length of the n-th of a list of buffers.
    pub fn buffer(&self, list: u32, index: u32) -> Result<(u32, u32), Errno> {
        let at = index.checked_mul(8).and_then(|offset| list.checked_add(offset)).ok_or(Errno::Fault)?;
        let behind = at.checked_add(4).ok_or(Errno::Fault)?;
        Ok((self.u32(at)?, self.u32(behind)?))
    }
}

/// The place so many bytes behind another.
pub(super) fn offset(at: u32, by: u32) -> Result<u32, Errno> {
    at.checked_add(by).ok_or(Errno::Fault)
}
