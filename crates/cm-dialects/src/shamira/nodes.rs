//! Nodes and clients.

use axum::extract::{Path, State};
use axum::{Extension, Json};
use cm_crypto::secp256k1::Secp256k1PublicKey;
use cm_door::Caller;
use cm_http::{Failure, FailureClass, JsonBody, Params};
use cm_kernel::policy::{Create, List};
use cm_mpc::{Client, Registered};
use cm_types::ResourceKind;
use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};

use super::login::{Published, Signature, proves};
use super::{Shamira, invalid, refused};

/// Longest text of a registration.
const TEXT_LEN_MAX: usize = 1024;
const HEALTH: [&str; 4] = ["healthy", "dead", "error", "none"];

/// A file `initial_node_list.yaml`: which nodes a cluster has, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeList(Vec<Listed>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    hostname: String,
    alias: String,
    description: String,
}

/// Why a list of nodes cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct NodeListError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: &'static str,
}

impl NodeList {
    /// Most nodes of a list.
    const NODES_MAX: usize = 1000;

    /// Reads a list. It is YAML as the first system's users write it, tabs included: `nodes:` and below it, however far
    /// indented, items that begin with `-` and have `hostname`, `alias` and `description`, with or without quotes.
    ///
    /// # Errors
    /// With the line.
    pub fn parse(text: &str) -> Result<Self, NodeListError> {
        let mut nodes: Vec<Listed> = Vec::new();
        let mut begun = false;
        for (at, line) in text.lines().enumerate() {
            let wrong = |problem| NodeListError { line: at + 1, problem };
            let line = line.split(" #").next().unwrap_or_default().trim();
            if line.is_empty() || line.starts_with('#') || line == "---" {
                continue;
            }
            if !begun {
                if line != "nodes:" {
                    return Err(wrong("expected `nodes:`"));
                }
                begun = true;
                continue;
            }
            let rest = match line.strip_prefix('-') {
                Some(rest) => {
                    if nodes.len() >= Self::NODES_MAX {
                        return Err(wrong("a list has at most 1000 nodes"));
                    }
                    nodes.push(Listed {
                        hostname: String::new(),
                        alias: String::new(),
                        description: String::new(),
                    });
                    rest.trim()
                }
                None => line,
            };
            if rest.is_empty() {
                continue;
            }
            let (key, value) = rest.split_once(':').ok_or_else(|| wrong("expected `key: value`"))?;
            let value = value.trim();
            let quoted = |mark: char| value.strip_prefix(mark)?.strip_suffix(mark);
            let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value).to_owned();
            let node = nodes.last_mut().ok_or_else(|| wrong("expected `- hostname: …`"))?;
            match key.trim() {
                "hostname" => node.hostname = value,
                "alias" => node.alias = value,
                "description" => node.description = value,
                _ => return Err(wrong("a node has `hostname`, `alias` and `description`")),
            }
        }
        match nodes.iter().position(|node| node.hostname.is_empty() || node.alias.is_empty()) {
            Some(_) => Err(NodeListError {
                line: text.lines().count(),
                problem: "every node needs `hostname` and `alias`",
            }),
            None => Ok(Self(nodes)),
        }
    }
}

/// The parties that jobs run on, by number: in the order of the list, then by name.
pub(super) fn parties(shamira: &Shamira) -> Vec<String> {
    let computations = shamira.computations();
    let mut names: Vec<String> = computations.peers().into_iter().map(|peer| peer.name).collect();
    names.push(computations.name().to_owned());
    names.sort();
    let place = |name: &String| shamira.0.listed.0.iter().position(|node| node.alias == *name);
    names.sort_by_key(|name| place(name).unwrap_or(usize::MAX));
    names
}

#[derive(Debug, Deserialize)]
pub(super) struct Registration {
    hostname: String,
    alias: String,
    #[serde(default)]
    description: String,
    public_key: String,
    /// A challenge of this node, and its signature by the key: what proves that whoever registers it has it.
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    signature: Option<Signature>,
}

/// Binds the key to whoever asks.
pub(super) async fn register(
    State(shamira): State<Shamira>,
    caller: Caller,
    body: JsonBody<Registration>,
) -> Result<Json<Value>, Failure> {
    match registered(&shamira, caller, body).await? {
        Ok(node) => Ok(Json(json!({ "message": "Node registered", "node": node }))),
        Err(refusal) => Err(refusal),
    }
}

