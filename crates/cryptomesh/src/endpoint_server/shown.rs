//! What an endpoint shows: its state and its functions, to those who ask on one port and those who listen on the other.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use axum::routing::get;
use axum::{Json, Router, middleware};
use cm_endpoints::{FunctionStatus, Moment, News};
use cm_http::local::local_only;
use cm_runtime::CancellationToken;
use cm_types::{ResourceId, Timestamp};
use futures::{Stream, stream};
use serde::Serialize;
use tokio::sync::{broadcast, watch};

/// Happenings that a listener may lag behind before it is told everything anew.
const BACKLOG: usize = 256;

/// What the endpoint shows. Clones show the same.
#[derive(Clone)]
pub(super) struct Shown(Arc<Inner>);

struct Inner {
    endpoint_id: ResourceId,
    name: String,
    now: watch::Sender<Now>,
    happenings: broadcast::Sender<Happening>,
    shutdown: CancellationToken,
}

#[derive(Clone)]
struct Now {
    moment: Moment,
    functions: Vec<FunctionStatus>,
}

/// Something that those who listen are told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Happening {
    State(Moment),
    Function(FunctionStatus),
    FunctionRemoved(ResourceId),
}

/// The answer of `/health`.
#[derive(Serialize)]
struct Health {
    endpoint_id: ResourceId,
    name: String,
    state: String,
    since: Timestamp,
}

impl Shown {
    pub(super) fn new(
        endpoint_id: ResourceId,
        name: String,
        moment: Moment,
        shutdown: CancellationToken,
    ) -> Self {
        let now = watch::Sender::new(Now { moment, functions: Vec::new() });
        let happenings = broadcast::Sender::new(BACKLOG);
        Self(Arc::new(Inner { endpoint_id, name, now, happenings, shutdown }))
    }

    /// Shows something new from now on.
    pub(super) fn take(&self, news: News) {
        self.0.now.send_modify(|now| {
            for happening in now.take(news) {
                // Nobody may be listening.
                let _ = self.0.happenings.send(happening);
            }
        });
    }

    /// For requests and responses: `GET /health` and `GET /functions`.
    pub(super) fn request_routes(&self) -> Router {
        Router::new()
            .route("/health", get(health))
            .route("/functions", get(functions))
            .layer(middleware::from_fn(local_only))
            .with_state(self.clone())
    }

    /// For those who listen: `GET /events`.
    pub(super) fn event_routes(&self) -> Router {
        let events = Router::new().route("/events", get(events));
        events.layer(middleware::from_fn(local_only)).with_state(self.clone())
    }

