//! JSON-RPC answers as servers really write them: `"error": null` next to a result, ids as strings or with a point, no `jsonrpc`, a byte
//! order mark before it all. What is answered is not guessed at: an answer has a result or an error, and the id that was asked for.

use alloy::rpc::json_rpc::{ErrorPayload, EthNotification, Id, PubSubItem, Response, ResponsePacket, ResponsePayload};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The code of an error that states none: the first that the specification leaves to servers.
const NO_CODE: i64 = -32000;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    id: Value,
    /// None where it is not there; null where it is null.
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Value,
    /// Only what a server says unasked has one.
    #[serde(default)]
    method: Value,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The body without what some servers put before it.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.trim_ascii_start().strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)
}

/// Reads one answer or a batch of them.
///
/// # Errors
/// Why it is no answer.
pub(super) fn read(body: &[u8]) -> Result<ResponsePacket, String> {
    match parse(body)? {
        Answers::One(answer) => answer.response().map(ResponsePacket::Single),
        Answers::Many(answers) => {
            answers.into_iter().map(Answer::response).collect::<Result<_, _>>().map(ResponsePacket::Batch)
        }
    }
}

/// Reads a message of a connection on which a server also speaks unasked: answers, and what a subscription pushes. Other
/// notifications are left out.
///
/// # Errors
/// Why it is none of these.
pub(super) fn read_pushed(message: &[u8]) -> Result<Vec<PubSubItem>, String> {
    let answers = match parse(message)? {
        Answers::One(answer) => vec![answer],
        Answers::Many(answers) => answers,
    };
    answers.into_iter().filter_map(|answer| answer.item().transpose()).collect()
}

enum Answers<'a> {
    One(Answer<'a>),
    Many(Vec<Answer<'a>>),
}

fn parse(body: &[u8]) -> Result<Answers<'_>, String> {
    let body = without_mark(body);
    let answers = match body.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice(body).map(Answers::Many),
        _ => serde_json::from_slice(body).map(Answers::One),
    };
    answers.map_err(|error| error.to_string())
}

impl Answer<'_> {
    fn response(self) -> Result<Response, String> {
        let payload = match (error_of(self.error), self.result) {
            (Some(error), _) => ResponsePayload::Failure(error),
            (None, Some(result)) => ResponsePayload::Success(result.to_owned()),
            (None, None) => return Err("neither a result nor an error".to_owned()),
        };
        Ok(Response { id: id_of(self.id), payload })
    }

    fn item(self) -> Result<Option<PubSubItem>, String> {
        if !self.method.is_string() || !self.id.is_null() {
            return self.response().map(|response| Some(response.into()));
        }
        let notification = self.params.map(|params| serde_json::from_str::<EthNotification>(params.get()));
        Ok(notification.and_then(Result::ok).map(PubSubItem::from))
    }
}

/// Numbers are what is asked with; whatever writes the same number means it.
fn id_of(id: Value) -> Id {
    match id {
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(number), _) => Id::Number(number),
            (None, Some(float)) if float >= 0.0 && float.fract() == 0.0 && float < 9e15 => Id::Number(float as u64),
            _ => Id::String(number.to_string()),
        },
        Value::String(text) => text.trim().parse().map_or(Id::String(text), Id::Number),
        _ => Id::None,
    }
}

