use super::*;

const USERS: &str = "/api/v4/accounts/acct/users";

async fn ready(world: &World) -> (String, Session) {
    let key = world.account("acct").await;
    world.sign_up("acct", &key, "alice").await;
    let session = world.auth("acct", &key, "alice").await;
    (key, session)
}

async fn verify(world: &World, session: &Session) -> u16 {
    let body = json!({ "access_token": session.token, "username": "alice", "secret": session.secret });
    world.ask("POST", &format!("{USERS}/verify"), &[], body).await.status.as_u16()
}

#[tokio::test]
async fn users_sign_up_log_in_refresh_and_log_out() {
    let world = World::start().await;
    let (key, session) = ready(&world).await;
    let (_, claims) = parts(&session.token);
    assert_eq!(
        (claims["sub"].as_str(), claims["aid"].as_str(), claims["iss"].as_str()),
        (Some("alice"), Some("acct"), Some("OPS"))
    );
    assert!(claims["exp"].is_i64() && claims["iat"].is_i64() && claims["uid2"].is_string());
    assert_eq!(verify(&world, &session).await, 204);
    let me = world.ask("GET", USERS, &session.headers(), Value::Null).await.expect(200);
    assert_eq!((me["key"].as_str(), me["email"].as_str()), (Some("alice"), Some("alice@example.com")));
    assert_eq!(me["disabled"], false);

    let body = json!({ "username": "alice", "password": "password123", "scope": "ops", "expiration": "15m" });
    let again = world.ask("POST", &format!("{USERS}/auth"), &[("x-api-key", &key)], body).await.expect(200);
    assert_eq!(again["access_token"], session.token, "the live session");
    assert_eq!(again["temporal_secret"], session.secret);
    let mut names = fields(&again);
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "access_token",
            "email",
            "first_name",
            "last_name",
            "metadata",
            "profile_photo",
            "temporal_secret",
            "user_id",
            "username"
        ]
    );

    let body = json!({ "expiration": "15min" });
    let body = world.ask("POST", &format!("{USERS}/refresh"), &session.headers(), body).await.expect(200);
    let renewed = Session::of(&body);
    assert_ne!((&renewed.token, &renewed.secret), (&session.token, &session.secret));
    assert_eq!((verify(&world, &session).await, verify(&world, &renewed).await), (401, 204));

    let body = json!({ "username": "alice", "access_token": renewed.token });
    world.ask("POST", &format!("{USERS}/logout"), &renewed.headers(), body).await.expect(204);
    assert_eq!(verify(&world, &renewed).await, 401);
    world.ask("GET", USERS, &renewed.headers(), Value::Null).await.expect(401);
}

#[tokio::test]
async fn a_token_revoked_by_the_native_api_is_over_here_too() {
    let world = World::start().await;
    let (_, session) = ready(&world).await;
    let kernel = &world.kernel;
    let node = OpContext::new(Actor::node(), RequestId::random(), kernel.tasks().token());
    let inside = kernel.operate_in(&node, &TenantId::parse("acct").unwrap()).await.unwrap();
    let permit = kernel.authorize::<List>(&inside, ResourceKind::Principal).await.unwrap();
    let text = || session.token.clone().into();
    let told = kernel.introspect(&permit, text()).await.unwrap().expect("a live token");
    assert_eq!(told.authenticated.principal().id.as_str(), "alice");
    assert_eq!((told.issuer.as_str(), told.audience.as_deref()), ("OPS", Some("xolo")));
    let elsewhere = kernel.authorize::<List>(&node, ResourceKind::Principal).await.unwrap();
    assert!(kernel.introspect(&elsewhere, text()).await.unwrap().is_none(), "another tenant's");
    kernel.revoke_shown(&node, text()).await.unwrap();
    assert_eq!(verify(&world, &session).await, 401);
    assert!(kernel.introspect(&permit, text()).await.unwrap().is_none());
}

#[tokio::test]
async fn an_account_of_an_id_that_was_anothers_begins_anew() {
    let world = World::start().await;
    let (key, _) = ready(&world).await;
    world.as_admin("DELETE", "/api/v4/accounts/acct", Value::Null).await.expect(204);
    let (again, session) = ready(&world).await;
    assert_ne!(key, again);
    assert_eq!(verify(&world, &session).await, 204);
}

