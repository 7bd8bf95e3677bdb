use std::path::Path;

use super::*;

#[test]
fn every_file_is_built_in_and_every_built_in_file_is_loaded() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let mut there: Vec<String> = Vec::new();
    for folder in [root.clone(), root.join("pages")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                there.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    there.sort();
    let mut built_in: Vec<&str> = ASSETS.iter().map(|asset| asset.path).collect();
    built_in.sort_unstable();
    assert_eq!(there, built_in);
}

/// What the policy would refuse, and what would make markup of text.
#[test]
fn nothing_needs_what_the_policy_forbids() {
    for asset in ASSETS {
        let forbidden: &[&str] = match asset.media_type {
            SCRIPT => &[
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "DOMParser",
                "http:",
                "https:",
            ],
            HTML => &["<style", " style=", " onclick=", "http:", "https:", "<script>"],
            STYLE => &["@import", "url(", "http:", "https:"],
            _ => &["<script", "href="],
        };
        for word in forbidden {
            let drawing = "http://www.w3.org/2000/svg";
            assert!(!asset.text.replace(drawing, "").contains(word), "{} has {word}", asset.path);
        }
    }
}

#[test]
fn a_file_that_the_browser_has_is_not_sent_again() {
    let mut headers = HeaderMap::new();
    let first = answer("app.js", &headers).unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(first.headers()["content-type"], SCRIPT);
    assert_eq!(first.headers()["content-security-policy"], POLICY);
    headers.insert(header::IF_NONE_MATCH, first.headers()["etag"].clone());
    assert_eq!(answer("app.js", &headers).unwrap().status(), StatusCode::NOT_MODIFIED);
    assert_eq!(answer("style.css", &headers).unwrap().status(), StatusCode::OK);
    assert_eq!(answer("../Cargo.toml", &headers).unwrap_err().class(), cm_http::FailureClass::NotFound);
}
