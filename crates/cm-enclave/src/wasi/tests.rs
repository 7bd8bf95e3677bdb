mod calls;
mod escape;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cm_instance::{FileName, Grants, GuestPath, Principal, Rights, RightsTable};
use cm_runtime::Clock;

use super::names::PathOpen;
use super::*;
use crate::engine::Interrupt;
use crate::vfs::{Vfs, VfsLimits};

const MEMORY_LEN: usize = 64 * 1024;
/// Where names, buffers and results stand in the memory of the tests.
const NAME: u32 = 1024;
const NAME_2: u32 = 8192;
const LIST: u32 = 16;
const OUT: u32 = 0;
const BUFFER: u32 = 16_384;
const BUFFER_LEN: u32 = 4096;
const ROOT: u32 = 3;

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).unwrap()
}

fn grants(entries: &[(&str, Rights)]) -> Grants {
    let mut grants = Grants::default();
    for (name, rights) in entries {
        grants.add(&FileName::parse(*name).unwrap(), *rights);
    }
    grants
}

/// A program's world without a program: calls are made directly.
struct World {
    wasi: Wasi,
    vfs: Vfs,
    memory: Vec<u8>,
}

impl World {
    fn new(table: RightsTable, clock: Option<Arc<dyn Clock>>) -> Self {
        let table = Arc::new(table);
        let limits = VfsLimits { storage_bytes: 1 << 20, file_bytes: 1 << 19, nodes: 200 };
        let vfs = Vfs::new(limits, &table);
        let view = View::new(vfs.clone(), table, &me());
        let deadline = Instant::now() + Duration::from_secs(60);
        let time = Time::new(clock, deadline, Interrupt::new());
        let wasi = Wasi::new(view, &[], &[], time);
        Self { wasi, vfs, memory: vec![0; MEMORY_LEN] }
    }

    fn alone(entries: &[(&str, Rights)]) -> Self {
        let mut table = RightsTable::default();
        table.insert(me(), grants(entries));
        Self::new(table, None)
    }

    fn with<T>(&mut self, call: impl FnOnce(&mut Wasi, &mut Guest<'_>) -> T) -> T {
        call(&mut self.wasi, &mut Guest::new(&mut self.memory))
    }

    fn put(&mut self, at: u32, text: &str) -> u32 {
        self.memory[at as usize..at as usize + text.len()].copy_from_slice(text.as_bytes());
        u32::try_from(text.len()).unwrap()
    }

    fn out(&self) -> u32 {
        u32::from_le_bytes(self.memory[..4].try_into().unwrap())
    }

    fn open(&mut self, base: u32, name: &str, oflags: u32, lookup: u32) -> Result<u32, Stop> {
        let len = self.put(NAME, name);
        let call =
            PathOpen { fd: base, lookup, at: NAME, len, oflags, rights: u64::MAX, fdflags: 0, out: OUT };
        self.with(|wasi, guest| wasi.path_open(guest, call))?;
        Ok(self.out())
    }

    fn buffer(&mut self, len: u32) {
        self.memory[LIST as usize..][..4].copy_from_slice(&BUFFER.to_le_bytes());
        self.memory[LIST as usize + 4..][..4].copy_from_slice(&len.to_le_bytes());
    }

    fn read(&mut self, fd: u32) -> Result<Vec<u8>, Stop> {
        self.buffer(BUFFER_LEN);
        self.with(|wasi, guest| wasi.fd_read(guest, fd, LIST, 1, OUT))?;
        Ok(self.memory[BUFFER as usize..][..self.out() as usize].to_vec())
    }

    fn write(&mut self, fd: u32, bytes: &[u8]) -> CallResult {
        self.memory[BUFFER as usize..][..bytes.len()].copy_from_slice(bytes);
        self.buffer(u32::try_from(bytes.len()).unwrap());
        self.with(|wasi, guest| wasi.fd_write(guest, fd, LIST, 1, OUT))
    }
}

fn me() -> Principal {
    Principal::Program(path("p.wasm"))
}
