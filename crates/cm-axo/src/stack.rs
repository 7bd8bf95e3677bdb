//! A stack that no tree of a source overflows.
//!
//! [`crate::scan`] bounds how deep a tree gets, and what parses and drops trees of that depth fits an ordinary stack. That
//! bound follows from how the parser recovers from errors, which is not documented and may change. So what a mistake in it
//! could cost is bounded a second time, by the length of the source alone: parsing, reading and dropping happen on a thread
//! whose stack is large enough for a level in every byte. Its pages are reserved, not used: a source within the bound
//! touches less than a mebibyte.

use std::sync::{Condvar, Mutex, PoisonError};
use std::{io, thread};

use crate::source::SOURCE_LEN_MAX;

/// What the destructor of a tree takes of the stack for each byte of the source at most. Measured without optimisation:
/// 151 for `[` and `{`, which make a level of one byte; 85 for `-`; below 80 for what has longer tokens (`f(a=` 71, `a.` 51,
/// `lambda:` 15). A block takes a line. The rest is for other builds. The parser takes more, but grows its stack on the heap.
const STACK_LEN_PER_BYTE: usize = 512;

/// Address space for the deepest tree of the longest source: 512 MiB.
const STACK_LEN: usize = SOURCE_LEN_MAX * STACK_LEN_PER_BYTE;

/// Where the system grants less, half of it is asked for, and again, down to this: many times what a source within the
/// bound takes.
const STACK_LEN_MIN: usize = 16 * 1024 * 1024;

/// How many such stacks there are at a time; who comes later waits for the fraction of a second that a source takes.
const STACKS_MAX: usize = 2;

static IN_USE: Mutex<usize> = Mutex::new(0);
static RETURNED: Condvar = Condvar::new();

/// One of the stacks, for as long as it lives.
struct Turn;

impl Turn {
    fn wait() -> Self {
        // A count is whole whatever the holder of the lock did.
        let in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut in_use = RETURNED
            .wait_while(in_use, |in_use| *in_use >= STACKS_MAX)
            .unwrap_or_else(PoisonError::into_inner);
        *in_use += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *IN_USE.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        RETURNED.notify_one();
    }
}

/// Does the work on a large stack. Blocks until it is done; a panic in it is the caller's.
///
/// Where the system grants no thread at all, the work is done right here: it is within the bound as far as anybody knows.
pub(crate) fn on_large<T: Send>(work: impl Fn() -> T + Sync) -> T {
    let _turn = Turn::wait();
    let mut len = STACK_LEN;
    while len >= STACK_LEN_MIN {
        match run(len, &work) {
            Ok(done) => return done,
            Err(_) => len /= 2,
        }
    }
    work()
}

fn run<T: Send>(len: usize, work: &(impl Fn() -> T + Sync)) -> io::Result<T> {
    thread::scope(|scope| {
        let thread =
            thread::Builder::new().name("axo".to_owned()).stack_size(len).spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
