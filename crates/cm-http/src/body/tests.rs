use super::*;

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    inner: Inner,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    count: u32,
}

async fn decode(content_type: Option<&str>, body: Body) -> Result<Shape, Failure> {
    let mut request = Request::builder();
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    let mut request = request.body(body).unwrap();
    request.extensions_mut().insert(RequestLimits {
        json_bytes_max: 100,
        body_idle: Duration::from_secs(5),
        ..RequestLimits::default()
    });
    let Ok(body) = JsonBody::<Shape>::from_request(request, &()).await;
    body.decode().await
}

async fn check(content_type: Option<&str>, body: &'static str, expected: Result<u32, (FailureClass, &str)>) {
    let found = decode(content_type, Body::from(body)).await;
    match (found, expected) {
        (Ok(shape), Ok(count)) => assert_eq!(shape.inner.count, count),
        (Err(failure), Err((class, path))) => {
            assert_eq!(failure.class(), class, "{body}: {failure:?}");
            let found = failure.details().get("path").and_then(|path| path.as_str()).unwrap_or("");
            assert_eq!(found, path, "{body}");
        }
        (found, expected) => panic!("{body}: {found:?}, expected {expected:?}"),
    }
}

#[tokio::test]
async fn bodies_are_judged_by_type_syntax_and_shape() {
    let json = Some("application/json");
    check(json, r#"{"inner":{"count":3}}"#, Ok(3)).await;
    check(Some("application/json; charset=utf-8"), r#"{"inner":{"count":3}} "#, Ok(3)).await;
    check(Some("application/merge-patch+json"), r#"{"inner":{"count":3}}"#, Ok(3)).await;
    check(None, "{}", Err((FailureClass::UnsupportedMediaType, ""))).await;
    check(Some("text/plain"), "{}", Err((FailureClass::UnsupportedMediaType, ""))).await;
    check(json, "", Err((FailureClass::Malformed, "."))).await;
    check(json, r#"{"inner":{"count":3}} x"#, Err((FailureClass::Malformed, ""))).await;
    check(json, r#"{"inner":{"count":"3"}}"#, Err((FailureClass::Invalid, "inner.count"))).await;
    check(json, r#"{"inner":{"count":3,"more":1}}"#, Err((FailureClass::Invalid, "inner.more"))).await;
    check(json, r#"{"inner":{"count":-1}}"#, Err((FailureClass::Invalid, "inner.count"))).await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_even_without_a_length() {
    let chunks = stream::iter((0..20).map(|_| Ok::<_, io::Error>(Bytes::from_static(b"          "))));
    let failure = decode(Some("application/json"), Body::from_stream(chunks)).await.unwrap_err();
    assert_eq!(failure.class(), FailureClass::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_arriving_is_given_up() {
    let failure = decode(Some("application/json"), Body::from_stream(stream::pending::<io::Result<Bytes>>()))
        .await
        .unwrap_err();
    assert_eq!(failure.class(), FailureClass::RequestTimeout);
}

#[tokio::test]
async fn an_upload_that_breaks_off_does_not_look_complete() {
    let chunks = stream::iter([Ok(Bytes::from_static(b"half")), Err(io::Error::other("gone"))]);
    let request = Request::new(Body::from_stream(chunks));
    let Ok(upload) = Upload::from_request(request, &()).await;
    let chunks: Vec<_> = upload.into_stream().collect().await;
    assert_eq!(chunks.len(), 2);
    assert!(chunks[0].is_ok() && chunks[1].is_err());
}
