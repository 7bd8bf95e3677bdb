use super::*;

#[test]
fn what_is_written_reads_back_and_is_pleasant_to_read() {
    for text in [FLAT, NESTED] {
        check_round_trip(parse(text).resources());
    }
    let text = "\
functions:
  pi:
    name: '3.14'
    labels: {on: 'true', plain: words of text}
    resources: {ram: 1GB, cpu: '2'}
    storage: {capacity: 1GB, source_path: /in, sink_path: /out}
    description: \"Two\\nlines\\n\"
    image: registry.example/pi:1
roles: {1: {permissions: ['*:*', read]}, 0: }
";
    let expected = "\
cryptomesh: v1
roles:
  \"0\": {}
  \"1\":
    permissions:
    - \"*:*\"
    - read
functions:
  pi:
    name: \"3.14\"
    labels:
      \"on\": \"true\"
      plain: words of text
    description: |
      Two
      lines
    image: registry.example/pi:1
    resources:
      cpu: 2
      ram: 1GB
    storage:
      capacity: 1GB
      sink_path: /out
      source_path: /in
";
    assert_eq!(to_yaml(parse(text).resources()), expected);
    assert_eq!(to_yaml(&[]), "cryptomesh: v1\n");
}

#[test]
fn a_record_of_the_api_declares_what_can_be_written() {
    let record = json!({
        "id": "f", "name": "f", "tenant": "default", "owner": "admin", "labels": {"a": "b"}, "generation": 3,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "function_id": "f",
        "image": "x:1", "resources": {"cpu": 1, "ram": "1GB"}, "endpoint_id": null, "storage": "s",
        "deployment_status": "initiated", "status": {"phase": "initiated"}, "something_new": 1,
    });
    let record = record.as_object().unwrap();
    let declared = Declared::from_record(ResourceKind::Function, record).unwrap();
    assert_eq!((declared.id.as_str(), &declared.name), ("f", &None));
    assert_eq!(declared.labels.get("a"), Some("b"));
    assert_eq!(
        serde_json::Value::from(declared.spec.clone()),
        json!({ "image": "x:1", "resources": {"cpu": 1, "ram": "1GB"}, "storage": "s" })
    );
    check_round_trip(&[declared]);
    assert_eq!(Declared::from_record(ResourceKind::Instance, record), None);
    let nameless = json!({ "name": "x" });
    assert_eq!(Declared::from_record(ResourceKind::Role, nameless.as_object().unwrap()), None);
}

#[test]
fn texts_that_look_like_something_else_stay_texts() {
    let texts = [
        "",
        " ",
        "~",
        "null",
        "true",
        "no",
        "On",
        "1",
        "0x1f",
        "0o7",
        "1e3",
        ".5",
        ".inf",
        ".nan",
        "-",
        "- a",
        "? a",
        ": a",
        "a: b",
        "a #b",
        "#a",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "%a",
        "@a",
        "`a",
        "\"",
        "'",
        "[",
        "{",
        "a,b",
        "---",
        "...",
        "<<",
        "=",
        "a\n",
        "\na",
        "a\n\n",
        " a\nb",
        "a \nb",
        "\t",
        "a\tb",
        "a\r\nb",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{0}",
        "\u{1b}",
        "é\nü",
        "2020-01-01",
        "12:30:45",
        "\n",
        " \n ",
        "a\n b\n",
        "\\",
        "a\\nb",
    ];
    let roles: Vec<Declared> = texts
        .iter()
        .enumerate()
        .map(|(at, text)| Declared {
            kind: ResourceKind::Role,
            id: format!("r{at:03}"),
            name: None,
            labels: cm_types::Labels::new(),
            spec: json!({ "description": text, "permissions": [text, text] }).as_object().unwrap().clone(),
            at: Position::START,
        })
        .collect();
    check_round_trip(&roles);
}
