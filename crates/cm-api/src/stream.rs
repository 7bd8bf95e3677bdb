//! Whole collections, sent page by page: a client of the earlier implementation asks for everything at once, and
//! neither side holds more of it in memory than a page.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cm_door::Caller;
use cm_http::Failure;
use cm_kernel::Kernel;
use cm_kernel::catalog::{Query, Record};
use cm_kernel::policy::List;
use cm_types::Cursor;
use futures::stream;

use crate::failure::refusal;
use crate::record::{WireSpec, views};

/// What is still to be sent.
enum Rest {
    /// The page behind this cursor, and those after it.
    From(Cursor),
    Nothing,
}

/// The first page, and everything after it, as one JSON array.
///
/// Each page is a snapshot of its own, so a record that is created meanwhile may be on it. Who asks is asked before each page:
/// a client may take its time, and lose its credential meanwhile. A failure on the way breaks
/// the answer off, which no client can take for a whole array.
pub(crate) async fn all<S: WireSpec>(
    kernel: Kernel,
    op: Caller,
    query: Query,
    first: Vec<Record>,
    next: Cursor,
) -> Result<Response, Failure> {
    let mut opening = vec![b'['];
    write_items::<S>(&kernel, &op, first, &mut opening, true).await?;
    let begun = opening.len() > 1;
    let pages = stream::try_unfold((Rest::From(next), begun), move |(rest, begun)| {
        let (kernel, op, query) = (kernel.clone(), op.clone(), query.clone());
        async move {
            let Rest::From(cursor) = rest else { return Ok(None) };
            let op = op.again(&kernel).await?;
            let permit = kernel.authorize::<List>(&op, S::KIND).await.map_err(refusal)?;
            let page = kernel.list_records(&op, &permit, Query { after: Some(cursor), ..query }).await;
            let page = page.map_err(refusal)?;
            let mut text = Vec::new();
            write_items::<S>(&kernel, &op, page.items, &mut text, !begun).await?;
            let begun = begun || !text.is_empty();
            let rest = match page.next {
                Some(next) => Rest::From(next),
                None => {
                    text.push(b']');
                    Rest::Nothing
                }
            };
            Ok::<_, Failure>(Some((Bytes::from(text), (rest, begun))))
        }
    });
    let body = stream::once(async move { Ok(Bytes::from(opening)) });
    let body = Body::from_stream(futures::StreamExt::chain(body, pages));
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], body).into_response())
}

async fn write_items<S: WireSpec>(
    kernel: &Kernel,
    op: &Caller,
    records: Vec<Record>,
    text: &mut Vec<u8>,
    first: bool,
) -> Result<(), Failure> {
    for (at, view) in views::<S>(kernel, op, records).await?.iter().enumerate() {
        if !(first && at == 0) {
            text.push(b',');
        }
        serde_json::to_writer(&mut *text, view).map_err(Failure::internal)?;
    }
    Ok(())
}