    /// Everything as it is, then everything that happens. A listener that lags too far behind is told everything anew.
    fn happenings(&self) -> impl Stream<Item = Happening> + Send + use<> {
        let from = (self.clone(), self.0.happenings.subscribe(), self.everything());
        stream::unfold(from, |(shown, mut next, mut ready)| async move {
            loop {
                if let Some(happening) = ready.pop_front() {
                    return Some((happening, (shown, next, ready)));
                }
                match next.recv().await {
                    Ok(happening) => return Some((happening, (shown, next, ready))),
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        next = next.resubscribe();
                        ready = shown.everything();
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
    }

    fn everything(&self) -> VecDeque<Happening> {
        let now = self.0.now.borrow();
        let functions = now.functions.iter().cloned().map(Happening::Function);
        std::iter::once(Happening::State(now.moment.clone())).chain(functions).collect()
    }
}

impl Now {
    /// Takes something new in; what is different from then on.
    fn take(&mut self, news: News) -> Vec<Happening> {
        match news {
            News::State(moment) => {
                self.moment = moment.clone();
                vec![Happening::State(moment)]
            }
            News::Functions { functions } => {
                let had = std::mem::replace(&mut self.functions, functions);
                let changed = self.functions.iter().filter(|function| !had.contains(function));
                let is_gone = |old: &&FunctionStatus| {
                    !self.functions.iter().any(|function| function.function_id == old.function_id)
                };
                let gone = had.iter().filter(is_gone);
                let changed = changed.cloned().map(Happening::Function);
                changed.chain(gone.map(|old| Happening::FunctionRemoved(old.function_id.clone()))).collect()
            }
        }
    }
}

impl Happening {
    fn message(&self) -> Event {
        let (name, data) = match self {
            Happening::State(moment) => ("state", serde_json::to_string(moment)),
            Happening::Function(function) => ("function", serde_json::to_string(function)),
            Happening::FunctionRemoved(id) => {
                ("function-removed", serde_json::to_string(&serde_json::json!({ "function_id": id })))
            }
        };
        Event::default().event(name).data(data.expect("plain data with text keys"))
    }
}

async fn health(State(Shown(shown)): State<Shown>) -> Json<Health> {
    let Moment { state, since, .. } = shown.now.borrow().moment.clone();
    Json(Health { endpoint_id: shown.endpoint_id.clone(), name: shown.name.clone(), state, since })
}

async fn functions(State(Shown(shown)): State<Shown>) -> Json<Vec<ResourceId>> {
    let now = shown.now.borrow();
    Json(now.functions.iter().map(|function| function.function_id.clone()).collect())
}

async fn events(State(shown): State<Shown>) -> Response {
    use futures::StreamExt as _;
    let shutdown = shown.0.shutdown.clone();
    cm_http::sse::answer(shown.happenings().map(|happening| happening.message()), shutdown)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    fn moment(state: &str) -> Moment {
        Moment { state: state.to_owned(), since: Timestamp::from_micros(1), reason: None }
    }

    fn function(id: &str, status: &str) -> FunctionStatus {
        let function_id = ResourceId::parse(id).unwrap();
        FunctionStatus { function_id, deployment_status: status.to_owned() }
    }

    fn shown() -> Shown {
        let id = ResourceId::parse("e").unwrap();
        Shown::new(id, "an endpoint".to_owned(), moment("warming"), CancellationToken::new())
    }

    #[test]
    fn only_what_differs_is_told() {
        let mut now = Now { moment: moment("warm"), functions: Vec::new() };
        let mut check = |functions: Vec<FunctionStatus>, expected: Vec<Happening>| {
            assert_eq!(now.take(News::Functions { functions }), expected);
        };
        let (a, b) = (function("a", "initiated"), function("b", "initiated"));
        check(
            vec![a.clone(), b.clone()],
            vec![Happening::Function(a.clone()), Happening::Function(b.clone())],
        );
        check(vec![a.clone(), b], Vec::new());
        let done = function("b", "completed");
        check(vec![a.clone(), done.clone()], vec![Happening::Function(done.clone())]);
        check(vec![done], vec![Happening::FunctionRemoved(a.function_id)]);
    }

    #[tokio::test]
    async fn a_listener_is_told_everything_and_then_what_happens() {
        let shown = shown();
        shown.take(News::Functions { functions: vec![function("a", "initiated")] });
        let mut happenings = std::pin::pin!(shown.happenings());
        assert_eq!(happenings.next().await, Some(Happening::State(moment("warming"))));
        assert_eq!(happenings.next().await, Some(Happening::Function(function("a", "initiated"))));
        shown.take(News::State(moment("warm")));
        assert_eq!(happenings.next().await, Some(Happening::State(moment("warm"))));
    }

    #[tokio::test]
    async fn a_listener_that_lags_is_told_everything_anew() {
        let shown = shown();
        let mut happenings = std::pin::pin!(shown.happenings());
        assert_eq!(happenings.next().await, Some(Happening::State(moment("warming"))));
        for n in 0..2 * BACKLOG {
            shown.take(News::State(moment(&format!("state-{n}"))));
        }
        let last = moment(&format!("state-{}", 2 * BACKLOG - 1));
        assert_eq!(happenings.next().await, Some(Happening::State(last)));
    }
}
