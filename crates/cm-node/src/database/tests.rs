use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use cm_db::PostgresConfig;
use cm_kernel::catalog::{Integrity, Limits};
use cm_kernel::{Kernel, KernelConfig};
use cm_runtime::{SystemClock, Tasks};
use cm_testkit::postgres::Server;

use super::*;
use crate::Overrides;

fn config(data_dir: &Path, url: Option<&str>) -> Config {
    let overrides = Overrides { data_dir: Some(data_dir.to_owned()), ..Overrides::default() };
    let variables = url.map(|url| ("CRYPTOMESH_DATABASE_URL".to_owned(), url.to_owned()));
    Config::gather(overrides, variables).unwrap()
}

async fn open_kernel(config: &Config, tasks: &Tasks) -> Result<Kernel, NodeError> {
    let kernel_config = KernelConfig {
        data_dir: config.data_dir.clone(),
        limits: Limits::default(),
        integrity: Integrity::Enforced,
        objects: cm_kernel::objects::Config {
            object_bytes_max: 1 << 20,
            ..cm_kernel::objects::Config::default()
        },
        node_name: "test".into(),
    };
    let database = config.database.clone();
    Kernel::open_on(database, kernel_config, Arc::new(SystemClock), tasks, |_| Ok(()))
        .await
        .map_err(|error| NodeError::of_opening(error, &config.database, &config.data_dir))
}

/// A catalogue as the first start makes it.
async fn first_start(config: &Config) {
    std::fs::create_dir_all(&config.data_dir).unwrap();
    let tasks = Tasks::new();
    open_kernel(config, &tasks).await.unwrap().close().await.unwrap();
    tasks.drain(std::time::Duration::from_secs(5)).await;
}

fn copy_keys(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("keys")).unwrap();
    std::fs::set_permissions(to.join("keys"), std::fs::Permissions::from_mode(0o700)).unwrap();
    for entry in std::fs::read_dir(from.join("keys")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join("keys").join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn a_catalogue_moves_from_a_file_to_a_server_and_back() {
    let (dir, database) = (tempfile::tempdir().unwrap(), Server::shared().create_database());
    let file = config(&dir.path().join("first"), None);
    let server = config(&dir.path().join("second"), Some(database.url()));
    let back = config(&dir.path().join("third"), None);
    first_start(&file).await;

    let backups =
        [dir.path().join("one.backup"), dir.path().join("two.backup"), dir.path().join("three.backup")];
    let running = open_kernel(&file, &Tasks::new()).await.unwrap();
    let summary = backup(&file, &backups[0]).await.unwrap();
    assert!(summary.rows > 0);
    running.close().await.unwrap();
    assert_eq!(std::fs::metadata(&backups[0]).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(restore(&server, &backups[0]).await.unwrap(), summary);
    assert_eq!(backup(&server, &backups[1]).await.unwrap(), summary);
    assert_eq!(restore(&back, &backups[1]).await.unwrap(), summary);
    assert_eq!(backup(&back, &backups[2]).await.unwrap(), summary);
    let [one, two, three] = backups.each_ref().map(|path| std::fs::read(path).unwrap());
    assert!(one == two && two == three);

    for target in [&server, &back] {
        let refused = restore(target, &backups[0]).await.unwrap_err();
        assert!(refused.is_conflict(), "{refused:?}");
    }
    let cut = dir.path().join("cut.backup");
    std::fs::write(&cut, &one[..one.len() / 2]).unwrap();
    let fresh = config(&dir.path().join("fourth"), None);
    assert!(matches!(restore(&fresh, &cut).await, Err(NodeError::Database(DbError::Backup(_)))));
    assert!(!fresh.data_dir.join(DATABASE_FILE).exists());
    assert!(matches!(backup(&fresh, &cut).await, Err(NodeError::NoData(_))));
    let (theirs, link) =
        (dir.path().join("theirs"), dir.path().join(format!(".linked.{}", std::process::id())));
    std::os::unix::fs::symlink(&theirs, &link).unwrap();
    assert!(matches!(backup(&back, &dir.path().join("linked")).await, Err(NodeError::Backup { .. })));
    assert!(!theirs.exists(), "a link is not followed");
    std::fs::remove_file(&link).unwrap();
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");

    // The restored catalogue is that of the first node, and needs its keys.
    std::fs::create_dir_all(&server.data_dir).unwrap();
    let tasks = Tasks::new();
    let refused = open_kernel(&server, &tasks).await.err().unwrap();
    assert!(refused.is_usage() && refused.to_string().contains("copy that folder"), "{refused}");
    copy_keys(&file.data_dir, &server.data_dir);
    open_kernel(&server, &tasks).await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn nodes_share_a_catalogue_only_with_its_keys() {
    let (dir, database) = (tempfile::tempdir().unwrap(), Server::shared().create_database());
    let first = config(&dir.path().join("first"), Some(database.url()));
    first_start(&first).await;
    let tasks = Tasks::new();
    let with_none = config(&dir.path().join("none"), Some(database.url()));
    std::fs::create_dir_all(&with_none.data_dir).unwrap();
    let with_others = config(&dir.path().join("others"), Some(database.url()));
    first_start(&config(&with_others.data_dir, None)).await;
    for other in [&with_none, &with_others] {
        let refused = open_kernel(other, &tasks).await.err().expect("it has not the keys of the catalogue");
        assert!(matches!(refused, NodeError::KeysOfCatalogue { .. }) && refused.is_usage(), "{refused:?}");
        let text = refused.to_string();
        assert!(text.contains("keys") && text.contains("0700") && !text.contains("for%20tests"), "{text}");
    }
    copy_keys(&first.data_dir, &with_none.data_dir);
    let second = open_kernel(&with_none, &tasks).await.unwrap();
    let first = open_kernel(&first, &tasks).await.unwrap();
    assert_ne!(first.node_id(), second.node_id());
    assert_eq!(first.keys().key_id(), second.keys().key_id());
    let lease = first.leases().acquire("work", std::time::Duration::from_secs(60)).await.unwrap();
    assert!(lease.is_some());
    assert_eq!(second.leases().holder("work").await.unwrap().as_ref(), Some(first.node_id()));
}

#[tokio::test]
async fn migrating_prints_what_it_found_and_finishing_raises_the_floor() {
    let (dir, database) = (tempfile::tempdir().unwrap(), Server::shared().create_database());
    let older = cm_db::Schema::new(1).with_tables(cm_events::TABLES);
    let known = schema().version();
    for url in [None, Some(database.url())] {
        let config = config(&dir.path().join(if url.is_some() { "b" } else { "a" }), url);
        drop(DataDir::hold(&config.data_dir).unwrap());
        let made = match url {
            None => cm_db::open_sqlite(&config.data_dir.join(DATABASE_FILE), &older),
            Some(url) => cm_db::open_postgres(&PostgresConfig::parse(url, None).unwrap(), &older),
        };
        made.unwrap().close().await.unwrap();
        let one = Versions { data: 1, compatible_from: 1 };
        let expanded = Versions { data: known, compatible_from: 1 };
        assert_eq!(migrate(&config, false).await.unwrap(), (one, expanded));
        assert_eq!(migrate(&config, false).await.unwrap(), (expanded, expanded));
        let finished = Versions { data: known, compatible_from: known };
        assert_eq!(migrate(&config, true).await.unwrap(), (expanded, finished));
    }
    let held = DataDir::hold(&dir.path().join("a")).unwrap();
    assert!(matches!(migrate(&config(held.path(), None), false).await, Err(NodeError::Held { .. })));
}
