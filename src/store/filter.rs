//! From filters to SQL conditions. Values are always bound, never written into the text.

use alloy::primitives::{Address, B256, U256};
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ToSql;

use super::{Result, sql_int};
use crate::decode::ActivityKind;
use crate::screen::{AlertStatus, Direction, Severity, TriageClass};

/// Which alerts. Within one filter any of its values will do; all filters must fit.
#[derive(Debug, Clone, Default)]
pub struct AlertFilter {
    /// Watched address.
    pub addresses: Vec<Address>,
    /// The other side.
    pub counterparties: Vec<Address>,
    /// Part of an entry's label, in any case.
    pub labels: Vec<String>,
    /// Part of an entry's entity, in any case.
    pub entities: Vec<String>,
    /// Name of a list.
    pub lists: Vec<String>,
    /// Kind of movement.
    pub kinds: Vec<ActivityKind>,
    /// What moved.
    pub assets: Vec<AssetFilter>,
    /// Side of the watched address.
    pub directions: Vec<Direction>,
    /// At least so much.
    pub min_amount: Option<AmountFilter>,
    /// First block.
    pub from_block: Option<u64>,
    /// Last block.
    pub to_block: Option<u64>,
    /// Blocks not before, unix seconds.
    pub since: Option<i64>,
    /// Blocks not after, unix seconds.
    pub until: Option<i64>,
    /// Statuses; empty: all but orphaned. [`AlertFilter::any_status`] takes all.
    pub statuses: Vec<AlertStatus>,
    /// Orphaned ones as well.
    pub any_status: bool,
    /// Severities.
    pub severities: Vec<Severity>,
    /// Triage classes; empty: only `value`. [`AlertFilter::any_triage`] takes all.
    pub triage: Vec<TriageClass>,
    /// Noise as well.
    pub any_triage: bool,
    /// Hash of the transaction.
    pub tx: Option<B256>,
    /// The alert of that id.
    pub id: Option<B256>,
    /// Rows of alerts above this one only: what a commit just added.
    pub after_row: Option<i64>,
    /// At most so many.
    pub limit: Option<u64>,
    /// Oldest or newest first.
    pub order: Order,
}

/// Order of the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    #[default]
    Descending,
    /// Oldest first.
    Ascending,
}

/// What moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetFilter {
    /// The chain's own currency.
    Native,
    /// Any token of that contract, or one of its ids.
    Contract(Address, Option<U256>),
    /// Tokens that call themselves so.
    Symbol(String),
}

/// At least so much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AmountFilter {
    /// In base units, as `amount` in JSON.
    Base(U256),
    /// A decimal number in units of each token, where its decimals are known.
    Units(String),
}

/// Conditions of a query with their values.
#[derive(Default)]
pub(super) struct Conditions {
    pub(super) sql: Vec<String>,
    pub(super) values: Vec<Box<dyn ToSql>>,
}

impl Conditions {
    pub(super) fn bind(&mut self, value: impl ToSql + 'static) -> String {
        self.values.push(Box::new(value));
        format!("?{}", self.values.len())
    }

    /// `column IN (…)` where there are any.
    fn any_of<T: ToSql + 'static>(&mut self, column: &str, values: impl IntoIterator<Item = T>) {
        let marks: Vec<_> = values.into_iter().map(|value| self.bind(value)).collect();
        if !marks.is_empty() {
            self.sql.push(format!("{column} IN ({})", marks.join(", ")));
        }
    }

    /// Any of several conditions, where there are any.
    fn either(&mut self, parts: &[String]) {
        if !parts.is_empty() {
            self.sql.push(format!("({})", parts.join(" OR ")));
        }
    }

    pub(super) fn and(&self) -> String {
        if self.sql.is_empty() { String::new() } else { format!(" WHERE {}", self.sql.join(" AND ")) }
    }
}

