//! Challenges: each for one, once, and in time.

use std::time::Duration;

use cm_runtime::ManualClock;

use super::*;
use crate::challenges::{Answered, CHALLENGE_LEN};

const LASTS: Duration = Duration::from_secs(300);

pub(super) async fn house(clock: &ManualClock) -> House {
    let dir = tempfile::tempdir().unwrap();
    let kept: Arc<Mutex<Option<Secret<String>>>> = Arc::default();
    let keep = kept.clone();
    let config = KernelConfig {
        data_dir: dir.path().to_owned(),
        limits: Limits::default(),
        integrity: Integrity::Enforced,
        objects: cm_objects::Config { object_bytes_max: 1 << 30, ..cm_objects::Config::default() },
        node_name: "test".into(),
    };
    let kernel = Kernel::open(config, Arc::new(clock.clone()), &Tasks::new(), move |key| {
        *keep.lock().unwrap() = Some(Secret::new(key.expose().clone()));
        Ok(())
    })
    .await
    .unwrap();
    let key = kept.lock().unwrap().take().unwrap();
    let admin = op(kernel.authenticate(key.expose()).await.unwrap());
    House { _dir: dir, kernel, admin }
}

#[tokio::test]
async fn a_challenge_is_answered_once_by_whom_it_was_issued_to() {
    let house = House::open().await;
    let maker = house.somebody("maker", &["instance:create"]).await;
    let challenge = house.kernel.issue_challenge(&maker, LASTS).await.unwrap();
    let other = house.kernel.issue_challenge(&maker, LASTS).await.unwrap();
    assert_ne!(challenge.nonce, other.nonce);
    assert_ne!(challenge.nonce, [0; CHALLENGE_LEN]);
    let id = challenge.id.to_string();
    let stranger = house.kernel.consume_challenge(&house.admin, &id).await.unwrap();
    assert_eq!(stranger, Answered::Unknown);
    assert_eq!(house.kernel.consume_challenge(&maker, &id).await.unwrap(), Answered::First(challenge));
    assert_eq!(house.kernel.consume_challenge(&maker, &id).await.unwrap(), Answered::Again);
    for unknown in ["", "no uuid", "6c1c8a1e-0000-4000-8000-000000000000"] {
        let found = house.kernel.consume_challenge(&maker, unknown).await.unwrap();
        assert_eq!(found, Answered::Unknown, "{unknown}");
    }
    let nobody = house.kernel.issue_challenge(&op(Actor::Anonymous), LASTS).await;
    assert!(matches!(nobody, Err(KernelError::Unauthenticated)));
}

#[tokio::test]
async fn of_many_answers_at_a_time_one_is_first() {
    let house = House::open().await;
    let challenge = house.kernel.issue_challenge(&house.admin, LASTS).await.unwrap();
    let id = challenge.id.to_string();
    let answers = (0..16).map(|_| house.kernel.consume_challenge(&house.admin, &id));
    let answers = futures::future::join_all(answers).await;
    let first = answers.iter().filter(|found| matches!(found, Ok(Answered::First(_)))).count();
    assert_eq!(first, 1);
}

#[tokio::test]
async fn a_challenge_ends_and_is_forgotten() {
    let clock = ManualClock::new();
    let house = house(&clock).await;
    let (kernel, admin) = (&house.kernel, &house.admin);
    let late = kernel.issue_challenge(admin, LASTS).await.unwrap();
    let answered = kernel.issue_challenge(admin, LASTS).await.unwrap();
    let (late_id, answered_id) = (late.id.to_string(), answered.id.to_string());
    assert_eq!(kernel.consume_challenge(admin, &answered_id).await.unwrap(), Answered::First(answered));
    clock.advance(LASTS);
    assert_eq!(kernel.consume_challenge(admin, &late_id).await.unwrap(), Answered::Late);
    kernel.issue_challenge(admin, LASTS).await.unwrap();
    for id in [&late_id, &answered_id] {
        assert_eq!(kernel.consume_challenge(admin, id).await.unwrap(), Answered::Unknown, "it is forgotten");
    }
}
