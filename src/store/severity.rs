//! Severity as a function of what is stored: which rules the alerts here were rated by, rating them anew when the rules change, and
//! why one has the severity that it has.

use std::sync::Arc;

use alloy::primitives::{B256, U256};

use super::{AlertFilter, AlertRow, Order, Result, Store, StoreError, meta, set_meta};
use crate::decode::Asset;
use crate::screen::rules::{EntryFacts, Facts, Rating, Rules, Touches};
use crate::screen::{ListKind, Watchlist};

/// The key of the rules in `meta`.
const KEY: &str = "severity_rules";

/// What came of taking other rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adopted {
    /// Alerts that were rated anew.
    pub alerts: u64,
    /// Those of them that have another severity now.
    pub changed: u64,
}

/// An alert with what its severity comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The alert.
    pub alert: AlertRow,
    /// What the rules that the store was rated by make of it.
    pub rating: Rating,
    /// What both sides are listed on.
    pub touches: Touches,
}

impl Store {
    /// The rules that everything here was rated by; none before the first.
    ///
    /// # Errors
    /// [`StoreError::Rules`] where a newer bolo wrote what this one does not know.
    pub fn rules(&self) -> Result<Rules> {
        let Some(text) = meta(&self.conn, KEY)? else { return Ok(Rules::default()) };
        let rules = serde_json::from_str(&text).map_err(|error| StoreError::Rules(error.to_string()))?;
        Rules::new(rules).map_err(StoreError::Rules)
    }

    /// Rates by these rules from now on, and what is stored anew where they are other ones: so that an alert's severity does not
    /// depend on when its block was screened. None where they are the same. To be called by the one process that writes blocks.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn adopt_rules(&mut self, rules: &Rules) -> Result<Option<Adopted>> {
        let text = serde_json::to_string(rules.as_slice()).map_err(|error| StoreError::Rules(error.to_string()))?;
        if meta(&self.conn, KEY)?.unwrap_or_else(|| "[]".to_owned()) == text {
            return Ok(None);
        }
        let filter =
            AlertFilter { any_status: true, any_triage: true, order: Order::Ascending, ..AlertFilter::default() };
        let (mut changes, chain_id) = (Vec::new(), self.chain_id()?.unwrap_or_default());
        let alerts = self.each_alert::<StoreError>(&filter, |alert| {
            let severity = self.rate(rules, chain_id, &alert)?.0.severity;
            if severity != alert.severity {
                changes.push((alert.row, severity));
            }
            Ok(())
        })?;
        self.write(|tx| {
            let mut statement = tx.prepare("UPDATE alerts SET severity = ?2 WHERE id = ?1")?;
            for (row, severity) in &changes {
                statement.execute((row, severity.code()))?;
            }
            set_meta(tx, KEY, &text)
        })?;
        Ok(Some(Adopted { alerts, changed: changes.len() as u64 }))
    }

    /// Why an alert has its severity.
    ///
    /// # Errors
    /// [`StoreError::NoAlert`], or of SQLite.
    pub fn explained(&self, id: B256) -> Result<Explained> {
        let filter = AlertFilter { id: Some(id), any_status: true, any_triage: true, ..AlertFilter::default() };
        let mut found = None;
        self.each_alert::<StoreError>(&filter, |alert| {
            found = Some(alert);
            Ok(())
        })?;
        let alert = found.ok_or(StoreError::NoAlert(id))?;
        let (rating, touches) = self.rate(&self.rules()?, self.chain_id()?.unwrap_or_default(), &alert)?;
        Ok(Explained { alert, rating, touches })
    }

    /// The watchlist, with the rules and what they have to know of its entries.
    pub(super) fn with_rules(&self, watchlist: Watchlist) -> Result<Watchlist> {
        let rules = self.rules()?;
        let mut marks = Vec::new();
        if !(rules.lists().is_empty() && rules.programs().is_empty()) {
            let mut statement = self.conn.prepare(
                "SELECT e.id, l.name, e.programs FROM watch_entries e JOIN lists l ON l.id = e.list_id \
                 WHERE (?2 AND e.programs <> '[]') OR l.name IN (SELECT value FROM json_each(?1)) ORDER BY e.id",
            )?;
            let lists = serde_json::json!(rules.lists()).to_string();
            let mut rows = statement.query((lists, !rules.programs().is_empty()))?;
            while let Some(row) = rows.next()? {
                let programs: Vec<String> = serde_json::from_str(&row.get::<_, String>(2)?).unwrap_or_default();
                match rules.marks(&row.get::<_, String>(1)?, programs.iter().map(String::as_str)) {
                    0 => {}
                    mark => marks.push((row.get(0)?, mark)),
                }
            }
        }
        Ok(watchlist.rated_by(Arc::new(rules), marks))
    }

    fn rate(&self, rules: &Rules, chain_id: u64, alert: &AlertRow) -> Result<(Rating, Touches)> {
        let touches = Touches::of(self.kinds_touched(alert.row)?.into_iter());
        let entries: Vec<_> = alert
            .entries
            .iter()
            .map(|entry| EntryFacts {
                kind: entry.list_kind,
                designation: entry.designation,
                marks: rules.marks(&entry.list, entry.programs.iter().map(String::as_str)),
            })
            .collect();
        let number = |text: &str| U256::from_str_radix(text, 10).unwrap_or_default();
        let rating = rules.rate(&Facts {
            chain_id,
            entries: &entries,
            touches,
            direction: alert.direction,
            kind: alert.kind,
            asset: match (alert.asset.standard, alert.asset.contract) {
                ("erc721", Some(contract)) => Asset::Erc721(contract),
                ("erc1155", Some(contract)) => Asset::Erc1155(contract),
                (_, Some(contract)) => Asset::Erc20(contract),
                (_, None) => Asset::Native,
            },
            token_id: alert.token_id.as_deref().map(number),
            amount: number(&alert.amount),
            triage: alert.triage,
        });
        Ok((rating, touches))
    }

    /// The kinds of all lists that the alert's activity touches, on both sides.
    fn kinds_touched(&self, alert: i64) -> Result<Vec<ListKind>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT DISTINCT l.kind FROM alerts a CROSS JOIN alerts o INDEXED BY alerts_by_activity ON o.activity_id = a.activity_id \
             CROSS JOIN alert_entries ae ON ae.alert_id = o.id CROSS JOIN watch_entries e ON e.id = ae.entry_id \
             CROSS JOIN lists l ON l.id = e.list_id WHERE a.id = ?1",
        )?;
        let rows = statement.query_map([alert], |row| Ok(ListKind::from_code(row.get(0)?)))?;
        Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().flatten().collect())
    }
}