#[tokio::test]
async fn the_temporal_secret_is_no_key_and_nothing_goes_without_it() {
    let world = World::start().await;
    let (_, session) = ready(&world).await;
    let (header, mut claims) = parts(&session.token);
    claims["sub"] = json!("alice");
    // The earlier service verified with the key that the caller sent along: any of these opened it.
    for key in [session.secret.as_bytes(), b"my own key", b""] {
        for header in [header.clone(), json!({ "alg": "HS256", "typ": "JWT" })] {
            let forged = forge(&header, &claims, key);
            let bearer = format!("Bearer {forged}");
            let secret = String::from_utf8_lossy(key).into_owned();
            let headers = [("authorization", bearer.as_str()), ("temporal-secret-key", secret.as_str())];
            world.ask("GET", USERS, &headers, Value::Null).await.expect(401);
            let body = json!({ "access_token": forged, "username": "alice", "secret": secret });
            world.ask("POST", &format!("{USERS}/verify"), &[], body).await.expect(401);
        }
    }
    for secret in ["", "x", &"0".repeat(32)] {
        let headers = [("authorization", session.bearer.as_str()), ("temporal-secret-key", secret)];
        world.ask("GET", USERS, &headers, Value::Null).await.expect(401);
    }
    world.ask("GET", USERS, &session.headers()[..1], Value::Null).await.expect(401);
    world.ask("GET", USERS, &session.headers(), Value::Null).await.expect(200);
}

#[tokio::test]
async fn sessions_end_with_their_time_their_user_and_their_scope() {
    let world = World::start().await;
    let (key, session) = ready(&world).await;
    world.advance(3600);
    assert_eq!(verify(&world, &session).await, 401, "expired");
    let session = world.auth("acct", &key, "alice").await;
    world.as_admin("POST", &format!("{USERS}/alice/block"), Value::Null).await.expect(204);
    assert_eq!(verify(&world, &session).await, 401, "blocked");
    let auth = json!({ "username": "alice", "password": "password123", "scope": "ops" });
    world.ask("POST", &format!("{USERS}/auth"), &[("x-api-key", &key)], auth.clone()).await.expect(401);
    world.as_admin("POST", &format!("{USERS}/alice/unblock"), Value::Null).await.expect(204);
    let session = world.auth("acct", &key, "alice").await;
    assert_eq!(verify(&world, &session).await, 204);

    let licence = json!({ "username": "alice", "scope": "ops", "force": true });
    world.as_admin("DELETE", "/api/v4/accounts/acct/licenses", licence.clone()).await.expect(200);
    let refused = world.ask("POST", &format!("{USERS}/auth"), &[("x-api-key", &key)], auth.clone()).await;
    assert_eq!(refused.code(403), "XOLO.ACCESS_DENIED", "without its licence");
    let brief = json!({ "username": "alice", "scope": "ops", "expires_in": "10s" });
    world.as_admin("POST", "/api/v4/accounts/acct/licenses", brief).await.expect(200);
    world.advance(10);
    let refused = world.ask("POST", &format!("{USERS}/auth"), &[("x-api-key", &key)], auth.clone()).await;
    assert_eq!(refused.code(403), "XOLO.ACCESS_DENIED");
    world.ask("POST", &format!("{USERS}/refresh"), &session.headers(), json!({})).await.expect(403);
    world.as_admin("DELETE", &format!("{USERS}/alice"), Value::Null).await.expect(204);
    assert_eq!(verify(&world, &session).await, 401, "deleted");
}

