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
    let ports = config.instance_ports.unwrap();
    assert_eq!((ports.first, ports.last), (3014, 3213));
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
        ("log.level=loud", "log.level"),
        ("instances.require=[\"bogus\"]", "instances.require"),
        ("instances.max=0", "instances.max"),
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
    assert_eq!(gather(&["listen.instances=off"], &[]).unwrap().instance_ports, None);
    let ports = gather(&["listen.instances=4000-4010"], &[]).unwrap().instance_ports.unwrap();
    assert_eq!((ports.first, ports.last), (4000, 4010));
}

#[test]
fn a_listener_of_another_build_is_no_mistake() {
    let config = gather(&["listen.s3=off", "listen.vaas=127.0.0.1:5000"], &[]).unwrap();
    assert_eq!(config.without_effect.len(), 1);
    assert_eq!(config.without_effect[0].0, "listen.vaas");
}

/// Checks what one variable of the earlier implementation does.
fn variable(name: &str, value: &str, effect: impl Fn(&Config) -> bool) {
    let config = gather(&[], &[(name, value)]).unwrap_or_else(|error| panic!("{name}={value}: {error}"));
    assert!(effect(&config), "{name}={value} has not its effect: {config:?}");
}

#[test]
fn variables_of_the_earlier_implementation_have_their_effect() {
    let api = |text: &'static str| move |config: &Config| config.api.unwrap().to_string() == text;
    variable("CRYPTOMESH_HOST", "0.0.0.0", api("0.0.0.0:19000"));
    variable("CRYPTOMESH_HOST", "localhost", api("127.0.0.1:19000"));
    variable("CRYPTOMESH_HOST", "::1", api("[::1]:19000"));
    variable("CRYPTOMESH_PORT", "8080", api("127.0.0.1:8080"));
    variable("CRYPTOMESH_PORT", "", api("127.0.0.1:19000"));
    variable("CRYPTOMESH_MAX_CPU", "16", |config| *config.limits.cpu.end() == 16);
    variable("CRYPTOMESH_MAX_RAM", "32", |config| *config.limits.ram.end() == 32_000_000_000);
    variable("CRYPTOMESH_LOG_LEVEL", "WARNING", |config| config.log.level == "warn");
    variable("CRYPTOMESH_LOG_LEVEL", "CRITICAL", |config| config.log.level == "error");
    variable("CRYPTOMESH_DEBUG", "1", |config| config.log.level == "debug");
    variable("CRYPTOMESH_LOG_TO_FILE", "1", |config| config.log.dir == Some(PathBuf::from("./logs")));
    variable("CRYPTOMESH_LOG_ROTATION_WHEN", "m", |config| config.log.rotation == Rotation::Minutely);
    variable("CRYPTOMESH_LOG_ROTATION_INTERVAL", "1", |config| {
        config.log.files_max == 10 && config.without_effect.len() == 1
    });
    variable("CRYPTOMESH_LOG_PATH", "/logs", |config| config.without_effect[0].0 == "log.dir");
    variable("CRYPTOMESH_MONGO_PORT", "27018", |config| config.without_effect.len() == 1);
    variable("CRYPTOMESH_INSTANCES_REQUIRE", "seccomp, landlock", |config| {
        config.instances.require == ["seccomp", "landlock"]
    });
}

#[test]
fn host_and_port_change_their_part_of_the_address_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    std::fs::write(&file, "[listen]\napi = \"127.0.0.2:45671\"\n").unwrap();
    let api = |name: &str, value: &str| {
        let overrides = Overrides { file: Some(file.clone()), ..Overrides::default() };
        let variables = vec![(name.to_owned(), value.to_owned())];
        Config::gather(overrides, variables).unwrap().api.unwrap().to_string()
    };
    assert_eq!(api("CRYPTOMESH_HOST", "127.0.0.3"), "127.0.0.3:45671");
    assert_eq!(api("CRYPTOMESH_PORT", "1"), "127.0.0.2:1");
}
