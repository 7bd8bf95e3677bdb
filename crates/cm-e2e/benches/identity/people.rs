//! Who signs in, and their tokens.

use cm_e2e::measure::{Outcome, Request, Server, ask};
use serde_json::{Value, json};

/// How many sign in.
pub(crate) const PEOPLE: usize = 64;
/// Tokens: half as many again as a node remembers, so that each is forgotten before its turn comes again.
const TOKENS: usize = 1536;
const PASSWORD: &str = "correct horse battery staple";

/// People with passwords, and tokens of the first of them.
pub(crate) struct People {
    tokens: Vec<String>,
}

fn name(n: u64) -> String {
    format!("person-{}", n % PEOPLE as u64)
}

fn post(path: &str, body: &Value, status: u16) -> Request {
    Request { method: "POST", path: path.to_owned(), body: Some(body.to_string()), status, token: None }
}

impl People {
    /// Makes them.
    pub(crate) fn make(administrator: &Server) -> Outcome<People> {
        for n in 0..PEOPLE as u64 {
            let name = name(n);
            ask(administrator, &post("/api/v1/principals", &json!({ "id": name }), 201))?;
            let path = format!("/api/v1/principals/{name}/password");
            let password = Request { method: "PUT", ..post(&path, &json!({ "password": PASSWORD }), 204) };
            ask(administrator, &password)?;
        }
        let mut people = People { tokens: Vec::new() };
        let nobody = Server { token: String::new(), ..administrator.clone() };
        let session: Value = serde_json::from_slice(&ask(&nobody, &people.login(0))?.body)?;
        let token = session["token"].as_str().ok_or("a login answers with a token")?.to_owned();
        let first = Server { token, ..administrator.clone() };
        // A token of a token ends with the session, which nobody ends here.
        while people.tokens.len() < TOKENS {
            let issued: Value = serde_json::from_slice(
                &ask(&first, &post("/api/v1/auth/tokens", &json!({ "ttl_seconds": 86_000 }), 200))?.body,
            )?;
            people.tokens.push(issued["token"].as_str().ok_or("a token was asked for")?.to_owned());
        }
        Ok(people)
    }

    /// The n-th sign-in.
    pub(crate) fn login(&self, n: u64) -> Request {
        post("/api/v1/auth/login", &json!({ "principal": name(n), "password": PASSWORD }), 200)
    }

    /// The token of the n-th request.
    pub(crate) fn token(&self, n: u64) -> &str {
        &self.tokens[n as usize % self.tokens.len()]
    }

    /// The n-th introspection.
    pub(crate) fn introspection(&self, n: u64) -> Request {
        post("/api/v1/auth/introspect", &json!({ "token": self.token(n) }), 200)
    }
}
