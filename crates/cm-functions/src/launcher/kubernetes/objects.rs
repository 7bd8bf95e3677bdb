//! The objects that an instance is made of, and what is read from a pod. Pure.

use std::net::IpAddr;

use cm_crypto::Secret;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};

use super::super::agent;
use super::super::{Ended, Order};
use super::KubernetesConfig;

/// The label that says which node an object belongs to.
pub(super) const NODE_LABEL: &str = "cryptomesh-node";
/// Labels of the earlier service.
const KIND_LABEL: (&str, &str) = ("veracruz-nitro", "server");
const HASH_LABEL: &str = "veracruz-hash";
const ID_LABEL: &str = "veracruz-id";
/// Digits of the policy's hash that the earlier service put into its label.
const HASH_DIGITS: usize = 59;
/// Longest value of a label.
const LABEL_LEN_MAX: usize = 63;
/// Who is not root in the image.
const USER: u32 = 65532;
/// For an agent to see its instance out.
const GRACE_SECS: u32 = 5;
/// What a process needs besides programs' memory and files, in MiB: what it asks for, and what it may take.
const OVERHEAD_MIB: u64 = 128;
const OVERHEAD_MIB_MAX: u64 = 512;
const CREDENTIALS_DIR: &str = "/run/cryptomesh/link";
const POLICY_DIR: &str = "/run/cryptomesh/policy";

/// Reasons for which a container never starts; those that may pass are waited for.
const HOPELESS: [&str; 4] =
    ["ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError"];

/// The name of everything that belongs to the instance on a port.
pub(super) fn name(config: &KubernetesConfig, port: u16) -> String {
    format!("{}-{port}", config.service)
}

fn labels(config: &KubernetesConfig, further: &Map<String, Value>) -> Value {
    let mut labels = further.clone();
    labels.insert(KIND_LABEL.0.to_owned(), KIND_LABEL.1.into());
    labels.insert("app.kubernetes.io/managed-by".to_owned(), "cryptomesh".into());
    labels.insert(NODE_LABEL.to_owned(), config.node.as_str().into());
    labels.into()
}

/// What the earlier service said in labels about an instance's policy.
pub(super) fn policy_labels(order: &Order) -> Map<String, Value> {
    let mut labels = Map::new();
    let hash = order.policy_hash.to_string();
    labels.insert(HASH_LABEL.to_owned(), hash[..HASH_DIGITS].into());
    if is_label(&order.instance) {
        labels.insert(ID_LABEL.to_owned(), order.instance.as_str().into());
    }
    labels
}

fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= LABEL_LEN_MAX
        && text.chars().all(inner)
        && outer(text.chars().next())
        && outer(text.chars().last())
}

