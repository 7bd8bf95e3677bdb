//! Pages of the web that may use a bucket (CORS): what its owner said, preflight requests, and headers of answers.
//!
//! It opens nothing to anybody: a browser asks before it lets a page of another site send a request, or see an answer.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use cm_http::{Failure, FailureClass};
use cm_kernel::Kernel;
use cm_kernel::objects::Setting;
use cm_types::{BucketName, TenantId};
use serde::{Deserialize, Serialize};

use crate::failure::CODE;

/// Most rules of a bucket: the limit of S3.
pub(crate) const RULES_MAX: usize = 100;
const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    pub(crate) origins: Vec<String>,
    pub(crate) methods: Vec<String>,
    #[serde(default)]
    pub(crate) headers: Vec<String>,
    #[serde(default)]
    pub(crate) exposed: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_age_seconds: Option<i32>,
}

/// What is wrong with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidRule {
    /// No origin, or no method.
    #[error("a rule has origins and methods")]
    Missing,
    /// A method that browsers do not ask for.
    #[error("methods are GET, PUT, HEAD, POST and DELETE")]
    Method,
    /// More than one star.
    #[error("an origin or a header has one `*` at most")]
    Stars,
    /// A star among the headers that a page may see.
    #[error("the headers that a page may see are named, without `*`")]
    Exposed,
}

impl Rule {
    pub(crate) fn check(&self) -> Result<(), InvalidRule> {
        if self.origins.is_empty() || self.methods.is_empty() {
            return Err(InvalidRule::Missing);
        }
        if !self.methods.iter().all(|method| METHODS.contains(&method.as_str())) {
            return Err(InvalidRule::Method);
        }
        if self.exposed.iter().any(|name| name.contains('*')) {
            return Err(InvalidRule::Exposed);
        }
        let stars = |text: &String| text.matches('*').count() > 1;
        match self.origins.iter().chain(&self.headers).any(stars) {
            true => Err(InvalidRule::Stars),
            false => Ok(()),
        }
    }

    fn allows(&self, asked: &Asked<'_>) -> bool {
        let header_allowed = |name: &&str| {
            let name = name.to_ascii_lowercase();
            self.headers.iter().any(|pattern| fits(&pattern.to_ascii_lowercase(), &name))
        };
        self.origins.iter().any(|pattern| fits(pattern, asked.origin))
            && self.methods.iter().any(|method| method == asked.method)
            && asked.headers.iter().all(header_allowed)
    }
}

/// What a browser asks for.
#[derive(Clone, Debug)]
struct Asked<'a> {
    origin: &'a str,
    method: &'a str,
    headers: Vec<&'a str>,
}

impl<'a> Asked<'a> {
    fn of(headers: &'a HeaderMap, method: Option<&'a str>) -> Option<Self> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let wanted = text(header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        Some(Self {
            origin: text(header::ORIGIN)?,
            method: text(header::ACCESS_CONTROL_REQUEST_METHOD).or(method)?,
            headers: wanted.split(',').map(str::trim).filter(|name| !name.is_empty()).collect(),
        })
    }
}

/// One star stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => {
            text.len() >= head.len() + tail.len() && text.starts_with(head) && text.ends_with(tail)
        }
    }
}

/// Answers to a browser that asks whether a page may send a request, of which only who would have signed it is known.
///
/// # Errors
/// 400 for what is no such question, 403 if the page may not, or nothing was said about the bucket.
pub(crate) async fn preflight(
    kernel: &Kernel,
    signer: &TenantId,
    parts: &Parts,
) -> Result<Response, Failure> {
    let malformed =
        || Failure::new(FailureClass::Malformed, "a preflight request names an origin and a method");
    let asked = Asked::of(&parts.headers, None).ok_or_else(malformed)?;
    let rules = rules_of(kernel, signer, parts.uri.path()).await;
    let Some(rule) = rules.iter().find(|rule| rule.allows(&asked)) else {
        return Err(Failure::new(
            FailureClass::Forbidden,
            "the owner of the bucket has not allowed it to this page",
        )
        .with_detail(CODE, "AccessForbidden"));
    };
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::OK;
    say(rule, &asked, answer.headers_mut());
    if !asked.headers.is_empty() {
        insert(answer.headers_mut(), header::ACCESS_CONTROL_ALLOW_HEADERS, &asked.headers.join(", "));
    }
    Ok(answer)
}

