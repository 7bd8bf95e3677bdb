//! Wrong files: refused with file, line, column and reason, and nothing is changed.

use super::*;

/// Files, and where and why they are refused before anything is sent.
const WRONG: &[(&str, &[&str])] = &[
    ("- a\n", &["1:1: expected a mapping of sections"]),
    ("cryptomesh: v9\n", &["1:13: version `v9` is not understood"]),
    ("servics:\n  a:\n", &["1:1: unknown section `servics`, did you mean `services`?"]),
    ("services: [a]\n", &["1:11: expected a mapping from ids to resources"]),
    ("services:\n  a: b\n", &["2:6: expected the resource's fields"]),
    ("endpoints:\n  a:\n    imag: x\n", &["3:5: unknown field `imag` of an endpoint, did you mean `image`?"]),
    ("functions:\n  a: {resources: {cpu: 0, ram: 1GB}}\n", &["2:24: expected a positive whole number"]),
    ("functions:\n  a: {resources: {cpu: 1, ram: 1QB}}\n", &["2:32: `QB` is no unit of bytes"]),
    ("functions:\n  a b: {}\n", &["2:3: id contains ' '"]),
    ("functions:\n  a: {id: b}\n", &["2:11: must repeat the id `a`"]),
    ("functions:\n  a: {endpoint_id: x/y}\n", &["2:20: id contains '/'"]),
    ("functions:\n  a:\n  b:\n  a:\n", &["4:3: `a` already stands at 2:3"]),
    ("roles: {}\nservices: {}\nroles: {}\n", &["3:1: `roles` already stands at 1:1"]),
    ("roles:\n  a: {permissions: read}\n", &["2:20: expected a list"]),
    ("security-policies:\n  a: {requires_authentication: yes}\n", &["2:32: expected true or false"]),
    ("services:\n  a: {labels: {b: 1}}\n", &["2:19: expected text, found a number"]),
    ("services:\n  a: {name: [x]}\n", &["2:13: expected text, found a list"]),
    (
        "services:\n  s: {microservices: {m: }}\n  t: {microservices: {m: }}\n",
        &["3:23: microservice/m is already declared at 2:23"],
    ),
    (
        "services:\n  s: {microservices: [m]}\n  t: {microservices: [m]}\nmicroservices: {m: }\n",
        &["3:23: microservice/m belongs to service/t here"],
    ),
    ("connections:\n  - {from: a, two: b}\n", &["2:15: unknown field `two` of a connection"]),
    ("roles:\n\ta: {}\n", &["2:2: tabs disallowed"]),
    ("roles: {a: }\n---\nroles: {b: [}\n", &["3:12: mismatched bracket"]),
    ("roles: *nowhere\n", &["1:8: while parsing node, found unknown anchor"]),
    ("functions:\n  a: &a {image: x}\n  b:\n    <<: *a\n", &["4:5: merge keys"]),
    ("functions:\n  a: {image: !binary eA==}\n", &["2:14: tag `!binary`"]),
    (
        "endpoints:\n  a: {policy_id: [x], imag: y, resources: {cpu: -1}}\nrole: {}\n",
        &[
            "2:18: expected text",
            "2:23: unknown field `imag`",
            "2:49: expected a positive",
            "3:1: unknown section `role`",
        ],
    ),
];

/// Files that only the node can refuse, in both modes: the last resource spoils all of them.
const REFUSED: &[(&str, &str)] = &[
    ("services:\n  a: {resources: {cpu: 1, ram: 1GB}}\n  b:\n    resources: {cpu: 64, ram: 1GB}\n", "4:22: "),
    ("functions:\n  a: {}\n  b:\n    resources:\n      cpu: 1\n      ram: 900GB\n", "6:12: "),
    ("functions:\n  a: {}\n  b: {executor: nothing}\n", "3:17: "),
    ("functions:\n  a: {}\nactive-objects:\n  b: {axo_module: m}\n", "4:3: "),
    (
        "functions:\n  a: {}\nservices:\n  s: {microservices: {m: }}\nactive-objects:\n  b:\n    axo_module: m\n    axo_class_name: C\n    axo_microservice_id: m\n    axo_code: \"def (\"\n",
        "10:15: ",
    ),
    ("services:\n  a: {}\n  b: {name: \"123456789012345678901234567890123\"}\n", "3:13: "),
];

