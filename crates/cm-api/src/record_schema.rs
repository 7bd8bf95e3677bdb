//! How records are described: what stands side by side in a record stands side by side in its schema, under the name of
//! its kind.

use std::borrow::Cow;
use std::marker::PhantomData;

use serde_json::Value;
use utoipa::openapi::{Object, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::record::{HeaderView, RecordView};

/// What is sent to create a record of a spec. It only describes; bodies are taken apart field by field.
#[derive(Debug)]
pub struct RecordBody<S>(PhantomData<S>);

/// What else is sent than the spec.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it describes, and is never built")]
struct SentHeader {
    /// The id; chosen by the node without one.
    id: Option<String>,
    /// The name, at most 32 characters; the id without one.
    name: Option<String>,
    /// Labels.
    labels: Option<std::collections::BTreeMap<String, String>>,
}

/// What every record ends with.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it describes, and is never built")]
struct Found {
    /// What the platform found; `null` until it found something.
    #[schema(required)]
    status: Value,
}

impl<S: ToSchema, E: ToSchema> PartialSchema for RecordView<S, E> {
    fn schema() -> RefOr<Schema> {
        joined([HeaderView::schema(), S::schema(), E::schema(), Found::schema()])
    }
}

impl<S: ToSchema, E: ToSchema> ToSchema for RecordView<S, E> {
    fn name() -> Cow<'static, str> {
        kind_name::<S>().into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        S::schemas(schemas);
        E::schemas(schemas);
    }
}

impl<S: ToSchema> PartialSchema for RecordBody<S> {
    fn schema() -> RefOr<Schema> {
        joined([SentHeader::schema(), S::schema()])
    }
}

impl<S: ToSchema> ToSchema for RecordBody<S> {
    fn name() -> Cow<'static, str> {
        format!("{}{BODY}", kind_name::<S>()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        S::schemas(schemas);
    }
}

/// How the names of schemas of records to be created end.
const BODY: &str = "Body";
/// How the names of schemas of what is to change end.
const CHANGE: &str = "Change";

fn kind_name<S: ToSchema>() -> String {
    S::name().trim_end_matches("Spec").to_owned()
}

/// All fields of these objects as one object.
fn joined<const N: usize>(parts: [RefOr<Schema>; N]) -> RefOr<Schema> {
    let mut whole = Object::new();
    for part in parts {
        let RefOr::T(Schema::Object(part)) = part else { continue };
        whole.properties.extend(part.properties);
        whole.required.extend(part.required);
        if let Some(more) = part.additional_properties {
            whole.additional_properties = Some(more);
        }
    }
    RefOr::T(Schema::Object(whole))
}

/// The same fields, none of which is required, and the name of their schema: how a record is changed. `None` for what
/// does not describe a record to be created.
pub(crate) fn change_of(name: &str, schema: &RefOr<Schema>) -> Option<(String, RefOr<Schema>)> {
    let kind = name.strip_suffix(BODY)?;
    let RefOr::T(Schema::Object(object)) = schema else { return None };
    let mut relaxed = object.clone();
    relaxed.required.clear();
    Some((format!("{kind}{CHANGE}"), RefOr::T(Schema::Object(relaxed))))
}
