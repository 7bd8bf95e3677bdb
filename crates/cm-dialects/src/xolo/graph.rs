//! Attribute graphs of applications.

use std::collections::BTreeMap;

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use cm_http::Failure;
use cm_kernel::OpContext;
use cm_kernel::identity::AccountScope;
use cm_kernel::policy::declared::DeclarationError;
use cm_kernel::policy::declared::graph::{Association, Graph, Node, NodeKind};
use cm_kernel::policy::{List, Update};
use cm_types::ResourceKind;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Xolo;
use super::call::{Call, account};
use super::shape::refused;

pub(super) fn routes() -> Router<Xolo> {
    Router::new()
        .route("/ngac/nodes", get(list).post(create))
        .route("/ngac/nodes/{node}", get(read).delete(remove))
        .route("/ngac/assign", post(assign).delete(unassign))
        .route("/ngac/assignments", get(assignments))
        .route("/ngac/associate", post(associate))
        .route("/ngac/associate/{association}", delete(dissociate))
        .route("/ngac/associations", get(associations))
        .route("/ngac/check", post(check))
}

#[derive(Deserialize)]
struct NewNode {
    name: String,
    node_type: NodeKind,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted {
    node_type: Option<NodeKind>,
}

#[derive(Deserialize)]
struct Assignment {
    from_id: String,
    to_id: String,
}

#[derive(Deserialize)]
struct NewAssociation {
    user_attribute_id: String,
    object_attribute_id: String,
    operations: Vec<String>,
}

#[derive(Deserialize)]
struct Question {
    user_id: String,
    object_id: String,
    operation: String,
}

fn view(id: &str, node: &Node) -> Value {
    json!({
        "node_id": id,
        "node_type": node.kind,
        "name": node.name,
        "properties": node.properties,
        "owner_id": node.owner,
    })
}

async fn may_ask(call: &Call, id: &str) -> Result<cm_kernel::Permit<List>, Failure> {
    let (op, _) = call.user_of(&account(id)?, AccountScope::Ngac).await?;
    call.xolo.kernel().authorize::<List>(&op, ResourceKind::SecurityPolicy).await.map_err(refused)
}

async fn may_change(
    call: &Call,
    id: &str,
) -> Result<(OpContext, cm_kernel::Permit<Update>, String), Failure> {
    let (op, live) = call.user_of(&account(id)?, AccountScope::Ngac).await?;
    let permit = call.xolo.kernel().authorize::<Update>(&op, ResourceKind::SecurityPolicy).await;
    Ok((op, permit.map_err(refused)?, live.principal.id.to_string()))
}

async fn change(
    call: (&Xolo, &OpContext, &cm_kernel::Permit<Update>),
    told: (&'static str, String),
    change: impl FnOnce(&mut Graph) -> Result<(), DeclarationError> + Send + 'static,
) -> Result<(), Failure> {
    let (xolo, op, permit) = call;
    xolo.kernel().change_declared(op, permit, told, change).await.map_err(refused)
}

async fn create(Path(id): Path<String>, call: Call) -> Result<(StatusCode, Json<Value>), Failure> {
    let (op, permit, owner) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let NewNode { name, node_type, properties } = call.body().await?;
    let node = Node { kind: node_type, name, properties, owner, parents: Default::default() };
    let node_id = Uuid::new_v4().to_string();
    let shown = view(&node_id, &node);
    let told = ("node.created", node_id.clone());
    change((&xolo, &op, &permit), told, move |graph| graph.create(&node_id, node)).await?;
    Ok((StatusCode::CREATED, Json(shown)))
}

async fn list(
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
    call: Call,
) -> Result<Json<Value>, Failure> {
    let permit = may_ask(&call, &id).await?;
    let all = call.xolo.kernel().ask_declared(&permit, move |graph: &Graph| {
        let fits = |node: &Node| wanted.node_type.is_none_or(|kind| kind == node.kind);
        let nodes = graph.nodes.iter().filter(|(_, node)| fits(node));
        nodes.map(|(id, node)| view(id, node)).collect::<Vec<_>>()
    });
    Ok(Json(all.await.map_err(refused)?.into()))
}

async fn read(Path((id, node)): Path<(String, String)>, call: Call) -> Result<Json<Value>, Failure> {
    let permit = may_ask(&call, &id).await?;
    let kernel = call.xolo.kernel();
    let shown =
        kernel.ask_declared(&permit, move |graph: &Graph| graph.get(&node).map(|found| view(&node, found)));
    Ok(Json(shown.await.map_err(refused)?.map_err(|error| refused(error.into()))?))
}

async fn remove(Path((id, node)): Path<(String, String)>, call: Call) -> Result<StatusCode, Failure> {
    let (op, permit, _) = may_change(&call, &id).await?;
    let told = ("node.deleted", node.clone());
    change((&call.xolo, &op, &permit), told, move |graph| graph.remove(&node)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn assign(Path(id): Path<String>, call: Call) -> Result<(StatusCode, Json<Value>), Failure> {
    let (op, permit, _) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let Assignment { from_id, to_id } = call.body().await?;
    let shown = json!({ "assignment_id": format!("{from_id}/{to_id}"), "from_id": from_id, "to_id": to_id });
    let told = ("node.assigned", format!("{from_id}/{to_id}"));
    change((&xolo, &op, &permit), told, move |graph| graph.assign(&from_id, &to_id)).await?;
    Ok((StatusCode::CREATED, Json(shown)))
}

async fn unassign(Path(id): Path<String>, call: Call) -> Result<StatusCode, Failure> {
    let (op, permit, _) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let Assignment { from_id, to_id } = call.body().await?;
    let told = ("node.unassigned", format!("{from_id}/{to_id}"));
    change((&xolo, &op, &permit), told, move |graph| graph.unassign(&from_id, &to_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn assignments(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let permit = may_ask(&call, &id).await?;
    let all = call.xolo.kernel().ask_declared(&permit, |graph: &Graph| {
        let mut all = Vec::new();
        for (from, node) in &graph.nodes {
            all.extend(node.parents.iter().map(|to| {
                json!({
                    "assignment_id": format!("{from}/{to}"),
                    "from_id": from,
                    "to_id": to,
                    "owner_id": node.owner,
                })
            }));
        }
        all
    });
    Ok(Json(all.await.map_err(refused)?.into()))
}

async fn associate(Path(id): Path<String>, call: Call) -> Result<(StatusCode, Json<Value>), Failure> {
    let (op, permit, owner) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let NewAssociation { user_attribute_id, object_attribute_id, operations } = call.body().await?;
    let association = Association {
        user_attribute: user_attribute_id,
        object_attribute: object_attribute_id,
        operations: operations.iter().map(|text| text.trim().to_lowercase()).collect(),
        owner,
    };
    let association_id = Uuid::new_v4().to_string();
    let shown = association_view(&association_id, &association);
    let told = ("association.created", association_id.clone());
    change((&xolo, &op, &permit), told, move |graph| graph.associate(&association_id, association)).await?;
    Ok((StatusCode::CREATED, Json(shown)))
}

fn association_view(id: &str, association: &Association) -> Value {
    json!({
        "association_id": id,
        "user_attribute_id": association.user_attribute,
        "object_attribute_id": association.object_attribute,
        "operations": association.operations,
        "owner_id": association.owner,
    })
}

async fn dissociate(
    Path((id, association)): Path<(String, String)>,
    call: Call,
) -> Result<StatusCode, Failure> {
    let (op, permit, _) = may_change(&call, &id).await?;
    let told = ("association.deleted", association.clone());
    change((&call.xolo, &op, &permit), told, move |graph| graph.dissociate(&association)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn associations(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let permit = may_ask(&call, &id).await?;
    let all = call.xolo.kernel().ask_declared(&permit, |graph: &Graph| {
        graph.associations.iter().map(|(id, one)| association_view(id, one)).collect::<Vec<_>>()
    });
    Ok(Json(all.await.map_err(refused)?.into()))
}

async fn check(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let permit = may_ask(&call, &id).await?;
    let xolo = call.xolo.clone();
    let Question { user_id, object_id, operation } = call.body().await?;
    let answer = xolo.kernel().ask_declared(&permit, move |graph: &Graph| {
        let answer = graph.check(&user_id, &object_id, &operation);
        json!({
            "allowed": answer.allowed,
            "reason": answer.reason,
            "user_id": user_id,
            "object_id": object_id,
            "operation": operation,
        })
    });
    Ok(Json(answer.await.map_err(refused)?))
}
