//! `cryptomesh instance`: from a user policy to a result, by the node and by the policy alone, and nothing is sent to
//! what is not what it should be.

use crate::tools::{Bench, FUNCTION, INSECURE, PROGRAM, ends, repository};

#[test]
fn an_instance_is_created_verified_used_and_ended_step_by_step() {
    let bench = Bench::new();
    let full = bench.create("i");
    let input = format!("input-0={}", repository("examples/data/cars.points"));
    let fetched = bench.path("line");
    let by_policy = ["--policy", full.as_str(), INSECURE];
    let by_node = ["--instance", "i", "--policy", full.as_str(), INSECURE];

    let said = ends(&bench.inside("verify", &by_policy, &[]), 0).0;
    assert!(said.contains("certificate") && said.contains("policy_hash"), "{said}");
    let said = ends(&bench.inside("verify", &by_node, &[]), 0).0;
    assert!(said.contains("insecure-software") && said.contains("isolation"), "{said}");

    ends(&bench.inside("put", &by_policy, &[&input]), 0);
    let said = ends(&bench.inside("ls", &by_node, &[]), 0).0;
    assert!(said.contains("/input-0"), "{said}");
    let said = ends(&bench.inside("run", &by_policy, &[PROGRAM]), 0).0;
    assert!(said.contains("completed"), "{said}");
    ends(&bench.inside("get", &by_node, &[&format!("output={fetched}"), "--no-shutdown"]), 0);
    let known = std::fs::read(repository("examples/data/cars.line")).unwrap();
    assert_eq!(std::fs::read(&fetched).unwrap(), known);
    // A name alone goes to standard output, and the instance ends when that is wished.
    let output = bench.inside("get", &by_policy, &["output", "--shutdown"]);
    assert_eq!(output.stdout, known);
    assert_ne!(bench.inside("verify", &by_policy, &[]).status.code(), Some(0));
}

