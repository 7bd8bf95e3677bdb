//! How fast objects go in and out of a directory, and how much memory that takes.
//!
//! `cargo run --release -p cm-objects --example object-throughput -- DIRECTORY [MIB]` writes one object of so many
//! MiB (256 unless told), all chunks different, reads it back, and removes what it wrote.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cm_crypto::Secret;
use cm_crypto::sign::SigningKey;
use cm_db::{Schema, open_sqlite};
use cm_events::EventLog;
use cm_objects::{CHUNK_BYTES, Config, NewObject, Objects, TABLES};
use cm_policy::{ActionKind, Create, Permit, Read, RoleFacts, Subject, Target, Update, decide};
use cm_runtime::{SystemClock, Tasks};
use cm_types::{BucketName, Labels, ObjectKey, PrincipalId, ResourceKind, TenantId};
use futures::{StreamExt, stream};

fn permit<A: ActionKind>(kind: ResourceKind, id: Option<&str>) -> Result<Permit<A>, Box<dyn Error>> {
    let (admin, tenant, labels) = (PrincipalId::admin(), TenantId::default_tenant(), Labels::new());
    let roles = [RoleFacts::administrator()];
    let target = Target { kind, id, tenant: &tenant, owner: None, labels: &labels, guard: None };
    Ok(decide(&Subject::principal(&admin, &tenant, &roles), &target)?)
}

/// The `VmHWM` line of Linux, the most memory that was ever resident.
fn memory_peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |peak| peak.trim().to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().ok_or("usage: throughput DIRECTORY [MIB]")?;
    let mib: u64 = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let dir = tempfile::tempdir_in(parent)?;

    let schema = Schema::new(1).with_tables(TABLES).with_tables(cm_events::TABLES);
    let db = open_sqlite(&dir.path().join("tables"), &schema)?;
    let (clock, tasks) = (Arc::new(SystemClock), Tasks::new());
    let events = EventLog::open(&db, clock.clone(), SigningKey::generate()).await?;
    let path = dir.path().join("objects");
    let objects =
        Objects::open(&path, db.clone(), events, clock, &tasks, Config::default(), Secret::new([0; 32]))
            .await?;
    let (bucket, key) = (BucketName::parse("bench")?, ObjectKey::parse("big")?);
    let (create, engine, name) =
        (permit::<Create>(ResourceKind::Bucket, None)?, objects.clone(), bucket.clone());
    db.write(move |tx| engine.create_bucket(tx, &create, &name)).await?;

    let mut out = std::io::stdout();
    let chunks = (0..mib).map(|number| {
        let mut chunk = vec![7; CHUNK_BYTES];
        chunk[..8].copy_from_slice(&number.to_le_bytes());
        Ok(Bytes::from(chunk))
    });
    let started = Instant::now();
    let update = permit::<Update>(ResourceKind::Object, Some("bench/big"))?;
    objects.put(&update, &bucket, &key, NewObject::default(), stream::iter(chunks)).await?;
    let seconds = started.elapsed().as_secs_f64();
    writeln!(out, "put {mib} MiB: {:.0} MiB/s, memory peak {}", mib as f64 / seconds, memory_peak())?;

    let started = Instant::now();
    let read = permit::<Read>(ResourceKind::Object, Some("bench/big"))?;
    let mut body = objects.get(&read, &bucket, &key, None).await?.body;
    while let Some(piece) = body.next().await {
        piece?;
    }
    let seconds = started.elapsed().as_secs_f64();
    writeln!(out, "get {mib} MiB: {:.0} MiB/s, memory peak {}", mib as f64 / seconds, memory_peak())?;
    Ok(())
}