/// The same, answered with the node alone.
pub(super) async fn register_published(
    State(shamira): State<Shamira>,
    caller: Caller,
    body: JsonBody<Registration>,
) -> Result<Json<Value>, Failure> {
    registered(&shamira, caller, body).await?.map(Json)
}

async fn registered(
    shamira: &Shamira,
    caller: Caller,
    body: JsonBody<Registration>,
) -> Result<Result<Value, Failure>, Failure> {
    let kernel = shamira.kernel();
    kernel.authorize::<Create>(&caller, ResourceKind::Computation).await.map_err(cm_door::refusal)?;
    let body = body.decode().await?;
    let caller = caller.again(kernel).await?;
    kernel.authorize::<Create>(&caller, ResourceKind::Computation).await.map_err(cm_door::refusal)?;
    if [&body.hostname, &body.alias, &body.description].iter().any(|text| text.len() > TEXT_LEN_MAX) {
        return Err(invalid(format!("a text is longer than {TEXT_LEN_MAX} characters")));
    }
    let key = Secp256k1PublicKey::parse(&body.public_key)
        .map_err(|_| invalid("public_key: no key of secp256k1, neither in PEM nor in hexadecimal digits"))?;
    let principal = caller.principal().cloned().ok_or_else(Failure::not_found)?;
    kernel.require_own_credentials(&caller.tenant(), &principal).await.map_err(cm_door::refusal)?;
    let proven = match (&body.message, &body.signature) {
        (Some(message), Some(signature)) => {
            if !proves(shamira, &key, message, signature).await? {
                return Err(invalid(
                    "signature: does not hold for `message`, or that is no challenge of GET /login_challenge",
                ));
            }
            true
        }
        _ => false,
    };
    let client = Client {
        public_key: key.to_hex(),
        hostname: body.hostname,
        alias: body.alias,
        description: body.description,
        health: "healthy".to_owned(),
        tenant: caller.tenant(),
        principal,
        proven,
        disputed: false,
    };
    let done = shamira.computations().register_client(client.clone()).await.map_err(refused)?;
    let place = place_of(shamira, &client.public_key).await?;
    Ok(match done {
        Registered::New => Ok(shown(place, &client)),
        Registered::Taken => {
            Err(Failure::new(FailureClass::Malformed, "Node with this public key already registered."))
        }
        Registered::Full => Err(Failure::new(FailureClass::TooMany, "too many nodes are registered")),
    })
}

async fn place_of(shamira: &Shamira, key: &str) -> Result<usize, Failure> {
    let clients = shamira.computations().clients().await.map_err(refused)?;
    let at = clients.iter().position(|client| client.public_key == key).unwrap_or(clients.len());
    Ok(parties(shamira).len() + at + 1)
}

fn shown(id: usize, client: &Client) -> Value {
    json!({
        "id": id,
        "hostname": client.hostname,
        "alias": client.alias,
        "is_current_node": false,
        "description": client.description,
        "health_status": client.health,
        "public_key": client.public_key,
    })
}

/// Parties, then the clients that have registered.
pub(super) async fn list(
    State(shamira): State<Shamira>,
    caller: Caller,
    published: Option<Extension<Published>>,
) -> Result<Json<Value>, Failure> {
    let kernel = shamira.kernel();
    kernel.authorize::<List>(&caller, ResourceKind::Computation).await.map_err(cm_door::refusal)?;
    let nodes = all(&shamira).await?;
    Ok(Json(if published.is_some() { Value::from(nodes) } else { json!({ "nodes": nodes }) }))
}

