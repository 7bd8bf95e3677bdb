//! A thread that writes lines for everybody else.
//!
//! Whoever logs appends its line to a buffer and goes on; the thread takes whatever has gathered and writes it at once.
//! After each write it rests a little: under load, lines then come at no cost but that of copying them, while a line
//! that comes alone is written at once. (`tracing-appender`, which was here before, copies each line into memory of its
//! own, wakes its thread for it and writes it by itself: a tenth of what a short request costs.)
//!
//! The buffer is bounded. What does not fit is lost and counted, for nobody may wait for a log.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Most bytes that wait to be written: some seconds of a busy node's access log.
const BUFFER_BYTES_MAX: usize = 4 << 20;
/// How long the thread rests after a write.
const REST: Duration = Duration::from_millis(5);
/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Where lines are put. Clones share it.
#[derive(Clone)]
pub(super) struct Sink(Arc<Shared>);

/// Has everything written when it is dropped, if that can be done within a second, and ends the thread.
pub(super) struct SinkGuard(Arc<Shared>);

struct Shared {
    name: &'static str,
    state: Mutex<State>,
    /// There are lines for a thread that has nothing to do, or the guard is gone.
    changed: Condvar,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    buffer: Vec<u8>,
    /// Lines for which there was no room, not reported yet.
    lost: u64,
    is_waiting: bool,
    is_closing: bool,
    has_ended: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to write lines to `writer`, whose name is that of the metric for lost lines.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn open(name: &'static str, writer: impl Write + Send + 'static) -> io::Result<(Sink, SinkGuard)> {
    let (state, changed, ended) = (Mutex::default(), Condvar::new(), Condvar::new());
    let shared = Arc::new(Shared { name, state, changed, ended });
    let thread = shared.clone();
    // Not a task: it outlives the runtime, whose last words it writes.
    std::thread::Builder::new().name(format!("log-{name}")).spawn(move || run(&thread, writer))?;
    Ok((Sink(shared.clone()), SinkGuard(shared)))
}

fn run(shared: &Shared, mut writer: impl Write) {
    let mut batch = Vec::new();
    let mut state = shared.state();
    loop {
        while state.buffer.is_empty() && !state.is_closing {
            state.is_waiting = true;
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_waiting = false;
        if state.buffer.is_empty() {
            state.has_ended = true;
            shared.ended.notify_all();
            return;
        }
        std::mem::swap(&mut batch, &mut state.buffer);
        let lost = std::mem::take(&mut state.lost);
        drop(state);
        // There is nobody to tell of a failure; a file counts its own.
        let _ = writer.write_all(&batch).and_then(|()| writer.flush());
        batch.clear();
        if lost > 0 {
            tracing::warn!(log = shared.name, lost, "lines came faster than they could be logged");
        }
        state = shared.state();
        if !state.is_closing {
            let rest = |state: &mut State| !state.is_closing;
            let rested = shared.changed.wait_timeout_while(state, REST, rest);
            state = rested.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Write for &Sink {
    /// Takes all of it, which is to be whole lines.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state();
        if state.buffer.len() + lines.len() > BUFFER_BYTES_MAX {
            state.lost += 1;
            drop(state);
            metrics::counter!("log_lines_lost_total", "file" => self.0.name).increment(1);
            return Ok(lines.len());
        }
        state.buffer.extend_from_slice(lines);
        let wake = std::mem::take(&mut state.is_waiting);
        drop(state);
        if wake {
            self.0.changed.notify_one();
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = &'a Sink;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl std::fmt::Debug for SinkGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SinkGuard({})", self.0.name)
    }
}

impl Drop for SinkGuard {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_closing = true;
        self.0.changed.notify_all();
        let waited = self.0.ended.wait_timeout_while(state, LAST_LINES, |state| !state.has_ended);
        drop(waited);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Says what it was given to write, and goes on when it is told to.
    struct Told(Sender<Vec<u8>>, Receiver<()>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(bytes.to_vec());
            let _ = self.1.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_come_during_a_write_are_written_together_and_in_order() {
        let ((told, written), (go, gone)) = (channel(), channel());
        let (sink, guard) = open("test", Told(told, gone)).unwrap();
        (&sink).write_all(b"one\n").unwrap();
        assert_eq!(written.recv().unwrap(), b"one\n");
        for line in ["two\n", "three\n"] {
            (&sink).write_all(line.as_bytes()).unwrap();
        }
        go.send(()).unwrap();
        assert_eq!(written.recv().unwrap(), b"two\nthree\n");
        (&sink).write_all(b"last\n").unwrap();
        drop(go);
        drop(guard);
        assert_eq!(written.recv().unwrap(), b"last\n");
    }

    #[test]
    fn what_does_not_fit_is_lost_and_nobody_waits() {
        let ((told, written), (go, gone)) = (channel(), channel());
        let (sink, guard) = open("test", Told(told, gone)).unwrap();
        (&sink).write_all(b"first\n").unwrap();
        written.recv().unwrap();
        let long = vec![b'x'; BUFFER_BYTES_MAX / 2];
        for _ in 0..5 {
            (&sink).write_all(&long).unwrap();
        }
        assert_eq!(sink.0.state().lost, 3);
        drop(go);
        assert_eq!(written.recv().unwrap().len(), BUFFER_BYTES_MAX);
        drop(guard);
    }
}
