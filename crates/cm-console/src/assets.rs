//! What browsers load: built in, told apart by its digest, and under a policy that runs nothing else.

use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use cm_http::etag::Freshness;
use cm_http::{ETag, Failure, Preconditions};
use sha2::{Digest, Sha256};

/// What a page may do: run and show what this node serves, and ask this node. No script or style within the markup, no frame, no plug-in; where
/// browsers know Trusted Types, no way from text to markup.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                          base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
/// Browsers ask whether what they keep is still right; it changes with the program only.
const CACHING: &str = "no-cache";
/// Characters of a digest that tell versions of a file apart.
const TAG_CHARS: usize = 32;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const DRAWING: &str = "image/svg+xml";

/// A file that is built in.
struct Asset {
    /// Below `/console/`.
    path: &'static str,
    media_type: &'static str,
    text: &'static str,
}

macro_rules! assets {
    ($($path:literal as $media_type:ident;)+) => {
        &[$(Asset { path: $path, media_type: $media_type, text: include_str!(concat!("../assets/", $path)) }),+]
    };
}

const ASSETS: &[Asset] = assets! {
    "index.html" as HTML;
    "icon.svg" as DRAWING;
    "style.css" as STYLE;
    "app.js" as SCRIPT;
    "api.js" as SCRIPT;
    "charts.js" as SCRIPT;
    "dom.js" as SCRIPT;
    "format.js" as SCRIPT;
    "passkeys.js" as SCRIPT;
    "view.js" as SCRIPT;
    "pages/audit.js" as SCRIPT;
    "pages/catalogue.js" as SCRIPT;
    "pages/decisions.js" as SCRIPT;
    "pages/functions.js" as SCRIPT;
    "pages/instances.js" as SCRIPT;
    "pages/objects.js" as SCRIPT;
    "pages/overview.js" as SCRIPT;
    "pages/passkeys.js" as SCRIPT;
    "pages/peers.js" as SCRIPT;
    "pages/people.js" as SCRIPT;
    "pages/threats.js" as SCRIPT;
};

/// The page itself.
pub(crate) const PAGE: &str = "index.html";

/// Answers with a built-in file, or that the browser has it already.
///
/// # Errors
/// 404, and 400 and 412 for conditions of the request that are not understood or do not hold.
pub(crate) fn answer(path: &str, headers: &HeaderMap) -> Result<Response, Failure> {
    let asset = ASSETS.iter().find(|asset| asset.path == path).ok_or_else(Failure::not_found)?;
    let tag = tag(asset.text);
    let kept = [
        (header::ETAG, tag.header()),
        (header::CACHE_CONTROL, HeaderValue::from_static(CACHING)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    if Preconditions::from_headers(headers)?.check_read(&tag)? == Freshness::NotModified {
        return Ok((StatusCode::NOT_MODIFIED, kept).into_response());
    }
    let media_type = HeaderValue::from_static(asset.media_type);
    Ok((kept, [(header::CONTENT_TYPE, media_type)], asset.text).into_response())
}

fn tag(text: &str) -> ETag {
    let digest = hex::encode(Sha256::digest(text));
    ETag::strong(&digest[..TAG_CHARS]).expect("hexadecimal digits are legal in tags")
}

#[cfg(test)]
mod tests;
