use cm_instance::control::{RunPhase, encode};
use cm_instance::{DeniedAccess, Rights};

use super::*;

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).unwrap()
}

#[tokio::test]
async fn the_launcher_is_told_nothing_that_a_program_can_spell() {
    let canary = path("the-secret-is-42");
    let denied = DeniedAccess { path: canary.clone(), right: Rights::FD_READ, call: "path_open".into() };
    let outcome = Outcome::MissingRight { path: canary, right: Rights::FD_READ, call: "path_open".into() };
    let mut report = ExecutionReport::before_start(outcome);
    (report.denied, report.denied_count) = (vec![denied], 0x5ec2e7);
    let (observe, _, mut states) = news();
    let state = RunState {
        run_id: 1,
        program: path("p"),
        identity: 0,
        state: RunPhase::Failed,
        report: Some(report),
    };
    observe(state);
    let told = encode(&states.recv().await.unwrap()).unwrap();
    let told = String::from_utf8_lossy(&told[control::HEADER_LEN..]);
    assert!(told.contains("missing-right"), "{told}");
    assert!(!told.contains("42") && !told.contains(&0x5ec2e7.to_string()), "{told}");
}

#[tokio::test]
async fn a_launcher_that_reads_too_slowly_stops_no_run() {
    let (observe, _, mut states) = news();
    let state =
        RunState { run_id: 1, program: path("p"), identity: 0, state: RunPhase::Running, report: None };
    for _ in 0..2 * NEWS_WAITING_MAX {
        observe(state.clone());
    }
    let mut told = 0;
    while states.try_recv().is_ok() {
        told += 1;
    }
    assert_eq!(told, NEWS_WAITING_MAX);
}

#[tokio::test]
async fn an_instance_ends_when_its_launcher_asks_goes_or_talks_nonsense() {
    use std::io::Write as _;

    let shutdown = encode(&ToInstance::Shutdown).unwrap();
    let cases = [
        (shutdown.clone(), ExitReason::Launcher),
        (Vec::new(), ExitReason::Orphaned),
        (shutdown[..3].to_vec(), ExitReason::Orphaned),
        (vec![0, 0, 0, 2, b'{', b'}'], ExitReason::Orphaned),
        (vec![0xff; 64], ExitReason::Orphaned),
    ];
    for (bytes, expected) in cases {
        let (mut launcher, instance) = UnixStream::pair().unwrap();
        launcher.write_all(&bytes).unwrap();
        drop(launcher);
        assert_eq!(Later::new(instance).unwrap().ended().await, expected, "{bytes:?}");
    }
}

#[test]
fn a_launch_that_announces_too_much_or_breaks_off_is_refused() {
    use std::io::Write as _;

    for bytes in [vec![0xff; 4], vec![0, 0, 0, 9, b'{'], encode(&ToInstance::Shutdown).unwrap()] {
        let (mut launcher, instance) = UnixStream::pair().unwrap();
        launcher.write_all(&bytes).unwrap();
        drop(launcher);
        assert!(Control::new(instance, Duration::from_secs(5)).unwrap().launch().is_err(), "{bytes:?}");
    }
}