/// What was asked for by a page, to be looked at again when there is an answer.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    headers: HeaderMap,
    method: Method,
    path: String,
}

impl Page {
    /// `None` if no page of the web sent the request.
    pub(crate) fn of(parts: &Parts) -> Option<Self> {
        if !parts.headers.contains_key(header::ORIGIN) {
            return None;
        }
        let named =
            [header::ORIGIN, header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_REQUEST_HEADERS];
        let kept =
            named.into_iter().filter_map(|name| Some((name.clone(), parts.headers.get(name)?.clone())));
        Some(Self {
            headers: kept.collect(),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
        })
    }

    /// Lets the page see the answer, if the owner of the bucket allows it.
    pub(crate) async fn admit(&self, kernel: &Kernel, tenant: &TenantId, answer: &mut HeaderMap) {
        let Some(asked) = Asked::of(&self.headers, Some(self.method.as_str())) else { return };
        let rules = rules_of(kernel, tenant, &self.path).await;
        if let Some(rule) = rules.iter().find(|rule| rule.allows(&asked)) {
            say(rule, &asked, answer);
        }
    }
}

async fn rules_of(kernel: &Kernel, tenant: &TenantId, path: &str) -> Vec<Rule> {
    let name = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let Ok(bucket) = BucketName::parse(name) else { return Vec::new() };
    let found = kernel.objects().setting_of(tenant, &bucket, Setting::Cors).await;
    // Without an answer nothing is allowed.
    found.ok().flatten().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

fn say(rule: &Rule, asked: &Asked<'_>, answer: &mut HeaderMap) {
    let to_all = rule.origins.iter().any(|origin| origin == "*");
    insert(answer, header::ACCESS_CONTROL_ALLOW_ORIGIN, if to_all { "*" } else { asked.origin });
    if !to_all {
        insert(answer, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        insert(answer, header::VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
    }
    insert(answer, header::ACCESS_CONTROL_ALLOW_METHODS, &rule.methods.join(", "));
    if !rule.exposed.is_empty() {
        insert(answer, header::ACCESS_CONTROL_EXPOSE_HEADERS, &rule.exposed.join(", "));
    }
    if let Some(seconds) = rule.max_age_seconds {
        insert(answer, header::ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
    }
}

fn insert(answer: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(origin: &str, method: &str, header: &str) -> Rule {
        let one = |text: &str| if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
        Rule { origins: one(origin), methods: one(method), headers: one(header), ..Rule::default() }
    }

    #[test]
    fn rules_allow_origins_methods_and_headers() {
        let check = |rule: &Rule, origin: &str, method: &str, headers: &[&str], expected: bool| {
            let asked = Asked { origin, method, headers: headers.to_vec() };
            assert_eq!(rule.allows(&asked), expected, "{rule:?} {asked:?}");
        };
        let suffix = rule("*suffix", "GET", "");
        check(&suffix, "foo.suffix", "GET", &[], true);
        check(&suffix, "foo.suffix.get", "GET", &[], false);
        check(&suffix, "foo.suffix", "PUT", &[], false);
        check(&suffix, "foo.suffix", "GET", &["x-amz-date"], false);
        let around = rule("start*end", "PUT", "x-amz-*");
        check(&around, "startend", "PUT", &["X-Amz-Date"], true);
        check(&around, "start1end", "PUT", &["authorization"], false);
        check(&around, "startxen", "PUT", &[], false);
        // The two ends must not overlap.
        check(&rule("aba*aba", "GET", ""), "ababa", "GET", &[], false);
        check(&rule("*", "GET", "*"), "http://anywhere", "GET", &["anything"], true);
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        assert_eq!(rule("*", "GET", "").check(), Ok(()));
        assert_eq!(rule("", "GET", "").check(), Err(InvalidRule::Missing));
        assert_eq!(rule("*", "", "").check(), Err(InvalidRule::Missing));
        assert_eq!(rule("*", "OPTIONS", "").check(), Err(InvalidRule::Method));
        assert_eq!(rule("*.*", "GET", "").check(), Err(InvalidRule::Stars));
    }
}
