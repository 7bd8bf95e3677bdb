//! What the author of an active object writes: Python.

use cm_axo::{Schema, SourceError};

/// A schema is the same after writing and reading, and names each method once. A refusal says where in the source.
pub fn active_objects(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    match cm_axo::parse(source) {
        Ok(schema) => {
            let text = serde_json::to_string(&schema).expect("a schema has JSON's form");
            let again: Schema = serde_json::from_str(&text).expect("what we write, we read");
            assert_eq!(again, schema, "a schema changed on the way");
            for method in &schema.methods {
                assert_eq!(schema.method(&method.name), Some(method), "a method has two declarations");
            }
        }
        Err(SourceError::TooLong { len }) => assert_eq!(len, source.len()),
        Err(error) => {
            let position = error.position().expect("only what is too long is not read");
            let lines: Vec<&str> = source.split(['\n', '\r']).collect();
            assert!((1..=lines.len()).contains(&position.line), "{error}");
            let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
            assert!((1..=longest + 1).contains(&position.column), "{error}");
        }
    }
}
