use super::*;

fn gather(set: &[&str], variables: &[(&str, &str)]) -> Result<Config, String> {
    let overrides = Overrides { set: set.iter().map(|s| s.to_string()).collect(), ..Overrides::default() };
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Config::gather(overrides, variables.collect::<Vec<_>>()).map_err(|error| error.to_string())
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = gather(&[], &[]).unwrap();
    assert_eq!(config.api.unwrap().to_string(), "127.0.0.1:19000");
    assert_eq!((config.instance_ports.first, config.instance_ports.last), (3014, 3213));
    assert_eq!(config.data_dir, PathBuf::from(".cryptomesh"));
    assert_eq!(config.shutdown_deadline, Duration::from_secs(10));
}

#[test]
fn later_sources_win() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    std::fs::write(&file, "[listen]\napi = \"127.0.0.1:1\"\n[shutdown]\ndeadline = 3\n").unwrap();
    let gather = |set: &[&str], variables: Vec<(String, String)>| {
        let overrides = Overrides {
            file: Some(file.clone()),
            set: set.iter().map(|s| s.to_string()).collect(),
            ..Overrides::default()
        };
        Config::gather(overrides, variables).unwrap()
    };
    let variables = vec![("CRYPTOMESH_PORT".to_owned(), "2".to_owned())];
    assert_eq!(gather(&[], vec![]).api.unwrap().port(), 1);
    assert_eq!(gather(&[], variables.clone()).api.unwrap().port(), 2);
    let config = gather(&["listen.api=3"], variables);
    assert_eq!(config.api.unwrap().port(), 3);
    assert_eq!(config.shutdown_deadline, Duration::from_secs(3));
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    for (set, part) in [
        ("listen.nothing=1", "nothing"),
        ("nothing=1", "nothing"),
        ("listen.api=here", "listen.api"),
        ("listen.instances=127.0.0.1:9-3", "listen.instances"),
        ("shutdown.deadline=soon", "shutdown.deadline"),
        ("log.format=xml", "log.format"),
        ("limits.cpu_max=0", "limits.cpu_max"),
        ("novalue", "KEY=VALUE"),
    ] {
        let error = gather(&[set], &[]).expect_err(set);
        assert!(error.contains(part), "{set}: {error}");
    }
    assert!(gather(&[], &[("CRYPTOMESH_NOTHING", "1")]).unwrap_err().contains("CRYPTOMESH_NOTHING"));
}

#[test]
fn open_mode_stays_on_loopback() {
    let overrides =
        Overrides { open: true, set: vec!["listen.api=0.0.0.0:19000".to_owned()], ..Overrides::default() };
    let error = Config::gather(overrides, Vec::new()).unwrap_err().to_string();
    assert!(error.contains("not loopback"), "{error}");
    let loopback = Overrides { open: true, ..Overrides::default() };
    assert!(Config::gather(loopback, Vec::new()).unwrap().open);
}

#[test]
fn a_listener_can_be_switched_off() {
    assert_eq!(gather(&["listen.api=off"], &[]).unwrap().api, None);
}