/// Files that refer to what is not there, which only a node in enforced mode minds.
const DANGLING: &[(&str, &str)] = &[
    ("services:\n  a: {}\nmicroservices:\n  m: {service_id: absent}\n", "4:19: "),
    ("services:\n  a: {}\nfunctions:\n  f: {endpoint_id: absent, microservice_id: gone}\n", "4:"),
    ("services:\n  a: {}\n  b: {security_policy: absent}\n", "3:24: "),
    ("roles:\n  a: {permissions: [read]}\n  b: {permissions: [read, fly]}\n", "3:27: "),
    ("roles:\n  r: {}\nsecurity-policies:\n  p: {roles: [r, absent]}\n", "4:18: "),
];

#[track_caller]
fn check_refused(mesh: &Mesh, text: &str, expected: &[&str], codes: &[i32]) {
    let file = mesh.file("wrong.yml", text);
    let before = mesh.events();
    for command in ["diff", "apply"] {
        let output = mesh.node.command(&[command, "-f", &file]);
        let said = String::from_utf8(output.stderr).unwrap();
        let code = output.status.code().unwrap();
        assert!(codes.contains(&code), "{code}: {text}\n{said}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "{text}");
        for expected in expected {
            assert!(
                said.lines().any(|line| line.starts_with(&format!("{file}:{expected}"))),
                "{text}\n{said}"
            );
        }
        // The findings, and that nothing was done.
        assert_eq!(said.lines().count(), expected.len() + 1, "{text}\n{said}");
    }
    assert_eq!(mesh.events(), before, "{text}");
}

#[test]
fn wrong_files_are_refused_with_line_and_column_and_change_nothing() {
    let mesh = Mesh::start(false);
    for (text, expected) in WRONG {
        check_refused(&mesh, text, expected, &[2]);
        // Nor does a right file beside a wrong one.
        let right = mesh.file("right.yml", FLAT);
        let wrong = mesh.file("wrong.yml", text);
        mesh.run(&["apply", "-f", &right, &wrong], 2);
    }
    mesh.run(&["get", "service", "imaging"], 4);
    let one = mesh.file("one.yml", "roles:\n  r: {permissions: [read]}\n");
    let other = mesh.file("other.yml", "buckets: {b: }\nroles:\n  r: {permissions: [write]}\n");
    let said = mesh.run(&["apply", "-f", &one, &other], 2).1;
    assert!(said.starts_with(&format!("{other}:3:3: role/r is already declared at {one}:2:3")), "{said}");
    mesh.run(&["get", "role", "r"], 4);
}

#[test]
fn what_the_node_refuses_is_said_with_its_place_and_changes_nothing() {
    for open in [false, true] {
        let mesh = Mesh::start(open);
        let dangling: &[_] = if open { &[] } else { DANGLING };
        for (text, expected) in REFUSED.iter().chain(dangling) {
            check_refused(&mesh, text, &[expected], &[2]);
            mesh.run(&["get", "service", "a"], 4);
            mesh.run(&["get", "function", "a"], 4);
        }
        // In the second of two files, behind a role that is made on the way.
        let policy = "services:\n  a: {security_policy: {roles: [nobody], requires_authentication: true}}\n";
        let (right, wrong) = (
            mesh.file("right.yml", policy),
            mesh.file("wrong.yml", REFUSED[0].0.replace("  a:", "  c:").as_str()),
        );
        let said = mesh.run(&["apply", "-f", &right, &wrong], 2).1;
        assert!(said.contains(&format!("{wrong}:4:22: ")), "{said}");
        mesh.run(&["get", "role", "nobody"], 4);
    }
}

#[test]
fn who_may_not_is_refused_with_the_place_of_the_first_thing_that_is_denied() {
    let mesh = Mesh::start(false);
    let roles = mesh.file(
        "roles.yml",
        "roles:\n  namer: {permissions: [\"service:create\", \"service:read\", \"service:update\"]}\n",
    );
    mesh.run(&["apply", "-f", &roles], 0);
    mesh.run(&["create", "principal", "id=ann", r#"roles=["namer"]"#], 0);
    let key: Value = serde_json::from_str(
        &mesh.run(&["principal", "api-key", "ann", "--label", "test", "--output", "json"], 0).0,
    )
    .unwrap();
    let key = key["key"].as_str().unwrap();
    let file = mesh.file("mesh.yml", "services:\n  a: {}\nbuckets:\n  b: {}\n");
    let said = mesh.run(&["--token", key, "apply", "-f", &file], 3).1;
    assert!(said.contains(&format!("{file}:4:3: ")), "{said}");
    mesh.run(&["get", "service", "a"], 4);
    let services = mesh.file("services.yml", "services:\n  a: {}\n");
    mesh.run(&["--token", key, "apply", "-f", &services], 0);
    mesh.run(&["--token", key, "diff", "-f", &services], 0);
}