#[tokio::test]
async fn who_withdraws_comes_back_by_its_session_only() {
    let world = World::start().await;
    let (key, session) = ready(&world).await;
    let body = json!({ "username": "alice" });
    world.ask("POST", &format!("{USERS}/bob/disable"), &session.headers(), body.clone()).await.expect(403);
    world.ask("POST", &format!("{USERS}/alice/disable"), &session.headers(), body.clone()).await.expect(204);
    assert_eq!(
        world.ask("GET", USERS, &session.headers(), Value::Null).await.code(403),
        "XOLO.INACTIVE_USER"
    );
    let auth = json!({ "username": "alice", "password": "password123", "scope": "ops" });
    world.ask("POST", &format!("{USERS}/auth"), &[("x-api-key", &key)], auth).await.expect(403);
    world.ask("POST", &format!("{USERS}/alice/enable"), &session.headers(), body).await.expect(204);
    world.ask("GET", USERS, &session.headers(), Value::Null).await.expect(200);
}

#[tokio::test]
async fn keys_open_their_own_account_and_scopes_only() {
    let world = World::start().await;
    let (key, _) = ready(&world).await;
    let other = world.account("other").await;
    let auth = json!({ "username": "alice", "password": "password123", "scope": "ops" });
    let path = format!("{USERS}/auth");
    for wrong in [other.as_str(), "XOLO_0_x", "cmk_x_y", ""] {
        world.ask("POST", &path, &[("x-api-key", wrong)], auth.clone()).await.expect(401);
    }
    world.ask("POST", &path, &[], auth.clone()).await.expect(401);
    let narrow = json!({ "name": "roles", "scopes": ["rbac"] });
    let narrow = world.as_admin("POST", "/api/v4/accounts/acct/apikeys", narrow).await.expect(201);
    let narrow_key = narrow["key"].as_str().unwrap();
    let refused = world.ask("POST", &path, &[("x-api-key", narrow_key)], auth.clone()).await;
    assert_eq!(refused.code(403), "XOLO.ACCESS_DENIED");

    let keys = "/api/v4/accounts/acct/apikeys";
    let listed = world.as_admin("GET", keys, Value::Null).await.expect(200);
    assert!(listed.as_array().unwrap().iter().all(|key| key.get("key").is_none()));
    let id = narrow["key_id"].as_str().unwrap();
    let read = world.as_admin("GET", &format!("{keys}/{id}"), Value::Null).await.expect(200);
    assert_eq!((read["name"].as_str(), read["scopes"][0].as_str()), (Some("roles"), Some("rbac")));
    let rotated = world.as_admin("POST", &format!("{keys}/{id}/rotate"), Value::Null).await.expect(200);
    assert_ne!(rotated["key"], narrow["key"]);
    world.as_admin("DELETE", &format!("{keys}/{id}"), Value::Null).await.expect(204);
    world.as_admin("GET", &format!("{keys}/{id}"), Value::Null).await.expect(404);
    // A key administers nothing, and an account's user neither.
    world.ask("GET", keys, &[("x-api-key", &key)], Value::Null).await.expect(401);
    world.ask("GET", keys, &[("x-admin-token", &key)], Value::Null).await.expect(401);
    world.ask("GET", "/api/v4/accounts", &[("x-api-key", &key)], Value::Null).await.expect(401);
}

#[tokio::test]
async fn accounts_are_strangers_to_each_other() {
    let world = World::start().await;
    let (_, session) = ready(&world).await;
    let other = world.account("other").await;
    world.sign_up("other", &other, "alice").await;
    world.ask("GET", "/api/v4/accounts/other/users", &session.headers(), Value::Null).await.expect(401);
    let listed = world.as_admin("GET", "/api/v4/accounts/other/users/all", Value::Null).await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let listed = world.as_admin("GET", "/api/v4/accounts", Value::Null).await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 3);
    world.as_admin("GET", "/api/v4/accounts/nowhere/users/all", Value::Null).await.expect(404);
    let taken = json!({ "account_id": "other", "name": "x" });
    assert_eq!(world.as_admin("POST", "/api/v4/accounts", taken).await.code(409), "XOLO.ALREADY_EXISTS");
    world.as_admin("DELETE", "/api/v4/accounts/other", Value::Null).await.expect(204);
    world.as_admin("DELETE", "/api/v4/accounts/default", Value::Null).await.expect(409);
    let auth = json!({ "username": "alice", "password": "password123", "scope": "ops" });
    world.ask("POST", "/api/v4/accounts/other/users/auth", &[("x-api-key", &other)], auth).await.expect(401);
    world.ask("GET", USERS, &session.headers(), Value::Null).await.expect(200);
}

