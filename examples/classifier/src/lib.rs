//! Handwritten digits as rows of numbers, and what a model says of them.
//!
//! A picture is a line of 64 pixels of 0 to 16, row after row, separated by commas; a 65th number, the true digit, may
//! follow. The model takes pictures as they are and gives ten probabilities for each. The answer is a line per picture:
//! the likeliest digit and its probability with three digits; and at last, if the true digits were there, `right of all`.

use std::fmt::Write as _;

/// Pixels of a picture.
pub const PIXELS: usize = 64;
/// Digits.
pub const CLASSES: usize = 10;
const BRIGHTEST: f32 = 16.0;

/// A line is no picture: its number, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureError(pub usize);

impl std::fmt::Display for PictureError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: not {PIXELS} pixels of 0 to 16, with or without a digit", self.0)
    }
}

impl std::error::Error for PictureError {}

/// Pictures, one behind the other, and the true digits where they are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pictures {
    /// All pixels.
    pub pixels: Vec<f32>,
    /// One per picture.
    pub truth: Vec<Option<usize>>,
}

/// Reads pictures.
pub fn pictures(text: &str) -> Result<Pictures, PictureError> {
    let mut pictures = Pictures::default();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = PictureError(index + 1);
        let numbers: Result<Vec<f32>, _> = line.split(',').map(|number| number.trim().parse()).collect();
        let numbers = numbers.map_err(|_| wrong)?;
        let (pixels, rest) = numbers.split_at_checked(PIXELS).ok_or(wrong)?;
        if !pixels.iter().all(|pixel| (0.0..=BRIGHTEST).contains(pixel)) {
            return Err(wrong);
        }
        let digit = |number: f32| (0..CLASSES).find(|digit| *digit as f32 == number);
        pictures.truth.push(match rest {
            [] => None,
            [number] => Some(digit(*number).ok_or(wrong)?),
            _ => return Err(wrong),
        });
        pictures.pixels.extend_from_slice(pixels);
    }
    Ok(pictures)
}

/// The answer for pictures with these probabilities, ten of each.
pub fn answer(pictures: &Pictures, probabilities: &[f32]) -> String {
    let mut out = String::new();
    let (mut right, mut known) = (0, 0);
    for (truth, row) in pictures.truth.iter().zip(probabilities.chunks_exact(CLASSES)) {
        let (said, sure) = likeliest(row);
        // Writing to a text does not fail.
        let _ = writeln!(out, "{said},{sure:.3}");
        known += usize::from(truth.is_some());
        right += usize::from(*truth == Some(said));
    }
    if known > 0 {
        let _ = writeln!(out, "{right} of {known}");
    }
    out
}

/// The place of the greatest number, the first of equal ones, and the number.
fn likeliest(row: &[f32]) -> (usize, f32) {
    row.iter().enumerate().fold(
        (0, f32::MIN),
        |best, (digit, &sure)| {
            if sure > best.1 { (digit, sure) } else { best }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_are_pictures_and_the_model_is_mostly_right_on_them() {
        let pictures = pictures(include_str!("../data/digits.csv")).unwrap();
        assert_eq!((pictures.truth.len(), pictures.pixels.len()), (360, 360 * PIXELS));
        let expected: Vec<usize> = include_str!("../data/expected.csv")
            .lines()
            .map(|line| line.split(',').next().unwrap().parse().unwrap())
            .collect();
        let right =
            pictures.truth.iter().zip(&expected).filter(|(truth, said)| **truth == Some(**said)).count();
        assert!(right * 10 >= expected.len() * 9, "{right} of {}", expected.len());
    }

    #[test]
    fn the_answer_says_how_many_are_right() {
        let row = |digit: &str| format!("{}{digit}\n", ["0"; PIXELS].join(","));
        let pictures = pictures(&(row(",3") + &row("") + &row(",1"))).unwrap();
        let mut probabilities = [0.05; 30];
        for place in [3, 12, 27] {
            probabilities[place] = 0.5;
        }
        assert_eq!(answer(&pictures, &probabilities), "3,0.500\n2,0.500\n7,0.500\n1 of 2\n");
    }

    #[test]
    fn what_is_no_picture_is_told_with_its_line() {
        let good = ["16"; PIXELS].join(",");
        for bad in ["1,2", &good.replacen("16", "17", 1), &format!("{good},10"), &format!("{good},1,1"), "x"]
        {
            assert_eq!(pictures(&format!("{good}\n{bad}\n")), Err(PictureError(2)), "{bad}");
        }
    }
}
