mod pipelines;
mod sealed;

use std::sync::atomic::AtomicUsize;

use cm_instance::TrapKind;
use cm_instance::wire::{
    Cancel, Execute, ListFiles, RequestPiHash, RequestPipeline, RequestPolicyHash, RequestResult,
    RequestShutdown,
};

use super::*;
use crate::server::tests::{Fake, Identity, PROGRAM, READ, WRITE, path, policy, service};

/// FILE_EXECUTE of the later published policies, with what their executors have besides.
const EXECUTE: u32 = 536_879_108;

/// Identities with their rights before a host.
struct World {
    service: Arc<Service>,
    host: Arc<Fake>,
    stop: CancellationToken,
}

fn world(host: Arc<Fake>, rights: &[&[(&str, u32)]]) -> World {
    let identities: Vec<Identity> = rights.iter().map(|_| Identity::new()).collect();
    let named: Vec<_> = identities.iter().zip(rights.iter().copied()).collect();
    let (service, stop) = service(policy(&named), host.clone());
    World { service, host, stop }
}

fn quiet(rights: &[&[(&str, u32)]]) -> World {
    world(Fake::ending(Outcome::Completed), rights)
}

impl World {
    async fn ask(&self, identity: u64, body: RequestBody) -> Response {
        let answer = self.service.answer(identity, Request::from(body).encode_to_vec().into()).await;
        Response::decode(answer.slice(8..)).unwrap()
    }

    /// Asks and expects a status.
    async fn check(&self, identity: u64, body: RequestBody, expected: Status) -> Response {
        let answer = self.ask(identity, body.clone()).await;
        assert_eq!(answer.status(), expected, "{identity} {body:?}: {answer:?}");
        answer
    }
}

fn write(name: &str, bytes: &[u8]) -> RequestBody {
    RequestBody::WriteFile(Data { file_name: name.to_owned(), data: Bytes::copy_from_slice(bytes) })
}

fn append(name: &str, bytes: &[u8]) -> RequestBody {
    RequestBody::AppendFile(Data { file_name: name.to_owned(), data: Bytes::copy_from_slice(bytes) })
}

fn read(name: &str) -> RequestBody {
    part(name, 0, 0)
}

fn part(name: &str, offset: u64, length: u64) -> RequestBody {
    RequestBody::ReadFile(ReadFile { file_name: name.to_owned(), offset, length })
}

fn hash(name: &str) -> RequestBody {
    RequestBody::RequestPiHash(RequestPiHash { file_name: name.to_owned() })
}

fn result(name: &str) -> RequestBody {
    RequestBody::RequestResult(RequestResult { file_name: name.to_owned() })
}

fn execute(name: &str) -> RequestBody {
    RequestBody::Execute(Execute { file_name: name.to_owned(), ..Execute::default() })
}

fn shutdown() -> RequestBody {
    RequestBody::RequestShutdown(RequestShutdown {})
}

#[tokio::test]
async fn writing_needs_each_right_of_a_writer() {
    let all = Rights::WRITER.bits();
    for (right, name) in Rights::NAMED {
        if !Rights::WRITER.contains(right) {
            continue;
        }
        let w = quiet(&[&[("input-0", all & !right.bits())]]);
        let needed_new = right != Rights::PATH_FILESTAT_SET_SIZE && right != Rights::PATH_OPEN;
        let refused = if needed_new { Status::InvalidRole } else { Status::Success };
        w.check(0, write("input-0", b"x"), refused).await;
        assert_eq!(w.host.get("input-0").is_some(), !needed_new, "{name}");
        w.host.put("input-0", b"old");
        let needed = right != Rights::PATH_CREATE_FILE && right != Rights::PATH_OPEN;
        let refused = if needed { Status::InvalidRole } else { Status::Success };
        w.check(0, write("input-0", b"x"), refused).await;
        assert_eq!(w.host.get("input-0").unwrap(), if needed { b"old".as_slice() } else { b"x" }, "{name}");
    }
}

