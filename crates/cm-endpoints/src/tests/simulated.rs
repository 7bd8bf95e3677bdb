//! A launcher whose servers are no processes and do as a test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::watch;

use super::PATIENCE;
use crate::{Ended, LaunchError, LaunchSpec, Launched, Launcher, News};

/// What becomes of the next launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mood {
    /// It serves at once, and ends when it is asked to.
    #[default]
    Willing,
    /// It serves once it is allowed to.
    Slow,
    /// Nothing is ever heard of it.
    Dead,
    /// It refuses to begin.
    Failing,
    /// It serves, and does not end when it is asked to.
    Stubborn,
    /// Serves, and hears nothing when it is to end.
    Deaf,
}

/// Starts servers that are no processes.
#[derive(Default)]
pub(super) struct Simulated {
    pub(super) mood: Mutex<Mood>,
    /// Slow servers serve once this is true.
    pub(super) allowed: watch::Sender<bool>,
    servers: watch::Sender<Vec<Arc<Server>>>,
}

/// A server, seen from outside.
pub(super) struct Server {
    pub(super) endpoint: String,
    pub(super) ports: (u16, u16),
    pub(super) ended: watch::Sender<Option<Ended>>,
    pub(super) told: watch::Sender<Vec<News>>,
    is_stubborn: bool,
    is_deaf: bool,
}

impl Simulated {
    pub(super) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Every server that was launched so far, those included that do not serve.
    pub(super) fn servers(&self) -> Vec<Arc<Server>> {
        self.servers.borrow().clone()
    }

    /// The servers once there are so many.
    pub(super) async fn launched(&self, count: usize) -> Vec<Arc<Server>> {
        let mut servers = self.servers.subscribe();
        let enough = servers.wait_for(|servers| servers.len() >= count);
        tokio::time::timeout(PATIENCE, enough).await.expect("servers were not launched").unwrap().clone()
    }
}

impl Server {
    /// What it was told once that is enough.
    pub(super) async fn until_told(&self, enough: impl FnMut(&Vec<News>) -> bool) -> Vec<News> {
        let mut told = self.told.subscribe();
        let told = tokio::time::timeout(PATIENCE, told.wait_for(enough)).await;
        told.expect("it was not told").unwrap().clone()
    }
}

impl Launcher for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn runs_images(&self) -> bool {
        false
    }

    fn launch(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Box<dyn Launched>, LaunchError>> {
        let mood = *self.mood.lock().unwrap();
        let port = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
        let server = Arc::new(Server {
            endpoint: spec.endpoint.to_string(),
            ports: (port(&spec.req_res), port(&spec.pubsub)),
            ended: watch::Sender::new(None),
            told: watch::Sender::default(),
            is_stubborn: matches!(mood, Mood::Stubborn | Mood::Deaf),
            is_deaf: mood == Mood::Deaf,
        });
        self.servers.send_modify(|servers| servers.push(server.clone()));
        async move {
            let handle = Handle { server, _sockets: (spec.req_res, spec.pubsub) };
            match mood {
                Mood::Willing | Mood::Stubborn | Mood::Deaf => {}
                Mood::Slow => drop(self.allowed.subscribe().wait_for(|allowed| *allowed).await),
                Mood::Dead => std::future::pending().await,
                Mood::Failing => return Err(LaunchError::Refused("it was told to fail".to_owned())),
            }
            Ok(Box::new(handle) as Box<dyn Launched>)
        }
        .boxed()
    }
}

/// A server, as the service has it.
struct Handle {
    server: Arc<Server>,
    _sockets: (std::net::TcpListener, std::net::TcpListener),
}

impl Handle {
    fn end(&self, how: Ended) {
        self.server.ended.send_if_modified(|ended| {
            let is_first = ended.is_none();
            ended.get_or_insert(how);
            is_first
        });
    }
}

impl Launched for Handle {
    fn tell<'a>(&'a mut self, news: &'a News) -> BoxFuture<'a, Result<(), LaunchError>> {
        let is_draining = matches!(news, News::State(moment) if moment.state == "draining");
        if self.server.is_deaf && is_draining {
            return std::future::pending().boxed();
        }
        self.server.told.send_modify(|told| told.push(news.clone()));
        std::future::ready(Ok(())).boxed()
    }

    fn drain(&mut self, _: Duration) -> BoxFuture<'_, ()> {
        if !self.server.is_stubborn {
            self.end(Ended::Exited(0));
        }
        std::future::ready(()).boxed()
    }

    fn kill(&mut self) {
        self.end(Ended::Killed(9));
    }

    fn ended(&mut self) -> BoxFuture<'_, Ended> {
        async move {
            let mut ended = self.server.ended.subscribe();
            let ended = ended.wait_for(Option::is_some).await.map(|ended| *ended);
            ended.ok().flatten().unwrap_or(Ended::Unknown)
        }
        .boxed()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end(Ended::Killed(9));
    }
}
