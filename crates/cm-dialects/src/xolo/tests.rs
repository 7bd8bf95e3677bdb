//! Clients of both eras, written by hand: addresses, fields, headers and codes as they are on the wire.

mod declared;
mod late;
mod seed;
mod users;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use cm_http::{Peer, RequestLimits};
use cm_kernel::events::EventFilter;
use cm_kernel::policy::List;
use cm_kernel::{Access, Actor, Kernel, KernelConfig, OpContext};
use cm_runtime::{ManualClock, Tasks};
use cm_types::{PageLimit, RequestId, ResourceKind, TenantId};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Xolo, router};

/// A node with the face, gone with its directory when dropped.
struct World {
    router: Router,
    kernel: Kernel,
    clock: ManualClock,
    admin: String,
    _dir: tempfile::TempDir,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    error: String,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        if status >= 400 {
            let detail = &self.body["detail"];
            assert_eq!(detail["status_code"], status, "{detail}");
            assert!(detail["code"].as_str().is_some_and(|code| code.starts_with("XOLO.")), "{detail}");
            assert_eq!(detail["message"], self.error, "the header says the same");
            assert!(detail["metadata"].is_object());
        }
        self.body
    }

    #[track_caller]
    fn code(self, status: u16) -> String {
        self.expect(status)["detail"]["code"].as_str().unwrap().to_owned()
    }
}

/// Headers of a request.
type Headers<'a> = &'a [(&'a str, &'a str)];

impl World {
    async fn start() -> World {
        World::start_with(Access::Credential).await
    }

    async fn start_with(access: Access) -> World {
        let dir = tempfile::tempdir().unwrap();
        let (clock, tasks) = (ManualClock::new(), Tasks::new());
        let config = KernelConfig {
            data_dir: dir.path().to_owned(),
            limits: cm_kernel::catalog::Limits::default(),
            integrity: cm_kernel::catalog::Integrity::Enforced,
            objects: cm_kernel::objects::Config {
                object_bytes_max: 1 << 20,
                ..cm_kernel::objects::Config::default()
            },
            node_name: "test".to_owned(),
        };
        let kept = Arc::new(Mutex::new(String::new()));
        let keep = Arc::clone(&kept);
        let kernel = Kernel::open(config, Arc::new(clock.clone()), &tasks, move |key| {
            key.expose().clone_into(&mut keep.lock().unwrap());
            Ok(())
        })
        .await
        .unwrap();
        let admin = kept.lock().unwrap().clone();
        let router = router(Xolo::new(kernel.clone(), access), RequestLimits::default());
        World { router, kernel, clock, admin, _dir: dir }
    }

    async fn ask_from(
        &self,
        source: u8,
        method: &str,
        path: &str,
        headers: Headers<'_>,
        body: Value,
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // Without a content type, as earlier clients send it.
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let mut request = request.body(body).unwrap();
        let address = SocketAddr::from(([192, 0, 2, source], 1234));
        request.extensions_mut().insert(Peer(address));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let error = response.headers().get("error-message").map_or("", |text| text.to_str().unwrap());
        let error = error.to_owned();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answer { status, error, body }
    }

    async fn ask(&self, method: &str, path: &str, headers: Headers<'_>, body: Value) -> Answer {
        self.ask_from(1, method, path, headers, body).await
    }

    async fn as_admin(&self, method: &str, path: &str, body: Value) -> Answer {
        self.ask(method, path, &[("x-admin-token", &self.admin)], body).await
    }

    /// An account with the scope `OPS` and a key that opens everything.
    async fn account(&self, id: &str) -> String {
        self.as_admin("POST", "/api/v4/accounts", json!({ "account_id": id, "name": id })).await.expect(201);
        let scope = json!({ "name": "ops" });
        self.as_admin("POST", &format!("/api/v4/accounts/{id}/scopes"), scope).await.expect(200);
        let key = json!({ "name": "web", "scopes": ["all"] });
        let made = self.as_admin("POST", &format!("/api/v4/accounts/{id}/apikeys"), key).await.expect(201);
        made["key"].as_str().unwrap().to_owned()
    }

    async fn sign_up(&self, account: &str, key: &str, user: &str) {
        let body = json!({
            "username": user, "first_name": "A", "last_name": "B", "email": format!("{user}@example.com"),
            "password": "password123", "profile_photo": "", "scope": "ops", "expiration": "30d",
        });
        let path = format!("/api/v4/accounts/{account}/users/signup");
        let made = self.ask("POST", &path, &[("x-api-key", key)], body).await.expect(201);
        assert_eq!(made, json!({ "key": user }));
    }

    async fn auth(&self, account: &str, key: &str, user: &str) -> Session {
        let body = json!({
            "username": user, "password": "password123", "scope": "OPS", "expiration": "1h", "renew_token": true,
        });
        let path = format!("/api/v4/accounts/{account}/users/auth");
        let body = self.ask("POST", &path, &[("x-api-key", key)], body).await.expect(200);
        Session::of(&body)
    }

    /// How many events of a verb a tenant has.
    async fn count(&self, tenant: &str, verb: &str) -> usize {
        let (kernel, tenant) = (&self.kernel, TenantId::parse(tenant).unwrap());
        let node = OpContext::new(Actor::node(), RequestId::random(), kernel.tasks().token());
        let op =
            if tenant == node.tenant() { node } else { kernel.operate_in(&node, &tenant).await.unwrap() };
        let permit = kernel.authorize::<List>(&op, ResourceKind::Event).await.unwrap();
        let (mut after, mut count) = (0, 0);
        loop {
            let page =
                kernel.event_page(&permit, after, PageLimit::MAX, EventFilter::default()).await.unwrap();
            count += page.items.iter().filter(|event| event.verb.as_str() == verb).count();
            match page.items.last() {
                Some(last) if page.next.is_some() => after = last.seq,
                _ => return count,
            }
        }
    }

    fn advance(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }
}

/// What a user holds after logging in.
#[derive(Clone, Debug)]
struct Session {
    token: String,
    bearer: String,
    secret: String,
}

impl Session {
    fn of(body: &Value) -> Self {
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        let token = text("access_token");
        Self { bearer: format!("Bearer {token}"), token, secret: text("temporal_secret") }
    }

    fn headers(&self) -> [(&str, &str); 2] {
        [("authorization", &self.bearer), ("temporal-secret-key", &self.secret)]
    }
}

/// The claims and the header of a token, unproven.
fn parts(token: &str) -> (Value, Value) {
    use base64::Engine as _;
    let part = |at: usize| {
        let text = token.split('.').nth(at).unwrap();
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap())
            .unwrap()
    };
    (part(0), part(1))
}

/// A token as a forger makes it: any header, any claims, signed with any key.
fn forge(header: &Value, claims: &Value, key: &[u8]) -> String {
    use base64::Engine as _;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let message =
        format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let tag = cm_crypto::mac::hmac_sha256(key, message.as_bytes());
    format!("{message}.{}", encode(&tag))
}

fn fields(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}
