//! What every launcher does, asked of each; and what only processes can get wrong.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use cm_types::{TenantId, Timestamp};

use super::*;
use crate::{Ended, LaunchError, LaunchSpec, Launched, Launcher, Moment, News, ProcessLauncher};

fn spec() -> LaunchSpec {
    let listener = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    LaunchSpec {
        endpoint: ResourceId::parse("e").unwrap(),
        tenant: TenantId::default_tenant(),
        name: "an endpoint".to_owned(),
        image: "example/endpoint:1".to_owned(),
        cpu: Some(1),
        ram: Some(100_000_000),
        slot: 0,
        moment: Moment { state: "warming".to_owned(), since: Timestamp::from_micros(0), reason: None },
        req_res: listener(),
        pubsub: listener(),
    }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it took too long")
}

/// What every launcher does.
async fn conforms(launcher: &dyn Launcher) {
    let mut server = in_time(launcher.launch(spec())).await.unwrap();
    in_time(server.tell(&News::Functions { functions: Vec::new() })).await.unwrap();
    // Waiting for the end may be given up and begun again.
    assert!(tokio::time::timeout(Duration::from_millis(20), server.ended()).await.is_err());
    in_time(server.drain(PATIENCE)).await;
    assert_eq!(in_time(server.ended()).await, Ended::Exited(0));
    assert_eq!(in_time(server.ended()).await, Ended::Exited(0));
    server.kill();

    let mut server = in_time(launcher.launch(spec())).await.unwrap();
    server.kill();
    assert_eq!(in_time(server.ended()).await, Ended::Killed(9));

    // Those who are let go are gone with their ports, whether they served already or not.
    let first = spec();
    let address = first.req_res.local_addr().unwrap();
    let server = in_time(launcher.launch(first)).await.unwrap();
    assert!(TcpListener::bind(address).is_err(), "the port of a server is free");
    drop(server);
    let free = async {
        while TcpListener::bind(address).is_err() {
            tokio::task::yield_now().await;
        }
    };
    in_time(free).await;
}

#[tokio::test]
async fn the_simulated_launcher_conforms() {
    conforms(&Simulated::default()).await;
}

/// A program that stands in for the node's own.
struct Program {
    path: PathBuf,
    dir: tempfile::TempDir,
}

impl Program {
    /// A shell script.
    fn new(script: &str) -> Program {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        Program { path, dir }
    }

    /// One that does as servers do: it speaks over its standard input, which is a socket.
    fn serving() -> Program {
        Program::new(
            r#"read start
echo '{"say":"ready"}' >&0
while read line; do case "$line" in *drain*) exit 0;; esac; done
exit 1"#,
        )
    }

    async fn launch(&self) -> Result<Box<dyn Launched>, LaunchError> {
        let launcher = ProcessLauncher::of(&self.path);
        // A script that was just written may still be open in a child that another test is about to start.
        loop {
            match in_time(launcher.launch(spec())).await {
                Err(LaunchError::Start(error)) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
                outcome => return outcome,
            }
        }
    }
}

#[tokio::test]
async fn the_process_launcher_conforms() {
    let program = Program::serving();
    drop(program.launch().await.unwrap());
    conforms(&ProcessLauncher::of(&program.path)).await;
}

#[tokio::test]
async fn a_process_is_held_to_what_it_asks_for() {
    let program = Program::new(
        r#"read start
{ echo "env: $(env | sort | tr '\n' ' ')"; grep -E 'Cpus_allowed_list|^NSpid|^Groups' /proc/self/status
  grep -E 'data size|core file|open files' /proc/self/limits; echo "args: $*"; echo "start: $start"
  cut -d' ' -f5 /proc/self/stat; echo "pid: $$"; } > "${0%/*}/told.part"
mv "${0%/*}/told.part" "${0%/*}/told"
echo '{"say":"ready"}' >&0
read line"#,
    );
    let _server = program.launch().await.unwrap();
    let told = std::fs::read_to_string(program.dir.path().join("told")).unwrap();
    let line = |part: &str| {
        told.lines()
            .find(|line| line.contains(part))
            .unwrap_or_else(|| panic!("no {part}: {told}"))
            .to_owned()
    };
    let env = line("env: ");
    assert!(env.contains("ENDPOINT_ID=e ") && env.contains("ENDPOINT_NAME=an endpoint "), "{env}");
    assert!(!env.contains("PATH=/usr") || !env.contains("HOME="), "the node's environment leaked: {env}");
    assert!(line("data size").contains("100000000"), "{told}");
    assert!(line("core file").split_whitespace().any(|word| word == "0"), "{told}");
    assert!(line("args: ").ends_with("serve-endpoint"), "{told}");
    assert!(line("start: ").contains(r#""endpoint_id":"e""#), "{told}");
    let cpus = std::thread::available_parallelism().unwrap().get();
    if cpus > 1 {
        let list = line("Cpus_allowed_list").split_whitespace().last().unwrap().to_owned();
        assert!(list.parse::<usize>().is_ok(), "one CPU was asked for and {list} given");
    }
}

#[tokio::test]
async fn processes_that_do_not_come_to_serve_are_told_apart() {
    let outcome = Program::new("exit 7").launch().await;
    // It may be gone before it is confined.
    assert!(
        matches!(outcome, Err(LaunchError::EndedEarly(Ended::Exited(7)) | LaunchError::Start(_))),
        "{:?}",
        outcome.err()
    );
    let outcome =
        Program::new(r#"read start; echo '{"say":"failed","reason":"no mood"}' >&0"#).launch().await;
    assert!(matches!(outcome, Err(LaunchError::Refused(reason)) if reason == "no mood"));
    let outcome = Program::new("read start; echo nonsense >&0").launch().await;
    assert!(matches!(outcome, Err(LaunchError::Control(_))));
    let missing = ProcessLauncher::of("/nonexistent/program").launch(spec()).await;
    assert!(matches!(missing, Err(LaunchError::Start(_))));
}

#[tokio::test]
async fn a_launch_that_is_given_up_leaves_no_process() {
    let program = Program::new(
        r#"echo $$ > "${0%/*}/pid.part"; mv "${0%/*}/pid.part" "${0%/*}/pid"; read start; read more"#,
    );
    let launching = program.launch();
    assert!(tokio::time::timeout(Duration::from_secs(2), launching).await.is_err());
    let pid = std::fs::read_to_string(program.dir.path().join("pid")).unwrap();
    let process = PathBuf::from(format!("/proc/{}", pid.trim()));
    let gone = async {
        while process.exists() {
            tokio::task::yield_now().await;
        }
    };
    in_time(gone).await;
}
