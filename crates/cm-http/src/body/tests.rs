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

/// A byte now and then, for ever, each within the longest silence.
fn drops(every: Duration) -> Body {
    Body::from_stream(stream::unfold((), move |()| async move {
        tokio::time::sleep(every).await;
        Some((Ok::<_, io::Error>(Bytes::from_static(b" ")), ()))
    }))
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_given_up_within_one_deadline() {
    let began = Instant::now();
    let drip = drops(Duration::from_secs(4));
    let failure = decode(Some("application/json"), drip).await.unwrap_err();
    assert_eq!(failure.class(), FailureClass::RequestTimeout);
    assert_eq!(began.elapsed(), RequestLimits::default().body_total);

    let began = Instant::now();
    let Ok(upload) = Upload::from_request(Request::new(drops(Duration::from_secs(4))), &()).await;
    assert_eq!(upload.read_to_end(1000).await.unwrap_err().class(), FailureClass::RequestTimeout);
    assert_eq!(began.elapsed(), RequestLimits::default().body_total);

    let began = Instant::now();
    let Ok(body) = JsonBody::<Shape>::from_request(Request::new(drops(Duration::from_secs(1))), &()).await;
    let failure = body.limited_to(100, Duration::from_secs(10)).decode_any_type().await.unwrap_err();
    assert_eq!(failure.class(), FailureClass::RequestTimeout);
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_stream_keeps_its_rate_or_is_given_up() {
    let began = Instant::now();
    let Ok(slow) = Upload::from_request(Request::new(drops(Duration::from_secs(20))), &()).await;
    let last = slow.into_stream().fold(None, async |_, chunk| Some(chunk)).await.unwrap();
    assert_eq!(last.unwrap_err().kind(), io::ErrorKind::TimedOut);
    let taken = began.elapsed();
    assert!((Duration::from_secs(60)..Duration::from_secs(61)).contains(&taken), "{taken:?}");

    let steady = stream::unfold(0, |sent| async move {
        tokio::time::sleep(Duration::from_secs(20)).await;
        (sent < 100).then(|| (Ok::<_, io::Error>(Bytes::from(vec![0; 20 << 10])), sent + 1))
    });
    let Ok(steady) = Upload::from_request(Request::new(Body::from_stream(steady)), &()).await;
    assert!(steady.into_stream().all(async |chunk| chunk.is_ok()).await);
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_reader_takes_is_not_the_senders() {
    let chunks = stream::iter((0..5).map(|_| Ok::<_, io::Error>(Bytes::from_static(b"x"))));
    let Ok(upload) = Upload::from_request(Request::new(Body::from_stream(chunks)), &()).await;
    let mut chunks = std::pin::pin!(upload.into_stream());
    while let Some(chunk) = chunks.next().await {
        chunk.unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}
