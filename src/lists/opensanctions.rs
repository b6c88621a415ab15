//! OpenSanctions: `entities.ftm.json`, one entity a line, in which wallets, their holders and the sanctions on them stand apart and in
//! any order; and `targets.simple.csv`. The first is read twice: to find the wallets, then what is said of whom they belong to.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::BufRead;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use super::candidate::{Collector, some};
use super::ofac_entities::day;
use super::record::{Field, Record};
use super::source::{csv_line, ends_in_two, is_csv_end, lines, open_quote, with_csv_end};
use super::{ParsedEntry, Source};

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    schema: Cow<'a, str>,
    #[serde(borrow, default)]
    last_seen: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Entity {
    #[serde(default)]
    caption: Option<String>,
    #[serde(default)]
    properties: Properties,
}

/// Values by name. A name that stands twice is refused: one of the two would be lost.
#[derive(Default)]
struct Properties(HashMap<String, Vec<Value>>);

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Properties;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of arrays")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Properties, M::Error> {
                let mut all = HashMap::new();
                while let Some((name, values)) = members.next_entry::<String, Vec<Value>>()? {
                    if all.contains_key(&name) {
                        return Err(M::Error::custom(format!("it has {name:?} twice")));
                    }
                    all.insert(name, values);
                }
                Ok(Properties(all))
            }
        }

        reader.deserialize_map(Members)
    }
}

impl Entity {
    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.properties.0.get(name).into_iter().flatten().filter_map(Value::as_str)
    }

    fn date(&self, names: &[&str]) -> Option<i64> {
        names.iter().find_map(|name| self.all(name).filter_map(day).min())
    }
}

/// What is known of an entity that a wallet belongs to.
#[derive(Default)]
struct Known {
    name: Option<String>,
    aliases: Vec<String>,
    programs: Vec<String>,
    from: Option<i64>,
    until: Option<i64>,
    /// A sanction without an end is in force.
    open: bool,
}

struct Wallet {
    record: Record,
    /// Whose it is; and the wallet itself, which may be sanctioned.
    owners: Vec<String>,
    is_wallet: bool,
}

pub(super) fn entities(file: &mut Source<'_>, out: &mut Collector<'_>) -> Result<(), String> {
    let mut wallets = Vec::new();
    let mut newest: Option<i64> = None;
    file.read(|bytes| {
        lines(bytes, &mut |line, text| {
            let Some(head) = head(text, line)? else { return Ok(()) };
            newest = newest.max(head.last_seen.as_deref().and_then(day));
            if head.schema == "CryptoWallet" || text.contains("0x") || text.contains("0X") {
                wallets.extend(wallet(&head, text, line)?);
            }
            Ok(())
        })
    })?;
    out.list.published = newest;
    let wanted: HashSet<&String> = wallets.iter().flat_map(|wallet| &wallet.owners).collect();
    let mut known: HashMap<String, Known> = wanted.into_iter().map(|id| (id.clone(), Known::default())).collect();
    file.read(|bytes| {
        lines(bytes, &mut |line, text| {
            let Some(head) = head(text, line)? else { return Ok(()) };
            if head.schema == "Sanction" {
                sanction(&read(text, line)?, &mut known);
            } else if let Some(owner) = known.get_mut(&*head.id) {
                let entity = read(text, line)?;
                owner
                    .aliases
                    .extend(["name", "alias", "weakAlias"].iter().flat_map(|n| entity.all(n)).filter_map(some));
                owner.programs.extend(entity.all("programId").filter_map(some));
                owner.name = entity.caption;
            }
            Ok(())
        })
    })?;
    for mut wallet in wallets {
        let (record, owners) = (&mut wallet.record, wallet.owners.iter());
        for (id, known) in owners.clone().filter_map(|id| Some((id, known.get(id)?))) {
            // What a wallet is called mostly is its address.
            if !(wallet.is_wallet && record.facts.uid.as_ref() == Some(id)) {
                known.name.iter().for_each(|name| record.name(name, true));
                known.aliases.iter().for_each(|alias| record.name(alias, false));
            }
            known.programs.iter().for_each(|program| record.program(program));
            record.listed(known.from);
        }
        let mut known = owners.filter_map(|id| known.get(id));
        if !known.clone().any(|known| known.open) {
            record.facts.delisted_on = known.by_ref().filter_map(|known| known.until).max();
        }
        wallet.record.finish(out);
    }
    Ok(())
}

fn head(text: &str, line: u64) -> Result<Option<Head<'_>>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text).map(Some).map_err(|error| format!("line {line} is no entity: {error}"))
}

