//! What runs pods in the simulated cluster, and what leads to them.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use cm_runtime::Tasks;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::agents::{Agent, Processes, Translation};

/// A pod whose process was started.
pub(super) struct Kubelet {
    pub(super) agent: Agent,
    pub(super) ip: Ipv4Addr,
}

impl Kubelet {
    /// The Secret that a pod mounts.
    pub(super) fn secret(pod: &Value) -> Option<String> {
        let volumes = pod["spec"]["volumes"].as_array()?;
        volumes.iter().find_map(|volume| volume["secret"]["secretName"].as_str()).map(str::to_owned)
    }

    /// Starts the pod's container as a process that has an address of its own.
    pub(super) fn run(
        tasks: &Tasks,
        processes: &Processes,
        pod: &Value,
        secret: Option<&Value>,
        then: impl FnOnce(String, i64) + Send + 'static,
    ) -> Kubelet {
        static PODS: AtomicU32 = AtomicU32::new(1);
        // All of 127.0.0.0/8 is this machine. The process's number keeps tests apart that run at the same time.
        let number = PODS.fetch_add(1, Ordering::Relaxed);
        let ip = Ipv4Addr::from((127 << 24) | ((std::process::id() & 0x3ff) + 1) << 14 | (number & 0x3fff));
        let container = &pod["spec"]["containers"][0];
        let mounts = container["volumeMounts"].as_array().unwrap();
        let mounted = mounts.iter().find(|mount| mount["name"] == "link").unwrap();
        let dir = PathBuf::from(mounted["mountPath"].as_str().unwrap());
        let data = secret.and_then(|secret| secret["stringData"].as_object());
        let files = data
            .into_iter()
            .flatten()
            .map(|(name, content)| (dir.join(name), content.as_str().unwrap().as_bytes().to_vec()));
        let texts = |list: &Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let mut arguments = texts(&container["command"]).split_off(1);
        arguments.extend(texts(&container["args"]));
        let translation =
            Translation { replaced: vec![("0.0.0.0".to_owned(), ip.to_string())], files: files.collect() };
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        let agent = Agent::start(tasks, processes, &arguments, translation, move |code| then(name, code));
        Kubelet { agent, ip }
    }
}

/// A port of the Service that leads to a pod.
pub(super) struct Forward {
    _open: DropGuard,
}

impl Forward {
    pub(super) fn open(tasks: &Tasks, slice: &Value) -> Forward {
        let port = u16::try_from(slice["ports"][0]["port"].as_u64().unwrap()).unwrap();
        let to = format!("{}:{port}", slice["endpoints"][0]["addresses"][0].as_str().unwrap());
        let open = CancellationToken::new();
        let (closed, inner) = (open.clone(), tasks.clone());
        let forwarding = async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let to = to.clone();
                inner.spawn("connection", async move {
                    if let Ok(mut pod) = TcpStream::connect(to).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut pod).await;
                    }
                });
            }
        };
        tasks.spawn("service", async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = forwarding => {}
            }
        });
        Forward { _open: open.drop_guard() }
    }
}
