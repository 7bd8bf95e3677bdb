//! How a run ended, as a document.

use cm_instance::{ExecutionReport, Rights};
use serde_json::Value;

/// The report as commands print it: rights are names, as everywhere else, and not the number by which instances speak.
pub(crate) fn document(report: &ExecutionReport) -> anyhow::Result<Value> {
    let mut document = serde_json::to_value(report)?;
    name_rights(&mut document);
    Ok(document)
}

fn name_rights(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(name_rights),
        Value::Object(fields) => {
            for (name, value) in fields {
                let bits = value.as_u64().filter(|_| name == "right");
                match bits {
                    Some(bits) => *value = Rights::from_bits_truncated(bits).to_string().into(),
                    None => name_rights(value),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use cm_instance::{DeniedAccess, GuestPath, Outcome};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_missing_right_is_named() {
        let path = GuestPath::parse("/output/x").unwrap();
        let right = Rights::from_bits_truncated(8194);
        let denied = DeniedAccess { path: path.clone(), right, call: "path_open".to_owned() };
        let outcome = Outcome::MissingRight { path: path.clone(), right, call: "path_open".to_owned() };
        let mut report = ExecutionReport::before_start(Outcome::Completed);
        report.denied.push(denied);
        let step = ExecutionReport::before_start(outcome);
        report.add_step(path, step);
        let document = document(&report).unwrap();
        for right in [
            &document["outcome"]["right"],
            &document["denied"][0]["right"],
            &document["steps"][0]["outcome"]["right"],
        ] {
            assert_eq!(right, &json!("FD_READ|PATH_OPEN"), "{document}");
        }
        assert_eq!(document["wall_ms"], 0);
    }
}
