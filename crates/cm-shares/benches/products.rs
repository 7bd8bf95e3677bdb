//! What the protocols cost without a network: three parties, a thread each, channels in memory. `cargo bench -p cm-shares --bench products`
//!
//! One line per measurement: `name value unit`.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use cm_shares::{
    Committee, F61, Field, JobTag, Keys, Machine, MpcError, Party, Progress, Scalar, Session, Shared, Terms,
    Tier,
};

type Frames = (Vec<Sender<(Party, Vec<u8>)>>, Vec<Receiver<(Party, Vec<u8>)>>);

/// Runs a program at all parties, each on its own thread, and returns the longest time that one of them reports.
fn run<P, R>(n: usize, tier: Tier, program: P) -> Duration
where
    P: Fn(Session) -> R + Send + Sync,
    R: Future<Output = Result<Duration, MpcError>> + Send + 'static,
{
    let t = if tier == Tier::Robust { (n - 1) / 3 } else { (n - 1) / 2 };
    let terms = Terms::new(Committee::with_threshold(n, t).unwrap(), tier, JobTag([7; 32])).unwrap();
    let (senders, receivers): Frames = (0..n).map(|_| channel()).unzip();
    std::thread::scope(|scope| {
        let threads: Vec<_> = Keys::rehearsed(n, 1)
            .into_iter()
            .zip(receivers)
            .map(|(keys, receiver)| {
                let (senders, program, me) = (senders.clone(), &program, keys.party());
                scope.spawn(move || {
                    let outbox =
                        Box::new(move |to: Party, frame| drop(senders[to.index()].send((me, frame))));
                    let mut machine = Machine::new(terms, &keys, outbox, program).unwrap();
                    loop {
                        match machine.advance() {
                            Progress::Done(result) => return result.unwrap(),
                            Progress::Waiting(_) => {
                                let (from, frame) = receiver.recv().unwrap();
                                machine.deliver(from, frame);
                                while let Ok((from, frame)) = receiver.try_recv() {
                                    machine.deliver(from, frame);
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
    })
}

/// Seconds of processor time of this process: what load on the machine does not change much.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    (fields.get(11).unwrap_or(&0.0) + fields.get(12).unwrap_or(&0.0)) / 100.0
}

fn rate(name: &str, count: usize, time: Duration, processor: f64) {
    println!(
        "{name:<44} {:>12.0} /s {:>12.0} /core-s",
        count as f64 / time.as_secs_f64(),
        count as f64 / processor
    );
}

fn products<F: Field>(name: &str, n: usize, tier: Tier, len: usize, times: usize) {
    let before = processor_seconds();
    let time = run(n, tier, move |mut session| async move {
        let x = session.random::<F>(len).await?;
        session.open(&x.slice(0..1)).await?;
        let start = Instant::now();
        let mut product = x.clone();
        for _ in 0..times {
            product = session.mul(&product, &x).await?;
        }
        session.open(&product.slice(0..1)).await?;
        Ok(start.elapsed())
    });
    rate(&format!("products {name} n={n} {tier}"), len * times, time, processor_seconds() - before);
}

fn comparisons(n: usize, tier: Tier, len: usize) {
    let before = processor_seconds();
    let time = run(n, tier, move |mut session| async move {
        let bits = session.random::<F61>(len).await?;
        let x = session.mul(&bits, &bits).await?;
        let start = Instant::now();
        let less = session.less_than_zero(&x).await?;
        session.open(&less.slice(0..1)).await?;
        Ok(start.elapsed())
    });
    rate(&format!("comparisons F61 n={n} {tier}"), len, time, processor_seconds() - before);
}

fn main() {
    for tier in [Tier::SemiHonest, Tier::MaliciousAbort] {
        for n in [3, 5, 7] {
            products::<F61>("F61", n, tier, 100_000, 40);
        }
        products::<Scalar>("scalar", 3, tier, 100_000, 10);
    }
    products::<F61>("F61", 4, Tier::Robust, 100_000, 1);
    comparisons(3, Tier::SemiHonest, 100_000);
    comparisons(3, Tier::MaliciousAbort, 20_000);
    comparisons(5, Tier::SemiHonest, 20_000);
    comparisons(4, Tier::Robust, 2_000);
    let dependent = run(3, Tier::SemiHonest, |mut session| async move {
        let x = session.random::<F61>(1).await?;
        let start = Instant::now();
        let mut product = x.clone();
        for _ in 0..2000 {
            product = session.mul(&product, &x).await?;
        }
        Ok(start.elapsed())
    });
    println!("{:<44} {:>12.1} us", "dependent product", dependent.as_secs_f64() * 1e6 / 2000.0);
    for tier in [Tier::SemiHonest, Tier::MaliciousAbort] {
        let dot = run(3, tier, |mut session| async move {
            let x = session.random::<F61>(100_000).await?;
            let start = Instant::now();
            for _ in 0..10 {
                let dot = session.dot(&x, &x).await?;
                session.open(&dot).await?;
            }
            Ok(start.elapsed())
        });
        println!("{:<44} {:>12.2} ms", format!("dot of 1e5, opened, {tier}"), dot.as_secs_f64() * 100.0);
        let matmul = run(3, tier, |mut session| async move {
            let x = session.random::<F61>(10_000).await?;
            let start = Instant::now();
            for _ in 0..5 {
                let product: Shared<F61> = session.matmul(&x, &x, 100, 100, 100).await?;
                session.open(&product).await?;
            }
            Ok(start.elapsed())
        });
        println!(
            "{:<44} {:>12.2} ms",
            format!("matmul 100x100x100, opened, {tier}"),
            matmul.as_secs_f64() * 200.0
        );
    }
}
