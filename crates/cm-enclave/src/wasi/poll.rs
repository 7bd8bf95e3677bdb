//! Clocks, waiting, randomness, and what a program is told about itself.

use std::time::Duration;

use cm_instance::Rights;

use super::memory::offset;
use super::{CallResult, Guest, RESOLUTION_NS, Wasi};
use crate::vfs::Errno;

const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;

const SUBSCRIPTION_LEN: u32 = 48;
const EVENT_LEN: u32 = 32;
/// Most subscriptions in one call.
const SUBSCRIPTIONS_MAX: u32 = 1024;
const ABSOLUTE: u16 = 1;

const KIND_CLOCK: u8 = 0;
const KIND_READ: u8 = 1;
const KIND_WRITE: u8 = 2;

/// Most random bytes in one call.
pub(crate) const RANDOM_MAX: u32 = 64 * 1024 * 1024;

struct Event {
    user: u64,
    errno: Option<Errno>,
    kind: u8,
}

impl Wasi {
    fn clock_ns(&self, id: u32) -> Result<u64, Errno> {
        match id {
            REALTIME => self.time.realtime_ns(),
            MONOTONIC => self.time.monotonic_ns(),
            // Without a clock nobody learns which ones there could be.
            _ => self.time.monotonic_ns().and(Err(Errno::Inval)),
        }
    }

    /// `clock_time_get`.
    pub fn clock_time_get(&mut self, guest: &mut Guest<'_>, id: u32, out: u32) -> CallResult {
        let now = self.clock_ns(id)?;
        Ok(guest.put_u64(out, now - now % RESOLUTION_NS)?)
    }

    /// `clock_res_get`.
    pub fn clock_res_get(&mut self, guest: &mut Guest<'_>, id: u32, out: u32) -> CallResult {
        self.clock_ns(id)?;
        Ok(guest.put_u64(out, RESOLUTION_NS)?)
    }

    /// `random_get`.
    pub fn random_get(&mut self, guest: &mut Guest<'_>, at: u32, len: u32) -> CallResult {
        if len > RANDOM_MAX {
            return Err(Errno::Inval.into());
        }
        cm_crypto::secret::fill_random(guest.bytes_mut(at, len)?);
        Ok(())
    }

    /// `args_sizes_get`. Each argument counts with the zero byte behind it.
    pub fn args_sizes_get(&mut self, guest: &mut Guest<'_>, count: u32, len: u32) -> CallResult {
        let bytes: usize = self.arguments.iter().map(|argument| argument.len() + 1).sum();
        guest.put_u32(count, u32::try_from(self.arguments.len()).map_err(|_| Errno::Overflow)?)?;
        Ok(guest.put_u32(len, u32::try_from(bytes).map_err(|_| Errno::Overflow)?)?)
    }

    /// `args_get`: the places of the arguments, and the arguments one behind the other.
    pub fn args_get(&mut self, guest: &mut Guest<'_>, places: u32, bytes: u32) -> CallResult {
        let (mut place, mut at) = (places, bytes);
        for argument in &self.arguments {
            guest.put_u32(place, at)?;
            place = offset(place, 4)?;
            for piece in [argument.as_bytes(), b"\0"] {
                guest.put(at, piece)?;
                at = offset(at, piece.len() as u32)?;
            }
        }
        Ok(())
    }

    /// `environ_sizes_get`: there is no environment.
    pub fn environ_sizes_get(&mut self, guest: &mut Guest<'_>, count: u32, len: u32) -> CallResult {
        guest.put_u32(count, 0)?;
        Ok(guest.put_u32(len, 0)?)
    }

    /// `poll_oneoff`. A file is always ready. A wait for a clock alone takes real time, and ends with the run.
    pub fn poll_oneoff(
        &mut self,
        guest: &mut Guest<'_>,
        list: u32,
        events: u32,
        count: u32,
        out: u32,
    ) -> CallResult {
        self.view.begin("poll_oneoff");
        if count == 0 || count > SUBSCRIPTIONS_MAX {
            return Err(Errno::Inval.into());
        }
        guest.bytes_mut(events, count * EVENT_LEN)?;
        let mut ready = Vec::new();
        let mut waits: Vec<(Duration, u64)> = Vec::new();
        for index in 0..count {
            let at = offset(list, index * SUBSCRIPTION_LEN)?;
            let user = guest.u64(at)?;
            let kind = guest.bytes(offset(at, 8)?, 1)?[0];
            let result = match kind {
                KIND_CLOCK => match self.wait_for(guest, at) {
                    Ok(wait) => {
                        waits.push((wait, user));
                        continue;
                    }
                    Err(errno) => Err(errno),
                },
                KIND_READ | KIND_WRITE => self.check_poll(guest.u32(offset(at, 16)?)?),
                _ => return Err(Errno::Inval.into()),
            };
            ready.push(Event { user, errno: result.err(), kind });
        }
        let now =
            if ready.is_empty() { waits.iter().map(|(wait, _)| *wait).min() } else { Some(Duration::ZERO) };
        let now = now.unwrap_or_default();
        self.time.pause(now)?;
        ready.extend(waits.into_iter().filter(|(wait, _)| *wait <= now).map(|(_, user)| Event {
            user,
            errno: None,
            kind: KIND_CLOCK,
        }));
        for (index, event) in (0u32..).zip(&ready) {
            let mut bytes = [0; EVENT_LEN as usize];
            bytes[0..8].copy_from_slice(&event.user.to_le_bytes());
            bytes[8..10].copy_from_slice(&event.errno.map_or(0, |errno| errno as u16).to_le_bytes());
            bytes[10] = event.kind;
            guest.put(offset(events, index * EVENT_LEN)?, &bytes)?;
        }
        Ok(guest.put_u32(out, ready.len() as u32)?)
    }

    fn check_poll(&mut self, fd: u32) -> Result<(), Errno> {
        match self.file(fd)? {
            (view, Some(handle)) => view.check_open(handle, Rights::POLL_FD_READWRITE),
            (_, None) => Ok(()),
        }
    }

    fn wait_for(&self, guest: &Guest<'_>, at: u32) -> Result<Duration, Errno> {
        let now = self.clock_ns(guest.u32(offset(at, 16)?)?)?;
        let timeout = guest.u64(offset(at, 24)?)?;
        let absolute = guest.u16(offset(at, 40)?)? & ABSOLUTE != 0;
        Ok(Duration::from_nanos(if absolute { timeout.saturating_sub(now) } else { timeout }))
    }
}
