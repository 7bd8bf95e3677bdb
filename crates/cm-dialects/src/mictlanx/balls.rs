//! Objects that belong together.

use std::collections::BTreeMap;

use cm_door::refusal;
use cm_http::{Failure, FailureClass};
use cm_kernel::objects::ObjectInfo;
use cm_kernel::policy::List;
use cm_kernel::{ErrorClass, OpContext};
use cm_types::{PageLimit, ResourceKind};
use serde::Serialize;

use super::MictlanX;
use super::metadata::{Metadata, ball_term};
use super::names::bucket_name;
use super::shape::typed;
use super::writing::place;

/// Most pieces of a ball.
const PIECES_MAX: usize = 100_000;

/// A ball as the router says it.
#[derive(Debug, Serialize)]
pub(super) struct BallView {
    bucket_id: String,
    ball_id: String,
    size: String,
    size_bytes: u64,
    checksum: String,
    chunks: Vec<Metadata>,
}

impl BallView {
    pub(super) fn of(bucket_id: String, ball_id: String, pieces: Vec<Metadata>) -> Self {
        let size_bytes = pieces.iter().map(|piece| piece.size).sum();
        let whole = pieces.first().and_then(|piece| piece.tags.get("full_checksum")).cloned();
        let only = || match pieces.as_slice() {
            [only] => only.checksum.clone(),
            _ => String::new(),
        };
        let checksum = whole.unwrap_or_else(only);
        Self { bucket_id, ball_id, size: human(size_bytes), size_bytes, checksum, chunks: pieces }
    }
}

