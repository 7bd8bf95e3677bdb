use std::collections::BTreeSet;

use cm_runtime::logging::{LogFile, RotationUnit};

use super::*;

/// The page that tells people about all of this.
const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/configuration.md"));

fn gather(set: &[&str], variables: &[(&str, &str)]) -> Result<Config, String> {
    let overrides = Overrides { set: set.iter().map(|s| s.to_string()).collect(), ..Overrides::default() };
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Config::gather(overrides, variables.collect::<Vec<_>>()).map_err(|error| error.to_string())
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = gather(&[], &[]).unwrap();
    assert_eq!(config.listen.api.unwrap().to_string(), "127.0.0.1:19000");
    let ports = config.listen.instances.unwrap();
    assert_eq!((ports.first, ports.last), (3014, 3213));
    assert_eq!(config.data_dir, PathBuf::from(".cryptomesh"));
    assert_eq!(config.shutdown_deadline, Duration::from_secs(10));
    assert_eq!(config.api.prefix, "/api/v1");
    assert_eq!((config.limits.cpu, config.limits.ram), (1..=4, 1_000_000..=8_000_000_000));
    assert_eq!(config.endpoints.deployed_max, 2);
    assert!(config.log.file.is_none() && config.without_effect.is_empty());
}

#[test]
fn a_password_is_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    let check = |text: &str, expected: &str| {
        std::fs::write(&file, text).unwrap();
        let overrides = Overrides { file: Some(file.clone()), ..Overrides::default() };
        let error = Config::gather(overrides, []).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(expected) && !shown.contains("s3cret"), "{shown}");
    };
    check("[database]\nurl = \"postgresql://a:s3cret@h/d\n", "node.toml:2:33");
    check("[database]\nurl = \"postgresql://a:s3cret@h/d\" x\n", "node.toml:2:");
    check("database = \"postgresql://a:s3cret@h/d\"\n", "`url`");
    check("[database]\nurl = [\"postgresql://a:s3cret@h/d\"]\n", "database.url");
    check("[database]\nulr = \"postgresql://a:s3cret@h/d\"\n", "ulr");
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
    assert_eq!(gather(&[], vec![]).listen.api.unwrap().port(), 1);
    assert_eq!(gather(&[], variables.clone()).listen.api.unwrap().port(), 2);
    let config = gather(&["listen.api=3"], variables);
    assert_eq!(config.listen.api.unwrap().port(), 3);
    assert_eq!(config.shutdown_deadline, Duration::from_secs(3));
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    for (set, part) in [
        ("listen.nothing=1", "nothing"),
        ("nothing=1", "nothing"),
        ("listen.api=here", "listen.api"),
        ("listen.instances=127.0.0.1:9-3", "listen.instances"),
        ("listen.trusted_proxies=10.0.0.1,proxy.example", "`proxy.example`"),
        ("shutdown.deadline=soon", "shutdown.deadline"),
        ("log.format=xml", "log.format"),
        ("limits.cpu_max=0", "limits.cpu_max"),
        ("limits.name_chars_max=0", "limits.name_chars_max"),
        ("limits.name_chars_max=129", "limits.name_chars_max"),
        ("log.level=loud", "log.level"),
        ("log.rotation_when=w7", "`w0` to `w6`"),
        ("log.rotation_interval=0", "log.rotation_interval"),
        ("log.files_kept=0", "log.files_kept"),
        ("api.title= ", "api.title"),
        ("api.version=\"a\\nb\"", "api.version"),
        ("api.cors_origins=https://a.example,https://b.example/path", "https://b.example/path"),
        ("endpoints.deployed_max=-1", "endpoints.deployed_max"),
        ("endpoints.req_res_base_port=0", "endpoints.req_res_base_port"),
        ("endpoints.pubsub_base_port=70000", "endpoints.pubsub_base_port"),
        ("endpoints.pubsub_base_port=40001", "endpoints.deployed_max"),
        ("endpoints.pubsub_base_port=65535", "endpoints.deployed_max"),
        ("choreography.shieldx_url=localhost:20000", "choreography.shieldx_url"),
        ("choreography.shieldx_url=http://", "choreography.shieldx_url"),
        ("s3app.endpoints=http://minio:9000", "s3app.endpoints"),
        ("instances.require=[\"bogus\"]", "instances.require"),
        ("instances.max=0", "instances.max"),
        ("instances.launcher=bogus", "instances.launcher"),
        ("instances.launcher=docker", "instances.image"),
        ("instances.control_port=0", "instances.control_port"),
        ("kubernetes.namespace=No", "kubernetes.namespace"),
        ("kubernetes.service=-a", "kubernetes.service"),
        ("kubernetes.resources=vsock", "kubernetes.resources"),
        ("kubernetes.owner=node-0", "kubernetes.owner"),
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
    assert_eq!(gather(&["listen.api=off"], &[]).unwrap().listen.api, None);
    assert_eq!(gather(&["listen.instances=off"], &[]).unwrap().listen.instances, None);
    let ports = gather(&["listen.instances=4000-4010"], &[]).unwrap().listen.instances.unwrap();
    assert_eq!((ports.first, ports.last), (4000, 4010));
}

