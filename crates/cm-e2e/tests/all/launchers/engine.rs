//! A simulated Docker daemon: as much of its API as the launcher uses, over a Unix socket, with real processes as
//! containers. A published port is simply where the process listens.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use cm_runtime::Tasks;
use serde_json::{Value, json};

use super::agents::{Agent, Processes, Translation};
use super::faults::Faults;
use super::suite::Fault;

/// The daemon.
#[derive(Clone)]
pub(super) struct Engine {
    containers: Arc<Mutex<BTreeMap<String, Container>>>,
    pub(super) faults: Faults,
    tasks: Tasks,
    processes: Processes,
}

struct Container {
    body: Value,
    files: Vec<(PathBuf, Vec<u8>)>,
    /// The process, and what the ports of the container are on this machine.
    running: Option<(Agent, Value)>,
}

type Answer = Result<Response, StatusCode>;

impl Engine {
    pub(super) async fn start(tasks: &Tasks, socket: &std::path::Path, processes: &Processes) -> Engine {
        let engine = Engine {
            containers: Arc::default(),
            faults: Faults::default(),
            tasks: tasks.clone(),
            processes: processes.clone(),
        };
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        let calls = Router::new()
            .route("/containers/create", any(create))
            .route("/containers/json", any(list))
            .route("/containers/{name}", any(one))
            .route("/containers/{name}/{verb}", any(one_verb))
            .route("/version", any(version));
        // A daemon answers with and without the version of its API in front; without, as its newest.
        let router = Router::new().merge(calls.clone()).nest("/{api}", calls).with_state(engine.clone());
        tasks.spawn("docker", async move { axum::serve(listener, router).await.unwrap() });
        engine
    }

    /// How many containers there are.
    pub(super) fn len(&self) -> usize {
        self.containers().len()
    }

    /// Kills every container's process as the kernel would.
    pub(super) fn kill_all(&self) {
        self.containers()
            .values()
            .filter_map(|container| container.running.as_ref())
            .for_each(|(agent, _)| agent.kill());
    }

    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Container>> {
        self.containers.lock().unwrap()
    }

    /// The answer to a request, unless it shall go wrong.
    async fn answered(&self, request: &str, answer: impl Future<Output = Answer>) -> Response {
        let failed = || error(StatusCode::INTERNAL_SERVER_ERROR);
        match self.faults.take(request) {
            Some(Fault::Refused) => failed(),
            Some(Fault::DoneAndDenied) => {
                drop(answer.await);
                failed()
            }
            None => answer.await.unwrap_or_else(error),
        }
    }

