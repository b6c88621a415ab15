//! A JSON list of one's own: an array of addresses or objects, such arrays by ticker, or labels by address. What an object says beside
//! that is read as well: an address there is taken or told, never passed over.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::ParsedEntry;
use super::address::{Verdict, judge};
use super::candidate::{Collector, some};
use super::columns::listed;
use super::fold::after_prefix;
use super::guard::JsonGuard;
use super::plain::{Place, dated, refuse, split};

/// The fields of an object that are read.
const FIELDS: [&str; 12] = [
    "address",
    "label",
    "name",
    "entity",
    "programs",
    "program",
    "aliases",
    "uid",
    "listed_from",
    "listed_on",
    "delisted_on",
    "kind",
];

/// Names that are not read are named up to here.
const MAX_NAMES: usize = 20;

pub(super) fn json(bytes: &mut dyn BufRead, out: &mut Collector<'_>) -> Result<(), String> {
    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(JsonGuard::new(bytes)));
    reader
        .deserialize_any(Items { out: &mut *out, place: 0 })
        .map_err(|error| format!("it is no JSON list: {error}"))?;
    reader.end().map_err(|error| format!("it is no JSON: {error}"))?;
    out.list.kind = out.kind.word()?;
    if !out.unread.is_empty() {
        out.list.warnings.push(format!("names that are not read: {}", listed(&out.unread)));
    }
    Ok(())
}

/// A value in which no object has a name twice: one of the two would be lost.
pub(super) struct Once(pub(super) Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(OnceVisitor).map(Self)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Value, S::Error> {
        let mut all = Vec::new();
        while let Some(Once(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Value, M::Error> {
        let mut all = Map::new();
        while let Some((name, Once(value))) = members.next_entry::<String, _>()? {
            if all.contains_key(&name) {
                return Err(twice_named(&name));
            }
            all.insert(name, value);
        }
        Ok(Value::Object(all))
    }
}

fn twice_named<E: Error>(name: &str) -> E {
    E::custom(format!("an object has {name:?} twice"))
}

/// Takes the items of an array one by one, so that they are never all in memory.
struct Items<'o, 'a> {
    out: &'o mut Collector<'a>,
    place: u64,
}

impl Items<'_, '_> {
    fn item(&mut self, item: &Value, currency: Option<&str>) {
        match item {
            Value::String(address) => self.entry(address, currency, ParsedEntry::facts(), address),
            Value::Object(fields) => self.object(fields, None),
            _ => self.refuse(item, "is neither an address nor an object"),
        }
    }

    fn entry(&mut self, shown: &str, currency: Option<&str>, facts: ParsedEntry, address: &str) {
        self.place += 1;
        dated(self.out, Place { line: self.place, text: shown, currency }, facts, address, [None, None]);
    }

    fn refuse(&mut self, item: &Value, reason: impl Into<String>) {
        self.place += 1;
        self.out.take(self.place, &item.to_string(), None, &ParsedEntry::facts(), refuse(reason));
    }

    /// An object with facts of an address, which may be its name.
    fn object(&mut self, fields: &Map<String, Value>, name: Option<&str>) {
        let shown = Value::Object(fields.clone());
        match from_object(fields, name) {
            Ok((facts, address, dates)) => {
                self.place += 1;
                let (said, shown) = (facts.clone(), shown.to_string());
                dated(self.out, Place { line: self.place, text: &shown, currency: None }, facts, &address, dates);
                let mut others = String::new();
                for (name, value) in fields.iter().filter(|(name, _)| !FIELDS.contains(&name.as_str())) {
                    gather(value, "", &mut others);
                    if self.out.unread.len() < MAX_NAMES {
                        self.out.unread.insert(name.clone());
                    }
                }
                if let Some(kind) = fields.get("kind").and_then(Value::as_str) {
                    self.out.kind.row(kind, self.place);
                }
                self.out.mention(self.place, &others, &said);
            }
            Err(reason) => self.refuse(&shown, reason),
        }
    }

    /// Lists by ticker, as people publish them; labels or facts by address; addresses by label.
    fn member(&mut self, name: &str, value: &Value) {
        if is_address(name) {
            return match value {
                Value::Object(fields) => self.object(fields, Some(name)),
                value => {
                    let label = value.as_str().and_then(some);
                    self.entry(name, None, ParsedEntry { label, ..ParsedEntry::facts() }, name);
                    self.mention(value);
                }
            };
        }
        // A list by ticker may have addresses of that currency.
        let ticker =
            (2..=6).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let currency = ticker.then_some(name);
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.item(item, currency)),
            Value::String(address) if is_address(address) => {
                self.entry(address, None, ParsedEntry { label: some(name), ..ParsedEntry::facts() }, address);
            }
            Value::Object(fields) if fields.contains_key("address") => self.object(fields, None),
            Value::Object(fields) => fields.iter().for_each(|(name, value)| self.member(name, value)),
            value => self.mention(value),
        }
    }

    /// Tells of addresses in what is not read.
    fn mention(&mut self, value: &Value) {
        let mut said = String::new();
        gather(value, "", &mut said);
        self.out.mention(self.place.max(1), &said, &ParsedEntry::facts());
    }
}

impl<'de> Visitor<'de> for Items<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of addresses or objects, or an object of such arrays")
    }

    fn visit_seq<S: SeqAccess<'de>>(mut self, mut items: S) -> Result<(), S::Error> {
        while let Some(Once(item)) = items.next_element()? {
            self.item(&item, None);
        }
        Ok(())
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut members: M) -> Result<(), M::Error> {
        let mut names = BTreeSet::new();
        while let Some((name, Once(value))) = members.next_entry::<String, _>()? {
            if name == "address" {
                return Err(M::Error::custom("one object is no list: put it into an array"));
            }
            self.member(&name, &value);
            if let Some(twice) = names.replace(name) {
                return Err(twice_named(&twice));
            }
        }
        if self.place == 0 {
            return Err(M::Error::custom("an object without a list in it"));
        }
        Ok(())
    }
}

