use axum::body::Body;

use super::*;
use crate::gate;

/// What the gate answers: `None` if the request passes, or the code of its refusal.
fn check(method: &str, uri: &str, headers: &[(&str, &str)], expected: Option<&str>) {
    let mut request = Request::builder().method(method).uri(uri).header("host", "127.0.0.1:9000");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let refused = gate::examine(request.body(Body::empty()).unwrap()).err();
    let code = refused.as_ref().map(|failure| failure.details()[CODE].as_str().unwrap_or_default());
    assert_eq!(code, expected, "{method} {uri} {headers:?}");
}

fn refused(method: &str, uri: &str) {
    check(method, uri, &[], Some("NotImplemented"));
}

fn passes(method: &str, uri: &str) {
    check(method, uri, &[], None);
}

/// The operations of S3 that are not served, by method and query.
#[test]
fn what_is_not_served_is_refused() {
    let with_id = ["analytics", "intelligent-tiering", "inventory", "metrics"];
    for name in with_id {
        for method in ["GET", "PUT", "DELETE"] {
            refused(method, &format!("/b?{name}&id=x"));
        }
        refused("GET", &format!("/b?{name}"));
    }
    for name in ["abac", "metadataConfiguration", "metadataTable", "session"] {
        refused("GET", &format!("/b?{name}"));
    }
    for name in [
        "abac",
        "accelerate",
        "metadataInventoryTable",
        "metadataAnnotationTable",
        "metadataJournalTable",
        "replication",
        "website",
    ] {
        refused("PUT", &format!("/b?{name}"));
    }
    for name in ["metadataConfiguration", "metadataTable", "replication", "website"] {
        refused("DELETE", &format!("/b?{name}"));
    }
    for name in ["metadataConfiguration", "metadataTable"] {
        refused("POST", &format!("/b?{name}"));
    }
    passes("PUT", "/b?logging");
    check("GET", "/b?list-type=3", &[], Some("InvalidArgument"));
    passes("GET", "/b?list-type=2&prefix=a");
    refused("GET", "/b/k?torrent");
    for method in ["GET", "PUT", "DELETE"] {
        refused(method, "/b/k?annotation&annotationName=a");
    }
    refused("PUT", "/b/k?renameObject");
    refused("PUT", "/b/k?encryption&versionId=null");
    refused("POST", "/b/k?restore");
    refused("POST", "/b/k?select&select-type=2");
}

/// Whatever is none of the operations that a place has, it is not the plain one.
#[test]
fn nothing_else_is_taken_for_the_plain_operation() {
    for method in ["PUT", "DELETE", "POST"] {
        for place in ["/b", "/b/", "/b/k", "/b/k/l", "/b%2Fk"] {
            for query in
                ["anything", "anything=", "x-id=X&anything", "session", "append&position=0", "torrent=1"]
            {
                refused(method, &format!("{place}?{query}"));
            }
        }
    }
    for name in
        ["accelerate", "acl", "notification", "requestPayment", "versioning", "object-lock", "uploads"]
    {
        refused("DELETE", &format!("/b?{name}"));
    }
    for name in ["accelerate", "attributes", "cors", "policy", "restore", "uploads", "versions", "website"] {
        refused("PUT", &format!("/b/k?{name}"));
        refused("DELETE", &format!("/b/k?{name}"));
    }
    // An empty key must not make a bucket of an object.
    refused("DELETE", "/b/?versionId=null");
    refused("DELETE", "/b/?uploadId=x");
    refused("PUT", "/b/?partNumber=1&uploadId=x");
    // A name is the same however it is written.
    refused("PUT", "/b/k?rename%4Fbject");
    refused("DELETE", "/b?%61bac");
    refused("HEAD", "/b/k?acl");
    refused("GET", "/?acl");
}

#[test]
fn what_is_served_passes() {
    for (place, method) in
        [("/b", "GET"), ("/b", "PUT"), ("/b", "DELETE"), ("/b", "POST"), ("/b/k", "GET"), ("/b/k", "DELETE")]
    {
        for name in Place::of(&place.parse().unwrap()).served(&method.parse().unwrap()) {
            passes(method, &format!("{place}?{name}"));
            passes(method, &format!("{place}?{name}="));
        }
    }
    for name in ["acl", "legal-hold", "retention", "tagging"] {
        passes("PUT", &format!("/b/k?{name}&versionId=null"));
    }
    passes("PUT", "/b/k?partNumber=1&uploadId=x");
    passes("POST", "/b/k?uploads");
    passes("POST", "/b/k?uploadId=x");
    passes("HEAD", "/b/k?partNumber=1&versionId=null");
    passes("OPTIONS", "/b/k?anything");
}

#[test]
fn what_means_nothing_is_passed_over() {
    passes("GET", "/?x-id=ListBuckets&max-buckets=1");
    passes("GET", "/b?list-type=2&prefix=&delimiter=%2F&anything");
    passes("GET", "/b/k?x-id=GetObject&response-content-type=text%2Fplain&response-expires=");
    for method in ["PUT", "DELETE"] {
        for place in ["/b", "/b/k"] {
            passes(method, place);
            passes(method, &format!("{place}?x-id=PutObject"));
            passes(method, &format!("{place}?x-id="));
            passes(method, &format!("{place}?x-amz-acl=&anything=1&"));
        }
    }
    let scope = "K%2F20260101%2Fus-east-1%2Fs3%2Faws4_request";
    let proof = format!(
        "X-Amz-Credential={scope}&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260101T020304Z&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=0&X-Amz-Security-Token="
    );
    passes("PUT", &format!("/b/k?{proof}"));
}

#[test]
fn no_object_is_renamed_and_no_part_is_an_object() {
    check("PUT", "/b/k", &[("x-amz-rename-source", "/b/other")], Some("NotImplemented"));
    check("PUT", "/b/k?uploadId=x", &[], Some("InvalidArgument"));
    check("PUT", "/b/k?partNumber=1", &[], Some("InvalidArgument"));
}

/// Signed or not: in open mode nothing else stands before the adapter.
#[test]
fn open_mode_refuses_the_same() {
    let request = Request::builder().method("PUT").uri("/b/k?renameObject").header("host", "127.0.0.1:9000");
    let refused = gate::strip(request.body(Body::empty()).unwrap()).err().unwrap();
    assert_eq!(refused.details()[CODE], "NotImplemented", "{refused:?}");
}

#[test]
fn objects_are_read_by_requests_that_name_nothing_else() {
    for (method, uri, expected) in [
        ("GET", "/b/k", true),
        ("HEAD", "/b/k?versionId=null&partNumber=1&x-id=GetObject", true),
        ("GET", "/b/k?uploadId=u", false),
        ("GET", "/b/k?tagging", false),
        ("GET", "/b?versionId=null", false),
        ("PUT", "/b/k", false),
    ] {
        assert_eq!(reads_object(&method.parse().unwrap(), &uri.parse().unwrap()), expected, "{method} {uri}");
    }
}

#[test]
fn every_name_that_is_served_is_known() {
    for place in [Place::Service, Place::Bucket, Place::Object] {
        for method in ["GET", "HEAD", "PUT", "POST", "DELETE"] {
            for name in place.served(&method.parse().unwrap()) {
                assert!(ALL.contains(name), "{name}");
            }
        }
    }
}
