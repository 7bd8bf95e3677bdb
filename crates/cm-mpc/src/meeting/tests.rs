use std::collections::BTreeMap;

use cm_net::{Contact, Directory};
use cm_runtime::Drained;
use cm_shares::Party;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::conversation::Conversation;
use crate::tests::{LONG, identity};

struct Pair {
    tasks: Tasks,
    first: Meeting,
    second: Meeting,
}

type Met = (Direct, PublicExchangeKey);

impl Pair {
    async fn new() -> Self {
        let tasks = Tasks::new();
        let (mut contacts, mut nodes) = (BTreeMap::new(), Vec::new());
        for name in ["n1", "n2"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (identity, id) = (identity(), name.parse::<PeerId>().unwrap());
            let address = listener.local_addr().unwrap().to_string();
            contacts.insert(id.clone(), Contact { key: identity.key(), address });
            nodes.push((id, identity, listener));
        }
        let mut meetings = nodes.into_iter().map(|(id, identity, listener)| {
            let others = contacts.clone().into_iter().filter(|(other, _)| *other != id);
            // Without a sender it stays as it is.
            let (_, directory) = watch::channel(Arc::new(Directory::new(others).unwrap()));
            let links = Links::start(id, cm_net::Config::default(), identity, directory, &tasks).unwrap();
            let meeting = Meeting::new(links.clone(), &tasks);
            links.listen(listener).unwrap();
            meeting
        });
        let (first, second) = (meetings.next().unwrap(), meetings.next().unwrap());
        drop(meetings);
        Self { tasks, first, second }
    }

    /// The second calls the first, as the one with the higher number does.
    async fn meet(&self, run: Uuid) -> (Met, Met) {
        let until = Instant::now() + LONG;
        let (n1, n2) = ("n1".parse().unwrap(), "n2".parse().unwrap());
        let (first, second) = tokio::join!(
            self.first.meet(run, &n2, false, PublicExchangeKey([1; 32]), until),
            self.second.meet(run, &n1, true, PublicExchangeKey([2; 32]), until),
        );
        (first.unwrap(), second.unwrap())
    }

    fn keep(meeting: &Meeting, conversation: Conversation, called: bool) {
        let clean = conversation.into_clean();
        assert_eq!(clean.len(), 1);
        for (_, direct) in clean {
            meeting.keep(direct, called);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_to_a_party_that_has_ended_does_not_disturb_the_next_run() {
    let pair = Pair::new().await;
    for round in 0..3 {
        let ((first, of_second), (second, of_first)) = pair.meet(Uuid::from_u128(round + 1)).await;
        assert_eq!((of_first.0, of_second.0), ([1; 32], [2; 32]));
        let first = Conversation::new(vec![None, Some(first)]);
        let second = Conversation::new(vec![Some(second), None]);
        // Nobody reads these any more: the run is over at the other end.
        for step in 0..3_u32 {
            first.outbox()(Party(1), step.to_le_bytes().to_vec());
            second.outbox()(Party(0), step.to_le_bytes().to_vec());
        }
        Pair::keep(&pair.first, first, false);
        Pair::keep(&pair.second, second, true);
    }
    assert_eq!(pair.tasks.drain(LONG).await, Drained::All);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_once_more_takes_the_place_of_the_first_call() {
    let pair = Pair::new().await;
    let (n1, n2) = ("n1".parse().unwrap(), "n2".parse().unwrap());
    // It ends before the answer, after it, and stays open without a word: in the last case nobody can tell that it was given up.
    for (round, hears, keeps) in [(1, false, false), (2, true, false), (3, true, true)] {
        let run = Uuid::from_u128(round);
        let until = Instant::now() + LONG;
        let waiting = pair.first.meet(run, &n2, false, PublicExchangeKey([1; 32]), until);
        let calling = async {
            let mut kept = pair.second.0.links.direct(&n1, LONG).await.unwrap();
            say_hello(&mut kept, run, PublicExchangeKey([2; 32])).unwrap();
            if hears {
                assert_eq!(read_hello(&mut kept, until).await.unwrap().0, run);
            }
            let kept = Some(kept).filter(|_| keeps);
            let called = pair.second.meet(run, &n1, true, PublicExchangeKey([3; 32]), until).await;
            (called, kept)
        };
        let (met, (called, _kept)) = tokio::join!(waiting, calling);
        let ((mut first, key), (mut second, of_first)) = (met.unwrap(), called.unwrap());
        assert_eq!((key.0, of_first.0), ([3; 32], [1; 32]), "round {round}");
        // It is the connection of the second call that both have.
        say(&mut second, b"frame").unwrap();
        let mut frame = [0; 5];
        fill(&mut first, &mut frame).await.unwrap();
        assert_eq!(&frame, b"frame");
        assert!(pair.first.state().awaited.is_empty(), "nobody is waited for any more");
    }
    assert_eq!(pair.tasks.drain(LONG).await, Drained::All);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_hears_the_answer_is_not_met() {
    let pair = Pair::new().await;
    let (n1, n2): (PeerId, PeerId) = ("n1".parse().unwrap(), "n2".parse().unwrap());
    let run = Uuid::from_u128(1);
    let until = Instant::now() + Duration::from_millis(300);
    let waiting = pair.first.meet(run, &n2, false, PublicExchangeKey([1; 32]), until);
    let calling = async {
        let mut direct = pair.second.0.links.direct(&n1, LONG).await.unwrap();
        say_hello(&mut direct, run, PublicExchangeKey([2; 32])).unwrap();
        say(&mut direct, b"another").unwrap();
        direct
    };
    let (met, _direct) = tokio::join!(waiting, calling);
    assert!(matches!(met, Err(LinkError::Unreachable(peer)) if peer == n2));
    assert!(pair.first.state().awaited.is_empty());
    assert_eq!(pair.tasks.drain(LONG).await, Drained::All);
}
