//! `endpoint`: deploy endpoints, detach them, and see how they are.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::{Args, Subcommand};
use cm_client::Api;
use cm_client::resources::{Entry, ListQuery};
use cm_types::ResourceKind;
use serde_json::{Map, Value};

use crate::{Connection, Format, Outcome, output};

/// How long `deploy` waits for the endpoint to serve.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// How often it looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// `cryptomesh endpoint …`
#[derive(Debug, Subcommand)]
pub enum EndpointCommand {
    /// Deploy an endpoint, a new one if an image is given, and wait until it serves.
    Deploy(DeployArgs),
    /// Stop an endpoint once it has finished what is open.
    Detach(DetachArgs),
    /// Show an endpoint with its latest states.
    Status(StatusArgs),
}

/// `cryptomesh endpoint deploy`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cryptomesh endpoint deploy imaging --image registry/endpoint:1 --cpu 2 --ram 1GB
  cryptomesh endpoint deploy imaging --no-wait

The launcher of processes starts a server of this program; images are for launchers of containers.")]
pub struct DeployArgs {
    /// The endpoint.
    pub id: String,
    /// Creates the endpoint, with this image.
    #[arg(long)]
    pub image: Option<String>,
    /// CPU cores of the new endpoint.
    #[arg(long, requires = "image", requires = "ram", value_name = "CORES")]
    pub cpu: Option<u32>,
    /// Memory of the new endpoint, such as 512MB.
    #[arg(long, requires = "image", requires = "cpu", value_name = "SIZE")]
    pub ram: Option<String>,
    /// The security policy that guards the new endpoint.
    #[arg(long, requires = "image", value_name = "ID")]
    pub security_policy: Option<String>,
    /// Do not wait until it serves.
    #[arg(long)]
    pub no_wait: bool,
}

/// `cryptomesh endpoint detach`
#[derive(Args, Debug)]
pub struct DetachArgs {
    /// The endpoint.
    pub id: String,
    /// Delete its record, too.
    #[arg(long)]
    pub delete: bool,
}

/// `cryptomesh endpoint status`
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The endpoint.
    pub id: String,
    /// Most states to show, the latest first.
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    pub states: usize,
}

/// Runs one of them.
pub async fn run(command: EndpointCommand, connection: &Connection) -> Outcome {
    match command {
        EndpointCommand::Deploy(args) => deploy(args, connection).await,
        EndpointCommand::Detach(args) => detach(args, connection).await,
        EndpointCommand::Status(args) => status(args, connection).await,
    }
}

async fn deploy(args: DeployArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let deployed = match body(&args) {
        Some(body) => api.create_deployed_endpoint(&Value::Object(body)).await?,
        None => api.deploy_endpoint(&args.id).await?,
    };
    let shown = if args.no_wait { deployed } else { until_served(&api, &args.id).await? };
    output::entry(connection, &shown);
    Ok(ExitCode::SUCCESS)
}

/// The new endpoint, if there is to be one.
fn body(args: &DeployArgs) -> Option<Map<String, Value>> {
    let image = args.image.as_deref()?;
    let mut body = Map::new();
    body.insert("id".to_owned(), args.id.as_str().into());
    body.insert("image".to_owned(), image.into());
    if let (Some(cpu), Some(ram)) = (args.cpu, &args.ram) {
        body.insert("resources".to_owned(), serde_json::json!({ "cpu": cpu, "ram": ram }));
    }
    if let Some(policy) = &args.security_policy {
        body.insert("security_policy".to_owned(), policy.as_str().into());
    }
    Some(body)
}

async fn until_served(api: &Api, id: &str) -> anyhow::Result<Entry> {
    let end = Instant::now() + WAIT_MAX;
    loop {
        let endpoint = api.read(ResourceKind::Endpoint, id).await?;
        match endpoint.get("state").and_then(Value::as_str) {
            Some("warm") => return Ok(endpoint),
            Some("warming") if Instant::now() < end => tokio::time::sleep(LOOK_INTERVAL).await,
            Some("warming") => bail!("`{id}` does not serve after {} s", WAIT_MAX.as_secs()),
            _ => {
                let reason = endpoint.get("status").and_then(|status| status.get("reason"));
                let reason = reason.and_then(Value::as_str).unwrap_or("nobody knows why");
                bail!("`{id}` was not deployed: {reason}");
            }
        }
    }
}

async fn detach(args: DetachArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    if args.delete {
        api.detach_and_delete_endpoint(&args.id).await?;
        let document = serde_json::json!({ "id": args.id, "deleted": true });
        output::done(connection, &format!("{} is gone", args.id), &document);
    } else {
        output::entry(connection, &api.detach_endpoint(&args.id).await?);
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(args: StatusArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let mut shown = api.read(ResourceKind::Endpoint, &args.id).await?;
    let query = ListQuery {
        limit: Some(args.states),
        filters: vec![("endpoint_id".to_owned(), args.id)],
        newest_first: true,
        ..ListQuery::default()
    };
    let states = api.list(ResourceKind::EndpointState, &query).await?.items;
    let states = match connection.output {
        Format::Json | Format::Yaml => states.into_iter().map(Value::Object).collect(),
        Format::Table => states.iter().map(output::state).collect::<Vec<_>>().join("\n").into(),
    };
    shown.insert("latest_states".to_owned(), states);
    output::entry(connection, &shown);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: EndpointCommand,
    }

    fn deploy_body(line: &str) -> Result<Option<Value>, String> {
        let parsed = Line::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        match parsed.command {
            EndpointCommand::Deploy(args) => Ok(body(&args).map(Value::Object)),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn an_image_makes_a_new_endpoint() {
        assert_eq!(deploy_body("x deploy e"), Ok(None));
        let expected =
            serde_json::json!({ "id": "e", "image": "i:1", "resources": { "cpu": 2, "ram": "1GB" } });
        assert_eq!(deploy_body("x deploy e --image i:1 --cpu 2 --ram 1GB"), Ok(Some(expected)));
        assert!(deploy_body("x deploy e --cpu 2 --ram 1GB").is_err(), "resources of no new endpoint");
        assert!(deploy_body("x deploy e --image i:1 --cpu 2").is_err(), "resources without memory");
    }
}