fn read(text: &str, line: u64) -> Result<Entity, String> {
    serde_json::from_str(text).map_err(|error| format!("line {line} is no entity: {error}"))
}

/// A wallet, or an entity whose notes may name one.
fn wallet(head: &Head<'_>, text: &str, line: u64) -> Result<Option<Wallet>, String> {
    let entity = read(text, line)?;
    let mut record = Record::new();
    record.facts.uid = Some(head.id.clone().into_owned());
    let mut owners = vec![head.id.clone().into_owned()];
    let is_wallet = head.schema == "CryptoWallet";
    if is_wallet {
        // Whose it is says more than what it is called, which mostly is the address.
        owners = entity.all("holder").map(ToOwned::to_owned).chain(owners).collect();
        let currency = entity.all("currency").next().and_then(some);
        for key in entity.all("publicKey") {
            record.fields.push(Field { line, text: key.to_owned(), currency: currency.clone(), ends: false });
        }
        if record.fields.is_empty() {
            let name = entity.caption.clone().unwrap_or_default();
            record.fields.push(Field { line, text: name, currency, ends: false });
        }
        record.facts.label = entity.all("accountId").next().and_then(some);
    }
    for (name, values) in &entity.properties.0 {
        let address = is_wallet && ["publicKey", "name", "alias"].contains(&name.as_str());
        if !address && !name.ends_with("Url") && name != "currency" {
            values.iter().filter_map(Value::as_str).try_for_each(|text| record.free(text, line))?;
        }
    }
    Ok(record.may_matter().then_some(Wallet { record, owners, is_wallet }))
}

fn sanction(sanction: &Entity, known: &mut HashMap<String, Known>) {
    let from = sanction.date(&["listingDate", "startDate", "date"]);
    let until = sanction.date(&["endDate"]);
    for id in sanction.all("entity") {
        let Some(known) = known.get_mut(id) else { continue };
        let programs = ["programId", "program"].iter().map(|name| sanction.all(name).collect::<Vec<_>>());
        let programs = programs.into_iter().find(|all| !all.is_empty()).unwrap_or_default();
        known.programs.extend(programs.into_iter().filter_map(some));
        known.from = [known.from, from].into_iter().flatten().min();
        known.until = known.until.max(until);
        known.open |= until.is_none();
    }
}

/// `targets.simple.csv`: a wallet's name is its address; whose it is does not stand there.
pub(super) fn targets(bytes: &mut dyn BufRead, out: &mut Collector<'_>) -> Result<(), String> {
    let two = ends_in_two(bytes)?;
    // A row with fewer columns than the header is where the file was cut off.
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(with_csv_end(bytes));
    let names = reader.headers().map_err(|error| error.to_string())?.clone();
    let column = |wanted: &str| names.iter().position(|name| name.trim().eq_ignore_ascii_case(wanted));
    // When OpenSanctions first saw an entity is not when it was listed.
    let [id, schema, name, aliases, programs, sanctions, last] =
        ["id", "schema", "name", "aliases", "program_ids", "sanctions", "last_seen"].map(column);
    if id.is_none() || schema.is_none() || name.is_none() {
        return Err("the header has no columns id, schema and name".to_owned());
    }
    let mut line = 1;
    for record in reader.records() {
        let row = record.map_err(|error| error.to_string())?;
        if is_csv_end(row.as_byte_record().iter()) {
            return Ok(());
        }
        line = csv_line(row.position(), two);
        if row.iter().any(|field| field.len() > 1 << 20) {
            break;
        }
        if row.len() != names.len() {
            return Err(format!(
                "line {line} has {} columns and the header {}: the file is cut off",
                row.len(),
                names.len()
            ));
        }
        let get = |at: Option<usize>| at.and_then(|at| row.get(at)).unwrap_or_default();
        out.list.published = out.list.published.max(day(get(last)));
        let mut record = Record::new();
        record.facts.uid = some(get(id));
        let listed = if get(programs).trim().is_empty() { sanctions } else { programs };
        get(listed).split(';').for_each(|program| record.program(program));
        let is_wallet = get(schema) == "CryptoWallet";
        if is_wallet {
            out.value(line, get(name), None, &record.facts);
        } else {
            record.name(get(name), true);
            get(aliases).split(';').for_each(|alias| record.name(alias, false));
        }
        let facts: ParsedEntry = record.facts;
        for (at, text) in row.iter().enumerate() {
            if ![id, schema, name].contains(&Some(at)) {
                out.text(line, text, &facts);
            }
        }
    }
    Err(open_quote(line))
}
