//! What programs read and write, as text.

use std::fmt::Write;

use guest::codec::{DecodeError, Reader};

use crate::Kind;

/// The text of what the bytes hold: CSV, one line for each thing, numbers with as many digits as tell them apart. What
/// programs read can be encoded again and gives the same bytes.
pub fn decode(kind: Kind, bytes: &[u8]) -> Result<String, DecodeError> {
    let mut reader = Reader::new(bytes);
    let text = match kind {
        Kind::Pairs => pairs(&mut reader)?,
        Kind::Rows => reader.table()?.iter().map(|row| format!("{}\n", list(row))).collect(),
        Kind::Model => model(&mut reader)?,
        Kind::Parameters => {
            let [clusters, iterations, first] = [reader.integer()?, reader.integer()?, reader.integer()?];
            format!("clusters,{clusters}\niterations,{iterations}\nfirst_centre,{first}\n")
        }
        Kind::Line => format!("gradient,{}\nintercept,{}\n", reader.float()?, reader.float()?),
        Kind::Numbers => numbers(&mut reader, bytes.len())?,
        Kind::Clusters => clusters(&mut reader)?,
    };
    reader.finish()?;
    Ok(text)
}

fn pairs(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let mut text = String::new();
    for _ in 0..reader.count(16)? {
        line(&mut text, format_args!("{},{}", reader.float()?, reader.float()?));
    }
    Ok(text)
}

fn model(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let mut text = format!("intercept,{}\n", reader.float()?);
    for weight in reader.row()? {
        line(&mut text, format_args!("weight,{weight}"));
    }
    Ok(text)
}

/// Floats up to the end: `length` bytes in all.
fn numbers(reader: &mut Reader<'_>, length: usize) -> Result<String, DecodeError> {
    let mut text = String::new();
    for _ in 0..length / 8 {
        line(&mut text, format_args!("{}", reader.float()?));
    }
    Ok(text)
}

/// The sum of squares; for each cluster its number, how many points it has and its centre; for each point its number and
/// its cluster. Numbers count from zero.
fn clusters(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let centres = reader.table()?;
    let mut sizes = vec![0u64; centres.len()];
    let mut points = String::new();
    for point in 0..reader.count(1)? {
        let cluster = reader.integer()?;
        line(&mut points, format_args!("point,{point},{cluster}"));
        if let Some(size) = usize::try_from(cluster).ok().and_then(|cluster| sizes.get_mut(cluster)) {
            *size += 1;
        }
    }
    let mut text = format!("sum_of_squares,{}\n", reader.float()?);
    for (cluster, (centre, size)) in centres.iter().zip(sizes).enumerate() {
        line(&mut text, format_args!("cluster,{cluster},{size},{}", list(centre)));
    }
    Ok(text + &points)
}

fn list(row: &[f64]) -> String {
    row.iter().map(f64::to_string).collect::<Vec<_>>().join(",")
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("writing to a string does not fail");
}
