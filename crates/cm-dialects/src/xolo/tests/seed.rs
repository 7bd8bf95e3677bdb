use cm_kernel::identity::NewTenant;
use cm_kernel::policy::Create;

use super::*;

const APP: &str = "Xelhua_fwW0zVpEWo2vK0Sq";

/// An application that anybody may sign up with.
async fn app(world: &World) {
    let kernel = &world.kernel;
    let node = OpContext::new(Actor::node(), RequestId::random(), kernel.tasks().token());
    let permit = kernel.authorize_of_node::<Create>(&node, ResourceKind::Tenant).await.unwrap();
    let id = TenantId::parse(APP).unwrap();
    let new = NewTenant { id, name: None, open: true, administrator: None };
    kernel.create_tenant(&node, &permit, new).await.unwrap();
}

async fn ask(world: &World, verb: &str, more: Value) -> Answer {
    let mut body = json!({ "app_id": APP, "client_id": "jcastillo", "secret": "t0pS3cR3t" });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    world.ask("POST", &format!("/api/v3/{verb}"), &[], body).await
}

async fn verified(world: &World, token: &str) -> bool {
    let body = ask(world, "verify", json!({ "token": token })).await.expect(200);
    assert_eq!(fields(&body), ["service_time", "verified"]);
    body["verified"].as_bool().unwrap()
}