/// Checks what one variable of the earlier implementation does.
fn variable(name: &str, value: &str, effect: impl Fn(&Config) -> bool) {
    let config = gather(&[], &[(name, value)]).unwrap_or_else(|error| panic!("{name}={value}: {error}"));
    assert!(effect(&config), "{name}={value} has not its effect: {config:?}");
}

#[test]
fn variables_of_the_earlier_implementation_have_their_effect() {
    let api = |text: &'static str| move |config: &Config| config.listen.api.unwrap().to_string() == text;
    variable("CRYPTOMESH_HOST", "0.0.0.0", api("0.0.0.0:19000"));
    variable("CRYPTOMESH_HOST", "localhost", api("127.0.0.1:19000"));
    variable("CRYPTOMESH_HOST", "::1", api("[::1]:19000"));
    variable("CRYPTOMESH_PORT", "8080", api("127.0.0.1:8080"));
    variable("CRYPTOMESH_MIN_CPU", "2", |config| *config.limits.cpu.start() == 2);
    variable("CRYPTOMESH_MAX_CPU", "16", |config| *config.limits.cpu.end() == 16);
    variable("CRYPTOMESH_MIN_RAM", "1", |config| *config.limits.ram.start() == 1_000_000_000);
    variable("CRYPTOMESH_MIN_RAM", "512MB", |config| *config.limits.ram.start() == 512_000_000);
    variable("CRYPTOMESH_MAX_RAM", "32", |config| *config.limits.ram.end() == 32_000_000_000);
    variable("CRYPTOMESH_MAX_DEPLOYED_ENDPOINTS", "5", |config| config.endpoints.deployed_max == 5);
    variable("CRYPTOMESH_ENDPOINT_REQ_RES_BASE_PORT", "41000", |config| {
        config.endpoints.req_res_base_port == 41000
    });
    variable("CRYPTOMESH_ENDPOINT_PUBSUB_BASE_PORT", "51000", |config| {
        config.endpoints.pubsub_base_port == 51000
    });
    variable("CRYPTOMESH_TITLE", "Our mesh", |config| config.api.title == "Our mesh");
    variable("CRYPTOMESH_API_PREFIX", "/mesh/v2", |config| config.api.prefix == "/mesh/v2");
    variable("CRYPTOMESH_VERSION", "1.10", |config| config.api.version == "1.10");
    variable("CRYPTOMESH_API_VERSION", "1.10", |config| config.api.version == "1.10");
    variable("CRYPTOMESH_CORS_ORIGINS", "https://a.example, http://[::1]:8080,*", |config| {
        config.api.cors_origins == ["https://a.example", "http://[::1]:8080", "*"]
    });
    variable("CRYPTOMESH_INSTANCES_REQUIRE", "seccomp, landlock", |config| {
        config.instances.require == ["seccomp", "landlock"]
    });
    for name in ["CRYPTOMESH_SHIELDX_CLIENT_BASE_URL", "SHIELDX_CLIENT_BASE_URL"] {
        variable(name, "http://shieldx:1/v1/", |config| {
            config.choreography.shieldx_url == "http://shieldx:1/v1"
        });
    }
    let both = [("SHIELDX_CLIENT_BASE_URL", "http://a"), ("CRYPTOMESH_SHIELDX_CLIENT_BASE_URL", "http://b")];
    assert_eq!(gather(&[], &both).unwrap().choreography.shieldx_url, "http://b");
    for name in ["CRYPTOMESH_MONGO_PORT", "CRYPTOMESH_SUMMONER_MODE", "CRYPTOMESH_MICTLANX_URI"] {
        variable(name, "1", |config| config.without_effect.len() == 1 && config.without_effect[0].0 == name);
    }
}

