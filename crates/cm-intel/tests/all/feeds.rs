//! Feeds, asked through a source that says what a test wants.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cm_crypto::Secret;
use cm_intel::feeds::{
    Activity, Batch, Entry, Feed, FeedFailure, FeedKind, FeedSource, Pulling, Said, Target,
};
use cm_intel::{IntelError, NewFeed, Tlp};
use cm_kernel::events::EventFilter;
use cm_kernel::policy::{ActionKind, Permit};
use cm_types::{PageLimit, ResourceId, ResourceKind, Timestamp};
use futures::future::BoxFuture;

use crate::support::{Node, until};

/// What each pull comes to, and what was asked.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    pulls: VecDeque<Vec<Result<Batch, FeedFailure>>>,
    asked: Vec<(String, String)>,
}

struct Pull(VecDeque<Result<Batch, FeedFailure>>);

impl FeedSource for Script {
    fn check(&self, target: &Target) -> Result<(), &'static str> {
        if target.url.starts_with("https://") { Ok(()) } else { Err("must begin with https://") }
    }

    fn begin(&self, target: Target, position: &str) -> Box<dyn Pulling> {
        let mut state = self.0.lock().unwrap();
        let secret = match target.credential {
            Some(cm_intel::feeds::Credential::Bearer(token)) => token.expose().clone(),
            _ => String::new(),
        };
        state.asked.push((position.to_owned(), secret));
        Box::new(Pull(state.pulls.pop_front().unwrap_or_default().into()))
    }
}

impl Pulling for Pull {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Batch>, FeedFailure>> {
        let next = self.0.pop_front().transpose();
        Box::pin(async move { next })
    }
}

impl Script {
    fn will(&self, pull: Vec<Result<Batch, FeedFailure>>) {
        self.0.lock().unwrap().pulls.push_back(pull);
    }

    fn asked(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().asked.clone()
    }
}

fn batch(position: &str, now: Timestamp, values: &[&str]) -> Result<Batch, FeedFailure> {
    let entry = |value: &&str| {
        Entry::Said(Said {
            id: format!("indicator--{value}"),
            version: now,
            values: vec![(*value).to_owned()],
            threat_type: "beacon".to_owned(),
            severity: "high".to_owned(),
            confidence: 100,
            from: now,
            until: None,
            tlp: Tlp::Clear,
        })
    };
    Ok(Batch { entries: values.iter().map(entry).collect(), position: position.to_owned() })
}

fn id() -> ResourceId {
    ResourceId::parse("partners").unwrap()
}

fn new_feed() -> NewFeed {
    NewFeed {
        id: id(),
        kind: FeedKind::Taxii,
        url: "https://feed.example/".to_owned(),
        username: None,
        secret: Some(Secret::new("a token nobody may see".to_owned())),
        weight: 20,
        every: Duration::from_secs(3600),
        unmarked: Tlp::Amber,
    }
}

async fn permit<A: ActionKind>(node: &Node) -> Permit<A> {
    node.kernel.authorize_of_node::<A>(&node.op(), ResourceKind::IntelPeer).await.unwrap()
}

async fn feed(node: &Node) -> Feed {
    node.intel.feed(&permit(node).await, &id()).await.unwrap()
}

async fn after_pulls(node: &Node, pulls: u64) -> Feed {
    until("it was asked", || async {
        let feed = feed(node).await;
        feed.pulls == pulls && feed.activity == Activity::Waiting
    })
    .await;
    feed(node).await
}

async fn pull(node: &Node, pulls: u64) -> Feed {
    node.intel.pull_feed(&permit(node).await, &id()).await.unwrap();
    after_pulls(node, pulls).await
}

/// How often the kernel's log has a verb, and all that it says, as text.
async fn log(node: &Node, verb: &str) -> (usize, String) {
    let permit = node.kernel.authorize(&node.op(), ResourceKind::Event).await.unwrap();
    let page = node.kernel.event_page(&permit, 0, PageLimit::MAX, EventFilter::default()).await.unwrap();
    let count = page.items.iter().filter(|event| event.verb.as_str() == verb).count();
    (count, format!("{:?}", page.items))
}

async fn sources(node: &Node) -> Vec<(String, u8)> {
    let page = node.intel.indicators(&node.list().await, None, PageLimit::MAX).await.unwrap();
    page.items.into_iter().map(|indicator| (indicator.value, indicator.confidence)).collect()
}

