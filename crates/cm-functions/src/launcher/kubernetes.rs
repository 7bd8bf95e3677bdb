//! Instances as pods.
//!
//! An instance is four objects that share a name made of its port: a ConfigMap with the policy, which is also the claim on the
//! port, because a name exists once; a Secret with the credentials of the link; the Pod; and an EndpointSlice that leads the
//! port of the one Service to it. The ConfigMap owns the others and is deleted in the foreground: its name, and so the port, is free
//! only when the cluster has removed them all. A node that died leaves objects with its label, which it removes when it
//! returns.
//!
//! What happens to a pod is watched; a watch that breaks is begun anew with a look at the present state. Every call has a
//! timeout.

mod follow;
mod objects;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cm_runtime::Tasks;
use cm_types::Sha256Digest;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::link::Credentials;
use super::ports::Claims;
use super::remote::{Kept, connect, unless_ended};
use super::{Ended, LaunchError, Launcher, Order, Place, Started};

/// For one call to the cluster.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// For the cluster to remove what belongs to an instance.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(60);
/// For how long the credentials of a link hold: longer than any policy.
const LINK_LIFETIME: Duration = Duration::from_secs(400 * 24 * 3600);

/// What the launcher of pods is told.
#[derive(Clone, Debug)]
pub struct KubernetesConfig {
    /// This node's id, by which it knows its objects again.
    pub node: String,
    /// Where the cluster is; without a file the cluster that the node runs in.
    pub kubeconfig: Option<PathBuf>,
    /// Where objects are made.
    pub namespace: String,
    /// The Service under whose name clients reach instances, and the beginning of every name.
    pub service: String,
    /// Under what host clients reach instances: a name that leads to the Service.
    pub host: String,
    /// The image of pods: one of this node's release.
    pub image: String,
    /// Ports of instances. The Service names them all.
    pub ports: RangeInclusive<u16>,
    /// On which addresses instances listen within their pods: all of this one's family.
    pub family: IpAddr,
    /// Where agents take their node's connection.
    pub control_port: u16,
    /// Processors that a pod asks for, as Kubernetes writes it.
    pub cpu: String,
    /// Further resources that a pod asks for, such as those of device plugins, with their amounts.
    pub resources: BTreeMap<String, String>,
    /// Whether the memory of programs is asked for in huge pages.
    pub hugepages: bool,
    /// The pod of the node, its name and uid. What belongs to a node goes with it, even if it never returns.
    pub owner: Option<(String, String)>,
}

/// What a cluster cannot do.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// The file does not say how to reach a cluster.
    #[error("the kubeconfig cannot be used")]
    Kubeconfig(#[from] KubeconfigError),
    /// The node does not run in a cluster.
    #[error("this is not a pod of a cluster; name a file in `kubernetes.kubeconfig`")]
    InCluster(#[from] InClusterError),
    /// The cluster refused or failed.
    #[error("the cluster does not do it")]
    Api(#[from] Box<kube::Error>),
    /// The cluster did not answer.
    #[error("the cluster does not answer")]
    Timeout,
    /// An object cannot be written down.
    #[error("an object cannot be written down")]
    Object(#[from] serde_json::Error),
}

impl From<kube::Error> for KubernetesError {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

impl KubernetesError {
    fn is_status(&self, code: u16) -> bool {
        matches!(self, Self::Api(error) if matches!(&**error, kube::Error::Api(status) if status.code == code))
    }
}

/// Starts instances as pods.
pub struct KubernetesLauncher {
    cluster: Arc<Cluster>,
    claims: Claims,
    tasks: Tasks,
}

/// The cluster, and what this node knows about its part in it.
struct Cluster {
    config: KubernetesConfig,
    measurement: Sha256Digest,
    maps: Api<ConfigMap>,
    secrets: Api<Secret>,
    pods: Api<Pod>,
    slices: Api<EndpointSlice>,
}

impl KubernetesLauncher {
    /// A launcher of pods whose executables have this measurement. Says nothing to the cluster yet.
    pub async fn new(
        config: KubernetesConfig,
        measurement: Sha256Digest,
        tasks: &Tasks,
    ) -> Result<Self, KubernetesError> {
        let mut access = match &config.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path)?;
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
            }
            None => Config::incluster()?,
        };
        access.connect_timeout = Some(CALL_TIMEOUT);
        access.write_timeout = Some(CALL_TIMEOUT);
        let client = Client::try_from(access)?;
        let namespace = config.namespace.as_str();
        let cluster = Cluster {
            maps: Api::namespaced(client.clone(), namespace),
            secrets: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            slices: Api::namespaced(client, namespace),
            measurement,
            config,
        };
        Ok(Self { cluster: Arc::new(cluster), claims: Claims::default(), tasks: tasks.clone() })
    }

    async fn claim(&self) -> Result<PodPlace, LaunchError> {
        for port in self.cluster.config.ports.clone() {
            let Some(claim) = self.claims.claim(port) else { continue };
            let name = objects::name(&self.cluster.config, port);
            // From here on there may be something to remove, even if the answer never comes.
            let (begun, waiting) = oneshot::channel();
            let life = life(self.cluster.clone(), name.clone(), waiting);
            let cluster = self.cluster.clone();
            let removed = name.clone();
            let kept = Kept::new(&self.tasks, life, async move {
                let _claim = claim;
                cluster.remove(&removed).await;
            });
            let map = objects::config_map(&self.cluster.config, &name);
            match self.cluster.create(&self.cluster.maps, map).await {
                Ok(map) => {
                    let uid = map.uid().unwrap_or_default();
                    return Ok(PodPlace { kept, begun, name, uid, port, cluster: self.cluster.clone() });
                }
                // Another node's, or our own that is being removed.
                Err(error) if error.is_status(409) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(LaunchError::NoPort)
    }
}

impl Launcher for KubernetesLauncher {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn measurement(&self) -> Sha256Digest {
        self.cluster.measurement
    }

    fn reserve(&self) -> BoxFuture<'_, Result<Box<dyn Place>, LaunchError>> {
        async { Ok(Box::new(self.claim().await?) as Box<dyn Place>) }.boxed()
    }

    fn sweep(&self) -> BoxFuture<'_, Result<usize, LaunchError>> {
        async { Ok(self.cluster.sweep().await?) }.boxed()
    }

    fn drain(&self) {}
}

impl Cluster {
    async fn create<K>(&self, api: &Api<K>, object: serde_json::Value) -> Result<K, KubernetesError>
    where
        K: Clone + DeserializeOwned + Serialize + Debug,
    {
        let object = serde_json::from_value(object)?;
        timed(api.create(&PostParams::default(), &object)).await
    }

    /// Everything that carries this node's label. Pods first: they are what runs.
    async fn sweep(&self) -> Result<usize, KubernetesError> {
        let mine = ListParams::default().labels(&format!("{}={}", objects::NODE_LABEL, self.config.node));
        let pods = timed(self.pods.list(&mine)).await?.items.len();
        for slice in timed(self.slices.list(&mine)).await? {
            delete(&self.slices, &slice.name_any(), &DeleteParams::background()).await?;
        }
        for secret in timed(self.secrets.list(&mine)).await? {
            delete(&self.secrets, &secret.name_any(), &DeleteParams::background()).await?;
        }
        for pod in timed(self.pods.list(&mine)).await? {
            delete(&self.pods, &pod.name_any(), &at_once()).await?;
        }
        for map in timed(self.maps.list(&mine)).await? {
            delete(&self.maps, &map.name_any(), &DeleteParams::foreground()).await?;
        }
        Ok(pods)
    }

    /// Removes what belongs to an instance and waits until it is gone. Idempotent. Another node's objects of this name are
    /// left alone. What cannot be removed is removed by the next sweep.
    async fn remove(&self, name: &str) {
        let removal = async {
            let found = timed(self.maps.get_opt(name)).await?;
            let Some(map) =
                found.filter(|map| map.labels().get(objects::NODE_LABEL) == Some(&self.config.node))
            else {
                return Ok(());
            };
            delete(&self.pods, name, &at_once()).await?;
            delete(&self.maps, name, &DeleteParams::foreground()).await?;
            // A new one of this name is somebody else's.
            let uid = map.uid();
            follow::until(&self.maps, name, |now| now.is_none_or(|now| now.uid() != uid).then_some(())).await;
            Ok::<_, KubernetesError>(())
        };
        let removed = tokio::time::timeout(REMOVAL_TIMEOUT, removal).await;
        if let Err(error) = removed.unwrap_or(Err(KubernetesError::Timeout)) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(name, error, "objects of an instance not removed");
        }
    }
}

