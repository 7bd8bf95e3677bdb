//! The data owner's numbers, and the plain computation that the result is checked against.

use std::path::Path;

use anyhow::{Context, ensure};

/// Speed (mph) and stopping distance (ft) of cars, recorded in the 1920s; see `examples/data/README.md`.
const CARS: &str = include_str!("../../../../examples/data/cars.csv");

/// Points (x, y).
pub(crate) struct Points(Vec<(f64, f64)>);

impl Points {
    /// Reads the first two columns of a CSV file that hold numbers; the built-in data without one.
    pub(crate) fn load(path: Option<&Path>) -> anyhow::Result<Points> {
        match path {
            None => Points::parse(CARS),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Points::parse(&text).with_context(|| format!("cannot use {}", path.display()))
            }
        }
    }

    fn parse(text: &str) -> anyhow::Result<Points> {
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(text.as_bytes());
        let mut points = Vec::new();
        for (position, record) in reader.records().enumerate() {
            let record = record.with_context(|| format!("line {}", position + 1))?;
            let numbers: Vec<f64> = record
                .iter()
                .filter_map(|field| field.parse().ok())
                .filter(|n: &f64| n.is_finite())
                .collect();
            match numbers[..] {
                [x, y, ..] => points.push((x, y)),
                // Only a heading may lack numbers: a gap in the data is a mistake that must not go unseen.
                _ if position == 0 => {}
                _ => anyhow::bail!("line {} has fewer than two numbers", position + 1),
            }
        }
        ensure!(points.len() >= 2, "at least two points are needed, found {}", points.len());
        ensure!(
            points.iter().any(|(x, _)| *x != points[0].0),
            "all x are equal, so there is no line to find"
        );
        Ok(Points(points))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The form that the program reads: a LEB128 count, then each x and y as little-endian f64.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(10 + 16 * self.0.len());
        let mut count = self.0.len();
        while count >= 0x80 {
            bytes.push((count as u8 & 0x7f) | 0x80);
            count >>= 7;
        }
        bytes.push(count as u8);
        for point in &self.0 {
            bytes.extend_from_slice(&encode_point(point));
        }
        bytes
    }

    /// Ordinary least squares, computed in the open: (slope, intercept).
    pub(crate) fn plain_regression(&self) -> (f64, f64) {
        let n = self.0.len() as f64;
        let mean_x = self.0.iter().map(|(x, _)| x).sum::<f64>() / n;
        let mean_y = self.0.iter().map(|(_, y)| y).sum::<f64>() / n;
        let covariance: f64 = self.0.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        let variance: f64 = self.0.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        let slope = covariance / variance;
        (slope, mean_y - slope * mean_x)
    }

    /// Byte sequences by which the data would be recognised: each point as the program reads it, and each two
    /// neighbouring lines as a person would write them.
    pub(crate) fn traces(&self) -> Vec<Vec<u8>> {
        let encoded = self.0.iter().map(|point| encode_point(point).to_vec());
        let written = self.0.windows(2).map(|pair| {
            let [(a, b), (c, d)] = [pair[0], pair[1]];
            format!("{a},{b}\n{c},{d}").into_bytes()
        });
        encoded.chain(written).collect()
    }
}

fn encode_point((x, y): &(f64, f64)) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&x.to_le_bytes());
    bytes[8..].copy_from_slice(&y.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_data_has_its_known_regression() {
        let (slope, intercept) = Points::load(None).unwrap().plain_regression();
        assert!(
            (slope - 3.932409).abs() < 1e-6 && (intercept + 17.579095).abs() < 1e-6,
            "{slope} {intercept}"
        );
    }

    #[test]
    fn input_that_makes_no_line_is_refused_with_the_reason() {
        for (text, part) in [
            ("x,y\n1,2\n", "at least two"),
            ("1,2\n1,3\n", "all x are equal"),
            ("1,2\n2,three\n", "line 2"),
            ("", "at least two"),
        ] {
            let error = format!("{:#}", Points::parse(text).err().expect(text));
            assert!(error.contains(part), "{text:?}: {error}");
        }
        assert_eq!(Points::parse("x,y\n1,2\n2,3\n").unwrap().len(), 2);
    }

    #[test]
    fn counts_beyond_one_byte_are_encoded() {
        let points = Points((0..300).map(|i| (i as f64, 0.0)).collect());
        let bytes = points.encode();
        assert_eq!(&bytes[..2], &[0xac, 0x02]);
        assert_eq!(bytes.len(), 2 + 300 * 16);
    }
}
