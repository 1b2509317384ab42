//! JSON objects whose members have different names.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A JSON object. One with a name twice is refused, as RFC 7515 §4 and RFC 7519 §4 permit: two readers could take it for two
/// different things.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object(BTreeMap<String, Value>);

impl Object {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A member that is a text; none when it is absent or something else.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// The member that a JSON pointer (RFC 6901) leads to.
    pub(crate) fn pointer(&self, pointer: &str) -> Option<&Value> {
        let path = pointer.strip_prefix('/')?;
        let (name, rest) = match path.find('/') {
            Some(at) => path.split_at(at),
            None => (path, ""),
        };
        self.get(&name.replace("~1", "/").replace("~0", "~"))?
            .pointer(rest)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a name that stands twice"));
            }
        }
        Ok(Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        Object::read(br#"{"alg":"RS256","a\u006cg":"none"}"#).expect_err("the same name, once escaped");
        Object::read(b"[]").expect_err("no object");
        Object::read(br#"{"a":1} {}"#).expect_err("more than one");
        let object = Object::read(br#"{"alg":"RS256","x":{"y/z":["w"]}}"#).expect("an object");
        assert_eq!(object.text("alg"), Some("RS256"));
        assert_eq!(object.text("x"), None);
        assert_eq!(object.pointer("/x/y~1z/0"), Some(&Value::from("w")));
        assert_eq!(object.pointer("/x"), object.get("x"));
        assert_eq!(object.pointer("x"), None);
    }
}
