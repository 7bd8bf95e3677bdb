//! `kill -9` in a loop: what was acknowledged is there, what was not is not half there, and the log verifies.

use std::collections::BTreeSet;

use cm_client::Api;
use cm_e2e::{Node, NodeOptions};
use cm_types::{BucketName, ObjectKey, ResourceKind};
use serde_json::json;
use tokio::sync::watch;

/// Writes in all, half of them to the catalogue and half of them objects.
const WRITES: u64 = 10_000;
/// Writers at a time.
const WRITERS: usize = 16;
const KILLS: u64 = 10;

/// The content of object `n`: some are kept in the database, more in chunks, and a few in several.
fn content(n: u64) -> Vec<u8> {
    let length = if n % 1000 == 1 { 1 << 20 } else { 0 } + (n as usize * 37) % 20_000;
    (0..length).map(|at| (at as u64 ^ n.wrapping_mul(0x9e37_79b9)) as u8).collect()
}

async fn write(api: &Api, n: u64) -> bool {
    if n.is_multiple_of(2) {
        let body = json!({
            "id": format!("role-{n}"), "description": "written under fire", "permissions": ["function:read"],
        });
        api.create(ResourceKind::Role, &body).await.is_ok()
    } else {
        let (bucket, key) =
            (BucketName::parse("crash").unwrap(), ObjectKey::parse(format!("o/{n}")).unwrap());
        let bytes = content(n);
        let size = Some(bytes.len() as u64);
        api.put_object(&bucket, &key, std::io::Cursor::new(bytes), size, None).await.is_ok()
    }
}

/// Writes until stopped or done; returns what was acknowledged. A number that failed is left for ever: whether
/// it took effect is unknown.
async fn writer(api: Api, next: watch::Sender<u64>, until: u64) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    loop {
        let mut n = 0;
        next.send_modify(|next| {
            n = *next;
            *next += 1;
        });
        if n >= until {
            return acknowledged;
        }
        if write(&api, n).await {
            acknowledged.push(n);
        } else {
            return acknowledged;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_survives_kill_9() {
    let root = tempfile::tempdir().unwrap();
    let tasks = cm_runtime::Tasks::new();
    let (next, mut begun) = watch::channel(0);
    let mut acknowledged = BTreeSet::new();
    for round in 0..=KILLS {
        let node = Node::start(root.path(), &NodeOptions::default());
        let admin = node.admin();
        if round == 0 {
            admin.create(ResourceKind::Bucket, &json!({ "name": "crash" })).await.unwrap();
        }
        let until = if round == KILLS { WRITES } else { (round + 1) * WRITES / (KILLS + 1) };
        let stop_at = until.saturating_sub(WRITES / (KILLS + 1) / 3);
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (api, next) = (admin.clone(), next.clone());
                tasks.spawn("writer", async move { writer(api, next, until).await })
            })
            .collect();
        if round < KILLS {
            // The last third of the round's writes are under way, or lost, when the power goes.
            begun.wait_for(|begun| *begun >= stop_at).await.expect("the sender lives");
            node.kill();
            for writer in writers {
                acknowledged.extend(writer.await.unwrap());
            }
        } else {
            for writer in writers {
                acknowledged.extend(writer.await.unwrap());
            }
            verify(&node, &acknowledged).await;
            assert!(node.stop().success());
        }
    }
    assert!(acknowledged.len() as u64 > WRITES / 2, "only {} writes were acknowledged", acknowledged.len());
}

async fn verify(node: &Node, acknowledged: &BTreeSet<u64>) {
    let admin = node.admin();
    let bucket = BucketName::parse("crash").unwrap();
    for &n in acknowledged {
        if n.is_multiple_of(2) {
            let role = admin.read(ResourceKind::Role, &format!("role-{n}")).await;
            assert!(role.is_ok(), "acknowledged role {n} is gone: {role:?}");
        }
    }
    // Every object that is listed must be whole, acknowledged or not.
    let mut listed = BTreeSet::new();
    let mut after = None;
    loop {
        let page = admin.list_objects(&bucket, None, after.as_deref(), 1000).await.unwrap();
        for object in &page.items {
            let n: u64 = object.key.trim_start_matches("o/").parse().unwrap();
            let mut download =
                admin.get_object(&bucket, &ObjectKey::parse(object.key.as_str()).unwrap()).await.unwrap();
            let mut bytes = Vec::new();
            while let Some(part) = download.next().await.unwrap() {
                bytes.extend_from_slice(&part);
            }
            assert!(bytes == content(n), "object {n} is not what was written");
            listed.insert(n);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let missing: Vec<_> =
        acknowledged.iter().filter(|n| !n.is_multiple_of(2) && !listed.contains(n)).collect();
    assert!(missing.is_empty(), "acknowledged objects are gone: {missing:?}");
    let verified = node.command(&["audit", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