impl AlertFilter {
    /// Everything but status and triage, whose defaults leave rows out.
    pub(super) fn base(&self) -> Conditions {
        let mut c = Conditions::default();
        let ids = |c: &mut Conditions, addresses: &[Address]| {
            let marks: Vec<_> = addresses.iter().map(|address| c.bind(address.to_vec())).collect();
            format!("(SELECT id FROM addresses WHERE address IN ({}))", marks.join(", "))
        };
        if !self.addresses.is_empty() {
            let set = ids(&mut c, &self.addresses);
            c.sql.push(format!("a.watched_id IN {set}"));
        }
        if !self.counterparties.is_empty() {
            let set = ids(&mut c, &self.counterparties);
            c.sql.push(format!(
                "a.activity_id IN (SELECT id FROM activities WHERE from_id IN {set} OR to_id IN {set}) \
                 AND CASE a.direction WHEN 0 THEN m.to_id WHEN 1 THEN m.from_id END IN {set}"
            ));
        }
        for (column, wanted) in [("label", &self.labels), ("entity", &self.entities)] {
            let parts: Vec<_> = wanted
                .iter()
                .map(|part| {
                    let mark = c.bind(part.to_lowercase());
                    format!("instr(folded({column}), {mark}) > 0")
                })
                .collect();
            if !parts.is_empty() {
                c.sql.push(of_entries(&format!("SELECT id FROM watch_entries WHERE {}", parts.join(" OR "))));
            }
        }
        if !self.lists.is_empty() {
            let marks: Vec<_> = self.lists.iter().map(|list| c.bind(list.clone())).collect();
            c.sql.push(of_entries(&format!(
                "SELECT we.id FROM lists wl JOIN watch_entries we ON we.list_id = wl.id WHERE wl.name IN ({})",
                marks.join(", ")
            )));
        }
        c.any_of("m.kind", self.kinds.iter().map(|kind| kind.code()));
        c.any_of("a.direction", self.directions.iter().map(|direction| direction.code()));
        c.any_of("a.severity", self.severities.iter().map(|severity| severity.code()));
        let assets: Vec<_> = self.assets.iter().map(|asset| asset_condition(&mut c, asset)).collect();
        c.either(&assets);
        if let Some(amount) = &self.min_amount {
            let sql = match amount {
                AmountFilter::Base(least) => {
                    let mark = c.bind(least.to_string());
                    format!("(length(m.amount), m.amount) >= (length({mark}), {mark})")
                }
                AmountFilter::Units(least) => {
                    let mark = c.bind(least.clone());
                    format!("units_at_least(m.amount, CASE m.asset WHEN 0 THEN 18 ELSE tokens.decimals END, {mark})")
                }
            };
            c.sql.push(sql);
        }
        if let Some(block) = self.from_block {
            let mark = c.bind(sql_int(block));
            c.sql.push(format!("a.block_number >= {mark}"));
        }
        if let Some(block) = self.to_block {
            let mark = c.bind(sql_int(block));
            c.sql.push(format!("a.block_number <= {mark}"));
        }
        if let Some(time) = self.since {
            let mark = c.bind(time);
            c.sql.push(format!("b.timestamp >= {mark}"));
            // The same by number, for the index; forks differ in time by less than the window of a reorg.
            c.sql.push(format!(
                "a.block_number >= (SELECT number FROM blocks WHERE timestamp >= {mark} ORDER BY timestamp LIMIT 1) - 400"
            ));
        }
        if let Some(time) = self.until {
            let mark = c.bind(time);
            c.sql.push(format!("b.timestamp <= {mark}"));
            c.sql.push(format!(
                "a.block_number <= (SELECT number FROM blocks WHERE timestamp <= {mark} ORDER BY timestamp DESC LIMIT 1) + 400"
            ));
        }
        if let Some(hash) = self.tx {
            let mark = c.bind(hash.to_vec());
            c.sql.push(format!("m.tx_id IN (SELECT id FROM transactions WHERE hash = {mark})"));
        }
        if let Some(id) = self.id {
            let mark = c.bind(id.to_vec());
            c.sql.push(format!("a.alert_id = {mark}"));
        }
        if let Some(row) = self.after_row {
            let mark = c.bind(row);
            c.sql.push(format!("a.id > {mark}"));
        }
        c
    }