impl MictlanX {
    /// The pieces of a ball in their order; none if there is no such ball, or the actor may not know of it. Of those that it may not
    /// read, no more than key and size is told.
    pub(super) async fn pieces(
        &self,
        op: &OpContext,
        bucket_id: &str,
        ball: &str,
    ) -> Result<Vec<(ObjectInfo, Metadata)>, Failure> {
        let Some(bucket) = bucket_name(bucket_id) else { return Ok(Vec::new()) };
        let permit = match self.kernel().look_up::<List>(op, ResourceKind::Bucket, bucket.as_str()).await {
            Ok((_, permit)) => permit,
            Err(error) if error.class() == ErrorClass::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(refusal(error)),
        };
        let (term, mut after, mut pieces) = (ball_term(ball), None, Vec::new());
        loop {
            let page = self.kernel().objects_by_term(op, &permit, &bucket, &term, after, PageLimit::MAX);
            let page = page.await.map_err(refusal)?;
            let described = page.items.into_iter().map(|(info, told)| {
                let metadata = Metadata::told(bucket_id, &info, &told);
                (info, metadata)
            });
            pieces.extend(described);
            if pieces.len() > PIECES_MAX {
                let message = format!("ball {ball} has more than {PIECES_MAX} pieces");
                return Err(typed(FailureClass::TooLarge, 413, 400, message));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        if pieces.is_empty()
            && let Some((bucket, key)) = place(bucket_id, ball)
            && let Some((info, permit)) = self.current(op, &bucket, &key).await?
        {
            // What other faces wrote is a ball of its own.
            let text = self.kernel().object_description(&permit, (&bucket, &key), info.sha256).await;
            if text.map_err(refusal)?.is_none() {
                let metadata = Metadata::of(bucket_id, &info, None);
                pieces.push((info, metadata));
            }
        }
        pieces.sort_by(|(_, one), (_, other)| (one.place(), &one.key).cmp(&(other.place(), &other.key)));
        Ok(pieces)
    }

    /// The pieces of a ball that is to be read as a whole: as many as its first one says, whatever else bears its name.
    ///
    /// # Errors
    /// 404 if there is none, or one is missing, is of another version, or may not be read.
    pub(super) async fn whole(
        &self,
        op: &OpContext,
        bucket_id: &str,
        ball: &str,
    ) -> Result<Vec<(ObjectInfo, Metadata)>, Failure> {
        let pieces = self.pieces(op, bucket_id, ball).await?;
        if pieces.is_empty() {
            return Err(typed(FailureClass::NotFound, 404, 404, format!("no ball {bucket_id}@{ball}")));
        }
        let here = pieces.len();
        let whole = chosen(ball, pieces, |(_, piece)| piece);
        whole.filter(|pieces| pieces.iter().all(|(_, piece)| !piece.is_hidden)).ok_or_else(|| {
            let message = format!(
                "ball {bucket_id}@{ball} is not whole, or pieces of it may not be read: {here} are here"
            );
            typed(FailureClass::NotFound, 404, 503, message)
        })
    }
}

/// One piece for each place of a ball, in their order: those named as clients name them, if there are others of the same place. `None` if
/// one is missing, or if they are not of the same whole.
fn chosen<T>(ball: &str, pieces: Vec<T>, described: impl Fn(&T) -> &Metadata) -> Option<Vec<T>> {
    let is_named = |piece: &Metadata, place: u64| piece.key == format!("{ball}_{place}");
    let first = pieces.iter().map(&described).find(|piece| is_named(piece, 0));
    let first = first.or_else(|| pieces.first().map(&described))?;
    let said = first.tags.get("num_chunks").and_then(|text| text.trim().parse::<u64>().ok());
    // Without a word of how many there are, all of them have to fit together.
    let wanted = said.unwrap_or(pieces.len() as u64);
    if said.is_none() && pieces.len() == 1 {
        return Some(pieces);
    }
    let whole_of = first.tags.get("full_checksum").cloned();
    let mut places: BTreeMap<u64, T> = BTreeMap::new();
    for piece in pieces {
        let place = described(&piece).place();
        if place < wanted && (is_named(described(&piece), place) || !places.contains_key(&place)) {
            places.insert(place, piece);
        }
    }
    let is_whole = places.len() as u64 == wanted
        && places.values().all(|piece| described(piece).tags.get("full_checksum") == whole_of.as_ref());
    is_whole.then(|| places.into_values().collect())
}

/// A size as people read it: decimal units, two digits behind the point.
fn human(bytes: u64) -> String {
    if bytes == 1 {
        return "1 byte".to_owned();
    }
    let units = [(1e18, "EB"), (1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| bytes as f64 >= *unit) else {
        return format!("{bytes} bytes");
    };
    let text = format!("{:.2}", bytes as f64 / unit);
    format!("{} {name}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(key: &str, tags: &[(&str, &str)]) -> Metadata {
        Metadata {
            key: key.to_owned(),
            size: 1,
            checksum: String::new(),
            tags: tags.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
            content_type: String::new(),
            producer_id: String::new(),
            ball_id: "b".to_owned(),
            bucket_id: String::new(),
            is_disabled: false,
            is_hidden: false,
        }
    }

    fn keys(pieces: Vec<Metadata>) -> Option<Vec<String>> {
        Some(chosen("b", pieces, |piece| piece)?.into_iter().map(|piece| piece.key).collect())
    }

    #[test]
    fn a_ball_is_what_its_first_piece_says() {
        let of = |count, version| [("num_chunks", count), ("full_checksum", version)];
        let whole = ["b_0", "b_1"].map(str::to_owned).to_vec();
        let two = || vec![piece("b_0", &of("2", "new")), piece("b_1", &of("2", "new"))];
        assert_eq!(keys(two()), Some(whole.clone()));
        // A piece of a longer one before, and what somebody else called the same.
        for other in [piece("b_2", &of("3", "old")), piece("a", &[]), piece("z_1", &of("2", "old"))] {
            for at in 0..3 {
                let mut pieces = two();
                pieces.insert(at, other.clone());
                assert_eq!(keys(pieces), Some(whole.clone()), "{other:?} at {at}");
            }
        }
        assert_eq!(keys(vec![piece("b_0", &of("2", "new")), piece("b_1", &of("2", "old"))]), None);
        assert_eq!(keys(vec![piece("b_0", &of("2", "new"))]), None);
        assert_eq!(keys(vec![piece("b_0", &of("99999999", "new"))]), None);
        assert_eq!(keys(vec![piece("alone", &[])]), Some(vec!["alone".to_owned()]));
        assert_eq!(keys(vec![piece("b_0", &[]), piece("b_2", &[])]), None);
    }

    #[test]
    fn sizes_are_written_for_people() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1 KB"),
            (256_000, "256 KB"),
            (1_234_567, "1.23 MB"),
            (2_500_000_000, "2.5 GB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
