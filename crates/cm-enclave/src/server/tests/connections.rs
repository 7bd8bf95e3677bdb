//! What a connection can and cannot do to the others.

use cm_instance::wire::{
    Cancel, Data, Execute, FRAME_LEN_MAX, ReadFile, RequestPolicyHash, RequestShutdown, Status,
};

use super::*;

fn read(name: &str) -> RequestBody {
    RequestBody::ReadFile(ReadFile { file_name: name.to_owned(), offset: 0, length: 0 })
}

fn execute() -> RequestBody {
    RequestBody::Execute(Execute { file_name: "program.wasm".to_owned(), ..Execute::default() })
}

fn policy_hash() -> RequestBody {
    RequestBody::RequestPolicyHash(RequestPolicyHash {})
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_its_connection_and_no_other() {
    let known = Identity::new();
    let policy = policy(&[(&known, &[("output", READ)])]);
    let door = Door::open(policy, Fake::ending(Outcome::Completed), 4);
    let mut other = door.connect(Some(&known)).await.unwrap();
    let mut client = door.connect(Some(&known)).await.unwrap();
    let too_long = (FILE_BYTES_MAX + FRAME_LEN_MAX as u64).to_be_bytes();
    client.stream.write_all(&too_long).await.unwrap();
    client.stream.flush().await.unwrap();
    assert!(client.receive().await.is_err(), "a frame over the limit was waited for");
    assert_eq!(other.ask(policy_hash()).await.unwrap().status(), Status::Success);
    // So does one that only a file may have, and that is none.
    let mut client = door.connect(Some(&known)).await.unwrap();
    let too_long = (FRAME_LEN_MAX as u64 + 1).to_be_bytes();
    client.stream.write_all(&[&too_long[..], &[0x5a, 0xfb, 0xff, 0xff, 0x07, 0x0a]].concat()).await.unwrap();
    client.stream.flush().await.unwrap();
    assert!(client.receive().await.is_err(), "a request over the limit was waited for");
}

#[tokio::test]
async fn what_is_no_request_is_answered_as_such() {
    let known = Identity::new();
    let policy = policy(&[(&known, &[("output", READ)])]);
    let door = Door::open(policy, Fake::ending(Outcome::Completed), 4);
    let mut client = door.connect(Some(&known)).await.unwrap();
    client.stream.write_all(&[0, 0, 0, 0, 0, 0, 0, 2, 0xff, 0xff]).await.unwrap();
    client.stream.flush().await.unwrap();
    assert_eq!(client.receive().await.unwrap().status(), Status::InvalidRequest);
    assert_eq!(client.ask(policy_hash()).await.unwrap().status(), Status::Success);
}

#[tokio::test]
async fn a_program_that_loops_stops_nobody_else_and_its_caller_can_end_it() {
    let (owner, reader) = (Identity::new(), Identity::new());
    let policy =
        policy(&[(&owner, &[("input-0", WRITE)]), (&reader, &[("output", READ), ("input-0", READ)])]);
    let (host, begins) = Fake::endless();
    let door = Door::open(policy, host, 8);
    let mut running = door.connect(Some(&reader)).await.unwrap();
    running.send(execute()).await.unwrap();
    tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();

    let data = Data { file_name: "input-0".to_owned(), data: "1,2".into() };
    let mut writing = door.connect(Some(&owner)).await.unwrap();
    assert_eq!(writing.ask(RequestBody::WriteFile(data)).await.unwrap().status(), Status::Success);
    let mut reading = door.connect(Some(&reader)).await.unwrap();
    assert_eq!(reading.ask(read("input-0")).await.unwrap().result.unwrap().data, "1,2");
    // Another identity's cancellation is not for this run.
    assert_eq!(writing.ask(RequestBody::Cancel(Cancel {})).await.unwrap().status(), Status::Success);
    assert_eq!(reading.ask(RequestBody::Cancel(Cancel {})).await.unwrap().status(), Status::Success);
    let report = running.receive().await.unwrap().report.unwrap().unpack().unwrap();
    assert_eq!(report.outcome, Outcome::Cancelled);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_its_run() {
    let known = Identity::new();
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    let host = Fake::new(move |fake, _, _, cancel| {
        begun.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
        assert!(!cancel.is_cancelled());
        fake.put("output", b"done");
        ExecutionReport::before_start(Outcome::Completed)
    });
    let door = Door::open(policy(&[(&known, &[("output", READ)])]), host, 4);
    let mut leaving = door.connect(Some(&known)).await.unwrap();
    leaving.send(execute()).await.unwrap();
    begins.recv().await.unwrap();
    drop(leaving);
    let mut staying = door.connect(Some(&known)).await.unwrap();
    assert_eq!(staying.ask(read("output")).await.unwrap().status(), Status::InvalidRequest);
    release.send(()).unwrap();
    loop {
        let answer = staying.ask(read("output")).await.unwrap();
        if let Some(result) = answer.result {
            assert_eq!(result.data, "done");
            break;
        }
    }
}

#[tokio::test]
async fn an_identity_that_takes_all_its_connections_leaves_the_others_theirs() {
    let (greedy, modest) = (Identity::new(), Identity::new());
    let policy = policy(&[(&greedy, &[("output", READ)]), (&modest, &[("output", READ)])]);
    let door = Door::open(policy, Fake::ending(Outcome::Completed), 4);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = door.connect(Some(&greedy)).await.unwrap();
        client.ask(policy_hash()).await.unwrap();
        held.push(client);
    }
    let refused = async { door.connect(Some(&greedy)).await?.ask(policy_hash()).await };
    assert!(refused.await.is_err(), "an identity holds more than its share");
    for _ in 0..2 {
        let mut client = door.connect(Some(&modest)).await.unwrap();
        client.ask(policy_hash()).await.unwrap();
        held.push(client);
    }
    // Whoever leaves makes room.
    drop(held.remove(0));
    loop {
        let again = async { door.connect(Some(&greedy)).await?.ask(policy_hash()).await };
        if again.await.is_ok() {
            break;
        }
    }
}

#[tokio::test]
async fn strangers_who_never_finish_a_handshake_keep_nobody_out() {
    let known = Identity::new();
    let door = Door::open(policy(&[(&known, &[("output", READ)])]), Fake::ending(Outcome::Completed), 1);
    let mut silent = Vec::new();
    for _ in 0..2 * HANDSHAKES_MAX {
        silent.push(TcpStream::connect(door.address).await.unwrap());
    }
    let served = async { door.connect(Some(&known)).await?.ask(policy_hash()).await };
    let served = timeout(HANDSHAKE_TIMEOUT / 2, served).await.expect("silent strangers keep others waiting");
    assert_eq!(served.unwrap().status(), Status::Success);
}

#[tokio::test]
async fn a_client_that_may_ends_the_instance_and_is_told_so() {
    let known = Identity::new();
    let door = Door::open(policy(&[(&known, &[("output", READ)])]), Fake::ending(Outcome::Completed), 4);
    let mut client = door.connect(Some(&known)).await.unwrap();
    let answer = client.ask(RequestBody::RequestShutdown(RequestShutdown {})).await.unwrap();
    assert_eq!(answer.status(), Status::Success);
    door.tasks.token().cancel();
    let left = door.tasks.drain(Duration::from_secs(5)).await;
    assert_eq!(left, cm_runtime::Drained::All);
}