#[test]
fn variables_of_the_log_have_their_effect() {
    for (level, filter) in [
        ("DEBUG", "debug"),
        ("Info", "info"),
        ("WARNING", "warn"),
        ("error", "error"),
        ("CRITICAL", "error"),
        ("info,cm_api=debug", "info,cm_api=debug"),
    ] {
        variable("CRYPTOMESH_LOG_LEVEL", level, |config| config.log.level == filter);
    }
    variable("CRYPTOMESH_DEBUG", "1", |config| config.log.level == "debug");
    variable("CRYPTOMESH_DEBUG", "0", |config| config.log.level == "info");
    let both = [("CRYPTOMESH_DEBUG", "1"), ("CRYPTOMESH_LOG_LEVEL", "ERROR")];
    assert_eq!(gather(&[], &both).unwrap().log.level, "error");
    let unused = |name: &str| gather(&[], &[(name, "h")]).unwrap().without_effect;
    assert_eq!(unused("CRYPTOMESH_LOG_PATH")[0].0, "log.dir");
    assert_eq!(unused("CRYPTOMESH_LOG_ROTATION_WHEN")[0].0, "log.rotation_when");

    let file = |name: &str, value: &str| -> LogFile {
        let config = gather(&[], &[("CRYPTOMESH_LOG_TO_FILE", "1"), (name, value)]).unwrap();
        assert!(config.without_effect.is_empty(), "{name}: {:?}", config.without_effect);
        config.log.file.unwrap()
    };
    let default = file("CRYPTOMESH_LOG_PATH", "");
    assert_eq!((default.dir, default.all, default.errors), (PathBuf::from("./logs"), true, false));
    assert_eq!((default.rotation.unit, default.rotation.interval.get()), (RotationUnit::Hour, 10));
    assert_eq!(default.files_kept, 10);
    assert_eq!(file("CRYPTOMESH_LOG_PATH", "/logs").dir, PathBuf::from("/logs"));
    assert_eq!(file("CRYPTOMESH_LOG_ROTATION_WHEN", "M").rotation.unit, RotationUnit::Minute);
    assert_eq!(file("CRYPTOMESH_LOG_ROTATION_INTERVAL", "3").rotation.interval.get(), 3);
    assert!(file("CRYPTOMESH_LOG_ERROR_FILE", "1").errors);
    let alone = gather(&[], &[("CRYPTOMESH_LOG_ERROR_FILE", "1")]).unwrap().log.file.unwrap();
    assert!(alone.errors && !alone.all);
}

#[test]
fn an_empty_variable_says_nothing() {
    let documented: Vec<_> = environment::variables().map(|name| (name, "")).collect();
    let sections = [("CRYPTOMESH_LOG_FORMAT", ""), ("CRYPTOMESH_INSTANCES_MAX", " ")];
    for variables in [&documented[..], &sections] {
        let config = gather(&[], variables).unwrap();
        assert_eq!(format!("{config:?}"), format!("{:?}", gather(&[], &[]).unwrap()));
    }
}

#[test]
fn a_prefix_is_a_path_that_nothing_else_has() {
    let prefix = |text: &str| gather(&[&format!("api.prefix={text}")], &[]).map(|config| config.api.prefix);
    let long = format!("/{}", "a".repeat(63));
    for good in ["/api/v1", "/v2", "/a-b._~/0", &long] {
        assert_eq!(prefix(good).as_deref(), Ok(good));
    }
    let too_long = format!("{long}a");
    for bad in [
        "", "/", "api", "/api/", "//api", "/a//b", "/a b", "/a%20", "/{id}", "/..", "/a/./b", "/docs",
        "/metrics", &too_long,
    ] {
        let error = prefix(bad).expect_err(bad);
        assert!(error.contains("api.prefix"), "{bad}: {error}");
    }
}

#[test]
fn bytes_are_written_with_a_unit_or_without() {
    let inline = |text: &str| {
        toml::from_str::<ConfigToml>(&format!("[objects]\ninline_max = {text}"))
            .map(|config| config.objects.inline_max.expect("it is said").bytes())
    };
    assert_eq!(inline("0"), Ok(0));
    assert_eq!(inline("4096"), Ok(4096));
    assert_eq!(inline("\"4KiB\""), Ok(4096));
    for wrong in ["-1", "1.5", "true", "\"x\""] {
        assert!(inline(wrong).is_err(), "{wrong}");
    }
    let said = gather(&["objects.inline_max=0"], &[]).unwrap();
    assert_eq!(said.objects.inline_bytes_max, 0);
}

/// The names that an error message of serde offers for an unknown one.
fn offered(document: &str) -> BTreeSet<String> {
    let message = toml::from_str::<ConfigToml>(document).unwrap_err().message().to_owned();
    let names = message.split('`').skip(1).step_by(2).map(str::to_owned);
    if message.starts_with("unknown field") { names.skip(1).collect() } else { BTreeSet::new() }
}

