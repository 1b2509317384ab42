//! Validated JSON text.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// A text that is not one JSON value, or is nested too deeply.
#[derive(Debug, thiserror::Error)]
#[error("not valid JSON")]
pub struct InvalidJson(#[from] serde_json::Error);

/// JSON text that was parsed once and found valid, kept as text: most of the control plane only carries it.
///
/// Nesting deeper than 128 levels is refused. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Arc<str>);

impl Json {
    /// Checks that `text` is exactly one JSON value and keeps it as it is.
    ///
    /// # Errors
    /// [`InvalidJson`] with the place of the first mistake.
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, InvalidJson> {
        let text = text.into();
        serde_json::from_str::<Value>(&text)?;
        Ok(Self(text))
    }

    /// Writes a value compactly.
    pub fn of(value: &Value) -> Self {
        Self(value.to_string().into())
    }

    /// The value in memory.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Size of the text in bytes.
    pub fn len_bytes(&self) -> usize {
        self.0.len()
    }
}

/// Shows the size only: payloads may hold what must not be logged.
impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_valid_text_and_refuses_the_rest() {
        assert_eq!(Json::parse(" {\"a\": 1}").expect("valid").as_str(), " {\"a\": 1}");
        for bad in ["", "{", "1 2", "NaN", "{'a':1}"] {
            assert!(Json::parse(bad).is_err(), "{bad}");
        }
        assert!(Json::parse("[".repeat(10_000)).is_err());
    }

    #[test]
    fn debug_shows_no_content() {
        let shown = format!("{:?}", Json::parse("\"secret-value\"").expect("valid"));
        assert!(!shown.contains("secret-value"));
    }
}
