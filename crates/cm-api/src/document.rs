//! The OpenAPI document, finished from what the handlers say of themselves.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, PathItem, Ref, RefOr, ResponseBuilder, Schema};
use utoipa::{OpenApi as _, PartialSchema as _, ToSchema};

use crate::api::Settings;
use crate::record_schema::change_of;
use crate::routes;

/// Where the API begins.
pub const PREFIX: &str = "/api/v1";

const BEARER: &str = "bearer";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "CryptoMesh API",
        version = "1.0.0",
        description = "Confidential functions, their data, and who may do what. Every operation but the login takes a \
                       bearer token: an API key or a token of the login. `x-permission` names the permissions that an \
                       operation asks for; `self` asks for none beyond being known."
    ),
    components(schemas(ErrorBody)),
    tags(
        (name = "auth", description = "Logging in and out, and who one is"),
        (name = "tenants", description = "Isolated namespaces of principals and resources"),
        (name = "keys", description = "Keys that sign what the node issues, and take turns"),
        (name = "principals", description = "Who can authenticate, and their API keys"),
        (name = "workloads", description = "Principals that are workloads, what they show to each other, and whose are trusted"),
        (name = "roles", description = "Named sets of permissions"),
        (name = "security-policies", description = "What resources demand of their users"),
        (name = "services", description = "Groups of microservices"),
        (name = "microservices", description = "Groups of functions"),
        (name = "functions", description = "What can be computed: functions, their programs and data files"),
        (name = "endpoints", description = "Servers that functions are deployed on"),
        (name = "storages", description = "Where inputs of functions come from and their outputs go"),
        (name = "active-objects", description = "Python code with state, described by its schema"),
        (name = "function-states", description = "What functions went through"),
        (name = "function-results", description = "What runs of functions came to"),
        (name = "endpoint-states", description = "What endpoints went through"),
        (name = "manifests", description = "Many declarations at once"),
        (name = "instances", description = "Confidential instances and the evidence of what they are"),
        (name = "buckets", description = "Containers of objects"),
        (name = "objects", description = "Bytes of any size"),
        (name = "events", description = "The append-only, hash-chained log"),
        (name = "decisions", description = "Explains who may do what"),
        (name = "node", description = "What this node says of itself"),
    )
)]
struct Base;

/// How every refusal looks.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// The refusal.
    pub error: ErrorDescription,
}

/// What is said about a refusal.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorDescription {
    /// A stable name for programs, such as `not-found`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// Names the request in the node's log.
    pub request_id: String,
    /// Facts for programs, by code.
    pub details: Map<String, Value>,
}

/// The document's beginning: everything that is not said by a handler.
pub(crate) fn base() -> OpenApi {
    Base::openapi()
}

/// The OpenAPI 3.1 document of the API, in a stable order.
pub fn openapi() -> OpenApi {
    finish(routes::described().into_openapi())
}

/// The document as JSON text that ends with a line feed; the same for the same program.
pub fn openapi_text() -> String {
    text_of(&openapi())
}

fn text_of(document: &OpenApi) -> String {
    let mut text = document.to_pretty_json().expect("a document of texts and lists is JSON");
    text.push('\n');
    text
}

/// The document as a node serves it: under its own title, version and prefix, with the refusals of its mode.
pub(crate) fn served(settings: &Settings, open: bool) -> String {
    let mut document = openapi();
    document.info.title.clone_from(&settings.title);
    document.info.version.clone_from(&settings.version);
    if settings.prefix != PREFIX {
        let paths = std::mem::take(&mut document.paths.paths);
        let moved = |path: String| {
            path.strip_prefix(PREFIX).map(|rest| format!("{}{rest}", settings.prefix)).unwrap_or(path)
        };
        document.paths.paths = paths.into_iter().map(|(path, item)| (moved(path), item)).collect();
    }
    if open {
        // Nobody has to say who they are.
        document.security = None;
    }
    if open && let Some(components) = &mut document.components {
        components.schemas.insert("ErrorBody".to_owned(), EarlierErrorBody::schema());
        components.schemas.remove("ErrorDescription");
    }
    text_of(&document)
}

/// How every refusal of a node in open mode looks.
#[derive(Debug, Serialize, ToSchema)]
struct EarlierErrorBody {
    /// A message with its code, a list of what is wrong with the body's fields, or a sentence.
    detail: Value,
}

/// Completes what is the same for every operation.
pub(crate) fn finish(mut document: OpenApi) -> OpenApi {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API key (`cmk_…`) or a signed token"))
        .build();
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert(BEARER.to_owned(), RefOr::T(SecurityScheme::Http(scheme)));
    document.security =
        Some(vec![utoipa::openapi::security::SecurityRequirement::new(BEARER, Vec::<String>::new())]);

    let paths = std::mem::take(&mut document.paths.paths);
    for (path, mut item) in paths {
        if let Some(operation) = &mut item.put {
            with_partial_body(operation, &mut document.components.get_or_insert_default().schemas);
        }
        for operation in operations(&mut item) {
            with_refusals(operation);
        }
        // The router's notation of a parameter that spans segments is unknown to OpenAPI.
        document.paths.paths.insert(path.replace("{*", "{"), item);
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.head, &mut item.patch]
        .into_iter()
        .flatten()
}

/// A record is changed by the fields that it is created with, none of which is required then.
fn with_partial_body(operation: &mut Operation, schemas: &mut BTreeMap<String, RefOr<Schema>>) {
    let Some(RefOr::T(body)) = &mut operation.request_body else { return };
    for content in body.content.values_mut() {
        let RefOr::T(content) = content else { continue };
        let Some(RefOr::Ref(reference)) = &content.schema else { continue };
        let Some(name) = reference.ref_location.strip_prefix("#/components/schemas/") else { continue };
        let Some((name, change)) = schemas.get(name).and_then(|schema| change_of(name, schema)) else {
            continue;
        };
        content.schema = Some(RefOr::Ref(Ref::from_schema_name(&name)));
        schemas.insert(name, change);
    }
}

fn with_refusals(operation: &mut Operation) {
    let refusal = |description: &str| {
        let schema = RefOr::Ref(Ref::from_schema_name("ErrorBody"));
        let content = ContentBuilder::new().schema(Some(schema)).build();
        RefOr::T(ResponseBuilder::new().description(description).content("application/json", content).build())
    };
    let responses = &mut operation.responses.responses;
    for (status, description) in [
        ("401", "No credential, or one that is not valid"),
        ("403", "Not permitted"),
        ("default", "Any other refusal"),
    ] {
        responses.entry(status.to_owned()).or_insert_with(|| refusal(description));
    }
}
