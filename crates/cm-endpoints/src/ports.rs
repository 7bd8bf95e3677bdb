//! The TCP ports of deployed endpoints: two each, as far above their bases as each other.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where ports begin, and which are taken.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    req_res_base: u16,
    pubsub_base: u16,
    taken: Arc<Mutex<BTreeSet<u16>>>,
}

/// Two ports with their listening sockets. Nobody else can have them as long as these are open.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) req_res: TcpListener,
    pub(crate) pubsub: TcpListener,
    pub(crate) pair: Pair,
}

/// Two ports of one endpoint; both are free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) offset: u16,
    pub(crate) req_res_port: u16,
    pub(crate) pubsub_port: u16,
    taken: Arc<Mutex<BTreeSet<u16>>>,
}

impl Ports {
    pub(crate) fn new(req_res_base: u16, pubsub_base: u16) -> Self {
        Self { req_res_base, pubsub_base, taken: Arc::default() }
    }

    /// The lowest pair that no endpoint has and nobody else listens on; `None` if there is none.
    pub(crate) fn reserve(&self) -> io::Result<Option<Place>> {
        for offset in 0..self.room() {
            if lock(&self.taken).contains(&offset) {
                continue;
            }
            let (req_res_port, pubsub_port) = (self.req_res_base + offset, self.pubsub_base + offset);
            let (Some(req_res), Some(pubsub)) = (listen(req_res_port)?, listen(pubsub_port)?) else {
                continue;
            };
            lock(&self.taken).insert(offset);
            let pair = Pair { offset, req_res_port, pubsub_port, taken: self.taken.clone() };
            return Ok(Some(Place { req_res, pubsub, pair }));
        }
        Ok(None)
    }

    /// How many pairs there are before one range reaches the other, or the end.
    fn room(&self) -> u16 {
        let (first, second) = (self.req_res_base, self.pubsub_base);
        first.abs_diff(second).min(u16::MAX - first.max(second))
    }
}

/// Listens on a port of this machine only; `None` if a stranger has it.
fn listen(port: u16) -> io::Result<Option<TcpListener>> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn lock(taken: &Mutex<BTreeSet<u16>>) -> MutexGuard<'_, BTreeSet<u16>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Pair {
    fn drop(&mut self) {
        lock(&self.taken).remove(&self.offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::free_bases;

    #[test]
    fn the_lowest_free_pair_is_taken() {
        let (req_res, pubsub) = free_bases();
        let ports = Ports::new(req_res, pubsub);
        let reserve = || ports.reserve().unwrap().unwrap();
        let (first, second, third) = (reserve(), reserve(), reserve());
        let offsets = [&first, &second, &third].map(|place| place.pair.offset);
        assert!(offsets[0] < offsets[1] && offsets[1] < offsets[2], "{offsets:?}");
        assert_eq!(first.pair.req_res_port, req_res + offsets[0]);
        assert_eq!(first.pair.pubsub_port, pubsub + offsets[0]);
        drop(first);
        assert_eq!(reserve().pair.offset, offsets[0], "what became free is used again");
        drop((second, third));
    }

    #[test]
    fn ports_of_strangers_are_passed_over() {
        let (req_res, pubsub) = free_bases();
        let ports = Ports::new(req_res, pubsub);
        let first = ports.reserve().unwrap().unwrap().pair.offset;
        let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, pubsub + first)).unwrap();
        let place = ports.reserve().unwrap().unwrap();
        assert!(place.pair.offset > first);
        drop((place, stranger));
        assert_eq!(ports.reserve().unwrap().unwrap().pair.offset, first);
    }

    #[test]
    fn ranges_end_where_the_other_begins_or_ports_do() {
        assert_eq!(Ports::new(40000, 50000).room(), 10000);
        assert_eq!(Ports::new(50000, 40000).room(), 10000);
        assert_eq!(Ports::new(40000, 65530).room(), 5);
        assert!(Ports::new(40000, 40000).reserve().unwrap().is_none());
    }
}
