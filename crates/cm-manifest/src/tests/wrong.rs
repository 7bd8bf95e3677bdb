use super::*;

/// Each file, and all that is wrong with it.
const WRONG: &[(&str, &[&str])] = &[
    ("- a\n", &["1:1: expected a mapping of sections, found a list"]),
    ("hello\n", &["1:1: expected a mapping of sections, found `hello`"]),
    ("cryptomesh: v2\n", &["1:13: version `v2` is not understood, only `v1` is"]),
    ("cryptomesh: [v1]\n", &["1:13: expected the version `v1`, found a list"]),
    ("servces:\n  a:\n", &["1:1: unknown section `servces`, did you mean `services`?"]),
    ("secrets:\n", &["1:1: unknown section `secrets`"]),
    ("databases: {}\n", &["1:1: unknown section `databases`"]),
    ("roles: [a]\n", &["1:8: expected a mapping from ids to resources, found a list"]),
    ("roles:\n  a: b\n", &["2:6: expected the resource's fields, found `b`"]),
    ("endpoints:\n  a:\n    imge: x\n", &["3:5: unknown field `imge` of an endpoint, did you mean `image`?"]),
    (
        "functions:\n  a:\n    resources: {cpu: 1, ran: 1GB}\n",
        &["3:25: unknown field `ran` of `resources`, did you mean `ram`?"],
    ),
    ("roles:\n  a: {image: x}\n", &["2:7: unknown field `image` of a role"]),
    ("services:\n  a: {name: [x]}\n", &["2:13: expected text, found a list"]),
    ("services:\n  a: {name: 12}\n", &["2:13: expected text, found a number without quotes"]),
    ("services:\n  a: {description: true}\n", &["2:20: expected text, found true or false without quotes"]),
    ("endpoints:\n  a:\n    image:\n", &["3:10: expected text, found nothing"]),
    (
        "services:\n  a: {name: \"\"}\n",
        &["2:13: a name is 1 to 128 bytes long and has no control characters"],
    ),
    (
        "services:\n  a: {resources: {cpu: 0}}\n",
        &["2:24: expected a positive whole number of cores, found `0`"],
    ),
    (
        "services:\n  a: {resources: {cpu: 1.5}}\n",
        &["2:24: expected a positive whole number of cores, found `1.5`"],
    ),
    (
        "services:\n  a: {resources: {cpu: two}}\n",
        &["2:24: expected a positive whole number of cores, found `two`"],
    ),
    ("services:\n  a: {resources: {cpu: 99999999999}}\n", &["2:24: must be between 1 and 4294967295"]),
    ("services:\n  a: {resources: {ram: 2XB}}\n", &["2:24: `XB` is no unit of bytes"]),
    ("services:\n  a: {resources: {ram: GB2GB}}\n", &["2:24: `GB2GB` does not begin with a number"]),
    (
        "services:\n  a: {resources: {ram: }}\n",
        &["2:22: expected an amount of bytes such as 2GB, found nothing"],
    ),
    ("services:\n  a: {resources: 4}\n", &["2:18: expected a mapping, found a number"]),
    ("active-objects:\n  a: {axo_version: 4294967296}\n", &["2:20: must be between 0 and 4294967295"]),
    ("active-objects:\n  a: {axo_version: \"7\"}\n", &["2:20: expected a whole number, found `7`"]),
    (
        "security-policies:\n  a: {requires_authentication: yes, roles: x}\n",
        &["2:32: expected true or false, found `yes`", "2:44: expected a list of ids, found `x`"],
    ),
    ("security-policies:\n  a: {roles: [b, {}]}\n", &["2:18: expected an id, found a mapping"]),
    ("functions:\n  a: {storage: [x]}\n", &["2:16: expected an id or a mapping, found a list"]),
    ("functions:\n  a: {endpoint_id: a/b}\n", &["2:20: id contains '/' at byte 1"]),
    ("functions:\n  a b:\n", &["2:3: id contains ' ' at byte 1"]),
    ("functions:\n  \"\":\n", &["2:3: id is empty"]),
    ("functions:\n  ? [a]\n  : {}\n", &["2:5: expected text as a key, found a list"]),
    ("functions:\n  a: {id: b}\n", &["2:11: must repeat the id `a` that stands at 2:3, or be left out"]),
    ("functions:\n  a: {labels: {\"b c\": d}}\n", &["2:16: label name `b c` must be"]),
    ("functions:\n  a: {labels: {b: \"x,y\"}}\n", &["2:19: value of label `b` must be"]),
    ("functions:\n  a: {labels: {b: 1}}\n", &["2:19: expected text, found a number without quotes"]),
    ("functions:\n  a:\n  b:\n  a:\n", &["4:3: `a` already stands at 2:3"]),
    ("roles: {}\nservices: {}\nroles: {}\n", &["3:1: `roles` already stands at 1:1"]),
    (
        "security-policies: {a: }\nsecurity_policies: {a: }\n",
        &["2:21: security-policy/a is already declared at 1:21"],
    ),
    (
        "services:\n  s: {microservices: {m: }}\n  t: {microservices: {m: }}\n",
        &["3:23: microservice/m is already declared at 2:23"],
    ),
    (
        "services:\n  s: {microservices: {m: {service_id: t}}}\n",
        &["2:39: must repeat the id `s` that stands at 2:3, or be left out"],
    ),
    (
        "services:\n  s: {microservices: [m]}\n  t: {microservices: [m]}\nmicroservices: {m: }\n",
        &["3:23: microservice/m belongs to service/t here, but to `s` at 2:23"],
    ),
    (
        "services: {s: {microservices: [m]}}\nmicroservices: {m: {service_id: t}}\n",
        &["1:32: microservice/m belongs to service/s here, but to `t` at 2:33"],
    ),
    (
        "services: {s: {microservices: m}}\n",
        &["1:31: expected a list of ids or a mapping from ids to resources, found `m`"],
    ),
    ("connections: {a: b}\n", &["1:14: expected a list of connections, found a mapping"]),
    (
        "connections:\n  - {from: a, two: b}\n",
        &["2:15: unknown field `two` of a connection, did you mean `to`?"],
    ),
    ("roles:\n\ta: {}\n", &["2:2: tabs disallowed within this context"]),
    ("roles:\n  a:\n   - b\n  - c\n", &["4:5: while parsing a block mapping, did not find expected key"]),
    ("roles: {a: }\n---\nroles: {b: [}\n", &["3:12: mismatched bracket"]),
    ("roles: *nowhere\n", &["1:8: while parsing node, found unknown anchor"]),
    ("roles: &r {a: *r}\n", &["1:15: this alias repeats itself"]),
    ("functions:\n  a: &a {image: x}\n  b:\n    <<: *a\n", &["4:5: merge keys (`<<`) are not read"]),
    ("functions:\n  a: {image: !binary eA==}\n", &["2:14: tag `!binary` is not understood"]),
    ("functions: !map\n  a: {}\n", &["1:12: tag `!map` is not understood"]),
    (
        "endpoints:\n  a: {policy_id: [x, 1], imag: y, resources: {cpu: -1}}\nrole: {}\n",
        &[
            "2:18: expected text, found a list",
            "2:26: unknown field `imag` of an endpoint, did you mean `image`?",
            "2:52: expected a positive whole number of cores, found `-1`",
            "3:1: unknown section `role`, did you mean `roles`?",
        ],
    ),
];

#[test]
fn each_problem_is_told_with_its_place() {
    let mut differences = Vec::new();
    for (text, expected) in WRONG {
        let found = problems(text);
        let same = found.len() == expected.len()
            && found.iter().zip(*expected).all(|(found, expected)| found.contains(expected));
        if !same {
            differences.push(format!("{text:?}\n  found {found:#?}\n  expected {expected:#?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn bytes_that_are_no_text_are_told_with_their_place() {
    let refused = Manifest::parse(b"roles:\n  \xc3\xa9\xff: {}\n").unwrap_err();
    assert_eq!(refused.to_string(), "2:4: this is not UTF-8 text");
}

#[test]
fn a_refusal_tells_the_first_problem_and_the_number_of_the_others() {
    let refused = Manifest::parse(b"a: 1\nb: 2\nc: 3\n").unwrap_err();
    assert_eq!(refused.to_string(), "1:1: unknown section `a` (and 2 more)");
}
