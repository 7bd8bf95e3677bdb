//! Ports for services that are told where to listen before they do.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports that a test may have: below those that the system gives out by itself (from 32768), so that nobody's connection
/// or listener on port 0 takes one while it is not held.
const FIRST: u16 = 20_000;
const LAST: u16 = 31_999;
/// Processes of tests look at different stretches first, which spares most of them the search.
const STRETCH: u16 = 60;
/// How many ports this process has been given.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// So many neighbouring ports of 127.0.0.1 that nobody listens on now: the first and the last of them. They are not held:
/// the caller's service takes them, or says that somebody was faster.
///
/// # Panics
///
/// If there are none.
pub fn free(count: u16) -> (u16, u16) {
    assert!((1..=STRETCH).contains(&count), "between 1 and {STRETCH} ports can be had, not {count}");
    let stretches = u32::from((LAST - FIRST) / STRETCH);
    let all = stretches * u32::from(STRETCH);
    let own = std::process::id() % stretches * u32::from(STRETCH);
    for _ in 0..all {
        // Further calls of one process go on where the last one ended.
        let used = u32::from(NEXT.fetch_add(count, Ordering::Relaxed));
        let first = FIRST + u16::try_from((own + used) % all).expect("the range is one of ports");
        let last = first + count - 1;
        if (first..=last).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return (first, last);
        }
    }
    panic!("no {count} neighbouring ports between {FIRST} and {LAST} are free");
}
