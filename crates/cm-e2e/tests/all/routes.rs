//! Every route of the published description refuses callers without credentials, and callers without the right.

use cm_e2e::{Node, NodeOptions, enrol};
use serde_json::{Value, json};

/// Fills the parameters of a path with a name that nothing has.
fn fill(path: &str) -> String {
    let mut filled = String::new();
    for part in path.split('/').skip(1) {
        filled.push('/');
        filled.push_str(if part.starts_with('{') { "absent" } else { part });
    }
    filled
}

/// The status of a request, made without the product's own client.
async fn status(http: &reqwest::Client, url: &str, method: &str, token: Option<&str>, body: &str) -> u16 {
    let method = method.parse().expect("a method");
    let mut request =
        http.request(method, url).header("content-type", "application/json").body(body.to_owned());
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    request.send().await.expect("the node answers").status().as_u16()
}

/// Routes whose purpose is to find out who somebody is, or that anybody who is somebody may use about themselves.
const ABOUT_ONESELF: &[&str] = &["/api/v1/auth/"];
/// What is asked before anybody can be known, and the status that everybody gets who shows nothing: a challenge, or the
/// refusal that OAuth demands for a request without a token.
const BEFORE_ANYBODY_IS_KNOWN: [(&str, u16); 3] =
    [("/api/v1/auth/login/passkey", 200), ("/api/v1/auth/exchange", 400), ("/api/v1/auth/revoke", 400)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_route_is_forgotten() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), &NodeOptions::default());
    node.admin()
        .create(
            cm_types::ResourceKind::Role,
            &json!({ "id": "nothing", "name": "nothing", "description": "", "permissions": [] }),
        )
        .await
        .expect("the role is made");
    let powerless = enrol(&node, "powerless", &["nothing"]).await;
    let document = node.api(None).get::<Value>("/openapi.json").await.expect("the description is public");
    let paths = document["paths"].as_object().expect("the description has paths");
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut checked = 0;
    for (path, operations) in paths {
        for method in operations.as_object().expect("a path has operations").keys() {
            let method = method.to_uppercase();
            if !["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD"].contains(&method.as_str()) {
                continue;
            }
            let url = format!("{}{}", node.url(), fill(path));
            for body in ["", "{\"garbage\":", "{}"] {
                let known = BEFORE_ANYBODY_IS_KNOWN.iter().find(|(known, _)| path == known);
                let expected = known.map_or(401, |(_, status)| *status);
                assert_eq!(
                    status(&http, &url, &method, None, body).await,
                    expected,
                    "{method} {path} without credentials"
                );
                assert_eq!(
                    status(&http, &url, &method, Some("garbage"), body).await,
                    401,
                    "{method} {path} with garbage"
                );
                if !ABOUT_ONESELF.iter().any(|prefix| path.starts_with(prefix)) {
                    let status = status(&http, &url, &method, Some(&powerless.token), body).await;
                    assert_eq!(status, 403, "{method} {path} without the right, body {body:?}");
                }
            }
            checked += 1;
        }
    }
    assert!(checked >= 40, "only {checked} operations are described");
}