#[tokio::test]
async fn scopes_and_licences() {
    let world = World::start().await;
    let (key, session) = ready(&world).await;
    let base = "/api/v4/accounts/acct";
    let body = json!({ "name": "research" });
    assert_eq!(
        world.as_admin("POST", &format!("{base}/scopes"), body.clone()).await.expect(200)["name"],
        "RESEARCH"
    );
    assert_eq!(
        world.as_admin("POST", &format!("{base}/scopes"), body).await.code(409),
        "XOLO.ALREADY_EXISTS"
    );
    let body = json!({ "name": "research", "username": "alice" });
    let given = world.as_admin("POST", &format!("{base}/scopes/assign"), body.clone()).await.expect(200);
    assert_eq!(given, json!({ "ok": true, "username": "alice", "name": "RESEARCH" }));
    let nobody = json!({ "name": "research", "username": "nobody" });
    world.as_admin("POST", &format!("{base}/scopes/assign"), nobody).await.expect(404);
    let all = world.as_admin("GET", &format!("{base}/scopes/assignments"), Value::Null).await.expect(200);
    assert_eq!(all.as_array().unwrap().len(), 2);
    let licence = json!({ "username": "alice", "scope": "research", "expires_in": "1d" });
    let made = world.as_admin("POST", &format!("{base}/licenses"), licence).await.expect(200);
    assert_eq!((made["ok"].as_bool(), made["expires_at"].is_string()), (Some(true), true));
    let own = json!({
        "token": session.token, "tmp_secret_key": session.secret, "username": "alice", "scope": "research",
    });
    world.ask("DELETE", &format!("{base}/licenses/self"), &[], own.clone()).await.expect(200);
    world.ask("DELETE", &format!("{base}/licenses/self"), &[], own).await.expect(404);
    world.as_admin("DELETE", &format!("{base}/scopes/assign"), body).await.expect(200);
    world.as_admin("DELETE", &format!("{base}/scopes"), json!({ "name": "research" })).await.expect(200);
    let left = world.as_admin("GET", &format!("{base}/scopes"), Value::Null).await.expect(200);
    assert_eq!(left, json!([{ "name": "OPS" }]));
    for bad in ["x y z", "-1h", ""] {
        let body = json!({ "username": "bob", "password": "password123", "scope": "ops", "expiration": bad });
        let refused = world.ask("POST", &format!("{base}/users/signup"), &[("x-api-key", &key)], body).await;
        assert_eq!(refused.code(422), "XOLO.VALIDATION_ERROR", "{bad}");
    }
    let body = json!({ "username": "bob", "password": "password123", "scope": "none" });
    world.ask("POST", &format!("{base}/users/signup"), &[("x-api-key", &key)], body).await.expect(404);
    let all = world.as_admin("GET", &format!("{base}/users/all"), Value::Null).await.expect(200);
    assert_eq!(all.as_array().unwrap().len(), 1, "nobody is half signed up");
}

