//! What differs between two frames.

/// Side of a block, in pixels.
const BLOCK: usize = 8;
/// The mean absolute difference of brightness above which a block has changed.
const CHANGE_MIN: u32 = 16;

/// Where two frames differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detection {
    /// Blocks that have changed.
    pub blocks: usize,
    /// Left edge of the rectangle around them, in pixels; the others likewise.
    pub left: usize,
    /// Top edge.
    pub top: usize,
    /// The first column behind the rectangle.
    pub right: usize,
    /// The first row behind the rectangle.
    pub bottom: usize,
}

impl std::fmt::Display for Detection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { blocks, left, top, right, bottom } = self;
        write!(f, "{blocks} {left},{top} {right},{bottom}")
    }
}

/// The changed blocks of two frames of the same size; `None` if there are none.
pub fn detect(before: &[u8], after: &[u8], width: usize, height: usize) -> Option<Detection> {
    let mut found: Option<Detection> = None;
    for top in (0..height).step_by(BLOCK) {
        for left in (0..width).step_by(BLOCK) {
            let (right, bottom) = ((left + BLOCK).min(width), (top + BLOCK).min(height));
            let mut sum = 0;
            for row in top..bottom {
                let pixels = row * width + left..row * width + right;
                for (old, new) in before[pixels.clone()].iter().zip(&after[pixels]) {
                    sum += u32::from(old.abs_diff(*new));
                }
            }
            let pixels = ((right - left) * (bottom - top)) as u32;
            if sum > CHANGE_MIN * pixels {
                let one = Detection { blocks: 1, left, top, right, bottom };
                found = Some(found.map_or(one, |so_far| so_far.with(one)));
            }
        }
    }
    found
}

impl Detection {
    fn with(self, other: Self) -> Self {
        Self {
            blocks: self.blocks + other.blocks,
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }
}
