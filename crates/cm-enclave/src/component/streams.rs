//! Streams of bytes: files and the standard streams.

use wasmtime::component::Resource;

use super::bindings::wasi::io::{error, streams};
use super::failure::StreamFailure;
use super::process::Pollable;
use super::{CALL_LEN_MAX, World};
use crate::vfs::{Errno, Handle, View};
use crate::wasi::or_end;

/// Why an operation on a stream failed, for programs that ask.
#[derive(Clone, Copy, Debug)]
pub struct IoError(pub(super) Errno);

/// Where bytes come from.
#[derive(Debug)]
pub enum InputStream {
    /// A file, from a place of its own on.
    File(Handle),
    /// Standard input.
    Stdin,
}

/// Where bytes go. Without a file they are gone.
#[derive(Debug)]
pub struct OutputStream(pub(super) Option<Handle>);

type StreamResult<T> = Result<T, StreamFailure>;

impl World {
    fn read_stream(&mut self, stream: &Resource<InputStream>, len: u64) -> StreamResult<Vec<u8>> {
        self.view.begin("input-stream.read");
        let handle = match self.table.get_mut(stream)? {
            InputStream::File(handle) => handle,
            InputStream::Stdin => self.stdin.as_mut().ok_or(StreamFailure::Closed)?,
        };
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(CALL_LEN_MAX).min(CALL_LEN_MAX)];
        let count = self.view.read(handle, std::iter::once(bytes.as_mut_slice()))?;
        if count == 0 && !bytes.is_empty() {
            return Err(StreamFailure::Closed);
        }
        bytes.truncate(count);
        Ok(bytes)
    }

    fn write_stream(&mut self, stream: &Resource<OutputStream>, bytes: &[u8]) -> StreamResult<()> {
        self.view.begin("output-stream.write");
        match &mut self.table.get_mut(stream)?.0 {
            Some(handle) => write_all(&mut self.view, handle, bytes),
            None => Ok(()),
        }
    }

    fn splice_streams(
        &mut self,
        to: &Resource<OutputStream>,
        from: &Resource<InputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        let bytes = self.read_stream(from, len)?;
        self.write_stream(to, &bytes)?;
        Ok(bytes.len() as u64)
    }

    fn ready(&mut self) -> wasmtime::Result<Resource<Pollable>> {
        Ok(self.table.push(Pollable::Ready)?)
    }
}

/// Writes everything, or as much as the limits allow, which ends the run.
fn write_all(view: &mut View, handle: &mut Handle, mut bytes: &[u8]) -> StreamResult<()> {
    while !bytes.is_empty() {
        let count = view.write(handle, bytes).map_err(or_end)?;
        bytes = &bytes[count..];
    }
    Ok(())
}

impl error::Host for World {}

impl error::HostError for World {
    fn to_debug_string(&mut self, this: Resource<IoError>) -> wasmtime::Result<String> {
        Ok(self.table.get(&this)?.0.to_string())
    }

    fn drop(&mut self, this: Resource<IoError>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl streams::Host for World {
    fn convert_stream_error(&mut self, failure: StreamFailure) -> wasmtime::Result<streams::StreamError> {
        match failure {
            StreamFailure::Closed => Ok(streams::StreamError::Closed),
            StreamFailure::Failed(errno) => {
                Ok(streams::StreamError::LastOperationFailed(self.table.push(IoError(errno))?))
            }
            StreamFailure::End(end) => Err(end),
        }
    }
}

impl streams::HostInputStream for World {
    fn read(&mut self, this: Resource<InputStream>, len: u64) -> StreamResult<Vec<u8>> {
        self.read_stream(&this, len)
    }

    fn blocking_read(&mut self, this: Resource<InputStream>, len: u64) -> StreamResult<Vec<u8>> {
        self.read_stream(&this, len)
    }

    fn skip(&mut self, this: Resource<InputStream>, len: u64) -> StreamResult<u64> {
        Ok(self.read_stream(&this, len)?.len() as u64)
    }

    fn blocking_skip(&mut self, this: Resource<InputStream>, len: u64) -> StreamResult<u64> {
        Ok(self.read_stream(&this, len)?.len() as u64)
    }

    fn subscribe(&mut self, _this: Resource<InputStream>) -> wasmtime::Result<Resource<Pollable>> {
        self.ready()
    }

    fn drop(&mut self, this: Resource<InputStream>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl streams::HostOutputStream for World {
    fn check_write(&mut self, _this: Resource<OutputStream>) -> StreamResult<u64> {
        Ok(CALL_LEN_MAX as u64)
    }

    fn write(&mut self, this: Resource<OutputStream>, contents: Vec<u8>) -> StreamResult<()> {
        self.write_stream(&this, &contents)
    }

    fn blocking_write_and_flush(
        &mut self,
        this: Resource<OutputStream>,
        contents: Vec<u8>,
    ) -> StreamResult<()> {
        self.write_stream(&this, &contents)
    }

    fn flush(&mut self, _this: Resource<OutputStream>) -> StreamResult<()> {
        Ok(())
    }

    fn blocking_flush(&mut self, _this: Resource<OutputStream>) -> StreamResult<()> {
        Ok(())
    }

    fn subscribe(&mut self, _this: Resource<OutputStream>) -> wasmtime::Result<Resource<Pollable>> {
        self.ready()
    }

    fn write_zeroes(&mut self, this: Resource<OutputStream>, len: u64) -> StreamResult<()> {
        // More than `check-write` allows is a mistake that the interface has traps for.
        let len = usize::try_from(len).ok().filter(|len| *len <= CALL_LEN_MAX);
        let len = len.ok_or_else(|| StreamFailure::End(wasmtime::Error::msg("more zeros than allowed")))?;
        self.write_stream(&this, &vec![0; len])
    }

    fn blocking_write_zeroes_and_flush(
        &mut self,
        this: Resource<OutputStream>,
        len: u64,
    ) -> StreamResult<()> {
        self.write_zeroes(this, len)
    }

    fn splice(
        &mut self,
        this: Resource<OutputStream>,
        from: Resource<InputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        self.splice_streams(&this, &from, len)
    }

    fn blocking_splice(
        &mut self,
        this: Resource<OutputStream>,
        from: Resource<InputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        self.splice_streams(&this, &from, len)
    }

    fn drop(&mut self, this: Resource<OutputStream>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
