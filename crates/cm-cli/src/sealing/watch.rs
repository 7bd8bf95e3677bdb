//! Work on files that somebody may stop: nothing half is left, whoever stops it and whatever it waits for.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cm_client::Progress;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::signal::unix::{SignalKind, signal};

/// How often work that waits for bytes looks whether it was stopped.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What a shell is told, and whether the work is to go on.
#[derive(Clone)]
pub(super) struct Watch {
    pub(super) progress: Progress,
    pub(super) stopped: Arc<AtomicBool>,
}

impl Watch {
    pub(super) fn new(progress: Progress) -> Self {
        Self { progress, stopped: Arc::new(AtomicBool::new(false)) }
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn moved(&self, bytes: u64) -> io::Result<()> {
        (self.progress)(bytes);
        self.go_on()
    }

    fn go_on(&self) -> io::Result<()> {
        match self.is_stopped() {
            // Not `Interrupted`, which means to try again.
            true => Err(io::Error::other(Stopped)),
            false => Ok(()),
        }
    }
}

/// Somebody stopped the command.
#[derive(Debug)]
struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Stopped {}

/// The signals by which commands are stopped. Heard from the moment on at which this is made, so that none ends the process
/// while a file is being written.
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when one of them came: what a shell says of a command that it ended.
    pub(super) async fn heard(&mut self) -> u8 {
        let number = tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.hangup.recv() => SignalKind::hangup(),
        };
        128 + u8::try_from(number.as_raw_value()).unwrap_or(0)
    }
}

/// A source whose bytes may be long in coming, standard input above all: reading it ends when the work is stopped.
pub(super) struct Stoppable<R> {
    source: R,
    watch: Watch,
}

impl<R> Stoppable<R> {
    pub(super) fn new(source: R, watch: &Watch) -> Self {
        Self { source, watch: watch.clone() }
    }
}

impl<R: Read + AsFd> Read for Stoppable<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            self.watch.go_on()?;
            // Files are always ready; a pipe and a terminal are when they have something, or have ended.
            let mut asked = [PollFd::new(&self.source, PollFlags::IN)];
            match poll(&mut asked, Some(&LOOK_EVERY)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => return self.source.read(bytes),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn waiting_for_bytes_ends_when_the_work_is_stopped() {
        let (reader, writer) = io::pipe().unwrap();
        let watch = Watch::new(Arc::new(|_| {}));
        let told = Arc::new(Mutex::new(Vec::new()));
        let mut source = Stoppable::new(reader, &watch);
        let inner = Arc::clone(&told);
        let reading = std::thread::spawn(move || {
            let mut piece = [0; 8];
            let first = source.read(&mut piece).unwrap();
            inner.lock().unwrap().extend_from_slice(&piece[..first]);
            source.read(&mut piece).unwrap_err().to_string()
        });
        io::Write::write_all(&mut &writer, b"first").unwrap();
        while told.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        watch.stop();
        assert_eq!(reading.join().unwrap(), "interrupted");
        drop(writer);
    }
}
