//! The objects of the simulated cluster, and what follows from their changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::http::StatusCode;
use cm_runtime::Tasks;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::super::agents::Processes;
use super::kubelet::{Forward, Kubelet};

const CHANGES_KEPT: usize = 1024;

/// Something that happened to an object.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) kind: String,
    pub(super) name: String,
    version: u64,
    event: &'static str,
    object: Value,
}

impl Change {
    pub(super) fn line(&self) -> String {
        format!("{}\n", json!({ "type": self.event, "object": self.object }))
    }
}

/// All objects, by kind and name.
#[derive(Clone)]
pub(crate) struct Store {
    inner: Arc<Mutex<Inner>>,
    changes: broadcast::Sender<Change>,
    tasks: Tasks,
    processes: Processes,
}

#[derive(Default)]
struct Inner {
    objects: BTreeMap<(String, String), Value>,
    past: Vec<Change>,
    version: u64,
    pods: BTreeMap<String, Kubelet>,
    forwards: BTreeMap<String, Forward>,
}

impl Store {
    pub(super) fn new(tasks: &Tasks, processes: &Processes) -> Store {
        Store {
            inner: Arc::default(),
            changes: broadcast::channel(CHANGES_KEPT).0,
            tasks: tasks.clone(),
            processes: processes.clone(),
        }
    }

    /// How many objects there are, of all kinds.
    pub(crate) fn len(&self) -> usize {
        self.inner().objects.len()
    }

    /// Names of the objects of a kind.
    pub(crate) fn names(&self, kind: &str) -> Vec<String> {
        let inner = self.inner();
        inner.objects.keys().filter(|(of, _)| of == kind).map(|(_, name)| name.clone()).collect()
    }

    /// Kills the process of a pod as the kernel would.
    pub(crate) fn kill(&self, pod: &str) {
        if let Some(kubelet) = self.inner().pods.get(pod) {
            kubelet.agent.kill();
        }
    }

    pub(super) fn get(&self, kind: &str, name: &str) -> Result<Value, StatusCode> {
        let key = (kind.to_owned(), name.to_owned());
        self.inner().objects.get(&key).cloned().ok_or(StatusCode::NOT_FOUND)
    }

    pub(super) fn list(&self, kind: &str, selector: &str) -> Value {
        let wanted = selector.split_once('=');
        let inner = self.inner();
        let of_kind = inner.objects.iter().filter(|((of, _), _)| of == kind).map(|(_, object)| object);
        let items = of_kind.filter(|object| {
            wanted.is_none_or(|(label, value)| object["metadata"]["labels"][label] == value)
        });
        let items: Vec<&Value> = items.collect();
        json!({ "kind": "List", "apiVersion": "v1",
            "metadata": { "resourceVersion": inner.version.to_string() }, "items": items })
    }

    pub(super) fn create(&self, kind: &str, mut object: Value) -> Result<Value, StatusCode> {
        let name = object["metadata"]["name"].as_str().ok_or(StatusCode::UNPROCESSABLE_ENTITY)?.to_owned();
        let mut inner = self.inner();
        let key = (kind.to_owned(), name.clone());
        if inner.objects.contains_key(&key) {
            return Err(StatusCode::CONFLICT);
        }
        let uid = format!("uid-{}", inner.version + 1);
        object["metadata"]["uid"] = uid.clone().into();
        self.put(&mut inner, &key, object, "ADDED");
        match kind {
            "pods" => {
                let store = self.clone();
                let pod = inner.objects[&key].clone();
                let secret = Kubelet::secret(&pod)
                    .and_then(|secret| inner.objects.get(&("secrets".to_owned(), secret)).cloned());
                let kubelet =
                    Kubelet::run(&self.tasks, &self.processes, &pod, secret.as_ref(), move |name, code| {
                        store.pod_ended(&name, &uid, code);
                    });
                let mut running = pod;
                running["status"] = json!({ "phase": "Running", "podIP": kubelet.ip });
                inner.pods.insert(name, kubelet);
                self.put(&mut inner, &key, running, "MODIFIED");
            }
            "endpointslices" => {
                let forward = Forward::open(&self.tasks, &inner.objects[&key]);
                inner.forwards.insert(name, forward);
            }
            _ => {}
        }
        self.collect(&mut inner);
        Ok(inner.objects.get(&key).cloned().unwrap_or_default())
    }

    pub(super) fn merge(&self, kind: &str, name: &str, patch: &Value) -> Result<Value, StatusCode> {
        let mut inner = self.inner();
        let key = (kind.to_owned(), name.to_owned());
        let mut object = inner.objects.get(&key).cloned().ok_or(StatusCode::NOT_FOUND)?;
        merge(&mut object, patch);
        self.put(&mut inner, &key, object, "MODIFIED");
        Ok(inner.objects[&key].clone())
    }

