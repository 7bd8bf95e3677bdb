//! What `deploy/` holds can be read, and says the same as the program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(deploy(path)).unwrap()
}

/// The documents of a file of YAML.
fn documents(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    documents.iter().find(|document| document["kind"] == kind).unwrap_or_else(|| panic!("there is no {kind}"))
}

fn manifests() -> Vec<Value> {
    ["node", "instances", "rbac"]
        .iter()
        .flat_map(|name| documents(&format!("kubernetes/{name}.yaml")))
        .collect()
}

#[test]
fn every_manifest_is_an_object_of_the_cluster() {
    for document in manifests() {
        for field in ["apiVersion", "kind"] {
            assert!(document[field].is_string(), "{document}");
        }
        assert!(document["metadata"]["name"].is_string(), "{document}");
    }
    for path in ["compose.yaml", "helm/cryptomesh/Chart.yaml", "helm/cryptomesh/values.yaml"] {
        assert_eq!(documents(path).len(), 1, "{path}");
    }
}

#[test]
fn the_service_names_every_port_of_instances_as_slices_do() {
    let manifests = manifests();
    let set = of_kind(&manifests, "StatefulSet");
    let variables = set["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let listen = variables.iter().find(|variable| variable["name"] == "CRYPTOMESH_LISTEN_INSTANCES").unwrap();
    let (_, range) = listen["value"].as_str().unwrap().rsplit_once(':').unwrap();
    let (first, last) = range.split_once('-').unwrap();
    let range: BTreeSet<u64> = (first.parse().unwrap()..=last.parse().unwrap()).collect();
    let service = manifests.iter().find(|document| {
        document["kind"] == "Service" && document["metadata"]["name"] == "veracruz-nitro-server"
    });
    let ports = service.unwrap()["spec"]["ports"].as_array().unwrap();
    for port in ports {
        assert_eq!(port["name"], format!("p{}", port["port"]));
    }
    assert_eq!(ports.iter().map(|port| port["port"].as_u64().unwrap()).collect::<BTreeSet<_>>(), range);
}

#[test]
fn a_node_may_do_what_it_does_and_nothing_to_the_rest() {
    let manifests = manifests();
    let role = of_kind(&manifests, "Role");
    let may = |resource: &str| -> BTreeSet<String> {
        let rules = role["rules"].as_array().unwrap().iter();
        let rules = rules.filter(|rule| rule["resources"].as_array().unwrap().contains(&resource.into()));
        rules
            .flat_map(|rule| rule["verbs"].as_array().unwrap())
            .map(|verb| verb.as_str().unwrap().to_owned())
            .collect()
    };
    let check = |resource: &str, verbs: &[&str]| {
        assert_eq!(may(resource), verbs.iter().map(|verb| (*verb).to_owned()).collect(), "{resource}");
    };
    check("configmaps", &["create", "get", "list", "watch", "patch", "delete"]);
    check("secrets", &["create", "list", "delete"]);
    check("pods", &["create", "get", "list", "watch", "delete"]);
    check("endpointslices", &["create", "list", "delete"]);
    assert!(!text("kubernetes/rbac.yaml").contains('*'), "a wildcard is more than the node needs");
    let chart = text("helm/cryptomesh/templates/rbac.yaml");
    let rules = |text: &str| {
        let from = text.find("rules:\n").unwrap();
        text[from..].split("---").next().unwrap().to_owned()
    };
    assert_eq!(rules(&chart), rules(&text("kubernetes/rbac.yaml")), "the chart gives other rights");
}

#[test]
fn variables_are_known_to_the_program() {
    let known: BTreeSet<String> = {
        let page = std::fs::read_to_string(deploy("../docs/guide/configuration.md")).unwrap();
        page.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let files = ["kubernetes/node.yaml", "compose.yaml", "helm/cryptomesh/templates/node.yaml"];
    for file in files {
        let text = text(file);
        let names = text.match_indices("CRYPTOMESH_").map(|(at, _)| {
            let rest = &text[at..];
            let end = rest
                .find(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_')
                .unwrap_or(rest.len());
            rest[..end].to_owned()
        });
        // Those of the compose file's own, and the beginning of what the chart puts together.
        let others = ["CRYPTOMESH_IMAGE", "CRYPTOMESH_HOST_NAME", "CRYPTOMESH_LISTEN_"];
        for name in names.filter(|name| !others.contains(&name.as_str())) {
            assert!(known.contains(&name), "{file}: {name} sets nothing");
        }
    }
}

#[test]
fn the_chart_uses_values_that_exist_and_closes_what_it_opens() {
    let values = documents("helm/cryptomesh/values.yaml").remove(0);
    for name in ["node.yaml", "instances.yaml", "rbac.yaml", "_helpers.tpl"] {
        let text = text(&format!("helm/cryptomesh/templates/{name}"));
        assert_eq!(text.matches("{{").count(), text.matches("}}").count(), "{name}");
        let action = |word: &str| text.matches(&format!("{{{{- {word}")).count();
        let opened: usize = ["if", "with", "range", "define"].iter().map(|word| action(word)).sum();
        assert_eq!(opened, action("end"), "{name}");
        for (at, _) in text.match_indices(".Values.") {
            let rest = &text[at + ".Values.".len()..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
            let pointer = format!("/{}", rest[..end].replace('.', "/"));
            assert!(values.pointer(&pointer).is_some(), "{name}: there is no value {pointer}");
        }
    }
}
