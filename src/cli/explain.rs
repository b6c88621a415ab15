//! Why an alert has its severity: `bolo query --explain`. And taking other rules.

use serde_json::json;

use super::alert_json::{AlertJson, ChainWords, checksum, in_units, moment};
use super::args::Format;
use super::present::{clean, json_text, print};
use super::short_id::alert_id;
use super::{Context, Failure};
use crate::lists::show_date;
use crate::screen::ListKind;
use crate::screen::rules::{By, Rules};
use crate::store::{Adopted, EntryVersions, Explained, Store, VersionRow};

/// Rates by the rules of bolo.toml from now on, and says where that changed what is stored.
pub(super) fn adopt_rules(context: &Context, store: &mut Store) -> Result<(), Failure> {
    let rules = context.config.rules().map_err(Failure::input)?;
    let count = rules.as_slice().len();
    let held = store.lists()?;
    for name in rules.lists().iter().filter(|name| held.iter().all(|list| list.name != **name)) {
        tracing::warn!("a severity rule is for the list {name:?}, which is not there (or not yet)");
    }
    match store.adopt_rules(&rules)? {
        None => {}
        Some(Adopted { alerts: 0, .. }) => tracing::info!(rules = count, "severity rules"),
        Some(Adopted { alerts, changed }) => {
            tracing::warn!(
                rules = count,
                alerts,
                changed,
                "the severity rules are others than before: stored alerts were rated anew"
            );
        }
    }
    Ok(())
}

/// Prints one alert with what its severity comes from.
pub(super) fn explain(context: &Context, store: &Store, id: &str, format: Format) -> Result<(), Failure> {
    let explained = store.explained(alert_id(store, id)?)?;
    let (rules, entries) = (store.rules()?, store.entry_versions(explained.alert.id)?);
    let chain = ChainWords::of(store.chain_id()?.unwrap_or(1));
    if context.config.rules().map_err(Failure::input)? != rules {
        tracing::warn!(
            "the configuration has other severity rules than those that this database was rated by: the next watch or replay takes them"
        );
    }
    let text = match format {
        Format::Table => for_people(&explained, &rules, &entries, &chain),
        Format::Json | Format::Jsonl => json_text(&as_json(&explained, &rules, &entries, &chain))? + "\n",
        Format::Csv => return Err(Failure::input("--explain prints a table, json or jsonl, and no CSV")),
    };
    print(&text)
}

/// The alert as it is everywhere, and beside it why.
fn as_json(explained: &Explained, rules: &Rules, entries: &[EntryVersions], chain: &ChainWords) -> serde_json::Value {
    let (rule, default) = match explained.rating.by {
        By::Rule(place) => (rules.as_slice().get(place).map(|rule| (place + 1, rule.text())), None),
        By::Default(why) => (None, Some(why)),
    };
    let version = |version: &VersionRow| {
        json!({
            "published": moment(version.published), "published_given": version.published_given, "source": version.source,
            "sha256": version.sha256.map(alloy::primitives::hex::encode),
        })
    };
    json!({
        "alert": AlertJson::new(&explained.alert, chain),
        "severity": explained.alert.severity.name(),
        "rule": rule.map(|(number, text)| json!({"number": number, "text": text})),
        "default": default,
        "gives": explained.rating.severity.name(),
        "rules": rules.as_slice().len(),
        "touches": {"own": explained.touches.own, "strictest_other": explained.touches.other.map(ListKind::name)},
        "entries": entries.iter().map(|entry| json!({
            "list": entry.list, "kind": entry.kind.name(), "label": entry.label, "entity": entry.entity,
            "programs": entry.programs, "designation": entry.designation.name(),
            "brought_by": version(&entry.brought_by), "in_force": entry.in_force.as_ref().map(version),
        })).collect::<Vec<_>>(),
    })
}

fn for_people(explained: &Explained, rules: &Rules, entries: &[EntryVersions], chain: &ChainWords) -> String {
    let alert = &explained.alert;
    let mut text = String::new();
    let mut line = |name: &str, value: String| text += &format!("{name:<12} {value}\n");
    line("severity", alert.severity.name().to_owned());
    match explained.rating.by {
        By::Rule(place) => {
            let rule = rules.as_slice().get(place).map(crate::screen::Rule::text).unwrap_or_default();
            line("because", format!("rule {} of {}: {}", place + 1, rules.as_slice().len(), clean(&rule, 1000)));
        }
        By::Default(why) if rules.is_empty() => line("because", format!("by default: {why}")),
        By::Default(why) => {
            line("because", format!("none of {} rules fits; by default: {why}", rules.as_slice().len()));
        }
    }
    if explained.rating.severity != alert.severity {
        line(
            "but",
            format!("that is {}; it had more before, by an entry that was removed", explained.rating.severity.name()),
        );
    }
    line("alert", alert.id.to_string());
    line("block", format!("{} {} ({})", alert.block_number, moment(alert.timestamp), alert.status.name()));
    if let Some(tx) = &alert.tx {
        line("transaction", tx.hash.to_string());
    }
    let asset = alert.asset.contract.map_or_else(|| chain.currency.symbol.unwrap_or("native").to_owned(), checksum);
    let amount = match alert.asset.contract {
        None => in_units(&alert.amount, chain.currency.decimals),
        Some(_) => format!("{} base units", alert.amount),
    };
    let token_id = alert.token_id.as_ref().map(|id| format!(" #{id}")).unwrap_or_default();
    line("movement", format!("{}: {amount} of {asset}{token_id}", alert.kind.name()));
    line("watched", format!("{} ({})", checksum(alert.watched), alert.direction.name()));
    for entry in entries {
        let name = entry.label.iter().chain(&entry.entity).map(|name| clean(name, 60)).collect::<Vec<_>>();
        line(
            "entry",
            format!(
                "list {} ({}), {}{}{}",
                clean(&entry.list, 60),
                entry.kind.name(),
                entry.designation.name(),
                if name.is_empty() { String::new() } else { format!(": {}", name.join(", ")) },
                if entry.programs.is_empty() {
                    String::new()
                } else {
                    format!(" [{}]", clean(&entry.programs.join(" "), 100))
                },
            ),
        );
        let version = &entry.brought_by;
        let sha =
            version.sha256.map(|sha| format!(", sha256 {}", alloy::primitives::hex::encode(sha))).unwrap_or_default();
        line("  brought by", format!("{} of {}{sha}", clean(&version.source, 100), show_date(version.published)));
    }
    let other = explained.touches.other.map_or("nothing else", ListKind::name);
    line("touches", format!("{}{other}", if explained.touches.own { "own wallets and " } else { "" }));
    let reasons =
        if alert.triage_reasons.is_empty() { String::new() } else { format!(": {}", alert.triage_reasons.join(", ")) };
    line("triage", format!("{}{reasons}", alert.triage.name()));
    text
}
