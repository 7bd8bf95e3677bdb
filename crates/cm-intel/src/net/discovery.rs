//! Nodes on one network find each other by datagrams to everybody.
//!
//! The earlier node answers every question to everybody, so that whoever sends one datagram makes a whole network talk. This one answers
//! at most once a second, whoever asks, dials nobody but addresses of its own network and remembers few of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use cm_runtime::Tasks;
use tokio::net::UdpSocket;
use tokio::time::Instant;
use uuid::Uuid;

use super::dial::Dialling;
use crate::node::Shared;
use crate::wire::discovery::{Call, DATAGRAM_LEN_MAX, Datagram};

/// When to ask first, and how often while alone.
const FIRST_AFTER: Duration = Duration::from_secs(2);
const EVERY: Duration = Duration::from_secs(30);
/// The least time between two answers.
const ANSWER_EVERY: Duration = Duration::from_secs(1);

/// Asks and answers until the tasks are told to end.
pub(crate) async fn run(socket: UdpSocket, shared: Shared, dialling: Arc<Dialling>, tasks: Tasks) {
    let port = socket.local_addr().map_or(0, |address| address.port());
    let everybody = SocketAddr::new(IpAddr::V4(Ipv4Addr::BROADCAST), port);
    let node_id = Uuid::new_v4().to_string();
    let say = |call| {
        let hello = shared.hello();
        let tcp_port = shared.config.announced_port;
        let (versions, key) = (hello.versions, hello.key);
        Datagram { call, node_id: node_id.clone(), tcp_port, versions, key }.encode()
    };
    let talking = async {
        let mut ask_at = Instant::now() + FIRST_AFTER;
        let mut answered: Option<Instant> = None;
        let mut buffer = [0; DATAGRAM_LEN_MAX + 1];
        loop {
            let (len, from) = tokio::select! {
                () = tokio::time::sleep_until(ask_at) => {
                    ask_at = Instant::now() + EVERY;
                    if shared.pipeline.links().count() == 0 {
                        send(&socket, &say(Call::Ping), everybody).await;
                    }
                    continue;
                }
                received = socket.recv_from(&mut buffer) => match received {
                    Ok(received) => received,
                    Err(error) => {
                        tracing::debug!(%error, "datagram not received");
                        tokio::time::sleep(ANSWER_EVERY).await;
                        continue;
                    }
                },
            };
            let Some(datagram) = Datagram::parse(&buffer[..len]) else { continue };
            if datagram.node_id == node_id || !is_near(from.ip()) {
                continue;
            }
            dialling.found(SocketAddr::new(from.ip(), datagram.tcp_port).to_string(), &shared, &tasks);
            let may_answer = answered.is_none_or(|at| at.elapsed() >= ANSWER_EVERY);
            if datagram.call == Call::Ping && may_answer {
                answered = Some(Instant::now());
                send(&socket, &say(Call::Pong), everybody).await;
            }
        }
    };
    let token = tasks.token();
    token.run_until_cancelled(talking).await;
}

async fn send(socket: &UdpSocket, datagram: &[u8], to: SocketAddr) {
    if let Err(error) = socket.send_to(datagram, to).await {
        tracing::debug!(%error, %to, "datagram not sent");
    }
}

/// Whether an address can be one of the own network: datagrams to everybody go no further.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_private() || address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unicast_link_local() || address.is_unique_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_network_is_dialled() {
        for near in
            ["192.168.1.9", "10.0.0.1", "172.17.0.2", "127.0.0.1", "169.254.1.1", "fe80::1", "fd00::1"]
        {
            assert!(is_near(near.parse().unwrap()), "{near}");
        }
        for far in ["198.51.100.1", "8.8.8.8", "2001:db8::1", "0.0.0.0", "::ffff:8.8.8.8"] {
            assert!(!is_near(far.parse().unwrap()), "{far}");
        }
    }
}