#[tokio::test]
async fn appending_needs_the_rights_to_write_and_to_create() {
    let w = quiet(&[
        &[("input-0", WRITE)],
        &[("input-0", WRITE & !Rights::PATH_CREATE_FILE.bits())],
        &[("input-0", READ)],
    ]);
    w.check(1, append("input-0", b"a"), Status::InvalidRole).await;
    w.check(2, append("input-0", b"a"), Status::InvalidRole).await;
    assert_eq!(w.host.get("input-0"), None);
    w.check(0, append("input-0", b"a"), Status::Success).await;
    w.check(1, append("input-0", b"b"), Status::Success).await;
    w.check(2, append("input-0", b"c"), Status::InvalidRole).await;
    assert_eq!(w.host.get("input-0").unwrap(), b"ab");
}

#[tokio::test]
async fn reading_and_hashing_need_the_right_to_read_and_a_refusal_tells_nothing() {
    let w = quiet(&[&[("output", READ)], &[("output", WRITE)], &[("input-0", READ)]]);
    // Before the file exists and afterwards, whoever may not read it hears the same.
    for _ in 0..2 {
        for identity in [1, 2, 77] {
            for body in [read("output"), hash("output"), part("output", 1, 1)] {
                let answer = w.check(identity, body, Status::InvalidRole).await;
                assert_eq!(answer.error.unwrap().data, Refusal::Role.to_string());
                assert!(answer.result.is_none() && answer.pi_hash.is_none() && answer.file_len.is_none());
            }
        }
        w.host.put("output", b"0123456789");
    }
    let answer = w.check(0, read("output"), Status::Success).await;
    assert_eq!((answer.result.unwrap().data.as_ref(), answer.file_len), (b"0123456789".as_slice(), Some(10)));
    let answer = w.check(0, part("/output", 8, 100), Status::Success).await;
    assert_eq!(answer.result.unwrap().data, "89");
    let answer = w.check(0, part("output", 100, 1), Status::Success).await;
    assert_eq!(answer.result.unwrap().data, "");
    let answer = w.check(0, hash("output"), Status::Success).await;
    assert_eq!(answer.pi_hash.unwrap().data, sha256(b"0123456789").to_string());
    w.check(2, read("input-0"), Status::InvalidRequest).await;
    w.check(0, read("../output/.."), Status::InvalidRequest).await;
}

#[tokio::test]
async fn a_file_longer_than_a_frame_is_read_in_parts_only() {
    let w = quiet(&[&[("output", READ)]]);
    w.host.put("output", &vec![7; READ_LEN_MAX + 1]);
    w.check(0, read("output"), Status::InvalidRequest).await;
    let answer = w.check(0, part("output", 0, u64::MAX), Status::Success).await;
    assert_eq!(answer.result.unwrap().data.len(), READ_LEN_MAX);
    let answer = w.check(0, part("output", READ_LEN_MAX as u64, 0), Status::Success).await;
    assert_eq!(answer.result.unwrap().data.len(), 1);
    let answer = w.check(0, hash("output"), Status::Success).await;
    assert_eq!(answer.pi_hash.unwrap().data, sha256(&vec![7; READ_LEN_MAX + 1]).to_string());
}

#[tokio::test]
async fn a_program_is_stored_only_whole_and_with_the_hash_of_the_policy() {
    let w = quiet(&[&[("program.wasm", WRITE)]]);
    let refused = w.check(0, write("program.wasm", b"another"), Status::InvalidRequest).await;
    assert!(refused.error.unwrap().data.contains(&sha256(PROGRAM).to_string()));
    w.check(0, append("program.wasm", PROGRAM), Status::InvalidRequest).await;
    assert_eq!(w.host.get("program.wasm"), None, "something was stored");
    w.check(0, write("program.wasm", PROGRAM), Status::Success).await;
    w.check(0, write("/program.wasm", b"another"), Status::InvalidRequest).await;
    assert_eq!(w.host.get("program.wasm").unwrap(), PROGRAM);
}

#[tokio::test]
async fn a_list_names_what_one_may_know() {
    let w = quiet(&[&[("output", READ), ("program.wasm", WRITE)]]);
    for name in ["input-0", "output", "program.wasm"] {
        w.host.put(name, b"abc");
    }
    let files = w.check(0, RequestBody::ListFiles(ListFiles {}), Status::Success).await.files.unwrap().files;
    let named: Vec<_> =
        files.iter().map(|file| (file.file_name.as_str(), file.length, file.rights)).collect();
    assert_eq!(named, [("/output", Some(3), READ), ("/program.wasm", None, WRITE)]);
    let nothing = w.check(5, RequestBody::ListFiles(ListFiles {}), Status::Success).await;
    assert!(nothing.files.unwrap().files.is_empty());
}

