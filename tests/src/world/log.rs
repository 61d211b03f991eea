//! Access log lines, read the way a user's tool would.

use std::ops::Deref;
use std::path::Path;

use serde_json::Value;

/// One line of the access log.
#[derive(Debug, Clone)]
pub struct LogLine(Value);

impl Deref for LogLine {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl LogLine {
    /// A field that is a string; empty where it is absent.
    pub fn text(&self, field: &str) -> &str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// A field that is a whole number.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.0.get(field).and_then(Value::as_u64)
    }

    /// Asserts that each named field has that value; null means that it is absent.
    ///
    /// # Panics
    /// With the whole line, where one differs.
    pub fn assert(&self, expected: &Value) {
        for (field, value) in expected.as_object().expect("expectations are an object") {
            let actual = self.0.get(field).unwrap_or(&Value::Null);
            assert_eq!(actual, value, "{field} of the access log's line {}", self.0);
        }
    }
}

/// All complete lines of an access log.
///
/// # Panics
/// Where a line is not a JSON object: that is a defect of Weir's.
pub fn read(path: &Path) -> Vec<LogLine> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
    complete
        .lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("the access log's line is no JSON ({error}): {line}"));
            assert!(value.is_object(), "the access log's line is no object: {line}");
            LogLine(value)
        })
        .collect()
}
