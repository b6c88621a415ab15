//! Severity as a function of what is stored: which rules the alerts here were rated by, rating them anew when the rules change, and
//! why one has the severity that it has.

use std::sync::Arc;

use alloy::primitives::{B256, U256};

use super::{AlertFilter, AlertRow, Order, Result, Store, StoreError, meta, set_meta};
use crate::decode::{Asset, AssetStandard};
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
                "SELECT e.id, l.name, e.programs FROM committed_entries e JOIN lists l ON l.id = e.list_id \
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
        // What no entry matches any more is rated by the entries that did.
        let lapsed = alert.entries.iter().all(|entry| !entry.matches);
        let touches = Touches::of(self.kinds_touched(alert.row, lapsed)?.into_iter());
        let entries: Vec<_> = alert
            .entries
            .iter()
            .filter(|entry| entry.matches || lapsed)
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
                (AssetStandard::Erc721, Some(contract)) => Asset::Erc721(contract),
                (AssetStandard::Erc1155, Some(contract)) => Asset::Erc1155(contract),
                (AssetStandard::Erc6909, Some(contract)) => Asset::Erc6909(contract),
                (_, Some(contract)) => Asset::Erc20(contract),
                (_, None) => Asset::Native,
            },
            token_id: alert.token_id.as_deref().map(number),
            amount: number(&alert.amount),
            triage: alert.triage,
        });
        Ok((rating, touches))
    }

    /// The kinds of all lists that the alert's activity touches, on both sides; also of entries that match no more, where it `lapsed`.
    fn kinds_touched(&self, alert: i64, lapsed: bool) -> Result<Vec<ListKind>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT DISTINCT l.kind FROM alerts a CROSS JOIN alerts o INDEXED BY alerts_by_activity ON o.activity_id = a.activity_id \
             CROSS JOIN alert_entries ae ON ae.alert_id = o.id AND (ae.matches OR ?2) CROSS JOIN watch_entries e ON e.id = ae.entry_id \
             CROSS JOIN lists l ON l.id = e.list_id WHERE a.id = ?1",
        )?;
        let rows = statement.query_map((alert, lapsed), |row| Ok(ListKind::from_code(row.get(0)?)))?;
        Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::LeftOut;
    use super::super::tests::{WATCHED, hash, open, record, record_location};
    use super::*;
    use crate::screen::{Severity, TriageClass, alert_id};

    #[test]
    fn severe_alerts_come_first_in_either_order_and_over_pages() {
        let (_place, mut store) = open();
        let mut records: Vec<_> = (0..20).map(|number| record(&store, number, true)).collect();
        for number in [3, 11] {
            records[number].alerts[1].severity = Severity::Severe;
        }
        store.append_all(&records).unwrap();
        let page = |limit, after, order, severities: &[Severity]| {
            let mut found = Vec::new();
            let severities = severities.to_vec();
            let filter = AlertFilter { limit, after, order, severities, severe_first: true, ..AlertFilter::default() };
            store
                .each_alert::<StoreError>(&filter, |row| {
                    found.push((row.id, row.severity, row.block_number));
                    Ok(())
                })
                .unwrap();
            found
        };
        for (order, first) in [(Order::Descending, [11, 3, 19, 19, 18]), (Order::Ascending, [3, 11, 0, 0, 1])] {
            let all = page(None, None, order, &[]);
            assert_eq!(all.len(), 40);
            assert_eq!(all.iter().map(|(.., number)| *number).take(5).collect::<Vec<_>>(), first);
            assert!(all[..2].iter().all(|(_, severity, _)| *severity == Severity::Severe));
            for size in [1, 2, 3] {
                let (mut pages, mut after) = (Vec::new(), None);
                loop {
                    let found = page(Some(size), after, order, &[]);
                    let Some((id, ..)) = found.last() else { break };
                    after = Some(*id);
                    pages.extend(found);
                }
                assert_eq!(pages, all, "pages of {size}");
            }
            assert_eq!(page(None, None, order, &[Severity::Severe]), all[..2]);
            assert_eq!(page(None, None, order, &[Severity::High]), all[2..]);
        }
    }

    #[test]
    fn own_wallets_alone_are_stored_counted_and_left_out_until_the_other_side_is_listed() {
        let (_place, mut store) = open();
        let mut first = record(&store, 0, true);
        first.alerts[1].triage.class = TriageClass::Own;
        first.alerts[1].severity = Severity::Low;
        let committed = store.append(&first).unwrap();
        assert_eq!((committed.new_alerts.len(), committed.own), (1, 1));
        let found = |triage: &[TriageClass]| {
            let filter = AlertFilter { triage: triage.to_vec(), ..AlertFilter::default() };
            store.each_alert::<StoreError>(&filter, |_| Ok(())).unwrap()
        };
        assert_eq!((found(&[]), found(&[TriageClass::Own])), (1, 1));
        assert_eq!(
            store.left_out(&AlertFilter::default(), 10).unwrap(),
            LeftOut { orphaned: 0, noise: 0, own: 1, all: true }
        );
        // The other side came onto a list: the entries of this one are the same as before.
        let again = record(&store, 0, true);
        assert_eq!(store.append(&again).unwrap().new_alerts, [2], "it is an alert now");
        assert_eq!(store.append(&again).unwrap().new_alerts.len(), 0);
        let (_other, mut fresh) = open();
        fresh.append(&again).unwrap();
        assert_eq!(store.digest().unwrap(), fresh.digest().unwrap());
    }

    /// In the order of the chain.
    fn stored_severities(store: &Store) -> Vec<Severity> {
        let mut found = Vec::new();
        let filter =
            AlertFilter { any_status: true, any_triage: true, order: Order::Ascending, ..AlertFilter::default() };
        store
            .each_alert::<StoreError>(&filter, |alert| {
                found.push(alert.severity);
                Ok(())
            })
            .unwrap();
        found
    }

    /// Rules as JSON has them.
    fn rules(json: serde_json::Value) -> Rules {
        Rules::new(serde_json::from_value(json).unwrap()).unwrap()
    }

    #[test]
    fn other_rules_rate_what_is_stored_anew_and_explain_themselves() {
        use crate::screen::rules::By;
        let (_place, mut store) = open();
        let mut records: Vec<_> = (0..4).map(|number| record(&store, number, true)).collect();
        records[3].alerts[1].triage.class = TriageClass::ZeroValue;
        store.append_all(&records).unwrap();
        let mut severities = |rules: &Rules| {
            let adopted = store.adopt_rules(rules).unwrap();
            (adopted.map(|adopted| (adopted.alerts, adopted.changed)), stored_severities(&store))
        };
        use Severity::{High, Low, Medium, Severe};
        let none = rules(serde_json::json!([]));
        assert_eq!(severities(&none), (None, vec![High; 8]), "none before and none now: nothing is read");
        let some = rules(serde_json::json!([
            {"set": "severe", "asset": "native", "min_amount": "2", "list": "mine", "designation": "unknown"},
            {"set": "low", "triage": "zero_value"},
        ]));
        assert_eq!(
            severities(&some),
            (Some((8, 8)), vec![Medium, Medium, Medium, Medium, Severe, Severe, Severe, Low])
        );
        assert_eq!(severities(&some), (None, vec![Medium, Medium, Medium, Medium, Severe, Severe, Severe, Low]));
        assert_eq!(store.rules().unwrap(), some);
        let id = |place: u32, number| alert_id(1, hash(number), &record_location(place), WATCHED);
        let by = |place, number| store.explained(id(place, number)).unwrap().rating.by;
        assert_eq!((by(0, 2), by(1, 3)), (By::Rule(0), By::Rule(1)));
        assert!(matches!(by(0, 0), By::Default(_)));
        assert!(matches!(store.explained(B256::ZERO), Err(StoreError::NoAlert(_))));
        // The rules are with the watchlist that blocks are screened against, and so is what they name of it.
        let watchlist = store.watchlist().unwrap();
        assert_eq!((watchlist.rules(), watchlist.marks(1), watchlist.marks(2)), (&some, 1, 0));
        assert_eq!(store.adopt_rules(&none).unwrap().map(|adopted| adopted.changed), Some(3));
        assert_eq!(stored_severities(&store), [vec![Medium; 7], vec![Low]].concat(), "as the list is internal");
    }
}