    pub(super) fn status_condition(&self) -> Option<String> {
        let codes: Vec<_> = self.statuses.iter().map(|status| status.code().to_string()).collect();
        match (self.any_status, codes.is_empty()) {
            (true, _) => None,
            (false, true) => Some("b.status <> 3".to_owned()),
            (false, false) => Some(format!("b.status IN ({})", codes.join(", "))),
        }
    }

    pub(super) fn triage_condition(&self) -> Option<String> {
        let codes: Vec<_> = self.triage.iter().map(|class| class.code().to_string()).collect();
        match (self.any_triage, codes.is_empty()) {
            (true, _) => None,
            (false, true) => Some("a.triage = 0".to_owned()),
            (false, false) => Some(format!("a.triage IN ({})", codes.join(", "))),
        }
    }
}

/// Alerts that are about one of these entries.
fn of_entries(entries: &str) -> String {
    format!("a.id IN (SELECT alert_id FROM alert_entries WHERE entry_id IN ({entries}))")
}

fn asset_condition(c: &mut Conditions, asset: &AssetFilter) -> String {
    match asset {
        AssetFilter::Native => "m.asset = 0".to_owned(),
        AssetFilter::Symbol(symbol) => {
            let mark = c.bind(symbol.clone());
            format!(
                "m.token_address_id IN (SELECT address_id FROM tokens WHERE symbol IS NOT NULL AND symbol = {mark} COLLATE NOCASE)"
            )
        }
        AssetFilter::Contract(contract, token_id) => {
            let mark = c.bind(contract.to_vec());
            let of_contract = format!("m.token_address_id = (SELECT id FROM addresses WHERE address = {mark})");
            match token_id {
                Some(id) => {
                    let mark = c.bind(id.to_string());
                    format!("({of_contract} AND m.token_id = {mark})")
                }
                None => of_contract,
            }
        }
    }
}

/// Functions that queries use: `folded` (lower case beyond ASCII), `units_at_least` (a 256-bit comparison).
pub(super) fn add_functions(conn: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    conn.create_scalar_function("folded", 1, flags, |context| {
        Ok(context.get::<Option<String>>(0)?.map(|text| text.to_lowercase()))
    })?;
    conn.create_scalar_function("units_at_least", 3, flags, |context| {
        let (amount, decimals, least) =
            (context.get::<String>(0)?, context.get::<Option<u8>>(1)?, context.get::<String>(2)?);
        Ok(decimals.is_some_and(|decimals| units_at_least(&amount, decimals, &least)))
    })?;
    Ok(())
}

/// Whether `amount` base units are at least `least` units of a token with that many decimals. Both are decimal text without sign
/// or exponent; compared digit by digit, so that no size overflows.
fn units_at_least(amount: &str, decimals: u8, least: &str) -> bool {
    let (whole, fraction) = least.split_once('.').unwrap_or((least, ""));
    let places = usize::from(decimals);
    let mut wanted = whole.to_owned();
    for place in 0..places {
        wanted.push(fraction.as_bytes().get(place).map_or('0', |digit| char::from(*digit)));
    }
    // Digits beyond the token's precision ask for a little more.
    let more = fraction.as_bytes().get(places..).is_some_and(|rest| rest.iter().any(|digit| *digit != b'0'));
    let (amount, wanted) = (amount.trim_start_matches('0'), wanted.trim_start_matches('0'));
    let order = amount.len().cmp(&wanted.len()).then_with(|| amount.cmp(wanted));
    if more { order.is_gt() } else { order.is_ge() }
}

#[cfg(test)]
mod tests {
    use super::units_at_least;

    #[test]
    fn amounts_in_units_compare_without_overflow() {
        assert!(units_at_least("1500000", 6, "1.5"));
        assert!(!units_at_least("1499999", 6, "1.5"));
        assert!(units_at_least("1500001", 6, "1.5000001"));
        assert!(!units_at_least("1500000", 6, "1.5000001"));
        assert!(units_at_least("0", 18, "0.0"));
        assert!(!units_at_least(&"9".repeat(78), 255, "1.0"));
        assert!(units_at_least("3", 0, "2.0"));
    }
}
