//! Starting `cryptomesh instance-agent` as a kubelet or a daemon would, but as a process of this machine.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use cm_e2e::cryptomesh;
use cm_runtime::Tasks;
use tokio::process::Command;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The processes that were started, each in a group of its own, in which what it starts is as well.
#[derive(Clone, Default)]
pub(super) struct Processes(Arc<Mutex<Vec<u32>>>);

impl Processes {
    /// How many still run of all that were started, and of all that these have started.
    pub(super) fn living(&self) -> usize {
        let groups = self.0.lock().unwrap();
        let living = |entry: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // Behind the name, which may hold anything: the state, the parent, the group.
            let mut fields = stat.rsplit_once(") ")?.1.split(' ');
            let runs = !matches!(fields.next()?, "Z" | "X");
            let group = fields.nth(1)?.parse().ok()?;
            (runs && groups.contains(&group)).then_some(())
        };
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(living).count()
    }
}

/// A process that stands in for a container.
#[derive(Clone)]
pub(super) struct Agent {
    kill: CancellationToken,
    ended: watch::Receiver<Option<i64>>,
    /// Its files; they live as long as it is known.
    _files: Arc<tempfile::TempDir>,
}

/// What is at other places here than it would be in a container.
pub(super) struct Translation {
    /// Texts in arguments, and what stands for them here.
    pub(super) replaced: Vec<(String, String)>,
    /// Files, by their path in the container.
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
}

impl Agent {
    /// Starts the command; `then` is told the exit code, 137 when it was killed.
    pub(super) fn start(
        tasks: &Tasks,
        processes: &Processes,
        arguments: &[String],
        translation: Translation,
        then: impl FnOnce(i64) + Send + 'static,
    ) -> Agent {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in &translation.files {
            let path = dir.path().join(path.strip_prefix("/").unwrap_or(path));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let root = dir.path().to_string_lossy().into_owned();
        let arguments = arguments.iter().map(|argument| {
            let translated =
                translation.replaced.iter().fold(argument.clone(), |text, (from, to)| text.replace(from, to));
            if translated.starts_with("/run/") { format!("{root}{translated}") } else { translated }
        });
        let mut child = Command::new(cryptomesh())
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        processes.0.lock().unwrap().extend(child.id());
        let kill = CancellationToken::new();
        let (tell, ended) = watch::channel(None);
        let killed = kill.clone();
        tasks.spawn("agent", async move {
            let status = tokio::select! {
                status = child.wait() => status.ok(),
                () = killed.cancelled() => {
                    child.start_kill().unwrap();
                    child.wait().await.ok()
                }
            };
            let code = status.as_ref().and_then(ExitStatus::code).map_or(137, i64::from);
            // Nobody may be waiting.
            let _ = tell.send(Some(code));
            then(code);
        });
        Agent { kill, ended, _files: Arc::new(dir) }
    }

    /// Ends it as `kill -9` would.
    pub(super) fn kill(&self) {
        self.kill.cancel();
    }

    /// Its exit code, once it has one.
    pub(super) fn code(&self) -> Option<i64> {
        *self.ended.borrow()
    }

    /// Waits for its end.
    pub(super) async fn ended(&self) -> i64 {
        let mut ended = self.ended.clone();
        let code = ended.wait_for(Option::is_some).await.expect("the task tells before it ends");
        code.expect("that was waited for")
    }
}