#[tokio::test]
async fn executing_needs_the_right_in_both_forms_of_policies() {
    // Seed form: who may read what the program writes.
    let w = quiet(&[&[("output", READ)], &[("input-0", WRITE)], &[("program.wasm", WRITE)]]);
    w.host.put("output", b"sum");
    for identity in [1, 2, 9] {
        w.check(identity, execute("program.wasm"), Status::InvalidRole).await;
        w.check(identity, result("program.wasm"), Status::InvalidRole).await;
    }
    let answer = w.check(0, execute("program.wasm"), Status::Success).await;
    assert!(answer.report.unwrap().unpack().unwrap().succeeded());
    w.check(0, execute("output"), Status::InvalidRole).await;
    // Later form: who has the right to execute, and reading alone is not enough.
    let w = quiet(&[&[("output", READ)], &[("program.wasm", EXECUTE)]]);
    w.check(0, execute("program.wasm"), Status::InvalidRole).await;
    w.check(0, result("program.wasm"), Status::InvalidRole).await;
    w.check(1, execute("program.wasm"), Status::Success).await;
}

/// A host that counts its runs and writes their number to the output.
fn counting() -> (Arc<Fake>, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let host = Fake::new(move |fake, _, _, _| {
        let number = counted.fetch_add(1, Ordering::Relaxed) + 1;
        fake.put("output", number.to_string().as_bytes());
        ExecutionReport::before_start(Outcome::Completed)
    });
    (host, runs)
}

