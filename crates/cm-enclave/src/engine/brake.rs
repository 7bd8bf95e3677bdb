//! What makes a running program stop, to be pulled from any thread.
#![allow(unsafe_code, reason = "the rights of pages are changed, which no type describes")]

use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::mm::MprotectFlags;

/// Stops one run. What it pulls depends on how the program runs.
pub(super) enum Brake {
    /// Interpreted: the engine's epoch advances, and the programs that run on it look whether they are meant.
    Epoch(wasmtime::Engine),
    /// Compiled: the page that the program's [checks](super::checks) read becomes inaccessible.
    Page(Page),
}

impl Brake {
    /// Stops the run. More than once has no further effect; before the run began it holds for the beginning.
    pub(super) fn pull(&self) {
        match self {
            Brake::Epoch(engine) => engine.increment_epoch(),
            Brake::Page(page) => page.pull(),
        }
    }

    /// Forgets the run, whose memory may go from now on.
    pub(super) fn release(&self) {
        if let Brake::Page(page) = self {
            lock(&page.0).place = None;
        }
    }
}

/// The memory that a program's checks read.
#[derive(Default)]
pub(super) struct Page(Mutex<State>);

#[derive(Default)]
struct State {
    pulled: bool,
    /// Address and length.
    place: Option<(usize, usize)>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Page {
    /// Says where the page is.
    ///
    /// # Safety contract of the caller
    ///
    /// These are whole pages of a guest's memory that only the guest's code reads. They stay mapped until
    /// [`Brake::release`].
    pub(super) fn arm(&self, base: *mut u8, len: usize) {
        let mut state = lock(&self.0);
        state.place = Some((base.expose_provenance(), len));
        if state.pulled {
            protect(&state);
        }
    }

    fn pull(&self) {
        let mut state = lock(&self.0);
        state.pulled = true;
        protect(&state);
    }

    /// Whether it was pulled.
    pub(super) fn is_pulled(&self) -> bool {
        lock(&self.0).pulled
    }
}

/// Takes the page away. The lock is held, so that it cannot be released meanwhile.
fn protect(state: &State) {
    let Some((base, len)) = state.place else { return };
    // SAFETY: `arm` was promised that these pages are mapped until `release`, which has to wait for the lock, and
    // that no Rust code reads them. Guest code that reads them traps, which wasmtime expects of every read of a
    // guest's memory.
    let protected =
        unsafe { rustix::mm::mprotect(ptr::with_exposed_provenance_mut(base), len, MprotectFlags::empty()) };
    if protected.is_err() {
        // The kernel has no reason to refuse it. Rather no instance than one with a program that nobody can stop.
        std::process::abort();
    }
}