#[test]
fn the_list_of_keys_is_complete() {
    let (mut keys, mut open) = (BTreeSet::new(), offered("unknown = 0"));
    while let Some(name) = open.pop_first() {
        let section = offered(&format!("[{name}]\nunknown = 0"));
        match section.is_empty() {
            true => _ = keys.insert(name),
            false => open.extend(section.into_iter().map(|key| format!("{name}.{key}"))),
        }
    }
    // Listeners are also called as the ready line calls them.
    keys.retain(|key| !key.contains('-'));
    assert_eq!(keys, KEYS.iter().map(|key| key.to_string()).collect::<BTreeSet<_>>());
}

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_page_names_every_key_with_its_true_default_and_its_variables() {
    let show = |config: Config| format!("{:?}", Config { without_effect: Vec::new(), ..config });
    let untouched = show(gather(&[], &[]).unwrap());
    let mut rows: Vec<Vec<&str>> = PAGE.lines().map(|line| line.split(" | ").collect()).collect();
    rows.retain(|row| row.len() == 5 && row[0].starts_with("| `"));
    let keys: Vec<_> = rows.iter().map(|row| quoted(row[0])[0]).collect();
    assert_eq!(keys, KEYS, "docs/guide/configuration.md has a row for each key, in the order of KEYS");
    for row in rows {
        let (key, variables, default) = (quoted(row[0])[0], quoted(row[1]), quoted(row[2]));
        assert!(!variables.is_empty(), "{key} has no variable");
        // Both must be understood even where there is no default to compare with.
        let value = default.first().copied().unwrap_or("seccomp");
        let value = match key {
            "api.cors_origins" => "*",
            "listen.trusted_proxies" => "10.0.0.0/8",
            "endpoints.cpu_max" => "3",
            "endpoints.ram_max" => "3GB",
            "database.url" => "postgresql://host/database",
            "kubernetes.resources" => "smarter-devices/vsock=1",
            "kubernetes.owner" => "node-0/0a1b",
            "attestation.measurements" | "intel.anchors" => {
                "abababababababababababababababababababababababababababababababab"
            }
            "intel.organisations" => {
                "abababababababababababababababababababababababababababababababab=clinic"
            }
            // Only together with an address; see the test of the database.
            "database.root_certificate" => continue,
            "identity.issuer" => "https://node.example",
            "identity.trust_domain" => "mesh.example",
            "identity.passkeys.origins" => "https://mesh.example.com",
            // Only together with origins; see the test of identities.
            "identity.passkeys.rp_id" => continue,
            "objects.capacity" => "3GB",
            "s3.domain" => "s3.example.org",
            // A bucket with a key, whose secret is a file that must be there; see the test of objects.
            key if key.starts_with("objects.cold_") => continue,
            "mpc.name" => "clinic-a",
            "mpc.peers" => {
                "clinic-b=b.example:8100#abababababababababababababababababababababababababababababababab"
            }
            "mpc.anchor_file" => "/var/lib/anchored.jsonl",
            // Only together; see the test of ledgers.
            "mpc.anchor_url" | "mpc.anchor_from" | "mpc.anchor_to" => continue,
            // A file that must be there.
            "mpc.nodes" => continue,
            "identity.master_key" => "abababababababababababababababababababababababababababababababab",
            _ => value,
        };
        let by_set = gather(&[&format!("{key}={value}")], &[]).unwrap();
        for variable in variables {
            let by_variable = gather(&[], &[(variable, value)]).unwrap();
            assert_eq!(show(by_variable), show(by_set.clone()), "{variable} is not {key}");
        }
        let same = show(by_set) == untouched;
        assert_eq!(same, !default.is_empty(), "{key} has not the default {default:?}");
    }
}

#[test]
fn results_are_recorded_in_a_file_or_in_a_ledger() {
    let account = "0x52908400098527886E0F7030069857D2E4169EE7";
    let (url, from) =
        ("mpc.anchor_url=https://user:pass@ledger.example/v3/key", format!("mpc.anchor_from={account}"));
    let config = gather(&[url, &from], &[]).unwrap();
    match &config.mpc.anchor {
        Some(AnchorSettings::Ledger { url, from, to: None }) => {
            assert_eq!((url.0.as_str(), from.as_str()), ("https://user:pass@ledger.example/v3/key", account));
        }
        other => panic!("{other:?}"),
    }
    let shown = format!("{:?}", config.mpc.anchor);
    assert!(shown.contains("ledger.example") && !shown.contains("pass") && !shown.contains("key"), "{shown}");
    let refused = |set: &[&str]| gather(set, &[]).unwrap_err().to_string();
    assert!(refused(&[url]).contains("mpc.anchor_from"));
    assert!(refused(&[&from]).contains("mpc.anchor_from"));
    assert!(refused(&[url, "mpc.anchor_from=0x12"]).contains("0x12"));
    assert!(refused(&[url, &from, "mpc.anchor_file=/tmp/x"]).contains("mpc.anchor_file"));
    assert!(refused(&["mpc.anchor_url=ftp://x", &from]).contains("mpc.anchor_url"));
}

