use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use cm_crypto::es256::EcSigningKey;
use cm_runtime::Tasks;
use cm_types::ResourceId;
use serde_json::json;

use super::*;

/// What an issuer answers with.
#[derive(Clone)]
enum Answer {
    Keys(Vec<String>),
    Text(String),
    Elsewhere,
    Broken,
}

/// An issuer that says what it is told to say, and counts how often it is asked for keys.
struct Issuer {
    url: String,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    _tasks: Tasks,
}

type Shared = (Arc<Mutex<Answer>>, Arc<AtomicUsize>);

async fn keys(State((answer, asked)): State<Shared>) -> Response {
    asked.fetch_add(1, Ordering::Relaxed);
    let answer = answer.lock().unwrap().clone();
    match answer {
        Answer::Keys(keys) => format!(r#"{{"keys":[{}]}}"#, keys.join(",")).into_response(),
        Answer::Text(text) => text.into_response(),
        Answer::Elsewhere => Redirect::temporary("/elsewhere").into_response(),
        Answer::Broken => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Issuer {
    async fn start() -> Issuer {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (answer, asked) = (Arc::new(Mutex::new(Answer::Broken)), Arc::new(AtomicUsize::new(0)));
        let description = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }).to_string();
        let router = Router::new()
            .route(DESCRIPTION_PATH, get(move || async move { description }))
            .route("/keys", get(keys))
            .with_state((Arc::clone(&answer), Arc::clone(&asked)));
        let tasks = Tasks::new();
        tasks.spawn("issuer", async move { axum::serve(listener, router).await.unwrap() });
        Issuer { url, answer, asked, _tasks: tasks }
    }

    fn says(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn provider(&self) -> Provider {
        Provider {
            id: ResourceId::parse("idp").unwrap(),
            issuer: self.url.clone(),
            audience: "mesh".to_owned(),
            algorithms: vec!["ES256".to_owned()],
            keys_url: None,
            claim: "groups".to_owned(),
            roles: BTreeMap::new(),
        }
    }
}

fn jwk(key: &EcSigningKey) -> String {
    let (public, kid) = (key.verifying_key(), key.verifying_key().key_id());
    let (x, y) = public.coordinates();
    json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": kid, "x": x, "y": y }).to_string()
}

fn holds(keys: &ForeignKeys, by: &EcSigningKey) -> bool {
    let token = by.sign_token(b"{}").unwrap();
    keys.verify(&token, &[cm_crypto::foreign::ForeignAlgorithm::Es256]).is_ok()
}

#[tokio::test]
async fn keys_are_fetched_once_and_anew_when_one_is_not_known() {
    let issuer = Issuer::start().await;
    let (first, second) = (EcSigningKey::generate().unwrap(), EcSigningKey::generate().unwrap());
    let provider = issuer.provider();
    issuer.says(Answer::Keys(vec![jwk(&first)]));
    let sets = KeySets { asked_every: Duration::ZERO, ..KeySets::default() };
    for _ in 0..3 {
        let keys = sets.of(&provider, false).await.unwrap().unwrap();
        assert!(holds(&keys, &first) && !holds(&keys, &second));
    }
    assert_eq!(issuer.asked(), 1, "what was fetched is kept");
    issuer.says(Answer::Keys(vec![jwk(&second)]));
    let keys = sets.of(&provider, true).await.unwrap().unwrap();
    assert!(holds(&keys, &second) && !holds(&keys, &first), "a key that was withdrawn is no more");
    // A provider that fails for a while: what is known serves, and nothing newer is promised.
    issuer.says(Answer::Broken);
    assert!(sets.of(&provider, true).await.unwrap().is_none());
    assert!(holds(&sets.of(&provider, false).await.unwrap().unwrap(), &second));
}

#[tokio::test]
async fn made_up_keys_do_not_make_a_provider_busy() {
    let issuer = Issuer::start().await;
    issuer.says(Answer::Keys(vec![jwk(&EcSigningKey::generate().unwrap())]));
    let (sets, provider) = (KeySets::default(), issuer.provider());
    sets.of(&provider, false).await.unwrap().unwrap();
    for _ in 0..20 {
        assert!(sets.of(&provider, true).await.unwrap().is_none());
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn what_is_no_set_of_keys_is_none() {
    for answer in [
        Answer::Broken,
        Answer::Elsewhere,
        Answer::Text("{}".to_owned()),
        Answer::Text(" ".repeat(KEY_SET_LEN_MAX + 1)),
        Answer::Keys(Vec::new()),
    ] {
        let issuer = Issuer::start().await;
        issuer.says(answer);
        let failure = KeySets::default().of(&issuer.provider(), false).await.unwrap_err();
        assert_eq!(failure.class(), FailureClass::Unavailable);
    }
}

#[test]
fn only_an_issuer_on_this_machine_names_places_on_it() {
    let (here, far) = ("http://127.0.0.1:8080", "https://id.example.com");
    assert!(may_name(here, "http://127.0.0.1:8080/keys") && may_name(here, "https://id.example.com/keys"));
    assert!(may_name(far, "https://keys.example.com/"));
    for url in
        ["http://127.0.0.1:9000/keys", "http://localhost/keys", "http://[::1]/keys", "http://example.com"]
    {
        assert!(!may_name(far, url), "{url}");
    }
}

#[tokio::test]
async fn a_description_of_another_issuer_is_not_believed() {
    let issuer = Issuer::start().await;
    issuer.says(Answer::Keys(vec![jwk(&EcSigningKey::generate().unwrap())]));
    // The same server under another name: its description does not say so.
    let port = issuer.url.rsplit_once(':').unwrap().1.to_owned();
    let provider = Provider { issuer: format!("http://localhost:{port}"), ..issuer.provider() };
    assert!(KeySets::default().of(&provider, false).await.is_err());
    assert_eq!(issuer.asked(), 0);
    let told = Provider { keys_url: Some(format!("{}/keys", issuer.url)), ..provider };
    assert!(KeySets::default().of(&told, false).await.unwrap().is_some(), "somebody said where they are");
}