#[tokio::test]
async fn what_was_kept_before_a_failure_stays_and_the_next_pull_goes_on_there() {
    let node = Node::start(|_| ()).await;
    let (script, now) = (Script::default(), node.kernel.now());
    script.will(vec![batch("1", now, &["198.51.100.1"]), Err(FeedFailure::Garbage)]);
    script.will(vec![batch("2", now, &["198.51.100.1", "198.51.100.2"])]);
    node.intel.follow_feeds(Arc::new(script.clone()));
    let added = node.intel.add_feed(&node.op(), &permit(&node).await, new_feed()).await.unwrap();
    assert!(added.has_secret && !format!("{added:?}").contains("nobody may see"));
    let first = after_pulls(&node, 1).await;
    assert_eq!((first.failures, first.indicators, first.last_success), (1, 1, None));
    let second = pull(&node, 2).await;
    assert_eq!((second.failures, second.indicators, second.tally.known), (0, 2, 1));
    let secret = "a token nobody may see".to_owned();
    assert_eq!(script.asked(), [(String::new(), secret.clone()), ("1".to_owned(), secret)]);
    assert_eq!(sources(&node).await, [("198.51.100.1".to_owned(), 18), ("198.51.100.2".to_owned(), 18)]);
    node.intel.remove_feed(&node.op(), &permit(&node).await, &id()).await.unwrap();
    assert_eq!(sources(&node).await, []);
    assert!(!log(&node, "").await.1.contains("nobody may see"), "in no event");
}

#[tokio::test]
async fn a_failure_is_told_when_it_changes_and_when_it_is_over() {
    let node = Node::start(|_| ()).await;
    let script = Script::default();
    use FeedFailure::{Credential, Garbage};
    for outcome in [Some(Credential), Some(Credential), Some(Garbage), None, None] {
        script.will(outcome.into_iter().map(Err).collect());
    }
    node.intel.follow_feeds(Arc::new(script));
    node.intel.add_feed(&node.op(), &permit(&node).await, new_feed()).await.unwrap();
    after_pulls(&node, 1).await;
    for (pulls, failures) in [(2, 2), (3, 3), (4, 0), (5, 0)] {
        assert_eq!(pull(&node, pulls).await.failures, failures);
    }
    assert_eq!(log(&node, "intel-feed.failed").await.0, 2);
    assert_eq!(log(&node, "intel-feed.recovered").await.0, 1);
}

#[tokio::test]
async fn what_passes_is_tried_again_at_once_and_not_for_ever() {
    let node = Node::start(|_| ()).await;
    let (script, now) = (Script::default(), node.kernel.now());
    script.will(vec![Err(FeedFailure::Busy), batch("1", now, &["198.51.100.1"])]);
    script.will(vec![Err(FeedFailure::Busy), Err(FeedFailure::Slow), Err(FeedFailure::Unreachable)]);
    node.intel.follow_feeds(Arc::new(script.clone()));
    node.intel.add_feed(&node.op(), &permit(&node).await, new_feed()).await.unwrap();
    assert_eq!(after_pulls(&node, 1).await.failures, 0);
    assert_eq!(pull(&node, 2).await.failures, 1);
    assert_eq!(script.asked().len(), 2);
}

#[tokio::test]
async fn feeds_that_cannot_be_are_refused() {
    let node = Node::start(|_| ()).await;
    let add = async |change: &dyn Fn(&mut NewFeed)| {
        let mut new = new_feed();
        change(&mut new);
        node.intel.add_feed(&node.op(), &permit(&node).await, new).await
    };
    assert!(matches!(add(&|_| ()).await, Err(IntelError::NoFeeds)), "nothing asks them");
    node.intel.follow_feeds(Arc::new(Script::default()));
    let changes: [&dyn Fn(&mut NewFeed); 7] = [
        &|new| new.url = "http://feed.example/".to_owned(),
        &|new| new.url.clear(),
        &|new| new.weight = 101,
        &|new| new.every = Duration::from_secs(59),
        &|new| new.secret = Some(Secret::new("two\nlines".to_owned())),
        &|new| new.username = Some("a:b".to_owned()),
        &|new| (new.username, new.secret) = (Some("a".to_owned()), None),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert!(matches!(add(change).await, Err(IntelError::Field { .. })), "{number}");
    }
    add(&|_| ()).await.unwrap();
    assert!(matches!(add(&|_| ()).await, Err(IntelError::FeedExists(_))));
}
