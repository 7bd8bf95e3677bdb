//! All records of a kind that the caller may read, for lists without pages.

use cm_door::refusal;
use cm_http::Failure;
use cm_kernel::catalog::{Query, Record};
use cm_kernel::policy::List;
use cm_kernel::{Kernel, OpContext};
use cm_types::{PageLimit, ResourceKind};

/// Most entries of a list. The earlier services know no pages; whoever has more asks the native API.
const LISTED_MAX: usize = 10_000;

/// What `show` makes of the records of a kind that have these fields, in the order of their creation.
pub(crate) async fn all<T>(
    kernel: &Kernel,
    op: &OpContext,
    kind: ResourceKind,
    filters: Vec<(String, String)>,
    mut show: impl FnMut(&Record) -> Option<T>,
) -> Result<Vec<T>, Failure> {
    let permit = kernel.authorize::<List>(op, kind).await.map_err(refusal)?;
    let mut query = Query { filters, limit: PageLimit::MAX, ..Query::of(kind) };
    let mut shown = Vec::new();
    loop {
        let page = kernel.list_records(op, &permit, query.clone()).await.map_err(refusal)?;
        shown.extend(page.items.iter().filter_map(&mut show));
        match page.next {
            Some(next) if shown.len() < LISTED_MAX => query.after = Some(next),
            _ => {
                shown.truncate(LISTED_MAX);
                return Ok(shown);
            }
        }
    }
}