#[test]
fn the_master_key_is_a_text_and_shown_nowhere() {
    let key = |digits: String| {
        let by_variable = gather(&[], &[("CRYPTOMESH_IDENTITY_MASTER_KEY", &digits)]).unwrap();
        let by_set = gather(&[&format!("identity.master_key={digits}")], &[]).unwrap();
        for config in [&by_variable, &by_set] {
            let shown = format!("{config:?}");
            assert!(shown.contains("master_key: Some([redacted])") && !shown.contains(&digits), "{shown}");
        }
        by_set.identity.master_key.unwrap().expose().to_vec()
    };
    assert_eq!(key("ab".repeat(32)), [0xab; 32]);
    assert_eq!(key("12".repeat(32)), [0x12; 32], "digits alone are no number");
    assert_eq!(key(format!("1e{}", "00".repeat(31)))[0], 0x1e, "nor are these");
    let secret = "abab".repeat(15);
    let refused = |set: &[&str], variables: &[(&str, &str)]| {
        let error = gather(set, variables).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("abab"), "{shown}");
    };
    refused(&[], &[("CRYPTOMESH_IDENTITY_MASTER_KEY", &secret)]);
    refused(&[&format!("identity.master_key={secret}")], &[]);
    refused(&[&format!("identity.master_key=[\"{secret}\"]")], &[]);
    refused(&[&format!("identity={{ master_key = \"{secret}\" }}")], &[]);
    refused(&[&format!("identity.master_key {secret}")], &[]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    for line in [format!("master_key = [\"{secret}\"]"), format!("master_key = {secret}")] {
        std::fs::write(&file, format!("[identity]\n{line}\n")).unwrap();
        let overrides = Overrides { file: Some(file.clone()), ..Overrides::default() };
        let shown = Config::gather(overrides, []).unwrap_err().to_string();
        assert!(!shown.contains("abab"), "{shown}");
    }
}

#[test]
fn the_page_names_every_variable() {
    let named: BTreeSet<_> = quoted(PAGE).into_iter().collect();
    for variable in environment::variables() {
        assert!(named.contains(variable), "docs/guide/configuration.md does not name {variable}");
    }
}

#[test]
fn host_and_port_change_their_part_of_the_address_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    std::fs::write(&file, "[listen]\napi = \"127.0.0.2:45671\"\n").unwrap();
    let api = |name: &str, value: &str| {
        let overrides = Overrides { file: Some(file.clone()), ..Overrides::default() };
        let variables = vec![(name.to_owned(), value.to_owned())];
        Config::gather(overrides, variables).unwrap().listen.api.unwrap().to_string()
    };
    assert_eq!(api("CRYPTOMESH_HOST", "127.0.0.3"), "127.0.0.3:45671");
    assert_eq!(api("CRYPTOMESH_PORT", "1"), "127.0.0.2:1");
}

#[test]
fn the_database_is_a_file_unless_a_server_is_named() {
    assert!(matches!(gather(&[], &[]).unwrap().database, Database::InDataDir));
    assert!(matches!(gather(&["database.url="], &[]).unwrap().database, Database::InDataDir));
    let url = "postgresql://ada:s3cret@db:5433/mesh?sslmode=verify-full";
    let variables = [("CRYPTOMESH_DATABASE_URL", url), ("CRYPTOMESH_DATABASE_ROOT_CERTIFICATE", "/root.pem")];
    for config in [
        gather(&[], &variables).unwrap(),
        gather(&[&format!("database.url={url}"), "database.root_certificate=/root.pem"], &[]).unwrap(),
    ] {
        let shown = format!("{config:?}");
        assert!(shown.contains("db:5433/mesh") && !shown.contains("s3cret"), "{shown}");
    }
    let check = |set: &[&str], expected: &str| {
        let error = gather(set, &[]).unwrap_err();
        assert!(error.contains(expected) && !error.contains("s3cret"), "{error}");
    };
    check(&["database.url=mysql://ada:s3cret@db/mesh"], "database.url");
    check(&[&format!("database.url={url}")], "root certificate");
    check(&["database.root_certificate=/root.pem"], "database.root_certificate");
    check(&["database.uri=x"], "uri");
}
