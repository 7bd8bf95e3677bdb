//! A file's bytes in pieces, so that growing copies nothing and holes cost nothing.

/// Bytes in one piece. Small enough that a file of one byte is cheap (a piece grows as it is filled), large
/// enough that a read of a usual buffer touches one or two.
const PIECE_LEN: usize = 64 * 1024;

/// A file's bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// Each holds at most `PIECE_LEN` bytes; what is missing at a piece's end is zeros.
    pieces: Vec<Vec<u8>>,
    len: u64,
}

fn place(at: u64) -> (usize, usize) {
    let piece_len = PIECE_LEN as u64;
    let piece = usize::try_from(at / piece_len).unwrap_or(usize::MAX);
    (piece, (at % piece_len) as usize)
}

/// Lets a piece grow to so many bytes without ever reserving more than a whole one: left to itself, a vector that is
/// filled in odd steps reserves up to twice as much.
fn make_room(piece: &mut Vec<u8>, len: usize) {
    if len > piece.capacity() {
        let capacity = if len > PIECE_LEN / 2 { PIECE_LEN } else { len.next_power_of_two() };
        piece.reserve_exact(capacity - piece.len());
    }
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes that writing `len` bytes at `at` would add to what is held.
    pub(super) fn cost(&self, at: u64, len: usize) -> u64 {
        let (mut piece, mut within) = place(at);
        let mut left = len;
        let mut cost = 0;
        while left > 0 {
            let step = left.min(PIECE_LEN - within);
            let held = self.pieces.get(piece).map_or(0, Vec::len);
            cost += (within + step).saturating_sub(held) as u64;
            (piece, within, left) = (piece + 1, 0, left - step);
        }
        cost
    }

    /// Bytes held, holes not counted.
    pub(super) fn held(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }

    /// Copies from `at` on into the buffer; says how many bytes, less than asked for only at the end.
    pub(super) fn read(&self, at: u64, buffer: &mut [u8]) -> usize {
        let available = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let total = buffer.len().min(available);
        let (mut piece, mut within) = place(at);
        let mut done = 0;
        while done < total {
            let step = (total - done).min(PIECE_LEN - within);
            let target = &mut buffer[done..done + step];
            let held = self.pieces.get(piece).and_then(|bytes| bytes.get(within..)).unwrap_or(&[]);
            let copied = held.len().min(step);
            target[..copied].copy_from_slice(&held[..copied]);
            target[copied..].fill(0);
            (piece, within, done) = (piece + 1, 0, done + step);
        }
        total
    }

    /// Writes the bytes at `at`; a gap before them reads as zeros.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        let (mut piece, mut within) = place(at);
        let mut rest = bytes;
        while !rest.is_empty() {
            let (step, behind) = rest.split_at(rest.len().min(PIECE_LEN - within));
            if self.pieces.len() <= piece {
                self.pieces.resize_with(piece + 1, Vec::new);
            }
            let held = &mut self.pieces[piece];
            make_room(held, within + step.len());
            if held.len() < within {
                held.resize(within, 0);
            }
            let overlap = (held.len() - within).min(step.len());
            held[within..within + overlap].copy_from_slice(&step[..overlap]);
            held.extend_from_slice(&step[overlap..]);
            (piece, within, rest) = (piece + 1, 0, behind);
        }
        if !bytes.is_empty() {
            self.len = self.len.max(at + bytes.len() as u64);
        }
    }

    /// Adds another file's bytes to the end. Copies piece by piece, each of which is given back at once, or nothing where
    /// the pieces fit together.
    pub(super) fn append(&mut self, other: Content) {
        let end = self.len + other.len;
        let fits = self.len.is_multiple_of(PIECE_LEN as u64);
        if fits {
            self.pieces.resize_with(place(self.len).0, Vec::new);
            self.pieces.extend(other.pieces);
        } else {
            let mut at = self.len;
            for piece in other.pieces {
                self.write(at, &piece);
                at += PIECE_LEN as u64;
            }
        }
        self.len = end;
    }

    /// Cuts the file, or lets it grow by a hole.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let (piece, within) = place(len);
            if let Some(last) = self.pieces.get_mut(piece) {
                last.truncate(within);
                last.shrink_to_fit();
            }
            self.pieces.truncate(if within == 0 { piece } else { piece + 1 });
        }
        self.len = len;
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or(usize::MAX)];
        self.read(0, &mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, usize),
        Append(usize, u64),
        SetLen(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let place = 0..(PIECE_LEN as u64 * 3);
        prop_oneof![
            (place.clone(), 0..PIECE_LEN * 2).prop_map(|(at, len)| Step::Write(at, len)),
            (0..PIECE_LEN * 2, place.clone()).prop_map(|(len, grown)| Step::Append(len, grown)),
            place.prop_map(Step::SetLen),
        ]
    }

    #[test]
    fn a_file_that_grows_reserves_at_most_a_piece_too_much() {
        for step in [1, 1000, 40_000, PIECE_LEN - 1, PIECE_LEN + 7, 1_000_001] {
            let mut content = Content::default();
            let bytes = vec![7; step];
            while content.len() < 3_000_000 && content.len() < step as u64 * 20_000 {
                content.write(content.len(), &bytes);
                let reserved: usize = content.pieces.iter().map(Vec::capacity).sum();
                assert!(
                    reserved < content.len() as usize + PIECE_LEN,
                    "{reserved} for {} by {step}",
                    content.len()
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn it_behaves_like_one_vector(steps in prop::collection::vec(step(), 1..8), at in 0u64..400_000, len in 0usize..200_000) {
            let mut content = Content::default();
            let mut model: Vec<u8> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Write(at, len) => {
                        let bytes = vec![number as u8 + 1; len];
                        let before = content.held();
                        let cost = content.cost(at, len);
                        content.write(at, &bytes);
                        prop_assert_eq!(content.held(), before + cost);
                        if len > 0 {
                            let at = at as usize;
                            model.resize(model.len().max(at + len), 0);
                            model[at..at + len].copy_from_slice(&bytes);
                        }
                    }
                    Step::Append(len, grown) => {
                        let bytes = vec![number as u8 + 1; len];
                        let mut other = Content::default();
                        other.write(0, &bytes);
                        other.set_len(other.len().max(grown));
                        model.extend_from_slice(&bytes);
                        model.resize(model.len() + other.len() as usize - len, 0);
                        content.append(other);
                    }
                    Step::SetLen(len) => {
                        content.set_len(len);
                        model.resize(len as usize, 0);
                    }
                }
            }
            prop_assert_eq!(content.len(), model.len() as u64);
            prop_assert!(content.to_vec() == model);
            let mut buffer = vec![9; len];
            let found = content.read(at, &mut buffer);
            let expected = model.get(at as usize..).unwrap_or(&[]);
            let expected = &expected[..expected.len().min(len)];
            prop_assert!(&buffer[..found] == expected);
        }
    }
}
