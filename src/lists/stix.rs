//! Threat intelligence: STIX 2 bundles and MISP events in JSON. Neither has one field for addresses: wallets are objects or attributes
//! of several kinds, and patterns and comments name others.

use std::io::{BufRead, BufReader};

use serde_json::{Map, Value};

use super::address::Verdict;
use super::candidate::{Class, Collector, some};
use super::guard::JsonGuard;
use super::json::{Once, gather};
use super::ofac_entities::day;
use super::record::{Field, Record, is_currency};
use super::{parse_date, source};

/// It is read as a whole.
const LARGEST: u64 = 64 << 20;

type Object = Map<String, Value>;

fn text<'v>(object: &'v Object, name: &str) -> &'v str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn read(bytes: &mut dyn BufRead) -> Result<Value, String> {
    let text = source::text(&mut BufReader::new(JsonGuard::new(bytes)), LARGEST)?;
    serde_json::from_str(&text).map(|Once(value)| value).map_err(|error| format!("it is no JSON: {error}"))
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A STIX bundle.
pub(super) fn bundle(bytes: &mut dyn BufRead, out: &mut Collector<'_>) -> Result<(), String> {
    let bundle = read(bytes)?;
    let objects = list(&bundle, "objects");
    if objects.is_empty() {
        return Err("the bundle has no objects".to_owned());
    }
    for (line, object) in (1..).zip(objects) {
        let Value::Object(object) = object else { continue };
        out.list.published = out.list.published.max(day(text(object, "modified")));
        let mut record = Record::new();
        record.facts.uid = some(text(object, "id"));
        record.facts.label = some(text(object, "name"));
        record.facts.listed_from = parse_date(text(object, "valid_from")).ok();
        record.facts.delisted_on = parse_date(text(object, "valid_until")).ok();
        if object.get("revoked") == Some(&Value::Bool(true)) {
            let modified = parse_date(text(object, "modified")).ok();
            record.facts.delisted_on = record.facts.delisted_on.into_iter().chain(modified).min();
        }
        let kind = text(object, "type");
        let is_wallet = is_currency(kind) || kind.contains("wallet");
        let mut said = String::new();
        for (name, value) in object {
            let address = ["value", "address", "wallet_address", "account_login", "user_id"].contains(&name.as_str());
            match value {
                Value::String(text) if is_wallet && address => {
                    record.fields.push(Field { line, text: text.clone(), currency: None, ends: false });
                }
                // What a pattern rules out is not listed by it.
                Value::String(text) if name == "pattern" && !text.contains("!=") && !text.contains("NOT ") => {
                    record.free(text, line)?;
                }
                // Ids are hashes, and references hold nothing.
                _ if name == "id" || name == "hashes" || name.ends_with("_ref") || name.ends_with("_refs") => {}
                value => gather(value, "hashes", &mut said),
            }
        }
        let facts = record.facts.clone();
        record.finish(out);
        out.mention(line, &said, &facts);
    }
    Ok(())
}

/// A MISP event, or what a search answers.
pub(super) fn events(bytes: &mut dyn BufRead, out: &mut Collector<'_>) -> Result<(), String> {
    let whole = read(bytes)?;
    let several = list(&whole, "response");
    let events: Vec<&Value> = match whole.get("Event") {
        Some(event) => vec![event],
        None => several.iter().filter_map(|item| item.get("Event")).collect(),
    };
    if events.is_empty() {
        return Err("it has no event".to_owned());
    }
    let mut place = 0;
    for event in events {
        let Value::Object(facts) = event else { continue };
        let stamp = text(facts, "publish_timestamp").parse::<i64>().ok().filter(|stamp| *stamp > 0);
        out.list.published = out.list.published.max(stamp.or_else(|| day(text(facts, "date"))));
        for attribute in list(event, "Attribute") {
            place += 1;
            misp_attribute(attribute, facts, "", place, out)?;
        }
        for object in list(event, "Object") {
            let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
            for attribute in list(object, "Attribute") {
                place += 1;
                misp_attribute(attribute, facts, name, place, out)?;
            }
        }
    }
    Ok(())
}

fn misp_attribute(
    attribute: &Value,
    event: &Object,
    object: &str,
    line: u64,
    out: &mut Collector<'_>,
) -> Result<(), String> {
    let Value::Object(attribute) = attribute else { return Ok(()) };
    let mut record = Record::new();
    record.facts.label = some(text(attribute, "comment")).or_else(|| some(text(event, "info")));
    record.facts.uid = some(text(attribute, "uuid"));
    let (kind, relation, value) =
        (text(attribute, "type"), text(attribute, "object_relation"), text(attribute, "value"));
    let is_address = ["btc", "dash", "xmr"].contains(&kind)
        || (object == "coin-address" || is_currency(object) || is_currency(kind)) && relation.contains("address");
    if attribute.get("deleted") == Some(&Value::Bool(true)) {
        if is_address {
            let reason = "was deleted in its event".to_owned();
            out.take(line, value, Some(kind), &record.facts, Verdict::Reject(Class::Broken, reason));
        }
        return Ok(());
    }
    if is_address {
        let currency = Some(kind.to_owned()).filter(|kind| kind != "text");
        record.fields.push(Field { line, text: value.to_owned(), currency, ends: false });
    }
    let facts = record.facts.clone();
    record.finish(out);
    let said = if is_address { "" } else { value };
    out.mention(line, &format!("{said}\n{}", text(attribute, "comment")), &facts);
    Ok(())
}