/// Whether it can only be meant as an address.
fn is_address(text: &str) -> bool {
    let like = after_prefix(text.trim()).is_some_and(|rest| rest.chars().count() >= 20);
    like || !matches!(judge(text, false), Verdict::Reject(..))
}

/// All texts of a value, but for what has that name.
pub(super) fn gather(value: &Value, without: &str, into: &mut String) {
    match value {
        Value::String(text) => {
            into.push_str(text);
            into.push('\n');
        }
        Value::Array(all) => all.iter().for_each(|value| gather(value, without, into)),
        Value::Object(all) => {
            all.iter().filter(|(name, _)| *name != without).for_each(|(_, value)| gather(value, without, into));
        }
        _ => {}
    }
}

type Facts = (ParsedEntry, String, [Option<String>; 2]);

fn from_object(fields: &Map<String, Value>, name: Option<&str>) -> Result<Facts, String> {
    let text = |names: &[&str]| -> Result<Option<String>, String> {
        match names.iter().find_map(|name| fields.get(*name)) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(some(text)),
            Some(_) => Err(format!("has a field {:?} that is no text", names[0])),
        }
    };
    let texts = |names: &[&str]| match names.iter().find_map(|name| fields.get(*name)) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(all)) => Ok(split(Some(all))),
        Some(Value::Array(all)) => {
            let each =
                |item: &Value| item.as_str().map(some).ok_or_else(|| format!("has {} that are no texts", names[0]));
            Ok(all.iter().map(each).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        }
        Some(_) => Err(format!("has {} that are neither text nor an array", names[0])),
    };
    let facts = ParsedEntry {
        label: text(&["label", "name"])?,
        entity: text(&["entity"])?,
        programs: texts(&["programs", "program"])?,
        aliases: texts(&["aliases"])?,
        uid: text(&["uid"])?,
        ..ParsedEntry::facts()
    };
    let dates = [text(&["listed_from", "listed_on"])?, text(&["delisted_on"])?];
    let address = text(&["address"])?.or_else(|| name.map(str::to_owned)).ok_or("has no address")?;
    Ok((facts, address, dates))
}

#[cfg(test)]
mod tests {
    use super::super::{Class, Format, ParsedList, Source, parse};

    const A: &str = "0x098B716B8Aaf21512996dC57EB0615e2383E2f96";
    const B: &str = "0xa0e1c89Ef1a489c9C7dE96311eD5Ce5D32c20E4B";