#[tokio::test]
async fn measures_refuse_sources_and_users_here_too() {
    let world = World::start().await;
    let key = world.account("acct").await;
    world.sign_up("acct", &key, "alice").await;
    let session = world.auth("acct", &key, "alice").await;
    let (kernel, tasks) = (&world.kernel, world.kernel.tasks());
    let actor = kernel.authenticate(&world.admin).await.unwrap();
    let op = OpContext::new(actor, RequestId::random(), tasks.token());
    let acct = kernel.operate_in(&op, &TenantId::parse("acct").unwrap()).await.unwrap();
    let measures = [
        (&op, json!({ "source": "192.0.2.7", "effect": "deny" })),
        (&acct, json!({ "principal": "alice", "effect": "deny" })),
    ];
    for (op, spec) in measures {
        let kind = ResourceKind::Measure;
        let permit = kernel.authorize::<cm_kernel::policy::Create>(op, kind).await.unwrap();
        let new = cm_kernel::catalog::NewRecord {
            kind,
            name: "m".to_owned(),
            id: None,
            owner: None,
            labels: cm_types::Labels::new(),
            spec,
            status: Value::Null,
        };
        kernel.create_record(op, &permit, new).await.unwrap();
        let from = if op.tenant() == acct.tenant() { 1 } else { 7 };
        let in_force = async {
            while world.ask_from(from, "GET", USERS, &session.headers(), Value::Null).await.status != 403 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), in_force).await.expect("it takes effect");
        if from == 7 {
            world.ask("GET", USERS, &session.headers(), Value::Null).await.expect(200);
        }
    }
    let body = json!({ "username": "alice", "password": "password123", "scope": "OPS" });
    let with_key = [("x-api-key", key.as_str())];
    world.ask("POST", &format!("{USERS}/auth"), &with_key, body).await.expect(403);
    world.ask("GET", &format!("{USERS}/all"), &with_key, Value::Null).await.expect(200);
    world.ask_from(7, "GET", &format!("{USERS}/all"), &with_key, Value::Null).await.expect(403);
    let old = json!({ "app_id": "acct", "client_id": "alice", "secret": "password123" });
    world.ask_from(7, "POST", "/api/v3/auth", &[], old.clone()).await.expect(403);
    world.ask("POST", "/api/v3/auth", &[], old).await.expect(403);
    let admin = [("x-admin-token", world.admin.as_str())];
    world.ask_from(7, "GET", &format!("{USERS}/all"), &admin, Value::Null).await.expect(200);
}

#[tokio::test]
async fn lists_of_users_come_in_portions_and_are_never_cut_off_in_silence() {
    let world = World::start().await;
    let key = world.account("acct").await;
    for user in ["ann", "bob", "eve"] {
        world.sign_up("acct", &key, user).await;
    }
    let ask = async |query: &str| {
        let path = format!("{USERS}/all{query}");
        world.ask("GET", &path, &[("x-api-key", &key)], Value::Null).await
    };
    let names = |body: &Value| -> Vec<String> {
        body.as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&ask("").await.expect(200)), ["ann", "bob", "eve"]);
    assert_eq!(names(&ask("?limit=2").await.expect(200)), ["ann", "bob"]);
    assert_eq!(names(&ask("?limit=2&after=bob").await.expect(200)), ["eve"]);
    assert_eq!(names(&ask("?after=eve").await.expect(200)), Vec::<String>::new());
    for wrong in ["?limit=0", "?limit=10001", "?limit=x"] {
        ask(wrong).await.expect(422);
    }
}

#[tokio::test]
async fn a_scope_is_given_to_users_that_exist_whoever_gives_it() {
    let world = World::start().await;
    let all = world.account("acct").await;
    world.sign_up("acct", &all, "alice").await;
    let narrow = json!({ "name": "narrow", "scopes": ["scopes"] });
    let made = world.as_admin("POST", "/api/v4/accounts/acct/apikeys", narrow).await.expect(201);
    let narrow = made["key"].as_str().unwrap();
    let path = "/api/v4/accounts/acct/scopes/assign";
    for key in [all.as_str(), narrow] {
        for unknown in ["nobody", "not a name!", ""] {
            let body = json!({ "name": "ops", "username": unknown });
            world.ask("POST", path, &[("x-api-key", key)], body).await.expect(404);
        }
        let body = json!({ "name": "ops", "username": "alice" });
        world.ask("POST", path, &[("x-api-key", key)], body).await.expect(200);
    }
}

#[tokio::test]
async fn passwords_of_earlier_users_are_long_enough() {
    let world = World::start().await;
    let key = world.account("acct").await;
    let sign_up = async |user: &str, password: &str| {
        let body = json!({
            "username": user, "first_name": "A", "last_name": "B", "email": "a@example.com", "password": password,
            "profile_photo": "", "scope": "ops", "expiration": "1h",
        });
        world.ask("POST", &format!("{USERS}/signup"), &[("x-api-key", &key)], body).await
    };
    sign_up("alice", "secret").await.expect(201);
    sign_up("bob", "short").await.expect(422);
}
