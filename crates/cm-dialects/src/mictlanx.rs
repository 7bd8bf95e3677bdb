//! MictlanX: storage whose clients know a router and peers.
//!
//! The router face speaks today's router protocol and, where the two do not differ, that of peers; the peer face today's peer protocol. Both
//! speak the one of the first clients, which knew neither buckets in addresses nor a router. All are faces over the same buckets and objects as S3 and the native API.
//!
//! **Writing takes two steps.** First a client says what it is going to send: key, length, digest, tags. It is given a task
//! ([`tasks`]), which belongs to its principal, ends after a while, and is kept in memory only. Then it sends the bytes to that task. They
//! stream into the object engine, which makes them visible as a whole if they have the announced length and digest, and
//! not at all otherwise. What was said of them is kept as a description of these contents ([`cm_kernel::descriptions`]), so that
//! neither is ever seen without the other.
//!
//! **Balls** are objects that belong together, as the pieces of a file do. A ball's pieces are found by a term of their
//! descriptions, whatever their keys are.
//!
//! **Buckets** come into being with the first task in them, if their creator may make buckets. Their ids may be any text; see
//! [`names`].
//!
//! | module | what it says |
//! | --- | --- |
//! | [`uri`] | addresses of routers and peers, `mictlanx://` |
//! | `address` | what a path means: keys have slashes, and some words are reserved |
//! | [`names`] | bucket ids |
//! | `metadata` | what is said of objects, on the wire and in descriptions |
//! | [`tasks`] | what is announced and not there yet |
//! | `writing`, `reading`, `balls`, `listing`, `changes` | what is done with objects |
//! | `body` | bodies in forms, and bodies that must have a length |
//! | `cache` | small objects that were just read |
//! | `peers`, `disk` | which peers there are, and how full this one is |
//! | `router`, `peer`, `seed`, `summoner` | the routes |
//! | `face`, `shape` | credentials, and how refusals look |

mod address;
mod balls;
mod body;
mod cache;
mod changes;
mod disk;
mod face;
mod listing;
mod metadata;
pub mod names;
mod peer;
mod peers;
mod reading;
mod router;
mod seed;
mod shape;
mod summoner;
pub mod tasks;
pub mod uri;
mod writing;

use std::path::PathBuf;
use std::sync::Arc;

use cm_door::Gate;
use cm_endpoints::Endpoints;
use cm_kernel::{Access, Kernel};

use cache::Cache;
use peers::Announced;
use tasks::Tasks;

pub use address::{Deleted, Posted, Read, deleted, posted, read};
pub use peer::router as peer_router;
pub use router::router;
pub use summoner::router as summoner_router;

/// What the faces are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What this node is called as a peer. Clients of the first protocol must know it.
    pub peer_id: String,
    /// The host under which clients reach the peer face.
    pub host: String,
    /// Its port; 0 if it is switched off.
    pub port: u16,
    /// Whether other bytes under a key replace those that are there although the client did not ask for it.
    pub overwrite: bool,
    /// The directory whose disk is reported.
    pub data_dir: PathBuf,
    /// Names of images, without tags, whose containers are endpoints although no label says so.
    pub endpoint_images: Vec<String>,
}

impl Settings {
    /// Whether a container of this image is an endpoint; its tag and digest may be any.
    fn is_endpoint_image(&self, image: &str) -> bool {
        let name = image.split_once('@').map_or(image, |(name, _)| name);
        // A colon before a slash is that of a port.
        let name = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => name,
            _ => name,
        };
        self.endpoint_images.iter().any(|listed| listed == name)
    }
}

/// The engines and the memory behind both faces. Cheap to clone.
#[derive(Clone)]
pub struct MictlanX(Arc<Parts>);

struct Parts {
    kernel: Kernel,
    endpoints: Endpoints,
    access: Access,
    settings: Settings,
    tasks: Tasks,
    cache: Cache,
    announced: Announced,
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

impl MictlanX {
    /// Faces over this kernel. `metrics` makes the text of the node's metrics.
    pub fn new(
        kernel: Kernel,
        endpoints: Endpoints,
        access: Access,
        settings: Settings,
        metrics: Arc<dyn Fn() -> String + Send + Sync>,
    ) -> Self {
        Self(Arc::new(Parts {
            kernel,
            endpoints,
            access,
            settings,
            tasks: Tasks::default(),
            cache: Cache::default(),
            announced: Announced::default(),
            metrics,
        }))
    }

    fn gate(&self) -> Gate {
        Gate::new(self.0.kernel.clone(), self.0.access.clone())
    }

    fn kernel(&self) -> &Kernel {
        &self.0.kernel
    }

    fn endpoints(&self) -> &Endpoints {
        &self.0.endpoints
    }

    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    fn peer_id(&self) -> &str {
        &self.0.settings.peer_id
    }
}
