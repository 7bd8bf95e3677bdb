//! Bodies that end after what was shown before them was revoked.

use futures::stream;

use super::*;

/// Asks with a body of which the second half comes after `meanwhile` is done.
async fn ask_late(
    world: &World,
    path: &str,
    headers: Headers<'_>,
    body: Value,
    meanwhile: impl Future<Output = ()> + Send + 'static,
) -> u16 {
    let text = body.to_string();
    let (first, second) = text.split_at(text.len() / 2);
    let (first, second) = (first.to_owned(), second.to_owned());
    let halves = stream::once(async move { Ok::<_, std::io::Error>(first) });
    let halves = futures::StreamExt::chain(
        halves,
        stream::once(async move {
            meanwhile.await;
            Ok(second)
        }),
    );
    let mut request = Request::builder().method("POST").uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::from_stream(halves)).unwrap();
    request.extensions_mut().insert(Peer(SocketAddr::from(([192, 0, 2, 1], 1234))));
    world.router.clone().oneshot(request).await.unwrap().status().as_u16()
}

/// What somebody else asks for meanwhile.
fn meanwhile(world: &World, method: &'static str, path: String) -> impl Future<Output = ()> + Send + 'static {
    let (router, admin) = (world.router.clone(), world.admin.clone());
    async move {
        let request = Request::builder().method(method).uri(&path).header("host", "localhost");
        let mut request = request.header("x-admin-token", admin).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer(SocketAddr::from(([192, 0, 2, 9], 1234))));
        let answer = router.oneshot(request).await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }
}

#[tokio::test]
async fn a_key_that_was_revoked_while_the_body_came_changes_nothing() {
    let world = World::start().await;
    world.account("acct").await;
    let body = json!({ "name": "brief", "scopes": ["all"] });
    let made = world.as_admin("POST", "/api/v4/accounts/acct/apikeys", body).await.expect(201);
    let key = made["key"].as_str().unwrap().to_owned();
    let id = key.split('_').nth(1).unwrap().to_owned();
    let revoke = meanwhile(&world, "DELETE", format!("/api/v4/accounts/acct/apikeys/{id}"));
    let scopes = "/api/v4/accounts/acct/scopes";
    let status = ask_late(&world, scopes, &[("x-api-key", &key)], json!({ "name": "late" }), revoke).await;
    assert_eq!(status, 401);
    let listed = world.as_admin("GET", scopes, Value::Null).await.expect(200);
    assert_eq!(listed, json!([{ "name": "OPS" }]));
}

#[tokio::test]
async fn a_user_who_was_blocked_while_the_body_came_gets_nothing() {
    let world = World::start().await;
    let key = world.account("acct").await;
    world.sign_up("acct", &key, "alice").await;
    let session = world.auth("acct", &key, "alice").await;
    let block = meanwhile(&world, "POST", "/api/v4/accounts/acct/users/alice/block".to_owned());
    let path = "/api/v4/accounts/acct/users/refresh";
    let body = json!({ "expiration": "15min" });
    assert_eq!(ask_late(&world, path, &session.headers(), body, block).await, 401);
}

#[tokio::test]
async fn an_administrator_who_was_demoted_while_the_body_came_changes_nothing() {
    let world = World::start().await;
    world.account("acct").await;
    let node = OpContext::new(
        world.kernel.authenticate(&world.admin).await.unwrap(),
        RequestId::random(),
        world.kernel.tasks().token(),
    );
    // A second administrator of the first tenant, as people are made by the native API.
    let permit = world.kernel.authorize::<cm_kernel::policy::Create>(&node, ResourceKind::Principal).await;
    let id = cm_types::PrincipalId::parse("brief").unwrap();
    let roles = vec![cm_types::ResourceId::parse("admin").unwrap()];
    let new = cm_kernel::identity::NewPrincipal { id: id.clone(), display_name: None, roles };
    world.kernel.create_principal(&node, &permit.unwrap(), new).await.unwrap();
    let (principal, permit) =
        world.kernel.look_up_principal::<cm_kernel::policy::Grant>(&node, "brief").await.unwrap();
    let (key, _) = world.kernel.create_api_key(&node, &permit, &principal, "test".to_owned()).await.unwrap();
    let kernel = world.kernel.clone();
    let demote = async move {
        let (_, permit) =
            kernel.look_up_principal::<cm_kernel::policy::Update>(&node, "brief").await.unwrap();
        let change = cm_kernel::identity::PrincipalChange {
            roles: Some(Vec::new()),
            ..cm_kernel::identity::PrincipalChange::default()
        };
        kernel.update_principal(&node, &permit, &id, change).await.unwrap();
    };
    let scopes = "/api/v4/accounts/acct/scopes";
    let status =
        ask_late(&world, scopes, &[("x-admin-token", key.expose())], json!({ "name": "late" }), demote).await;
    assert_eq!(status, 403);
    let listed = world.as_admin("GET", scopes, Value::Null).await.expect(200);
    assert_eq!(listed, json!([{ "name": "OPS" }]));
}