/// The claim on a port. It belongs to the node's own pod, where that is known.
pub(super) fn config_map(config: &KubernetesConfig, name: &str) -> Value {
    let owners = config
        .owner
        .iter()
        .map(|(name, uid)| json!({ "apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid }));
    json!({
        "metadata": {
            "name": name,
            "labels": labels(config, &Map::new()),
            "ownerReferences": owners.collect::<Vec<_>>(),
        },
    })
}

/// What the claim becomes when there is a policy.
pub(super) fn policy(labels: &Map<String, Value>, order: &Order) -> Value {
    json!({ "metadata": { "labels": labels }, "data": { "policy.json": order.policy_text } })
}

/// What belongs to a claim that was made.
pub(super) struct Made<'a> {
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
    pub(super) labels: &'a Map<String, Value>,
}

impl Made<'_> {
    fn metadata(&self, config: &KubernetesConfig) -> Value {
        json!({
            "name": self.name,
            "labels": labels(config, self.labels),
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "ConfigMap", "name": self.name, "uid": self.uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        })
    }

    /// The credentials of the link.
    pub(super) fn secret(
        &self,
        config: &KubernetesConfig,
        files: &[(&'static str, Secret<String>)],
    ) -> Value {
        let files =
            files.iter().map(|(name, content)| ((*name).to_owned(), content.expose().as_str().into()));
        json!({
            "metadata": self.metadata(config),
            "type": "Opaque",
            "immutable": true,
            "stringData": files.collect::<Map<String, Value>>(),
        })
    }

    /// The pod.
    pub(super) fn pod(&self, config: &KubernetesConfig, port: u16, order: &Order) -> Value {
        let all = if config.family.is_ipv6() { "[::]" } else { "0.0.0.0" };
        let (mut volumes, mut mounts) = (
            vec![
                json!({ "name": "link", "secret": { "secretName": self.name, "defaultMode": 0o440 } }),
                json!({ "name": "policy", "configMap": { "name": self.name } }),
            ],
            vec![
                json!({ "name": "link", "mountPath": CREDENTIALS_DIR, "readOnly": true }),
                json!({ "name": "policy", "mountPath": POLICY_DIR, "readOnly": true }),
            ],
        );
        let huge = if config.hugepages { hugepages(order.memory_bytes) } else { Vec::new() };
        for (size, _) in &huge {
            let name = format!("hugepages-{}", size.to_lowercase());
            volumes.push(json!({ "name": name, "emptyDir": { "medium": format!("HugePages-{size}") } }));
            mounts.push(json!({ "name": name, "mountPath": format!("/{name}") }));
        }
        json!({
            "metadata": self.metadata(config),
            "spec": {
                "hostname": config.service,
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "terminationGracePeriodSeconds": GRACE_SECS,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "containers": [{
                    "name": "instance",
                    "image": config.image,
                    "command": ["cryptomesh", agent::COMMAND],
                    "args": [
                        "--listen", format!("{all}:{port}"),
                        "--control", format!("{all}:{}", config.control_port),
                        "--credentials", CREDENTIALS_DIR,
                    ],
                    "ports": [
                        { "name": port_name(port), "containerPort": port, "protocol": "TCP" },
                        { "name": "control", "containerPort": config.control_port, "protocol": "TCP" },
                    ],
                    "resources": resources(config, order, &huge),
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": { "drop": ["ALL"] },
                    },
                    "volumeMounts": mounts,
                }],
                "volumes": volumes,
            },
        })
    }

    /// What leads the Service's port to the pod.
    pub(super) fn slice(&self, config: &KubernetesConfig, ip: IpAddr, port: u16) -> Value {
        let mut metadata = self.metadata(config);
        metadata["labels"]["kubernetes.io/service-name"] = config.service.as_str().into();
        metadata["labels"]["endpointslice.kubernetes.io/managed-by"] = "cryptomesh".into();
        json!({
            "metadata": metadata,
            "addressType": if ip.is_ipv6() { "IPv6" } else { "IPv4" },
            "endpoints": [{
                "addresses": [ip],
                "conditions": { "ready": true },
                "targetRef": { "kind": "Pod", "name": self.name, "namespace": config.namespace },
            }],
            "ports": [{ "name": port_name(port), "port": port, "protocol": "TCP" }],
        })
    }
}

/// The name of a port, as the Service has it too.
fn port_name(port: u16) -> String {
    format!("p{port}")
}

/// Memory in huge pages of both sizes, each with its amount, as the earlier service asked for it.
fn hugepages(bytes: u64) -> Vec<(&'static str, String)> {
    let mib = bytes.div_ceil(1 << 20);
    // Two at a time.
    let small = (mib % 1024).next_multiple_of(2);
    let sizes = [("2Mi", small, format!("{small}Mi")), ("1Gi", mib / 1024, format!("{}Gi", mib / 1024))];
    sizes.into_iter().filter(|(_, amount, _)| *amount > 0).map(|(size, _, text)| (size, text)).collect()
}

fn resources(config: &KubernetesConfig, order: &Order, huge: &[(&'static str, String)]) -> Value {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    // Programs' memory in huge pages is not counted as memory.
    let programs = if huge.is_empty() { mib(order.memory_bytes) } else { 0 };
    let mut requests = Map::new();
    requests.insert("cpu".to_owned(), config.cpu.as_str().into());
    for (size, amount) in huge {
        requests.insert(format!("hugepages-{size}"), amount.as_str().into());
    }
    for (name, amount) in &config.resources {
        requests.insert(name.clone(), amount.as_str().into());
    }
    let mut limits = requests.clone();
    // Whoever may take more of a processor that nobody uses is done sooner.
    limits.remove("cpu");
    requests.insert("memory".to_owned(), format!("{}Mi", programs + OVERHEAD_MIB).into());
    let memory_max = programs + mib(order.storage_bytes) + OVERHEAD_MIB_MAX;
    limits.insert("memory".to_owned(), format!("{memory_max}Mi").into());
    json!({ "requests": requests, "limits": limits })
}

/// How a pod ended, if it has.
pub(super) fn ended(pod: Option<&Pod>) -> Option<Ended> {
    let Some(pod) = pod else { return Some(Ended::Removed("the pod was deleted".to_owned())) };
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let states = containers.iter().filter_map(|container| container.state.as_ref());
    for state in states {
        if let Some(end) = &state.terminated {
            return Some(match (end.exit_code, end.reason.as_deref()) {
                (_, Some("OOMKilled")) => Ended::Removed("the pod took more memory than it may".to_owned()),
                (137, _) => Ended::Killed,
                (code, _) => Ended::Exited(code),
            });
        }
        let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref());
        if let Some(reason) = waiting.filter(|reason| HOPELESS.contains(reason)) {
            return Some(Ended::Removed(format!("the container does not start: {reason}")));
        }
    }
    let reason = status.reason.as_deref().unwrap_or("no reason given");
    match status.phase.as_deref() {
        Some("Succeeded") => Some(Ended::Exited(0)),
        Some("Failed") => Some(Ended::Removed(format!("the pod failed: {reason}"))),
        _ => None,
    }
}

/// The address of a pod once it has one; how it ended, if it did so before.
pub(super) fn address(pod: Option<&Pod>) -> Option<Result<IpAddr, Ended>> {
    if let Some(ended) = ended(pod) {
        return Some(Err(ended));
    }
    let ip = pod?.status.as_ref()?.pod_ip.as_deref()?;
    ip.parse().ok().map(Ok)
}

#[cfg(test)]
mod tests;
