use std::sync::mpsc;

use super::*;

/// Notes the states' names in order.
struct Notes(Mutex<Vec<&'static str>>);

impl Observer for Notes {
    fn state(&self, _run: &ResourceId, _program: &GuestPath, state: RunState<'_>) {
        self.0.lock().unwrap().push(match state {
            RunState::Initiated => "initiated",
            RunState::Running => "running",
            RunState::Ended(report) if report.succeeded() => "completed",
            RunState::Ended(_) => "failed",
        });
    }
}

fn path(text: &str) -> GuestPath {
    GuestPath::parse(text).unwrap()
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_run_is_observed_from_beginning_to_end() {
    let notes = Arc::new(Notes(Mutex::default()));
    let execute =
        |_: &GuestPath, _: Duration, _: &CancellationToken| ExecutionReport::before_start(Outcome::Completed);
    let runs = Runs::new(Arc::new(execute), notes.clone(), CancellationToken::new());
    assert!(runs.run(0, &path("/p"), LONG).await.unwrap().succeeded());
    assert_eq!(*notes.0.lock().unwrap(), ["initiated", "running", "completed"]);
}

/// Says that it has begun, then waits to be cancelled.
fn endless() -> (Arc<Execute>, mpsc::Receiver<String>) {
    let (begun, begins) = mpsc::channel();
    let execute = move |program: &GuestPath, _: Duration, cancel: &CancellationToken| {
        begun.send(program.to_string()).unwrap();
        futures::executor::block_on(cancel.cancelled());
        ExecutionReport::before_start(Outcome::Cancelled)
    };
    (Arc::new(execute), begins)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_runs_once_at_a_time_and_only_its_owner_ends_it() {
    let (execute, begins) = endless();
    let notes = Arc::new(Notes(Mutex::default()));
    let runs = Arc::new(Runs::new(execute, notes, CancellationToken::new()));
    let started = |identity: u64, program: &'static str| {
        let runs = runs.clone();
        cm_runtime::Tasks::new().spawn("run", async move { runs.run(identity, &path(program), LONG).await })
    };
    let first = started(1, "/p");
    assert_eq!(begins.recv().unwrap(), "/p");
    let second = started(2, "/p");
    let other = started(3, "/q");
    // The other program begins although the second run of the first waits.
    assert_eq!(begins.recv().unwrap(), "/q");
    assert_eq!(runs.cancel(9), 0);
    assert_eq!(runs.cancel(1), 1);
    assert_eq!(first.await.unwrap().unwrap().outcome, Outcome::Cancelled);
    assert_eq!(begins.recv().unwrap(), "/p");
    assert_eq!((runs.cancel(2), runs.cancel(3)), (1, 1));
    second.await.unwrap().unwrap();
    other.await.unwrap().unwrap();
    assert!(lock(&runs.state).active.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_outlives_the_client_that_asked_and_can_still_be_ended() {
    let (execute, begins) = endless();
    let notes = Arc::new(Notes(Mutex::default()));
    let runs = Arc::new(Runs::new(execute, notes, CancellationToken::new()));
    let asked = {
        let runs = runs.clone();
        cm_runtime::Tasks::new().spawn("run", async move { runs.run(1, &path("/p"), LONG).await })
    };
    begins.recv().unwrap();
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    assert_eq!(runs.cancel(1), 1, "the run was forgotten with its client");
}
