//! The TCP ports on which instances listen.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

/// A pool of ports. Without a range, the operating system chooses.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    address: IpAddr,
    range: Option<RangeInclusive<u16>>,
    taken: Arc<Mutex<BTreeSet<u16>>>,
}

/// A port in use by one instance; it returns to the pool when this is dropped.
#[derive(Debug)]
pub(super) struct Port {
    number: u16,
    taken: Arc<Mutex<BTreeSet<u16>>>,
}

impl Ports {
    pub(super) fn new(address: IpAddr, range: Option<RangeInclusive<u16>>) -> Self {
        Self { address, range, taken: Arc::default() }
    }

    /// Listens on a free port of the range; `AddrInUse` if there is none. Ports that a stranger holds are
    /// passed over.
    pub(super) fn listen(&self) -> io::Result<(TcpListener, Port)> {
        let Some(range) = self.range.clone() else {
            return self.bind(0);
        };
        for number in range {
            if self.taken.lock().unwrap_or_else(PoisonError::into_inner).contains(&number) {
                continue;
            }
            match self.bind(number) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                outcome => return outcome,
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    fn bind(&self, number: u16) -> io::Result<(TcpListener, Port)> {
        let listener = TcpListener::bind(SocketAddr::new(self.address, number))?;
        let number = listener.local_addr()?.port();
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        Ok((listener, Port { number, taken: self.taken.clone() }))
    }
}

impl Port {
    pub(super) fn number(&self) -> u16 {
        self.number
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// Ports that this node has claims on, where the platform binds them.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(Arc<Mutex<BTreeSet<u16>>>);

impl Claims {
    /// A claim on a port, if there is none yet.
    pub(super) fn claim(&self, number: u16) -> Option<Port> {
        let is_new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        is_new.then(|| Port { number, taken: self.0.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_range_is_used_up_and_freed() {
        let (_, probe) = Ports::new(Ipv4Addr::LOCALHOST.into(), None).listen().unwrap();
        let number = probe.number();
        let ports = Ports::new(Ipv4Addr::LOCALHOST.into(), Some(number..=number));
        let (listener, port) = ports.listen().unwrap();
        assert_eq!(port.number(), number);
        assert_eq!(ports.listen().unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop((listener, port));
        assert_eq!(ports.listen().unwrap().1.number(), number);
    }
}