    fn read(text: &str) -> Result<ParsedList, String> {
        let mut bytes = std::io::Cursor::new(text.as_bytes().to_vec());
        let list = parse(&mut Source::open(&mut bytes)?, None, Some(Format::Json), &mut |_| {})?;
        let counts = list.counts;
        assert_eq!(counts.candidates, counts.accepted + counts.derived + counts.rejected);
        Ok(list)
    }

    #[test]
    fn json_takes_addresses_and_objects() {
        let list = read(&format!(r#"["{A}", {{"address": "{B}", "label": "b", "programs": ["X"]}}, 5]"#)).unwrap();
        assert_eq!((list.entries.len(), list.rejected[0].line), (2, 3));
        let list = read(&format!(r#"{{"note": "x", "ETH": ["{A}"], "USDT": ["{B}", "{A}"]}}"#)).unwrap();
        assert_eq!((list.entries.len(), list.counts.repeated), (2, 1));
        for bad in ["{}", "[1", "7", "[] []"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_object_may_name_its_addresses_or_be_named_by_them() {
        let shapes = [
            format!(r#"{{"{A}": "thief", "{B}": "mixer"}}"#),
            format!(r#"{{"thief": "{A}", "mixer": "{B}"}}"#),
            format!(r#"{{"{A}": {{"label": "thief"}}, "{B}": {{"label": "mixer", "uid": "7"}}}}"#),
            format!(r#"{{"x": {{"list": [{{"address": "{A}", "name": "thief"}}]}}, "y": {{"{B}": "mixer"}}}}"#),
            format!(
                r#"{{"data": {{"ETH": [{{"address": "{A}", "label": "thief"}}], "{}": "mixer"}}}}"#,
                B.replace("0x", "0X")
            ),
        ];
        for text in shapes {
            let list = read(&text).unwrap();
            let label = |address: &str| {
                let entry = list.entries.iter().find(|entry| entry.address.to_checksum(None) == address);
                entry.and_then(|entry| entry.label.as_deref())
            };
            assert_eq!((list.entries.len(), list.rejected.len()), (2, 0), "{text}");
            assert_eq!((label(A), label(B)), (Some("thief"), Some("mixer")), "{text}");
        }
    }

    #[test]
    fn what_would_be_passed_over_is_told_or_refused() {
        for (name, twice) in [
            ("address", format!(r#"[{{"address": "{A}", "address": "{B}"}}]"#)),
            ("ETH", format!(r#"{{"ETH": ["{A}"], "ETH": ["{B}"]}}"#)),
            (A, format!(r#"{{"{A}": "thief", "{A}": "mixer"}}"#)),
            ("thief", format!(r#"{{"x": {{"thief": "{A}", "thief": "{B}"}}}}"#)),
        ] {
            let refused = read(&twice).unwrap_err();
            assert!(refused.contains(&format!("an object has {name:?} twice")), "{refused}");
        }
        let single = read(&format!(r#"{{"address": "{A}", "label": "x"}}"#)).unwrap_err();
        assert!(single.contains("put it into an array"), "{single}");
        for spoken in [
            format!(r#"[{{"address": "{A}", "funded_by": ["{B}"]}}]"#),
            format!(r#"{{"ETH": ["{A}"], "note": "see also {B}"}}"#),
        ] {
            let list = read(&spoken).unwrap();
            assert_eq!((list.entries.len(), list.rejected[0].class), (1, Class::Mentioned), "{spoken}");
        }
        // Other chains' addresses under their ticker are no mistakes; an address that is a name is one whatever it is said to be.
        let monero = "44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A";
        let list = read(&format!(r#"{{"XMR": ["{monero}"], "ETH": ["{A}"], "{B}": null}}"#)).unwrap();
        assert_eq!((list.entries.len(), list.counts.other_chain, list.rejected.len()), (2, 1, 1));
        let wrong = read(&format!(r#"{{"ETH": ["{A}"], "{}": "mixer"}}"#, &B[..41])).unwrap();
        assert_eq!((wrong.entries.len(), wrong.rejected[0].class), (1, Class::Broken));
    }
}
