//! Versions of objects, for several principals.

use axum::http::Method;
use cm_kernel::objects::{NewObject, Versioning};
use cm_kernel::policy::sharing::{BucketSharing, CannedAcl, PolicyDocument};
use cm_kernel::policy::{Grant, Update};
use cm_kernel::{Actor, OpContext};
use cm_types::{BucketName, ObjectKey, PrincipalId, RequestId, ResourceKind};
use futures::stream;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::Node;

const BUCKET: &str = "/api/v1/buckets/scans";

fn op(actor: Actor) -> OpContext {
    OpContext::new(actor, RequestId::random(), CancellationToken::new())
}

async fn share(node: &Node, op: &OpContext, change: impl FnOnce(&mut BucketSharing) + Send + 'static) {
    let permit = node.kernel.look_up::<Grant>(op, ResourceKind::Bucket, "scans").await.unwrap().1;
    let bucket: BucketName = "scans".parse().unwrap();
    let shared = node.kernel.objects().share(&permit, &bucket, None, |sharing| {
        change(sharing);
        Ok::<_, ()>(())
    });
    shared.await.unwrap().unwrap();
}

async fn names(node: &Node) -> Vec<String> {
    let listed = node.get(&format!("{BUCKET}/versions")).await.expect(200).items();
    listed.iter().map(|item| item["version"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn versions_are_for_whom_they_were_given_to() {
    let node = Node::start().await;
    node.post("/api/v1/buckets", json!({ "name": "scans" })).await.expect(201);
    let stranger = node.somebody("stranger", &["bucket:list", "object:read"]).await;
    let admin = op(node.kernel.authenticate(&node.admin).await.unwrap());
    let (bucket, key): (BucketName, ObjectKey) = ("scans".parse().unwrap(), "k".parse().unwrap());
    let acl = |canned: CannedAcl| canned.acl(Some(&PrincipalId::admin()), &PrincipalId::admin());
    let open = acl(CannedAcl::PublicRead);
    share(&node, &admin, move |sharing| sharing.acl = Some(open)).await;
    let permit = node.kernel.look_up::<Update>(&admin, ResourceKind::Bucket, "scans").await.unwrap().1;
    let objects = node.kernel.objects();
    objects.set_versioning(&permit, &bucket, Versioning::Enabled).await.unwrap();
    for canned in [CannedAcl::Private, CannedAcl::PublicRead] {
        let permit = node.kernel.look_up_object::<Update>(&admin, &bucket, &key).await.unwrap();
        let new = NewObject { acl: Some(acl(canned)), ..NewObject::default() };
        objects.put(&permit, &bucket, &key, new, stream::iter([Ok("x".into())])).await.unwrap();
    }
    let found = names(&node).await;
    let [public, private] = &found[..] else { panic!("{found:?}") };
    let asks = async |path: String| node.ask(Method::GET, &path, Some(&stranger), "").await;
    asks(format!("{BUCKET}/objects/k")).await.expect(200);
    asks(format!("{BUCKET}/versions/{public}/k")).await.expect(200);
    asks(format!("{BUCKET}/versions/{private}/k")).await.expect(403);
    node.get(&format!("{BUCKET}/versions/{private}/k")).await.expect(200);
    node.delete(&format!("{BUCKET}/objects/k")).await.expect(204);
    asks(format!("{BUCKET}/objects/k")).await.expect(404);
    asks(format!("{BUCKET}/versions")).await.expect(200);
    asks(format!("{BUCKET}/versions/{private}/k")).await.expect(403);

    let denied =
        |action: &str| json!({ "Effect": "Deny", "Principal": "*", "Action": action, "Resource": "*" });
    let statements: Value = ["s3:DeleteObjectVersion", "s3:ListBucketVersions"].map(denied).into();
    let policy = PolicyDocument::parse(json!({ "Statement": statements }).to_string()).unwrap();
    share(&node, &admin, move |sharing| sharing.policy = Some(policy)).await;
    node.delete(&format!("{BUCKET}/versions/{private}/k")).await.expect(403);
    node.get(&format!("{BUCKET}/versions")).await.expect(403);
    node.get(&format!("{BUCKET}/objects")).await.expect(200);
    share(&node, &admin, |sharing| sharing.policy = None).await;
    node.delete(&format!("{BUCKET}/versions/{private}/k")).await.expect(204);
}
