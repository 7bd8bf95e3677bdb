use super::*;
use crate::server::tests::{Fake, path};

const LONG: Duration = Duration::from_secs(3600);

/// Runs over a host, and the phases that they tell.
fn runs(host: Arc<Fake>) -> (Arc<Runs>, Arc<Mutex<Vec<RunPhase>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let observe = move |state: RunState| tell.lock().unwrap().push(state.state);
    (Arc::new(Runs::new(host, Arc::new(observe), CancellationToken::new())), told)
}

type Ended = tokio::task::JoinHandle<Result<ExecutionReport, RunRefused>>;

fn start(runs: &Arc<Runs>, identity: u64, program: &str) -> Ended {
    let (runs, program) = (runs.clone(), path(program));
    cm_runtime::Tasks::new().spawn("run", async move { runs.run(identity, &program, &[], LONG).await })
}

#[tokio::test]
async fn a_run_is_told_of_from_beginning_to_end() {
    for (outcome, last) in [
        (Outcome::Completed, RunPhase::Completed),
        (Outcome::Exit { code: 3 }, RunPhase::Failed),
        (Outcome::NotFound, RunPhase::Failed),
    ] {
        let (runs, told) = runs(Fake::ending(outcome.clone()));
        assert_eq!(runs.run(0, &path("p"), &[], LONG).await.unwrap().outcome, outcome);
        assert_eq!(*told.lock().unwrap(), [RunPhase::Starting, RunPhase::Running, last]);
    }
}

#[tokio::test]
async fn a_host_that_panics_ends_its_run_only() {
    let (runs, told) = runs(Fake::new(|_, program, _, _| {
        assert_ne!(*program, path("broken"));
        ExecutionReport::before_start(Outcome::Completed)
    }));
    assert_eq!(runs.run(0, &path("broken"), &[], LONG).await.unwrap_err(), RunRefused::Broken);
    assert!(runs.run(0, &path("whole"), &[], LONG).await.unwrap().succeeded());
    assert_eq!(told.lock().unwrap()[2], RunPhase::Failed);
    assert!(lock(&runs.state).active.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_runs_once_at_a_time_and_only_its_caller_ends_it() {
    let (host, begins) = Fake::endless();
    let (runs, _) = runs(host);
    let first = start(&runs, 1, "p");
    assert_eq!(begins.recv().unwrap(), path("p"));
    let second = start(&runs, 2, "p");
    let other = start(&runs, 3, "q");
    // The other program begins although the second run of the first waits.
    assert_eq!(begins.recv().unwrap(), path("q"));
    assert_eq!(runs.cancel(9), 0);
    assert_eq!(runs.cancel(1), 1);
    assert_eq!(first.await.unwrap().unwrap().outcome, Outcome::Cancelled);
    assert_eq!(begins.recv().unwrap(), path("p"));
    assert_eq!((runs.cancel(2), runs.cancel(3)), (1, 1));
    second.await.unwrap().unwrap();
    other.await.unwrap().unwrap();
    assert!(lock(&runs.state).active.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_programs_run_than_there_is_memory_for_and_a_waiting_one_can_be_cancelled() {
    let (host, begins) = Fake::endless();
    let (runs, _) = runs(host);
    let running: Vec<Ended> =
        (0..RUNNING_MAX).map(|number| start(&runs, number as u64, &format!("p{number}"))).collect();
    for _ in &running {
        begins.recv().unwrap();
    }
    let waiting = start(&runs, 100, "late");
    while runs.cancel(100) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(waiting.await.unwrap().unwrap().outcome, Outcome::Cancelled);
    assert!(begins.try_recv().is_err(), "one program too many has begun");
    for (number, run) in running.into_iter().enumerate() {
        assert_eq!(runs.cancel(number as u64), 1);
        run.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_is_bounded() {
    let (host, begins) = Fake::endless();
    let (runs, _) = runs(host);
    let first = start(&runs, 1, "p");
    begins.recv().unwrap();
    let waiting: Vec<Ended> = (0..WAITING_MAX).map(|_| start(&runs, 2, "p")).collect();
    while runs.waiting.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(runs.run(3, &path("p"), &[], LONG).await.unwrap_err(), RunRefused::Busy);
    assert_eq!(runs.cancel(2), WAITING_MAX);
    for run in waiting {
        run.await.unwrap().unwrap();
    }
    runs.stop.cancel();
    assert_eq!(first.await.unwrap().unwrap().outcome, Outcome::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_outlives_the_client_that_asked_and_can_still_be_ended() {
    let (host, begins) = Fake::endless();
    let (runs, _) = runs(host);
    let asked = start(&runs, 1, "p");
    begins.recv().unwrap();
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    assert_eq!(runs.cancel(1), 1, "the run was forgotten with its client");
}