/// The error, where there is one: an empty one is none.
fn error_of(error: Value) -> Option<ErrorPayload> {
    let of = |code: i64, message: String, data: Option<Value>| {
        let data = data.and_then(|data| serde_json::value::to_raw_value(&data).ok());
        Some(ErrorPayload { code, message: message.into(), data })
    };
    match error {
        Value::Null | Value::Bool(false) => None,
        Value::Object(members) if members.is_empty() => None,
        Value::Object(mut members) => {
            let code = match members.get("code") {
                Some(Value::String(text)) => text.trim().parse().ok(),
                code => code.and_then(Value::as_i64),
            };
            let message = match members.remove("message") {
                Some(Value::String(message)) => message,
                Some(other) if !other.is_null() => other.to_string(),
                _ => "without a message".to_owned(),
            };
            of(code.unwrap_or(NO_CODE), message, members.remove("data"))
        }
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => of(NO_CODE, text, None),
        other => of(NO_CODE, other.to_string(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Payload = Result<String, (i64, String)>;

    fn single(text: &str) -> Result<(Id, Payload), String> {
        match read(text.as_bytes())? {
            ResponsePacket::Single(Response { id, payload: ResponsePayload::Success(result) }) => {
                Ok((id, Ok(result.get().to_owned())))
            }
            ResponsePacket::Single(Response { id, payload: ResponsePayload::Failure(error) }) => {
                Ok((id, Err((error.code, error.message.into_owned()))))
            }
            ResponsePacket::Batch(_) => Err("a batch".to_owned()),
        }
    }

    #[test]
    fn answers_that_are_written_loosely_are_read() {
        let one = (Id::Number(7), Ok("\"0x1\"".to_owned()));
        for text in [
            r#"{"jsonrpc":"2.0","id":7,"result":"0x1","error":null}"#,
            r#"{"error":null,"result":"0x1","id":"7"}"#,
            r#"{"id":7.0,"result":"0x1","error":{}}"#,
            r#"{"id":" 7 ","result":"0x1","error":""}"#,
            r#"{"id":7,"error":false,"result":"0x1","extra":[1]}"#,
            "\u{feff}{\"id\":7,\"result\":\"0x1\"}",
            "\u{feff} \r\n{\"jsonrpc\":2.0,\"id\":7,\"result\":\"0x1\"}\n",
        ] {
            assert_eq!(single(text), Ok(one.clone()), "{text}");
        }
        assert_eq!(single(r#"{"id":7,"result":null,"error":null}"#), Ok((Id::Number(7), Ok("null".to_owned()))));
        for (text, error) in [
            (r#"{"id":7,"error":{"code":-32601,"message":"no"}}"#, (-32601, "no")),
            (r#"{"id":7,"result":null,"error":{"code":"429","message":"slow down"}}"#, (429, "slow down")),
            (r#"{"id":7,"error":"too many requests"}"#, (-32000, "too many requests")),
            (r#"{"id":7,"error":{"message":null}}"#, (-32000, "without a message")),
        ] {
            assert_eq!(single(text), Ok((Id::Number(7), Err((error.0, error.1.to_owned())))), "{text}");
        }
    }

    #[test]
    fn notifications_are_read_however_they_are_written_and_others_are_left_out() {
        let items = |text: &str| -> Vec<String> {
            let items = read_pushed(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
            let shown = |item| match item {
                PubSubItem::Notification(pushed) => format!("pushed {}", pushed.result.get()),
                PubSubItem::Response(response) => format!("answer {}", response.id),
            };
            items.into_iter().map(shown).collect()
        };
        let params = r#""params":{"subscription":"0x5","result":{"number":"0x1"}}"#;
        for text in [
            format!(r#"{{"jsonrpc":"2.0","method":"eth_subscription",{params}}}"#),
            format!(r#"{{"method":"eth_subscription",{params},"id":null,"error":null}}"#),
            format!("\u{feff}\n {{{params},\"method\":\"eth_subscription\"}}"),
            format!(r#"[{{"method":"eth_subscription",{params}}},{{"method":"note"}}]"#),
        ] {
            assert_eq!(items(&text), [r#"pushed {"number":"0x1"}"#], "{text}");
        }
        assert_eq!(items(r#"{"id":"7","result":1,"error":null}"#), ["answer 7"]);
        assert_eq!(items(r#"[{"id":7,"result":1},{"id":8.0,"error":"no"}]"#), ["answer 7", "answer 8"]);
        for other in [r#"{"method":"ping"}"#, r#"{"method":"x","params":[1],"id":null}"#, "[]"] {
            assert!(items(other).is_empty(), "{other}");
        }
        for broken in ["", "{}", "7", "<html>", r#"{"id":7}"#, r#"{"method":7}"#, r#"[{"id":7,"result":1},{}]"#] {
            assert!(read_pushed(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn what_is_no_answer_is_refused_and_another_id_stays_another() {
        for text in
            ["", "{}", r#"{"id":7}"#, r#"{"id":7,"result""#, "null", "7", "<html>", r#"{"result":1,"result":2}"#]
        {
            assert!(single(text).is_err(), "{text}");
        }
        for id in ["8", "\"8\"", "7.5", "-7", "null", "\"x7\"", "[7]", "1e30"] {
            let read = single(&format!(r#"{{"id":{id},"result":"0x1"}}"#)).unwrap();
            assert_ne!(read.0, Id::Number(7), "{id}");
        }
        let batch =
            read(b"\xef\xbb\xbf [{\"id\":\"2\",\"result\":1},{\"id\":1,\"result\":null,\"error\":null}]").unwrap();
        assert_eq!(
            batch.responses().iter().map(|one| one.id.clone()).collect::<Vec<_>>(),
            [Id::Number(2), Id::Number(1)]
        );
    }
}