    fn start_container(&self, name: &str) -> Answer {
        let mut containers = self.containers();
        let container = containers.get_mut(name).ok_or(StatusCode::NOT_FOUND)?;
        let bindings = container.body["HostConfig"]["PortBindings"].as_object().unwrap().clone();
        let (mut replaced, mut ports) = (Vec::new(), json!({}));
        for (port, binding) in bindings {
            let inside = port.trim_end_matches("/tcp");
            let host = binding[0]["HostIp"].as_str().unwrap();
            let chosen = match binding[0]["HostPort"].as_str().unwrap_or_default() {
                "" | "0" => cm_testkit::ports::free(1).0.to_string(),
                given => given.to_owned(),
            };
            replaced.push((format!("0.0.0.0:{inside}"), format!("{host}:{chosen}")));
            ports[&port] = json!([{ "HostIp": host, "HostPort": chosen }]);
        }
        let texts = |list: &Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let mut arguments = texts(&container.body["Entrypoint"]).split_off(1);
        arguments.extend(texts(&container.body["Cmd"]));
        let translation = Translation { replaced, files: container.files.clone() };
        let agent = Agent::start(&self.tasks, &self.processes, &arguments, translation, |_| {});
        container.running = Some((agent, ports));
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    fn inspect(&self, name: &str) -> Answer {
        let containers = self.containers();
        let container = containers.get(name).ok_or(StatusCode::NOT_FOUND)?;
        let (code, ports) = match &container.running {
            Some((agent, ports)) => (agent.code(), ports.clone()),
            None => (None, json!({})),
        };
        let is_running = container.running.is_some() && code.is_none();
        let state = json!({ "Running": is_running, "ExitCode": code.unwrap_or(0), "OOMKilled": false });
        let found =
            json!({ "Id": name, "State": state, "NetworkSettings": { "Ports": ports, "Networks": {} } });
        Ok(axum::Json(found).into_response())
    }

    async fn wait(&self, name: &str) -> Answer {
        let agent = {
            let containers = self.containers();
            let container = containers.get(name).ok_or(StatusCode::NOT_FOUND)?;
            container.running.as_ref().map(|(agent, _)| agent.clone()).ok_or(StatusCode::CONFLICT)?
        };
        let code = agent.ended().await;
        Ok(format!("{}\n", json!({ "StatusCode": code })).into_response())
    }

    async fn remove(&self, name: &str) -> Answer {
        let agent = {
            let containers = self.containers();
            let container = containers.get(name).ok_or(StatusCode::NOT_FOUND)?;
            container.running.as_ref().map(|(agent, _)| agent.clone())
        };
        if let Some(agent) = agent {
            agent.kill();
            agent.ended().await;
        }
        self.containers().remove(name);
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    fn unpack(&self, name: &str, archive: &[u8]) -> Answer {
        let mut files = Vec::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().uid().unwrap(), 65532, "the agent's user cannot read it");
            if entry.header().entry_type().is_file() {
                assert_eq!(entry.header().mode().unwrap() & 0o077, 0, "others can read it");
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                files.push((PathBuf::from("/").join(entry.path().unwrap()), content));
            }
        }
        let mut containers = self.containers();
        containers.get_mut(name).ok_or(StatusCode::NOT_FOUND)?.files = files;
        Ok(StatusCode::OK.into_response())
    }
}

fn error(code: StatusCode) -> Response {
    (code, axum::Json(json!({ "message": code.canonical_reason() }))).into_response()
}

async fn version() -> Response {
    axum::Json(json!({ "Version": "28.0.0", "ApiVersion": "1.50", "MinAPIVersion": "1.24" })).into_response()
}

async fn create(
    State(engine): State<Engine>,
    Query(query): Query<HashMap<String, String>>,
    body: Bytes,
) -> Response {
    let created = async {
        let name = query.get("name").cloned().unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
        let mut containers = engine.containers();
        if containers.contains_key(&name) {
            return Err(StatusCode::CONFLICT);
        }
        containers.insert(name.clone(), Container { body, files: Vec::new(), running: None });
        Ok((StatusCode::CREATED, axum::Json(json!({ "Id": name, "Warnings": [] }))).into_response())
    };
    engine.answered("create", created).await
}

async fn list(State(engine): State<Engine>, Query(query): Query<HashMap<String, String>>) -> Response {
    let filters: Value = serde_json::from_str(query.get("filters").map_or("{}", String::as_str)).unwrap();
    let wanted = filters["label"][0].as_str().and_then(|label| label.split_once('='));
    let containers = engine.containers();
    let found = containers.iter().filter(|(_, container)| {
        wanted.is_none_or(|(label, value)| container.body["Labels"][label] == value)
    });
    let found: Vec<Value> = found.map(|(name, _)| json!({ "Id": name })).collect();
    axum::Json(found).into_response()
}

async fn one(
    State(engine): State<Engine>,
    Path(path): Path<HashMap<String, String>>,
    method: Method,
) -> Response {
    assert_eq!(method, Method::DELETE);
    engine.answered("remove", engine.remove(&path["name"])).await
}

async fn one_verb(
    State(engine): State<Engine>,
    Path(path): Path<HashMap<String, String>>,
    body: Bytes,
) -> Response {
    let (name, verb) = (path["name"].as_str(), path["verb"].as_str());
    let answer = async {
        match verb {
            "archive" => engine.unpack(name, &body),
            "start" => engine.start_container(name),
            "json" => engine.inspect(name),
            "wait" => engine.wait(name).await,
            _ => Err(StatusCode::NOT_FOUND),
        }
    };
    engine.answered(verb, answer).await
}