fn at_once() -> DeleteParams {
    DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::background() }
}

async fn timed<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, KubernetesError> {
    Ok(tokio::time::timeout(CALL_TIMEOUT, call).await.map_err(|_| KubernetesError::Timeout)??)
}

/// Deletes an object; one that is gone is as good.
async fn delete<K>(api: &Api<K>, name: &str, how: &DeleteParams) -> Result<(), KubernetesError>
where
    K: Clone + DeserializeOwned + Debug,
{
    match timed(api.delete(name, how)).await {
        Err(error) if !error.is_status(404) => Err(error),
        _ => Ok(()),
    }
}

/// How the pod of an instance ends, once it has begun.
async fn life(cluster: Arc<Cluster>, name: String, begun: oneshot::Receiver<()>) -> Ended {
    match begun.await {
        Ok(()) => follow::until(&cluster.pods, &name, objects::ended).await,
        // There will be no pod; what there is goes when the place does.
        Err(_) => std::future::pending().await,
    }
}

/// A claim on a port, in the shape of a ConfigMap.
struct PodPlace {
    // Dropped first: it removes everything.
    kept: Kept,
    begun: oneshot::Sender<()>,
    name: String,
    uid: String,
    port: u16,
    cluster: Arc<Cluster>,
}

impl Place for PodPlace {
    fn port(&self) -> u16 {
        self.port
    }

    fn host(&self) -> Option<&str> {
        Some(&self.cluster.config.host)
    }

    fn start<'a>(self: Box<Self>, order: &'a Order) -> BoxFuture<'a, Result<Started, LaunchError>> {
        async move {
            let Self { mut kept, begun, name, uid, port, cluster } = *self;
            let credentials = Credentials::generate(SystemTime::now().into(), LINK_LIFETIME)?;
            let connector = credentials.connector()?;
            let config = &cluster.config;
            let labels = objects::policy_labels(order);
            let patch = Patch::Merge(objects::policy(&labels, order));
            timed(cluster.maps.patch(&name, &PatchParams::default(), &patch)).await?;
            let made = objects::Made { name: &name, uid: &uid, labels: &labels };
            cluster.create(&cluster.secrets, made.secret(config, &credentials.agent_files())).await?;
            cluster.create(&cluster.pods, made.pod(config, port, order)).await?;
            // The life begins when there is something to watch.
            let _ = begun.send(());
            let starting = async {
                let ip = follow::until(&cluster.pods, &name, objects::address)
                    .await
                    .map_err(LaunchError::Vessel)?;
                cluster.create(&cluster.slices, made.slice(config, ip, port)).await?;
                connect(SocketAddr::new(ip, config.control_port), &connector, cluster.measurement).await
            };
            let control = unless_ended(&mut kept, starting).await?;
            Ok(Started { control, vessel: Box::new(kept) })
        }
        .boxed()
    }
}