    pub(super) fn delete(&self, kind: &str, name: &str, foreground: bool) -> Result<Value, StatusCode> {
        let mut inner = self.inner();
        let key = (kind.to_owned(), name.to_owned());
        let object = inner.objects.get(&key).cloned().ok_or(StatusCode::NOT_FOUND)?;
        if foreground {
            let mut object = object.clone();
            object["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
            object["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z".into();
            self.put(&mut inner, &key, object, "MODIFIED");
        } else {
            self.remove(&mut inner, &key);
        }
        self.collect(&mut inner);
        Ok(object)
    }

    /// What was missed behind a version, and what comes.
    pub(super) fn watch(
        &self,
        kind: &str,
        name: &str,
        version: u64,
    ) -> (Vec<Change>, broadcast::Receiver<Change>) {
        let inner = self.inner();
        let concerns =
            |change: &&Change| change.kind == kind && change.name == name && change.version > version;
        (inner.past.iter().filter(concerns).cloned().collect(), self.changes.subscribe())
    }

    fn pod_ended(&self, name: &str, uid: &str, code: i64) {
        let mut inner = self.inner();
        let key = ("pods".to_owned(), name.to_owned());
        let Some(pod) = inner.objects.get(&key).filter(|pod| pod["metadata"]["uid"] == uid) else { return };
        let mut pod = pod.clone();
        if pod["metadata"].get("deletionTimestamp").is_some() {
            self.forget(&mut inner, &key);
        } else {
            pod["status"]["phase"] = if code == 0 { "Succeeded" } else { "Failed" }.into();
            pod["status"]["containerStatuses"] = json!([{
                "name": "instance", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "terminated": { "exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" } } },
            }]);
            self.put(&mut inner, &key, pod, "MODIFIED");
        }
        self.collect(&mut inner);
    }

    fn put(&self, inner: &mut Inner, key: &(String, String), mut object: Value, event: &'static str) {
        inner.version += 1;
        object["metadata"]["resourceVersion"] = inner.version.to_string().into();
        inner.objects.insert(key.clone(), object.clone());
        self.tell(inner, key, object, event);
    }

    /// Removes an object, a pod once its process has ended.
    fn remove(&self, inner: &mut Inner, key: &(String, String)) {
        let (kind, name) = key;
        let running = inner.pods.get(name).filter(|pod| kind == "pods" && pod.agent.code().is_none());
        if let Some(pod) = running {
            pod.agent.kill();
            let mut object = inner.objects[key].clone();
            object["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z".into();
            self.put(inner, key, object, "MODIFIED");
        } else {
            self.forget(inner, key);
        }
    }

    fn forget(&self, inner: &mut Inner, key: &(String, String)) {
        let Some(object) = inner.objects.remove(key) else { return };
        match key.0.as_str() {
            "pods" => drop(inner.pods.remove(&key.1)),
            "endpointslices" => drop(inner.forwards.remove(&key.1)),
            _ => {}
        }
        inner.version += 1;
        self.tell(inner, key, object, "DELETED");
    }

    fn tell(&self, inner: &mut Inner, key: &(String, String), object: Value, event: &'static str) {
        let (kind, name) = key.clone();
        let change = Change { kind, name, version: inner.version, event, object };
        inner.past.push(change.clone());
        // Nobody may be watching.
        let _ = self.changes.send(change);
    }

    /// The garbage collector.
    fn collect(&self, inner: &mut Inner) {
        loop {
            let uids: Vec<Value> =
                inner.objects.values().map(|object| object["metadata"]["uid"].clone()).collect();
            let deleting = |uid: &Value| {
                inner.objects.values().any(|owner| {
                    owner["metadata"]["uid"] == *uid && owner["metadata"].get("deletionTimestamp").is_some()
                })
            };
            let owner = |object: &Value| object["metadata"]["ownerReferences"][0]["uid"].clone();
            let to_go = inner.objects.iter().find(|(_, object)| {
                let owner = owner(object);
                let is_orphan = !owner.is_null() && (!uids.contains(&owner) || deleting(&owner));
                is_orphan && object["metadata"].get("deletionTimestamp").is_none()
            });
            if let Some(key) = to_go.map(|(key, _)| key.clone()) {
                self.remove(inner, &key);
                continue;
            }
            let done = inner.objects.iter().find(|(_, object)| {
                object["metadata"].get("finalizers").is_some()
                    && !inner.objects.values().any(|other| owner(other) == object["metadata"]["uid"])
            });
            match done.map(|(key, _)| key.clone()) {
                Some(key) => self.forget(inner, &key),
                None => return,
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

/// RFC 7396.
fn merge(into: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut into[name.as_str()], value);
        }
    }
}
