//! The manners of the earlier services: they were Flask applications, whose clients read HTML sentences, plain JSON and
//! Flask's own pages.

use axum::extract::Request;
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use cm_door::authenticate;
use cm_http::{Asked, Failure, FailureClass, Rendered, RequestLimits, Shape, Upload, frame};
use cm_instance::PolicyError;
use cm_instance::policy::POLICY_LEN_MAX;
use serde::de::IgnoredAny;
use serde_json::Value;
use tower::ServiceBuilder;

use super::Veracruz;

const HTML: &str = "text/html; charset=utf-8";

/// A face of these routes: authenticated, framed, and found with a slash at the end of an address or without.
pub(crate) fn face(
    routes: Router<Veracruz>,
    veracruz: Veracruz,
    limits: RequestLimits,
    shape: Shape,
) -> Router {
    let tasks = veracruz.kernel.tasks().clone();
    let authenticated = middleware::from_fn_with_state(veracruz.gate(), authenticate);
    let routes = routes.layer(authenticated).with_state(veracruz);
    let without_slash = ServiceBuilder::new().map_request(|mut request: Request| {
        if let Some(uri) = without_slash(request.uri()) {
            *request.uri_mut() = uri;
        }
        request
    });
    Router::new().fallback_service(without_slash.service(frame(routes, limits, shape, &tasks)))
}

/// The address without the slash at its end, if there is one.
fn without_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path().strip_suffix('/').filter(|path| !path.is_empty())?;
    let changed = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(changed).ok()?);
    Uri::from_parts(parts).ok()
}

/// A sentence in a paragraph.
pub(crate) fn said(sentence: &str) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(HTML))], paragraph(sentence)).into_response()
}

/// A JSON object, as Flask ends it.
pub(crate) fn object(value: &Value) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], format!("{value}\n")).into_response()
}

/// 400 with a sentence.
pub(crate) fn refused(sentence: impl Into<String>) -> Failure {
    Failure::new(FailureClass::Invalid, sentence)
}

/// 404 with a sentence.
pub(crate) fn missing(sentence: impl Into<String>) -> Failure {
    Failure::new(FailureClass::NotFound, sentence)
}

/// The text of a policy that was sent as JSON.
///
/// # Errors
/// 400 if it does not claim to be JSON, or is none, or no object, and what [`Upload::read_to_end`] answers.
pub(crate) async fn policy_text(body: Upload) -> Result<String, Failure> {
    body.require_json().map_err(|_| refused("input should a json object!"))?;
    let bytes = body.read_to_end(POLICY_LEN_MAX).await?;
    let malformed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Failure::new(FailureClass::Malformed, "the body is no JSON").with_cause(error)
    };
    let text = String::from_utf8(bytes.into()).map_err(|error| malformed(error.into()))?;
    serde_json::from_str::<IgnoredAny>(&text).map_err(|error| malformed(error.into()))?;
    if !text.trim_start().starts_with('{') {
        return Err(refused("Json object is not correct : an object is expected"));
    }
    Ok(text)
}

/// What is wrong with a policy, in a sentence that names the field.
pub(crate) fn incorrect(error: PolicyError) -> Failure {
    refused(format!("Json object is not correct {}", crate::failure::chain(&error)))
}

/// What every one of the services answers to a refusal. No room for another instance has the status that the service
/// gives it.
pub(crate) fn shape(failure: &Failure, _: &Asked) -> Rendered {
    let page =
        |status, title, sentence| Rendered { status, media_type: HTML, body: page(status, title, sentence) };
    let status = failure.class().status();
    match failure.class() {
        FailureClass::Malformed => page(
            status,
            "Bad Request",
            "The browser (or proxy) sent a request that this server could not understand.",
        ),
        FailureClass::NotFound if failure.message() == Failure::not_found().message() => page(
            status,
            "Not Found",
            "The requested URL was not found on the server. If you entered the URL manually please check your \
             spelling and try again.",
        ),
        FailureClass::MethodNotAllowed => {
            page(status, "Method Not Allowed", "The method is not allowed for the requested URL.")
        }
        FailureClass::TooLarge => {
            page(status, "Request Entity Too Large", "The data value transmitted exceeds the capacity limit.")
        }
        // The services know one code for whatever is wrong with a request.
        FailureClass::Invalid | FailureClass::Conflict | FailureClass::PreconditionFailed => {
            sentence(StatusCode::BAD_REQUEST, failure.message())
        }
        _ => sentence(status, failure.message()),
    }
}

/// An answer of one sentence.
pub(crate) fn sentence(status: StatusCode, sentence: &str) -> Rendered {
    Rendered { status, media_type: HTML, body: paragraph(sentence) }
}

fn paragraph(sentence: &str) -> String {
    format!("<p>{}</p>", escaped(sentence))
}

fn page(status: StatusCode, title: &str, sentence: &str) -> String {
    let code = status.as_u16();
    format!(
        "<!doctype html>\n<html lang=en>\n<title>{code} {title}</title>\n<h1>{title}</h1>\n<p>{sentence}</p>\n"
    )
}

/// Names come from clients; in a page they are text and nothing else.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(failure: Failure, status: u16, beginning: &str) {
        let rendered = shape(&failure, &Asked::default());
        assert_eq!((rendered.status.as_u16(), rendered.media_type), (status, HTML));
        assert!(rendered.body.starts_with(beginning), "{}", rendered.body);
    }

    #[test]
    fn refusals_look_like_flask() {
        check(Failure::not_found(), 404, "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>");
        check(missing("function f not found"), 404, "<p>function f not found</p>");
        check(refused("no <b>"), 400, "<p>no &lt;b&gt;</p>");
        check(Failure::unauthenticated("a bearer token is required"), 401, "<p>a bearer token");
        check(
            Failure::new(FailureClass::Malformed, "x"),
            400,
            "<!doctype html>\n<html lang=en>\n<title>400 Bad Request</title>",
        );
        check(Failure::new(FailureClass::MethodNotAllowed, "x"), 405, "<!doctype html>");
    }

    #[test]
    fn one_slash_at_the_end_means_nothing() {
        for (given, expected) in [
            ("/function/", Some("/function")),
            ("/veracruz/a:1/?instance_id=x/", Some("/veracruz/a:1?instance_id=x/")),
            ("/function", None),
            ("/", None),
        ] {
            let uri = without_slash(&given.parse().unwrap()).map(|uri| uri.to_string());
            assert_eq!(uri.as_deref(), expected, "{given}");
        }
    }
}
