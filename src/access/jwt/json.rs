//! JSON, read strictly: one object, no member twice (RFC 8259, section 4; RFC 7515, section 4; RFC 7519, section 4), not nested
//! deeply. The grammar is `serde_json`'s; here is only what it would let pass. It never guesses which of two members was meant.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How many objects and arrays may stand inside each other.
pub const MOST_LEVELS: usize = 16;

/// The members of an object.
pub type Object = Map<String, Value>;

/// Reads one object and nothing behind it; `None` for anything else, a repeated member, or too deep a nesting.
///
/// Numbers that no `f64` and no 64-bit integer holds (`1e400`) are not read. The caller bounds the bytes.
pub fn parse(bytes: &[u8]) -> Option<Object> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { levels_left: MOST_LEVELS }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    match value {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// A member that is there and is not the text it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotText;

/// The text of a member: 1 to `most_bytes`, without control characters. `None` where there is no such member.
pub fn text<'a>(object: &'a Object, name: &str, most_bytes: usize) -> Result<Option<&'a str>, NotText> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if (1..=most_bytes).contains(&text.len()) && !text.chars().any(char::is_control) => {
            Ok(Some(text))
        }
        Some(_) => Err(NotText),
    }
}

#[derive(Clone, Copy)]
struct Strict {
    levels_left: usize,
}

impl Strict {
    fn inside<E: Error>(self) -> Result<Self, E> {
        let levels_left = self.levels_left.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { levels_left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inside)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands there twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_serde_json_reads() {
        let text = r#" {"a": [1, -2, 2.5, 18446744073709551615, true, null, "x\u0041"], "b": {"c": {}}} "#;
        assert_eq!(parse(text.as_bytes()).map(Value::Object), serde_json::from_str(text).ok());
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        let bad = [
            "",
            "null",
            "[]",
            "1",
            "\"a\"",
            "{",
            "{}{}",
            "{} x",
            "{}\0",
            "\u{feff}{}",
            "{a:1}",
            "{'a':1}",
            r#"{"a":1,}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"b":[{"a":1,"a":2}]}"#,
            r#"{"a":NaN}"#,
            r#"{"a":Infinity}"#,
            r#"{"a":1e400}"#,
            r#"{"a":-1e400}"#,
            r#"{"a":01}"#,
            r#"{"a":.5}"#,
            r#"{"a":0x10}"#,
            r#"{"a":"\ud800"}"#,
            "{\"a\":\"\n\"}",
            "{/**/}",
        ];
        for bad in bad {
            assert!(parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(parse(b"{\"a\":\"\xff\"}").is_none());
    }

    #[test]
    fn nesting_ends_where_it_is_said_and_costs_no_stack() {
        let nested = |levels: usize| {
            let arrays = levels - 1;
            format!("{{\"a\":{}{}}}", "[".repeat(arrays), "]".repeat(arrays)).into_bytes()
        };
        assert!(parse(&nested(MOST_LEVELS)).is_some());
        assert!(parse(&nested(MOST_LEVELS + 1)).is_none());
        assert!(parse(&nested(100_000)).is_none());
        assert!(parse(&"{\"a\":".repeat(100_000).into_bytes()).is_none());
    }
}
