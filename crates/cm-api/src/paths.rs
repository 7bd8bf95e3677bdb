//! The ways to write one address: with a slash behind it or without, below the configured prefix or the usual one.

use axum::Router;
use axum::extract::Request;
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tower::ServiceBuilder;

use crate::document::PREFIX;
use crate::listing::NEXT_CURSOR;

/// The same routes, found by every way to write their addresses. Nobody is redirected: clients of the earlier
/// implementation do not all follow.
pub(crate) fn tolerant(router: Router, prefix: &str) -> Router {
    let prefix = prefix.to_owned();
    let canonical = ServiceBuilder::new().map_request(move |mut request: Request| {
        if let Some(uri) = canonical(request.uri(), &prefix) {
            *request.uri_mut() = uri;
        }
        request
    });
    Router::new().fallback_service(canonical.service(router))
}

/// The address as the routes have it, if it is written otherwise.
fn canonical(uri: &Uri, prefix: &str) -> Option<Uri> {
    let path = uri.path();
    let mut changed = match path.strip_prefix(prefix) {
        Some(rest) if prefix != PREFIX && (rest.is_empty() || rest.starts_with('/')) => {
            format!("{PREFIX}{rest}")
        }
        _ => path.to_owned(),
    };
    if changed.len() > 1 && changed.ends_with('/') && !names_object(&changed) {
        changed.pop();
    }
    if changed == path {
        return None;
    }
    if let Some(query) = uri.query() {
        changed.push('?');
        changed.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(changed).ok()?);
    Uri::from_parts(parts).ok()
}

/// Whether the path ends in an object's key, in which a slash at the end means something.
fn names_object(path: &str) -> bool {
    let below = path.strip_prefix(PREFIX).and_then(|path| path.strip_prefix("/buckets/"));
    below.and_then(|path| path.split_once("/objects/")).is_some_and(|(_, key)| !key.is_empty())
}

/// Adds to a page the link to the next one (RFC 8288), made from where the page was asked for.
pub(crate) async fn link_next(request: Request, next: Next) -> Response {
    let uri =
        request.extensions().get::<axum::extract::OriginalUri>().map_or(request.uri(), |uri| &uri.0).clone();
    let mut response = next.run(request).await;
    if let Some(cursor) = response.headers().get(NEXT_CURSOR).and_then(|cursor| cursor.to_str().ok()) {
        let others = uri.query().unwrap_or_default().split('&');
        let others = others.filter(|pair| !pair.is_empty() && !pair.starts_with("after="));
        let query: Vec<String> = others.map(str::to_owned).chain([format!("after={cursor}")]).collect();
        let link = format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"));
        if let Ok(link) = HeaderValue::try_from(link) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &str, prefix: &str, expected: &str) {
        let uri: Uri = given.parse().unwrap();
        let found = canonical(&uri, prefix).unwrap_or(uri);
        assert_eq!(found.to_string(), expected, "{given}");
    }

    #[test]
    fn addresses_have_one_form_inside() {
        check("/api/v1/roles/", PREFIX, "/api/v1/roles");
        check("/api/v1/roles", PREFIX, "/api/v1/roles");
        check("/api/v1/roles/r/?a=b/", PREFIX, "/api/v1/roles/r?a=b/");
        check("/", PREFIX, "/");
        check("/api/v1/roles//", PREFIX, "/api/v1/roles/");
        check("/mesh/roles/", "/mesh", "/api/v1/roles");
        check("/meshes/roles", "/mesh", "/meshes/roles");
        check("/mesh", "/mesh", "/api/v1");
    }

    #[test]
    fn a_slash_at_the_end_of_a_key_belongs_to_it() {
        check("/api/v1/buckets/b/objects/dir/", PREFIX, "/api/v1/buckets/b/objects/dir/");
        check("/api/v1/buckets/b/objects/", PREFIX, "/api/v1/buckets/b/objects");
        check("/api/v1/buckets/b/", PREFIX, "/api/v1/buckets/b");
        check("/mesh/buckets/b/objects/dir/", "/mesh", "/api/v1/buckets/b/objects/dir/");
    }
}