#[test]
fn nothing_is_sent_to_what_is_not_what_it_should_be() {
    let bench = Bench::new();
    let full = bench.create("i");
    let by_node = ["--instance", "i", "--policy", full.as_str()];
    let said = ends(&bench.inside("verify", &["--policy", &full], &[]), 3).1;
    assert!(said.contains("--allow-insecure-software"), "{said}");
    ends(&bench.inside("verify", &by_node, &[]), 3);
    let wrong = "00".repeat(32);
    ends(&bench.inside("verify", &by_node, &[INSECURE, "--measurement", &wrong]), 3);
    // The certificate alone is held to the same measurement, and to nothing that it does not show.
    let by_policy = ["--policy", full.as_str(), INSECURE];
    for (command, more) in [("verify", &[][..]), ("put", &["input-0=/dev/null"][..]), ("run", &[PROGRAM][..])]
    {
        let more = [more, &["--measurement", wrong.as_str()]].concat();
        let said = ends(&bench.inside(command, &by_policy, &more), 3).1;
        assert!(
            said.contains("before anything was sent") && said.contains("none of the measurements"),
            "{said}"
        );
    }
    let shown = bench.inside("verify", &by_policy, &["--output", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&ends(&shown, 0).0).unwrap();
    let measurement = shown["measurement"].as_str().unwrap();
    ends(&bench.inside("verify", &by_policy, &["--measurement", measurement]), 0);
    for unseen in [["--require-isolation", "none"], ["--node-key", "/dev/null"]] {
        let said = ends(&bench.inside("verify", &by_policy, &unseen), 2).1;
        assert!(said.contains(unseen[0]) && said.contains("--instance"), "{said}");
    }
    // Somebody else's key is noticed at home.
    let (other, key) = (bench.path("other.cert.pem"), bench.path("me.key.pem"));
    let other_key = bench.path("other.key.pem");
    bench.ok(&["keys", "identity", "other", "--certificate", &other, "--key", &other_key]);
    let said =
        bench.run(&["instance", "verify", "--policy", &full, INSECURE, "--cert", &other, "--key", &key]);
    assert!(ends(&said, 2).1.contains("does not belong to the certificate"));
    ends(&bench.inside("put", &by_policy, &["input-0=/dev/null", "input-0=/dev/zero"]), 2);
    ends(&bench.inside("run", &by_policy, &[PROGRAM, "--timeout", "0"]), 2);

    ends(&bench.inside("verify", &["--instance", "i", INSECURE, "--policy-hash", &wrong], &[]), 3);
    ends(&bench.inside("verify", &["--instance", "i", INSECURE], &[]), 2);
    ends(&bench.inside("verify", &["--instance", "i", INSECURE, "--trust-node-policy"], &[]), 0);

    // One more space in the text is another policy.
    let changed = bench.path("changed.json");
    std::fs::write(&changed, std::fs::read_to_string(&full).unwrap() + " ").unwrap();
    for target in [&["--policy", &changed][..], &["--instance", "i", "--policy", &changed]] {
        let said = ends(&bench.inside("put", target, &[INSECURE, "input-0=/dev/null"]), 3).1;
        assert!(said.contains("before anything was sent"), "{said}");
    }
    // Another instance of the same function has another policy.
    let other = bench.create("j");
    ends(&bench.inside("verify", &["--instance", "i", "--policy", &other, INSECURE], &[]), 3);
    ends(&bench.inside("get", &["--policy", &full, INSECURE], &["input-0"]), 3);
    assert_eq!(bench.run(&["instance"]).status.code(), Some(2), "a command without a verb is no instance");
}

#[test]
fn an_instance_that_is_not_what_was_agreed_is_ended_and_leaves_no_policy() {
    let bench = Bench::new();
    bench.create("first");
    let (user, full) = (bench.path("user.json"), bench.path("second.json"));
    let asked = std::fs::read_to_string(&user).unwrap().replace("first", "second");
    std::fs::write(&user, asked).unwrap();
    let create = |agreed: &[&str]| {
        bench.run(&[&["instance", "create", &user, "--output-policy-file", &full][..], agreed].concat())
    };
    let said = ends(&create(&[]), 2).1;
    assert!(said.contains("--function-policy") && said.contains("--trust-node-policy"), "{said}");

    // As its author published it, the program has other bytes, or may write where it may not, or is of another function.
    let published = std::fs::read_to_string(repository("examples/linear-regression/policy.json")).unwrap();
    let digest = published.split('"').find(|text| text.len() == 64).unwrap();
    let agreed = bench.path("agreed.json");
    for (from, to, code, part) in [
        (digest, "0".repeat(64), 3, "the programs, their digests or their rights"),
        ("533572", "8198".to_owned(), 3, "the programs, their digests or their rights"),
        (FUNCTION, "another".to_owned(), 2, "no program policy of"),
    ] {
        let other = published.replace(from, &to);
        assert_ne!(other, published);
        std::fs::write(&agreed, other).unwrap();
        let said = ends(&create(&["--function-policy", &agreed]), code).1;
        assert!(said.contains(part), "{said}");
        assert!(!std::path::Path::new(&full).exists(), "the policy that was not agreed on was written");
        ends(&bench.run(&["get", "instance", "second"]), 4);
    }
    let named = format!("{PROGRAM}={}", "0".repeat(64));
    ends(&create(&["--program-sha256", &named]), 3);
    ends(&bench.run(&["get", "instance", "second"]), 4);

    let named = format!("{PROGRAM}={digest}");
    ends(&create(&["--program-sha256", &named]), 0);
    let policy = std::fs::read(&full).unwrap();
    assert!(String::from_utf8_lossy(&policy).contains(digest));
}

#[test]
fn every_step_says_what_it_did_in_a_document_too() {
    let bench = Bench::new();
    let full = bench.create("i");
    let input = format!("input-0={}", repository("examples/data/cars.points"));
    let fetched = bench.path("line");
    let document = |command: &str, more: &[&str]| -> serde_json::Value {
        let said = bench.inside(command, &["--policy", &full, INSECURE, "-o", "json"], more);
        serde_json::from_str(&ends(&said, 0).0).unwrap()
    };
    let put = document("put", &[&input]);
    assert_eq!((&put["written"][0]["name"], &put["written"][0]["size"]), (&"input-0".into(), &801.into()));
    let run = bench.inside("run", &["--policy", &full, INSECURE, "-o", "json"], &[PROGRAM]);
    let report: serde_json::Value = serde_json::from_str(&ends(&run, 0).0).unwrap();
    assert_eq!(report["outcome"]["kind"], "completed");
    let got = document("get", &[&format!("output={fetched}")]);
    assert_eq!((&got["read"][0]["size"], &got["ended"]), (&16.into(), &false.into()), "{got}");
    // A file on standard output stands there alone.
    let alone = bench.inside("get", &["--policy", &full, INSECURE, "-o", "json"], &["output"]);
    assert_eq!(alone.stdout, std::fs::read(&fetched).unwrap());
    let ended = document("shutdown", &[]);
    assert_eq!(ended["ended"], true);
    assert_eq!(ended["policy_hash"], put["policy_hash"]);
}
