//! VaaS: instances by policy, each under a port of its own.
//!
//! | Route | Methods |
//! | --- | --- |
//! | `/veracruz` | `GET` lists what runs, `POST` starts an instance under a VaaS policy |
//! | `/veracruz/HOST:PORT` | `GET`, `DELETE` |
//!
//! Where it listens is the name of an instance. Whoever deletes one says which one is meant, for its port may be another's by now: by
//! its label, if it has one, and by the beginning of its policy's hash. Instances of functions are shown too, under
//! the label that CCFaaS gave all of its own.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use cm_door::{Caller, refusal};
use cm_functions::FunctionError;
use cm_http::{Asked, Deadline, Failure, Params, Rendered, RequestLimits, Upload};
use cm_instance::VaasPolicy;
use cm_kernel::KernelError;
use cm_kernel::catalog::Record;
use cm_kernel::policy::{Create, Delete};
use cm_types::ResourceKind;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::flask::{self, incorrect, missing, object, policy_text, refused, said};
use super::{Veracruz, listing};
use crate::failure::{function_refusal, is_full};

/// The label of all instances of functions.
const CCFAAS: &str = "CCFaaS";
/// Digits of a policy's hash that name an instance: as many as fit into a label of Kubernetes, with room to spare.
const HASH_LEN: usize = 59;

/// The routes.
pub fn router(veracruz: Veracruz, limits: RequestLimits) -> Router {
    let routes = Router::new()
        .route("/veracruz", get(list).post(create))
        .route("/veracruz/{name}", get(read).delete(delete));
    flask::face(routes, veracruz, limits, shape)
}

fn shape(failure: &Failure, asked: &Asked) -> Rendered {
    if is_full(failure) {
        return flask::sentence(StatusCode::INSUFFICIENT_STORAGE, "no internal resources available!");
    }
    flask::shape(failure, asked)
}

/// Which instance is meant.
#[derive(Debug, Default, Deserialize)]
struct Which {
    instance_id: Option<String>,
    instance_hash: Option<String>,
}

impl Which {
    /// Whether an instance is one of those that are asked for. What is not said does not matter.
    fn selects(&self, instance: &Listed) -> bool {
        self.instance_id.as_ref().is_none_or(|id| instance.label.as_ref() == Some(id))
            && self.instance_hash.as_ref().is_none_or(|hash| instance.has_hash(hash))
    }

    /// Whether it is said of an instance which one it is.
    fn identifies(&self, instance: &Listed) -> bool {
        self.instance_id == instance.label
            && self.instance_hash.as_ref().is_some_and(|hash| instance.has_hash(hash))
    }
}

/// An instance as the service shows it.
struct Listed {
    id: String,
    address: String,
    label: Option<String>,
    hash: String,
}

impl Listed {
    fn of(record: &Record) -> Option<Self> {
        let text = |name: &str| record.status.get(name)?.as_str().map(str::to_owned);
        let hash = text("policy_hash")?.get(..HASH_LEN)?.to_owned();
        let label = match record.spec.get("vaas_policy").and_then(Value::as_str) {
            Some(policy) => label_in(policy),
            None => Some(CCFAAS.to_owned()),
        };
        Some(Self { id: record.header.id.to_string(), address: text("address")?, label, hash })
    }

    fn has_hash(&self, asked: &str) -> bool {
        asked.get(..HASH_LEN) == Some(self.hash.as_str())
    }

    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.extend(self.label.clone().map(|label| ("instance_id".to_owned(), label.into())));
        fields.insert("instance_hash".to_owned(), self.hash.clone().into());
        fields.insert("status".to_owned(), "OK".into());
        fields
    }
}

/// The label in a VaaS policy, under any of its spellings.
fn label_in(policy: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Labelled {
        #[serde(default, alias = "id", alias = "instanceid")]
        instance_id: Option<String>,
    }
    serde_json::from_str::<Labelled>(policy).ok()?.instance_id
}

/// What this node runs and the caller may see, with these fields of its status besides.
async fn listed(
    veracruz: &Veracruz,
    caller: &Caller,
    fields: &[(&str, &str)],
) -> Result<Vec<Listed>, Failure> {
    let node = veracruz.kernel.node_id().to_string();
    let fields = fields.iter().copied().chain([("node", node.as_str())]);
    let filters = fields.map(|(name, value)| (format!("status.{name}"), value.to_owned())).collect();
    listing::all(&veracruz.kernel, caller, ResourceKind::Instance, filters, Listed::of).await
}

async fn list(
    State(veracruz): State<Veracruz>,
    caller: Caller,
    params: Params<Which>,
) -> Result<Response, Failure> {
    let which = params.decode()?;
    let running = listed(&veracruz, &caller, &[("state", "ready")]).await?;
    let shown: Vec<Value> = running
        .iter()
        .filter(|instance| which.selects(instance))
        .map(|instance| json!({ instance.address.clone(): instance.fields() }))
        .collect();
    Ok(object(&json!({ "veracruz": shown })))
}

