use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cm_runtime::CancellationToken;
use futures::stream;

use super::{ECHO, LONG, config, eventually, id, pair, pair_with};
use crate::frame::PIECE_LEN_MAX;
use crate::{Config, Kind, LinkError, Refusal};

const STUCK: Kind = Kind::new("test.stuck");
const SINK: Kind = Kind::new("test.sink");
const SOURCE: Kind = Kind::new("test.source");

/// Sets its token when it is dropped.
fn told_when_dropped() -> (CancellationToken, impl Fn() -> tokio_util::sync::DropGuard) {
    let token = CancellationToken::new();
    let given = token.clone();
    (token, move || given.clone().drop_guard())
}

#[tokio::test]
async fn both_ends_ask_and_answer_at_once() {
    let (a, b) = pair().await;
    for len in [0, 1, 10_000, 1 << 20] {
        let body = Bytes::from(vec![7; len]);
        assert_eq!(a.links.request(&b.id, ECHO, body.clone(), LONG).await.unwrap(), body);
    }
    let both = |n: u8| {
        let (a, b) = (&a, &b);
        async move {
            let body = Bytes::from(vec![n; 1000]);
            let there = a.links.request(&b.id, ECHO, body.clone(), LONG);
            let back = b.links.request(&a.id, ECHO, body.clone(), LONG);
            let (there, back) = tokio::join!(there, back);
            assert_eq!((there.unwrap(), back.unwrap()), (body.clone(), body));
        }
    };
    futures::future::join_all((0..100).map(both)).await;
    let counted = a.links.counters();
    assert_eq!((counted.asked, counted.answered), (104, 104));
    assert_eq!(a.links.status(&b.id).unwrap().exchanges, 0, "every place was given back");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn what_nobody_answers_or_takes_is_refused() {
    let (a, b) = pair().await;
    let refusal = async |kind, len| match a.links.request(&b.id, kind, Bytes::from(vec![0; len]), LONG).await
    {
        Err(LinkError::Refused { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(Kind::new("test.nothing"), 5).await, Refusal::UnknownKind);
    assert_eq!(refusal(ECHO, (1 << 20) + 1).await, Refusal::TooLong);
    let stream = a.links.open(&b.id, ECHO, Bytes::new(), LONG).await.unwrap();
    let answer = stream.answer().await;
    assert!(matches!(answer, Err(LinkError::Refused { refusal: Refusal::UnknownKind, .. })), "{answer:?}");
    b.links.on_request(STUCK, 0, |_, _| async { Err(Refusal::NotAllowed) }).unwrap();
    assert_eq!(refusal(STUCK, 0).await, Refusal::NotAllowed);
    assert!(b.links.on_request(STUCK, 0, |_, body| async { Ok(body) }).is_err(), "the kind is taken");
    let unknown = a.links.request(&id("c"), ECHO, Bytes::new(), LONG).await;
    assert!(matches!(unknown, Err(LinkError::UnknownPeer(_))), "{unknown:?}");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_deadline_ends_the_request_here_and_there() {
    let (a, b) = pair().await;
    let (dropped, guard) = told_when_dropped();
    let handler = move |_, _| {
        let guard = guard();
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    };
    b.links.on_request(STUCK, 0, handler).unwrap();
    let asked = a.links.request(&b.id, STUCK, Bytes::new(), Duration::from_millis(50)).await;
    let error = asked.unwrap_err();
    assert!(
        matches!(&error, LinkError::Timeout { .. } | LinkError::Refused { refusal: Refusal::Expired, .. }),
        "{error:?}"
    );
    assert!(error.may_have_run());
    tokio::time::timeout(LONG, dropped.cancelled()).await.unwrap();
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn who_gives_up_takes_the_handler_along() {
    let (a, b) = pair().await;
    let (dropped, guard) = told_when_dropped();
    let begun = CancellationToken::new();
    let begins = begun.clone();
    let handler = move |_, _| {
        let guard = guard();
        begins.cancel();
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    };
    b.links.on_request(STUCK, 0, handler).unwrap();
    let asking = a.links.request(&b.id, STUCK, Bytes::new(), LONG);
    tokio::select! {
        answer = asking => panic!("{answer:?}"),
        () = begun.cancelled() => {}
    }
    tokio::time::timeout(LONG, dropped.cancelled()).await.unwrap();
    assert!(eventually(|| a.links.status(&b.id).unwrap().exchanges == 0).await);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_stream_arrives_whole_and_no_faster_than_it_is_read() {
    let (a, b) = pair().await;
    let may_read = CancellationToken::new();
    let wait = may_read.clone();
    b.links
        .on_stream(SINK, 16, move |head, mut incoming| {
            let wait = wait.clone();
            async move {
                wait.cancelled().await;
                let (mut len, mut sum) = (0_u64, 0_u64);
                while let Some(piece) = incoming.receive().await.unwrap() {
                    len += piece.len() as u64;
                    sum += piece.iter().map(|byte| u64::from(*byte)).sum::<u64>();
                }
                assert_eq!(head, "head");
                incoming.answer(Bytes::from(format!("{len} {sum}"))).await.unwrap();
            }
        })
        .unwrap();
    const PIECES: usize = 64;
    let sent = Arc::new(AtomicUsize::new(0));
    let counting = sent.clone();
    let pieces = stream::iter((0..PIECES).map(move |n| {
        counting.fetch_add(1, Ordering::Relaxed);
        Bytes::from(vec![n as u8; PIECE_LEN_MAX + 1])
    }));
    let sending = a.links.send_stream(&b.id, SINK, Bytes::from("head"), pieces, LONG);
    let mut sending = Box::pin(sending);
    // The receiver's credit is spent after the first pieces; then nothing more is taken from the source.
    let stalled = tokio::time::timeout(Duration::from_millis(300), &mut sending).await;
    assert!(stalled.is_err());
    let taken = sent.load(Ordering::Relaxed);
    assert!(taken < 8, "{taken} pieces were sent to somebody who read none");
    may_read.cancel();
    let (len, sum) = ((PIECE_LEN_MAX + 1) * PIECES, (0..PIECES).sum::<usize>() * (PIECE_LEN_MAX + 1));
    assert_eq!((&mut sending).await.unwrap(), format!("{len} {sum}"));
    drop(sending);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn who_is_let_work_may_say_nothing_for_longer_than_a_link_waits() {
    let stalled_after = Duration::from_millis(300);
    let (a, b) = pair_with(Config { stalled_after, ..config() }).await;
    let is_done = CancellationToken::new();
    let wait = is_done.clone();
    b.links
        .on_stream(SOURCE, 16, move |_, incoming| {
            let wait = wait.clone();
            async move {
                wait.cancelled().await;
                // Whoever asked may have given up on it.
                let _ = incoming.answer(Bytes::from("done")).await;
            }
        })
        .unwrap();
    let mut unwaited = a.links.open(&b.id, SOURCE, Bytes::new(), LONG).await.unwrap();
    assert!(matches!(unwaited.receive().await, Err(LinkError::Timeout { .. })));
    let mut waited = a.links.open(&b.id, SOURCE, Bytes::new(), LONG).await.unwrap();
    waited.let_it_work();
    let mut answer = Box::pin(waited.answer());
    let silent = tokio::time::timeout(3 * stalled_after, &mut answer).await;
    assert!(silent.is_err(), "it is waited for");
    is_done.cancel();
    assert_eq!(answer.await.unwrap(), "done");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn pieces_come_back_and_then_the_answer() {
    let (a, b) = pair().await;
    b.links
        .on_stream(SOURCE, 16, |_, mut incoming| async move {
            for n in 0..20_u8 {
                incoming.send(Bytes::from(vec![n; 100_000])).await.unwrap();
            }
            incoming.answer(Bytes::from("done")).await.unwrap();
        })
        .unwrap();
    let mut reading = a.links.open(&b.id, SOURCE, Bytes::new(), LONG).await.unwrap();
    let mut len = 0;
    while let Some(piece) = reading.receive().await.unwrap() {
        assert_eq!(piece[0], (len / 100_000) as u8);
        len += piece.len();
    }
    assert_eq!(len, 2_000_000);
    assert_eq!(reading.receive().await.unwrap(), None);
    assert_eq!(reading.answer().await.unwrap(), "done");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_sender_hears_why_nobody_listens_any_more() {
    let (a, b) = pair().await;
    b.links
        .on_stream(SINK, 0, |_, mut incoming| async move {
            incoming.receive().await.unwrap();
            incoming.refuse(Refusal::Unavailable).await.unwrap();
        })
        .unwrap();
    let endless = stream::repeat(Bytes::from(vec![1; 100_000]));
    let refused = a.links.send_stream(&b.id, SINK, Bytes::new(), endless, LONG).await;
    assert!(matches!(refused, Err(LinkError::Refused { refusal: Refusal::Unavailable, .. })), "{refused:?}");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_not_taken_for_whole() {
    let (a, b) = pair().await;
    let (told, mut heard) = tokio::sync::mpsc::channel(1);
    b.links
        .on_stream(SINK, 0, move |_, mut incoming| {
            let told = told.clone();
            async move {
                let first = incoming.receive().await.unwrap();
                let second = incoming.receive().await;
                told.send((first, second.is_err())).await.unwrap();
            }
        })
        .unwrap();
    let mut stream = a.links.open(&b.id, SINK, Bytes::new(), LONG).await.unwrap();
    stream.send(Bytes::from("part")).await.unwrap();
    drop(stream);
    let heard = tokio::time::timeout(LONG, heard.recv()).await.unwrap();
    assert_eq!(heard, Some((Some(Bytes::from("part")), true)));
    a.stop().await;
    b.stop().await;
}
