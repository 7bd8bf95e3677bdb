//! The variables of the earlier implementation: accepted together, and the log files where they say.

use cm_e2e::{Node, NodeOptions};

#[test]
fn a_node_starts_with_the_earlier_variables_and_writes_its_log_files() {
    let root = tempfile::tempdir().unwrap();
    let logs = root.path().join("logs");
    let variables = [
        ("CRYPTOMESH_HOST", "127.0.0.1"),
        ("CRYPTOMESH_PORT", "19000"),
        ("CRYPTOMESH_MAX_CPU", "4"),
        ("CRYPTOMESH_MAX_RAM", "8"),
        ("CRYPTOMESH_MAX_DEPLOYED_ENDPOINTS", "2"),
        ("CRYPTOMESH_DEBUG", "1"),
        ("CRYPTOMESH_TITLE", "CryptoMesh API"),
        ("CRYPTOMESH_API_PREFIX", "/api/v1"),
        ("CRYPTOMESH_VERSION", "1.0.0"),
        ("CRYPTOMESH_MONGO_PORT", "27018"),
        ("CRYPTOMESH_MONGO_DATABASE_NAME", "cryptomesh"),
        ("CRYPTOMESH_MONGODB_URI", "mongodb://crypto-mesh-db:27017/cryptomesh"),
        ("CRYPTOMESH_LOG_PATH", logs.to_str().unwrap()),
        ("CRYPTOMESH_LOG_LEVEL", "INFO"),
        ("CRYPTOMESH_LOG_ROTATION_WHEN", "h"),
        ("CRYPTOMESH_LOG_ROTATION_INTERVAL", "10"),
        ("CRYPTOMESH_LOG_TO_FILE", "1"),
        ("CRYPTOMESH_LOG_ERROR_FILE", "1"),
        ("CRYPTOMESH_SUMMONER_IP_ADDR", "mictlanx-summoner-0"),
        (
            "CRYPTOMESH_MICTLANX_URI",
            "mictlanx://mictlanx-router-0@mictlanx-router-0:60666?/api_version=4&protocol=http",
        ),
        ("CRYPTOMESH_MICTLANX_LOG_PATH", "/app/logs"),
        ("CRYPTOMESH_AXO_LOG_PATH", "/app/logs"),
    ];
    let options = NodeOptions {
        variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..NodeOptions::default()
    };
    let node = Node::start(root.path(), &options);
    let said = node.log();
    assert!(node.stop().success());
    let read = |name: &str| std::fs::read_to_string(logs.join(name)).unwrap();
    let (all, errors) = (read("cryptomesh.log"), read("cryptomesh-error.log"));
    assert!(all.contains("ready") && all.contains("stopped"), "{all}");
    assert_eq!(errors, "", "a node that starts and stops logs no error");
    for without_effect in ["CRYPTOMESH_MONGODB_URI", "CRYPTOMESH_SUMMONER_IP_ADDR", "CRYPTOMESH_AXO_LOG_PATH"]
    {
        assert!(said.contains(without_effect), "{without_effect} is not reported:\n{said}");
    }
}

#[test]
fn a_full_disk_of_logs_does_not_stop_a_node() {
    let root = tempfile::tempdir().unwrap();
    let logs = root.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    std::os::unix::fs::symlink("/dev/full", logs.join("cryptomesh.log")).unwrap();
    let set = ["log.to_file=true".to_owned(), format!("log.dir={}", logs.display())].to_vec();
    let node = Node::start(root.path(), &NodeOptions { set, ..NodeOptions::default() });
    assert!(node.command(&["whoami"]).status.success());
    let log = root.path().join("node.log");
    assert!(node.stop().success());
    let said = std::fs::read_to_string(log).unwrap();
    let reports = said.matches("log file cannot be written").count();
    assert_eq!(reports, 1, "{said}");
}