async fn create(
    State(veracruz): State<Veracruz>,
    caller: Caller,
    deadline: Deadline,
    body: Upload,
) -> Result<Response, Failure> {
    let kernel = &veracruz.kernel;
    kernel.authorize::<Create>(&caller, ResourceKind::Instance).await.map_err(refusal)?;
    let text = policy_text(body).await?;
    let policy = VaasPolicy::parse(text.as_bytes()).map_err(incorrect)?;

    let caller = caller.again(kernel).await?;
    let permit = kernel.authorize::<Create>(&caller, ResourceKind::Instance).await.map_err(refusal)?;
    deadline.lift();
    let created = veracruz.functions.create_instance_alone(&caller, &permit, &text).await;
    let instance = created.map_err(|error| match error {
        FunctionError::Policy(error) => incorrect(error),
        error => function_refusal(error),
    })?;
    let mut answer = Map::new();
    answer.extend(policy.instance_id.map(|label| ("instance_id".to_owned(), label.into())));
    answer.insert("instance_hash".to_owned(), instance.policy_hash.to_string()[..HASH_LEN].into());
    answer.insert("policy".to_owned(), instance.policy_text.into());
    Ok(object(&answer.into()))
}

/// Refuses what cannot be the address of an instance.
fn demand_address(name: &str) -> Result<(), Failure> {
    let port =
        name.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(()),
        _ => Err(refused("name should be on the form <host>:<port>")),
    }
}

fn absent(name: &str) -> Failure {
    missing(format!("Veracruz instance '{name}' does not exist!"))
}

async fn read(
    State(veracruz): State<Veracruz>,
    caller: Caller,
    Path(name): Path<String>,
    params: Params<Which>,
) -> Result<Response, Failure> {
    demand_address(&name)?;
    let which = params.decode()?;
    let running = listed(&veracruz, &caller, &[("state", "ready"), ("address", &name)]).await?;
    let found = running.iter().find(|instance| which.selects(instance));
    found.map(|instance| object(&instance.fields().into())).ok_or_else(|| absent(&name))
}

/// Ends an instance. One that has ended of itself is no longer there, as it is for those who read.
async fn delete(
    State(veracruz): State<Veracruz>,
    caller: Caller,
    Path(name): Path<String>,
    params: Params<Which>,
) -> Result<Response, Failure> {
    demand_address(&name)?;
    let which = params.decode()?;
    let there = listed(&veracruz, &caller, &[("state", "ready"), ("address", &name)]).await?;
    let found = there.iter().find(|instance| which.identifies(instance)).ok_or_else(|| absent(&name))?;
    let record = veracruz.kernel.look_up::<Delete>(&caller, ResourceKind::Instance, &found.id).await;
    let (record, permit) = record.map_err(|error| match error {
        KernelError::NotFound(_) => absent(&name),
        error => refusal(error),
    })?;
    veracruz.functions.delete_instance(&caller, &record, &permit).await.map_err(function_refusal)?;
    Ok(said(&format!("Veracruz instance '{name}' was removed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn which(id: Option<&str>, hash: Option<&str>) -> Which {
        Which { instance_id: id.map(str::to_owned), instance_hash: hash.map(str::to_owned) }
    }

    #[test]
    fn an_instance_is_deleted_only_by_all_that_it_is_known_by() {
        let hash = "a".repeat(HASH_LEN);
        let longer = format!("{hash}bbbbb");
        let instance = |label: Option<&str>| Listed {
            id: "i".to_owned(),
            address: "127.0.0.1:3014".to_owned(),
            label: label.map(str::to_owned),
            hash: hash.clone(),
        };
        let (labelled, bare) = (instance(Some("mine")), instance(None));
        assert!(which(Some("mine"), Some(&hash)).identifies(&labelled));
        assert!(which(Some("mine"), Some(&longer)).identifies(&labelled));
        assert!(which(None, Some(&hash)).identifies(&bare));
        for wrong in [which(None, Some(&hash)), which(Some("mine"), None), which(None, None)] {
            assert!(!wrong.identifies(&labelled), "{wrong:?}");
        }
        assert!(!which(Some("mine"), Some(&hash)).identifies(&bare));
        assert!(!which(None, Some(&hash[1..])).identifies(&bare));
        assert!(which(None, None).selects(&labelled) && which(Some("mine"), None).selects(&labelled));
        assert!(!which(Some("other"), None).selects(&labelled) && !which(Some("mine"), None).selects(&bare));
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for name in ["127.0.0.1:3014", "[::1]:3014", "veracruz-nitro-server:1"] {
            assert!(demand_address(name).is_ok(), "{name}");
        }
        for name in ["127.0.0.1", ":3014", "host:", "host:x", "host:70000", ""] {
            assert!(demand_address(name).is_err(), "{name}");
        }
    }
}
