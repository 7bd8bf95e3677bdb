//! Processes that wait, played by a program that reads its standard input for ever.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use cm_crypto::digest::sha256;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn launcher(program: &str, pool: usize, tasks: &Tasks) -> ProcessLauncher {
    let places = ["/bin", "/usr/bin"].map(|dir| Path::new(dir).join(program));
    let path = places.into_iter().find(|path| path.exists()).expect("every Linux has it");
    let config = LauncherConfig {
        address: Ipv4Addr::LOCALHOST.into(),
        ports: None,
        instances_max: 8,
        start_timeout: PATIENCE,
        pool,
    };
    ProcessLauncher::new(&config, MeasuredExecutable::of(&path).unwrap(), tasks)
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::task::yield_now().await;
    }
}

fn order() -> Order {
    Order {
        instance: "i".to_owned(),
        policy_text: "{}".to_owned(),
        policy_hash: sha256(b"{}"),
        memory_bytes: 0,
        storage_bytes: 0,
    }
}

fn free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[tokio::test]
async fn as_many_wait_as_should_and_what_is_taken_is_replaced() {
    let tasks = Tasks::new();
    let launcher = launcher("grep", 2, &tasks);
    until("two wait", || launcher.pool.len() == 2).await;
    let place = launcher.reserve().await.unwrap();
    assert!(place.is_warm());
    let port = place.port();
    let mut started = place.start(&order()).await.unwrap();
    until("it is replaced", || launcher.pool.len() == 2).await;
    assert!(!free(port), "the port of a process is free");
    started.vessel.kill();
    assert_eq!(started.vessel.ended().await, Ended::Killed);
    drop(started);
    until("its port is free", || free(port)).await;
}

#[tokio::test]
async fn a_place_that_was_not_used_goes_back() {
    let tasks = Tasks::new();
    let launcher = launcher("grep", 1, &tasks);
    until("one waits", || launcher.pool.len() == 1).await;
    let place = launcher.reserve().await.unwrap();
    let port = place.port();
    drop(place);
    let again = launcher.reserve().await.unwrap();
    assert_eq!((again.is_warm(), again.port()), (true, port));
}

#[tokio::test]
async fn those_that_die_are_replaced_and_never_given_out() {
    let tasks = Tasks::new();
    let launcher = launcher("grep", 1, &tasks);
    until("one waits", || launcher.pool.len() == 1).await;
    let mut dead = launcher.pool.take().unwrap();
    let port = dead.port.number();
    dead.child.kill().await.unwrap();
    launcher.pool.give_back(dead);
    let place = launcher.reserve().await.unwrap();
    assert_ne!(place.port(), port, "a dead process was given out");
    drop(place);
    until("another waits", || launcher.pool.len() == 1).await;
}

#[tokio::test]
async fn a_drain_ends_all_that_wait_and_starts_no_more() {
    let tasks = Tasks::new();
    let launcher = launcher("grep", 2, &tasks);
    until("two wait", || launcher.pool.len() == 2).await;
    let place = launcher.reserve().await.unwrap();
    launcher.drain();
    drop(place);
    assert_eq!(launcher.pool.len(), 0, "one waits after the drain");
    tasks.drain(PATIENCE).await;
    assert!(!launcher.reserve().await.unwrap().is_warm());
}

#[tokio::test]
async fn a_range_without_room_is_no_reason_to_stop_trying() {
    let tasks = Tasks::new();
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = stranger.local_addr().unwrap().port();
    let config = LauncherConfig {
        address: Ipv4Addr::LOCALHOST.into(),
        ports: Some(port..=port),
        instances_max: 1,
        start_timeout: PATIENCE,
        pool: 1,
    };
    let launcher =
        ProcessLauncher::new(&config, MeasuredExecutable::of(Path::new("/bin/cat")).unwrap(), &tasks);
    assert!(matches!(launcher.reserve().await, Err(LaunchError::NoPort)));
    drop(stranger);
    until("one waits", || launcher.pool.len() == 1).await;
    assert_eq!(launcher.reserve().await.unwrap().port(), port);
}
