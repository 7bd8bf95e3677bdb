//! `cryptomesh instance`: from a user policy to a result, by the node and by the policy alone, and nothing is sent to
//! what is not what it should be.

use crate::tools::{Bench, INSECURE, PROGRAM, ends, repository};

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