/// Every node, in the order of their numbers.
pub(super) async fn all(shamira: &Shamira) -> Result<Vec<Value>, Failure> {
    let computations = shamira.computations();
    let peers = computations.peers();
    let names = parties(shamira);
    let keys = names.iter().map(|name| async {
        match peers.iter().find(|peer| peer.name == *name) {
            Some(peer) => computations.client_key_of(peer).await.unwrap_or_default(),
            None => computations.client_key(),
        }
    });
    let keys = join_all(keys).await;
    let mut nodes = Vec::new();
    for (at, (name, public_key)) in names.iter().zip(keys).enumerate() {
        let listed = shamira.0.listed.0.iter().find(|node| node.alias == *name);
        let peer = peers.iter().find(|peer| peer.name == *name);
        let is_own = name == computations.name();
        let health = if is_own || peer.is_some_and(|peer| peer.is_up) { "healthy" } else { "dead" };
        let hostname = listed.map(|node| node.hostname.clone());
        let hostname = hostname.or_else(|| peer.map(|peer| peer.address.clone())).unwrap_or_default();
        nodes.push(json!({
            "id": at + 1,
            "hostname": hostname,
            "alias": name,
            "is_current_node": is_own,
            "description": listed.map_or("", |node| node.description.as_str()),
            "health_status": health,
            "public_key": public_key,
        }));
    }
    let clients = computations.clients().await.map_err(refused)?;
    let first = nodes.len() + 1;
    nodes.extend(clients.iter().enumerate().map(|(at, client)| shown(first + at, client)));
    Ok(nodes)
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Health {
    #[serde(default, alias = "status")]
    health_status: Option<String>,
}

/// Says how a registered client is: itself, or whoever may add endpoints. How parties are is found out by their links.
pub(super) async fn set_health(
    State(shamira): State<Shamira>,
    caller: Caller,
    Path(id): Path<usize>,
    params: Params<Health>,
    body: axum::body::Bytes,
) -> Result<Json<Value>, Failure> {
    let asked = params.decode()?.health_status;
    let asked = match asked {
        Some(health) => Some(health),
        None if body.is_empty() => None,
        None => {
            serde_json::from_slice::<Health>(&body).map_err(|error| invalid(error.to_string()))?.health_status
        }
    };
    let health = asked.ok_or_else(|| invalid("health_status: healthy, dead, error or none"))?;
    if !HEALTH.contains(&health.as_str()) {
        return Err(invalid("health_status: healthy, dead, error or none"));
    }
    let kernel = shamira.kernel();
    kernel.authorize::<List>(&caller, ResourceKind::Computation).await.map_err(cm_door::refusal)?;
    let first = parties(&shamira).len() + 1;
    if (1..first).contains(&id) {
        return Err(Failure::new(FailureClass::Conflict, "the health of a party is what its link says"));
    }
    let clients = shamira.computations().clients().await.map_err(refused)?;
    let client = id.checked_sub(first).and_then(|at| clients.get(at)).ok_or_else(Failure::not_found)?;
    if caller.principal() != Some(&client.principal) || caller.tenant() != client.tenant {
        kernel.authorize::<Create>(&caller, ResourceKind::Endpoint).await.map_err(cm_door::refusal)?;
    }
    shamira.computations().set_client_health(&client.public_key, &health).await.map_err(refused)?;
    Ok(Json(json!({ "message": "Health status updated", "id": id, "health_status": health })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_people_write_them() {
        let tabs = "nodes:\n\t- hostname: \"http://localhost:8000\"\n\t\talias: \"node_0\"\n\t\tdescription: \"Primary computation node\"\n\
                    \t- hostname: \"http://localhost:8001\"\n\t\talias: \"node_1\"\n\t\tdescription: \"Secondary\"\n";
        let spaces = "# cluster\n---\nnodes:\n  -\n    hostname: http://localhost:8000 # first\n    alias: node_0\n    description: 'Primary computation node'\n\n  - alias: node_1\n    hostname: http://localhost:8001\n    description: Secondary\n";
        let list = NodeList::parse(tabs).unwrap();
        assert_eq!(list, NodeList::parse(spaces).unwrap());
        assert_eq!(list.0[1].hostname, "http://localhost:8001");
        for (text, line) in [
            ("servers:\n", 1),
            ("nodes:\n  hostname: x\n", 2),
            ("nodes:\n- hostname: x\n  colour: red\n", 3),
            ("nodes:\n- hostname\n", 2),
            ("nodes:\n- hostname: x\n", 2),
        ] {
            assert_eq!(NodeList::parse(text).unwrap_err().line, line, "{text}");
        }
        assert_eq!(NodeList::parse("").unwrap(), NodeList::default());
    }
}
