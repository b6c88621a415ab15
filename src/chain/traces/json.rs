//! JSON of traces, read leniently: clients differ in spelling, and one odd field must not cost a block its traces.

use alloy::primitives::{Address, U256};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Characters of an error text that are kept.
const MAX_ERROR: usize = 200;

/// Parses without serde_json's limit of 128 levels, which real call depths pass; the stack grows on the heap meanwhile.
pub(super) fn deep<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.disable_recursion_limit();
    T::deserialize(serde_stacker::Deserializer::new(&mut json)).map_err(|err| err.to_string())
}

/// How deep arrays and objects nest.
pub(super) fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What an `error` field says: text, or an object with a message. Null, false and empty texts say nothing.
pub(super) fn error_text(error: Option<&Value>) -> Option<String> {
    let text = match error? {
        Value::Null | Value::Bool(false) => return None,
        Value::String(text) => text.clone(),
        Value::Object(fields) => match fields.get("message").and_then(Value::as_str) {
            Some(message) => message.to_owned(),
            None if fields.is_empty() => return None,
            None => Value::Object(fields.clone()).to_string(),
        },
        other => other.to_string(),
    };
    let text = text.trim();
    (!text.is_empty()).then(|| cut(text))
}

/// Whether a `revertReason` is stated. Empty data is none.
pub(super) fn is_revert_reason(reason: Option<&Value>) -> bool {
    error_text(reason).is_some_and(|text| text != "0x")
}

/// One line of bounded length.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(MAX_ERROR).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A number as nodes write it: a JSON number, or a text in hex or decimal.
pub(super) fn number(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        },
        _ => None,
    }
}

/// An address, where null and empty texts are none.
pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Address>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !is_empty(text));
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

/// Wei, where null and empty texts are none.
pub(super) fn wei<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<U256>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !is_empty(text));
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

fn is_empty(text: &str) -> bool {
    text.is_empty() || text == "0x"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn brackets_inside_strings_do_not_count_as_depth() {
        assert_eq!(depth(r#"["[[[\"[[[", {"a": "}"}]"#), 2);
    }

    #[test]
    fn an_error_that_says_nothing_is_none() {
        for nothing in [json!(null), json!(""), json!("  "), json!(false), json!({})] {
            assert_eq!(error_text(Some(&nothing)), None, "{nothing}");
        }
        for (error, said) in [
            (json!("execution reverted"), "execution reverted"),
            (json!({"code": -32000, "message": "execution timeout"}), "execution timeout"),
            (json!({"code": 3}), r#"{"code":3}"#),
            (json!(["a"]), r#"["a"]"#),
            (json!("a\nb"), "a b"),
        ] {
            assert_eq!(error_text(Some(&error)).as_deref(), Some(said));
        }
        assert!(!is_revert_reason(Some(&json!("0x"))) && is_revert_reason(Some(&json!("0x08c379a0"))));
    }
}