async fn sign_up(world: &World) -> String {
    app(world).await;
    let metadata = json!({ "first_name": "Ignacio", "last_name": "Castillo", "age": "26" });
    let more = json!({ "metadata": metadata, "claims": { "x": 1 }, "expires_in": 86400 });
    let body = ask(world, "signup", more).await.expect(200);
    assert_eq!(fields(&body), ["service_time", "token"]);
    body["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_five_operations_of_the_first_protocol() {
    let world = World::start().await;
    let first = sign_up(&world).await;
    let (header, claims) = parts(&first);
    assert_eq!((header["alg"].as_str(), header["typ"].as_str()), (Some("HS256"), Some("JWT")));
    assert_eq!(claims["sub"], "jcastillo");
    assert!(verified(&world, &first).await);

    let body = ask(&world, "auth", json!({ "expires_in": 60 })).await.expect(200);
    assert_eq!(fields(&body), ["client_id", "jti", "metadata", "service_time", "token"]);
    assert_eq!(body["token"], first, "the live token is returned");
    assert_eq!(body["metadata"], json!({ "first_name": "Ignacio", "last_name": "Castillo", "age": "26" }));
    assert_eq!(
        (body["client_id"].as_str(), body["jti"].as_str()),
        (Some("jcastillo"), claims["jti"].as_str())
    );

    let body = ask(&world, "refresh", json!({ "token": first })).await.expect(200);
    assert_eq!(fields(&body), ["service_time", "token"]);
    let second = body["token"].as_str().unwrap().to_owned();
    assert!(!verified(&world, &first).await, "refreshed away");
    assert!(verified(&world, &second).await);
    ask(&world, "refresh", json!({ "token": first })).await.expect(401);

    let body = ask(&world, "logout", json!({ "token": second })).await.expect(200);
    assert_eq!(fields(&body), ["logout", "service_time"]);
    assert_eq!(body["logout"], true);
    assert!(!verified(&world, &second).await, "logged out");
    ask(&world, "logout", json!({ "token": second })).await.expect(401);
}

#[tokio::test]
async fn a_token_revoked_by_the_native_api_is_not_verified() {
    let world = World::start().await;
    let token = sign_up(&world).await;
    let node = OpContext::new(Actor::node(), RequestId::random(), world.kernel.tasks().token());
    world.kernel.revoke_shown(&node, token.clone().into()).await.unwrap();
    assert!(!verified(&world, &token).await);
}

#[tokio::test]
async fn tokens_really_expire_and_are_replaced() {
    let world = World::start().await;
    let first = sign_up(&world).await;
    world.advance(86_400);
    assert!(!verified(&world, &first).await);
    ask(&world, "refresh", json!({ "token": first })).await.expect(401);
    let body = ask(&world, "auth", json!({ "expires_in": 60 })).await.expect(200);
    let second = body["token"].as_str().unwrap().to_owned();
    assert_ne!(second, first);
    world.advance(59);
    assert!(verified(&world, &second).await);
    world.advance(1);
    assert!(!verified(&world, &second).await);
    for bad in [json!(-1), json!(0), json!(99_999_999)] {
        let auth = ask(&world, "auth", json!({ "expires_in": bad })).await;
        assert_eq!(auth.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
}

#[tokio::test]
async fn forged_tokens_are_refused_each_with_an_event() {
    let world = World::start().await;
    let good = sign_up(&world).await;
    let (header, claims) = parts(&good);
    let mut other_audience = claims.clone();
    other_audience["aud"] = json!("api");
    let unsigned = forge(&json!({ "alg": "none", "typ": "JWT" }), &claims, b"");
    let without_signature = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    let head = good.rsplit_once('.').unwrap().0;
    let forgeries = [
        ("signed with the secret that the caller sends", forge(&header, &claims, b"t0pS3cR3t")),
        ("signed with nothing", forge(&header, &claims, b"")),
        ("without an algorithm", unsigned),
        ("without a signature", without_signature),
        (
            "with another algorithm",
            forge(&json!({ "alg": "EdDSA", "kid": header["kid"], "typ": "JWT" }), &claims, b"k"),
        ),
        ("with another key", forge(&json!({ "alg": "HS256", "kid": "ffff", "typ": "JWT" }), &claims, b"k")),
        ("for another audience", forge(&header, &other_audience, b"k")),
        ("cut", head.to_owned()),
        ("of the native API", world.admin.clone()),
    ];
    for (what, token) in forgeries {
        let before = world.count(APP, "credential.refused").await;
        assert!(!verified(&world, &token).await, "{what}");
        world.advance(2);
        assert_eq!(world.count(APP, "credential.refused").await, before + 1, "{what}");
        ask(&world, "refresh", json!({ "token": token })).await.expect(401);
        world.advance(2);
    }
    assert!(verified(&world, &good).await);
    // One that is good, but somebody else's.
    let other = json!({ "client_id": "other", "metadata": {}, "claims": {}, "expires_in": 86400 });
    let others = ask(&world, "signup", other).await.expect(200)["token"].as_str().unwrap().to_owned();
    let before = world.count(APP, "credential.refused").await;
    assert!(!verified(&world, &others).await);
    assert_eq!(world.count(APP, "credential.refused").await, before + 1);
}

#[tokio::test]
async fn a_token_is_nothing_without_its_secret() {
    let world = World::start().await;
    let token = sign_up(&world).await;
    let body = json!({ "app_id": APP, "client_id": "jcastillo", "secret": "wrong secret", "token": token });
    for verb in ["verify", "refresh", "logout"] {
        assert_eq!(
            world.ask("POST", &format!("/api/v3/{verb}"), &[], body.clone()).await.code(401),
            "XOLO.UNAUTHORIZED"
        );
    }
    let body = json!({ "app_id": APP, "client_id": "mallory", "secret": "mallory's secret" });
    world.ask("POST", "/api/v3/signup", &[], body.clone()).await.expect(200);
    let mut with_token = body;
    with_token["token"] = json!(token);
    let answer = world.ask("POST", "/api/v3/verify", &[], with_token).await.expect(200);
    assert_eq!(answer["verified"], false, "another client's token");
    assert!(verified(&world, &token).await);
}

#[tokio::test]
async fn guessing_locks_the_guesser_and_not_the_client() {
    let world = World::start().await;
    sign_up(&world).await;
    let guess = json!({ "app_id": APP, "client_id": "jcastillo", "secret": "guessed wrongly" });
    let mut statuses = Vec::new();
    for _ in 0..7 {
        statuses.push(world.ask_from(66, "POST", "/api/v3/auth", &[], guess.clone()).await.status.as_u16());
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
    assert_eq!(world.count(APP, "login.failed").await, 5, "an event each");
    ask(&world, "auth", json!({})).await.expect(200);
}

#[tokio::test]
async fn nobody_signs_up_where_it_is_not_open() {
    let world = World::start().await;
    world.account("closed").await;
    for app in ["closed", "default", "nowhere", "no/app"] {
        let body = json!({ "app_id": app, "client_id": "x", "secret": "long enough" });
        world.ask("POST", "/api/v3/signup", &[], body).await.expect(401);
    }
    sign_up(&world).await;
    assert_eq!(ask(&world, "signup", json!({})).await.code(409), "XOLO.ALREADY_EXISTS");
    let short = json!({ "app_id": APP, "client_id": "y", "secret": "short" });
    assert_eq!(world.ask("POST", "/api/v3/signup", &[], short).await.code(422), "XOLO.VALIDATION_ERROR");
    for bad in [json!({}), json!([]), json!({ "app_id": APP })] {
        world.ask("POST", "/api/v3/signup", &[], bad).await.expect(422);
    }
}

#[tokio::test]
async fn on_an_open_node_applications_come_into_being() {
    let world = World::start_with(Access::Open(Actor::node())).await;
    let body = json!({ "app_id": "fresh", "client_id": "x", "secret": "long enough" });
    world.ask("POST", "/api/v3/signup", &[], body.clone()).await.expect(200);
    world.ask("POST", "/api/v3/auth", &[], body.clone()).await.expect(200);
    let foreign = world.ask("POST", "/api/v3/auth", &[("origin", "http://evil.example")], body).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
}