#[tokio::test]
async fn the_first_published_form_runs_when_something_changed_and_gives_the_output() {
    let (host, runs) = counting();
    let w = world(host, &[&[("output", READ)], &[("input-0", WRITE)]]);
    for _ in 0..3 {
        let answer = w.check(0, result("program.wasm"), Status::Success).await;
        assert_eq!(answer.result.unwrap().data, "1");
    }
    w.check(1, write("input-0", b"new"), Status::Success).await;
    let answer = w.check(0, result("program.wasm"), Status::Success).await;
    assert_eq!(answer.result.unwrap().data, "2");
    w.check(1, append("input-0", b"er"), Status::Success).await;
    w.check(0, result("program.wasm"), Status::Success).await;
    // What was refused changed nothing.
    w.check(0, write("input-0", b"x"), Status::InvalidRole).await;
    w.check(0, result("program.wasm"), Status::Success).await;
    assert_eq!(runs.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn the_first_published_form_gives_the_output_only_to_its_readers() {
    // May execute, because it may read another file that the program writes; may not read the output.
    let w = quiet(&[&[("input-0", READ)], &[("output", READ)]]);
    w.host.put("output", b"secret");
    let answer = w.check(0, result("program.wasm"), Status::InvalidRole).await;
    assert!(answer.result.is_none());
    let answer = w.check(1, result("program.wasm"), Status::Success).await;
    assert_eq!(answer.result.unwrap().data, "secret");
}

#[tokio::test]
async fn each_end_of_a_run_has_its_status() {
    let missing = Outcome::MissingRight { path: path("x"), right: Rights::FD_READ, call: "fd_read".into() };
    let trap = Outcome::Trap { trap: TrapKind::Unreachable, message: "unreachable".into() };
    let wrong = Outcome::HashMismatch { path: path("x"), expected: sha256(b"a"), found: sha256(b"b") };
    let limit = Outcome::LimitExceeded { which: cm_instance::Limit::Time };
    let cases = [
        (Outcome::Exit { code: 258 }, Status::ErrorCodeReturned),
        (trap, Status::VmError),
        (missing, Status::VmError),
        (limit, Status::VmError),
        (Outcome::Cancelled, Status::VmError),
        (wrong, Status::InvalidRequest),
        (Outcome::NotFound, Status::InvalidRequest),
    ];
    for (outcome, status) in cases {
        let seed = world(Fake::ending(outcome.clone()), &[&[("output", READ)]]);
        seed.host.put("output", b"old");
        for body in [result("program.wasm"), execute("program.wasm")] {
            let answer = seed.check(0, body, status).await;
            assert!(answer.result.is_none(), "the output of an earlier run was given: {answer:?}");
            assert_eq!(answer.report.unwrap().unpack().unwrap().outcome, outcome);
        }
        // The later form answers an exit with the code itself, also when it is not 0.
        let later = world(Fake::ending(outcome.clone()), &[&[("program.wasm", EXECUTE)]]);
        let answer = later.ask(0, result("program.wasm")).await;
        match outcome {
            Outcome::Exit { .. } => {
                assert_eq!(answer.status(), Status::Success);
                assert_eq!(answer.result.unwrap().data.as_ref(), [2, 1, 0, 0]);
            }
            _ => assert_eq!(answer.status(), status),
        }
    }
    let later = world(Fake::ending(Outcome::Completed), &[&[("program.wasm", EXECUTE)]]);
    let answer = later.check(0, result("program.wasm"), Status::Success).await;
    assert_eq!(answer.result.unwrap().data.as_ref(), [0; 4]);
}

#[tokio::test]
async fn a_client_can_shorten_a_run_and_never_lengthen_it() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let host = Fake::new(move |_, _, time_max, _| {
        noted.lock().unwrap().push(time_max);
        ExecutionReport::before_start(Outcome::Completed)
    });
    let w = world(host, &[&[("output", READ)]]);
    for deadline_ms in [0, 5, u64::MAX] {
        let body = RequestBody::Execute(Execute {
            file_name: "program.wasm".to_owned(),
            deadline_ms,
            ..Execute::default()
        });
        w.check(0, body, Status::Success).await;
    }
    let hour = Duration::from_secs(3600);
    assert_eq!(*seen.lock().unwrap(), [hour, Duration::from_millis(5), hour]);
}

#[tokio::test]
async fn every_identity_of_the_policy_may_end_the_instance_and_nobody_else() {
    for rights in [&[("output", READ)][..], &[("program.wasm", EXECUTE)], &[]] {
        let w = quiet(&[rights, &[("program.wasm", EXECUTE)]]);
        w.check(2, shutdown(), Status::InvalidRole).await;
        assert!(!w.stop.is_cancelled());
        w.check(0, shutdown(), Status::Success).await;
        assert!(w.stop.is_cancelled());
    }
}

#[tokio::test]
async fn what_needs_no_right_is_answered_and_nonsense_is_refused() {
    let w = quiet(&[&[("output", READ)]]);
    let answer = w.check(9, RequestBody::RequestPolicyHash(RequestPolicyHash {}), Status::Success).await;
    assert_eq!(answer.policy_hash.unwrap().data, w.service.policy_hash.to_string());
    w.check(9, RequestBody::Cancel(Cancel {}), Status::Success).await;
    let pipeline = RequestBody::RequestPipeline(RequestPipeline { pipeline_id: "0".to_owned() });
    w.check(0, pipeline, Status::InvalidRequest).await;
    for bytes in [vec![], vec![0xff; 9]] {
        let answer = w.service.answer(0, bytes.into()).await;
        assert_eq!(Response::decode(answer.slice(8..)).unwrap().status(), Status::InvalidRequest);
    }
}

/// Who may make a file but replace none must not replace one that came to be meanwhile.
#[tokio::test]
async fn the_rights_of_an_upload_are_those_at_its_end() {
    let may_make = WRITE & !Rights::PATH_FILESTAT_SET_SIZE.bits();
    let w = quiet(&[&[("input-0", may_make)]]);
    let begin = || {
        let mut upload = w.service.begin_upload(0, false, "input-0", 3);
        upload.push(b"new");
        upload
    };
    let end = |upload| Response::decode(w.service.end_upload(0, upload).slice(8..)).unwrap().status();
    let (first, second) = (begin(), begin());
    assert_eq!(end(first), Status::Success);
    w.host.put("input-0", b"old");
    assert_eq!(end(second), Status::InvalidRole);
    assert_eq!(w.host.get("input-0").unwrap(), b"old");
}
