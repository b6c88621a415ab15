//! Reading alerts back: filters to SQL, rows to plain values. Streams, so that a query of everything stays flat in memory.

use alloy::primitives::{Address, B256, U256};
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};

use super::{Result, Store, StoreError, bytes, chain_int, maybe_bytes, sql_int};
use crate::decode::{ActivityKind, Location};
use crate::screen::{AlertStatus, Designation, Direction, ListKind, Severity, TriageClass};

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

/// An alert with everything that is printed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "CONTRACT.md says what each field means")]
pub struct AlertRow {
    pub id: B256,
    pub row: i64,
    pub status: AlertStatus,
    pub severity: Severity,
    pub block_number: u64,
    pub block_hash: B256,
    pub timestamp: i64,
    pub tx: Option<TxRow>,
    pub kind: ActivityKind,
    pub location: Location,
    pub from: Option<Address>,
    pub to: Option<Address>,
    pub asset: AssetRow,
    pub amount: String,
    pub token_id: Option<String>,
    pub watched: Address,
    pub direction: Direction,
    pub entries: Vec<MatchedEntry>,
    pub triage: TriageClass,
    pub triage_reasons: Vec<String>,
    pub proven: bool,
    pub endpoint: String,
    pub seen_at_ms: i64,
    pub replaces: Option<B256>,
}

/// The transaction of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "CONTRACT.md says what each field means")]
pub struct TxRow {
    pub hash: B256,
    pub index: u64,
    pub signer: Address,
    pub to: Option<Address>,
    pub success: Option<bool>,
}

/// What moved, with what the token says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "CONTRACT.md says what each field means")]
pub struct AssetRow {
    /// `slip44`, `erc20`, `erc721` or `erc1155`: the namespace of CAIP-19.
    pub standard: &'static str,
    pub contract: Option<Address>,
    pub symbol: Option<String>,
    pub decimals: Option<u8>,
}

/// A watch entry that an alert is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "CONTRACT.md says what each field means")]
pub struct MatchedEntry {
    pub label: Option<String>,
    pub list: String,
    pub list_kind: ListKind,
    pub entity: Option<String>,
    pub programs: Vec<String>,
    pub designation: Designation,
}

/// Conditions of a query with their values.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    values: Vec<Box<dyn ToSql>>,
}

impl Conditions {
    fn bind(&mut self, value: impl ToSql + 'static) -> String {
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

    fn and(&self) -> String {
        if self.sql.is_empty() { String::new() } else { format!(" WHERE {}", self.sql.join(" AND ")) }
    }
}

const FROM: &str = " FROM alerts a \
    JOIN blocks b ON b.id = a.block_id \
    JOIN activities m ON m.id = a.activity_id \
    JOIN addresses w ON w.id = a.watched_id \
    JOIN endpoints e ON e.id = b.endpoint_id \
    LEFT JOIN transactions t ON t.id = m.tx_id \
    LEFT JOIN addresses signer ON signer.id = t.signer_id \
    LEFT JOIN addresses called ON called.id = t.to_id \
    LEFT JOIN addresses f ON f.id = m.from_id \
    LEFT JOIN addresses r ON r.id = m.to_id \
    LEFT JOIN addresses token ON token.id = m.token_address_id \
    LEFT JOIN tokens ON tokens.address_id = m.token_address_id";

const COLUMNS: &str = "SELECT a.alert_id, a.id, b.status, a.severity, b.number, b.hash, b.timestamp, t.hash, t.tx_index, \
    signer.address, called.address, t.success, m.kind, a.location, f.address, r.address, m.asset, token.address, tokens.symbol, \
    tokens.decimals, m.amount, m.token_id, w.address, a.direction, a.triage, a.triage_reasons, b.proof, e.host, a.seen_at_ms, \
    a.replaces";

const ENTRIES: &str = "SELECT e.label, l.name, l.kind, e.entity, e.programs, ae.designation FROM alert_entries ae \
    JOIN watch_entries e ON e.id = ae.entry_id JOIN lists l ON l.id = e.list_id WHERE ae.alert_id = ?1 ORDER BY ae.rank";

impl AlertFilter {
    /// Everything but status and triage, whose defaults leave rows out.
    fn base(&self) -> Conditions {
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
            c.sql.push(format!("CASE a.direction WHEN 0 THEN m.to_id WHEN 1 THEN m.from_id END IN {set}"));
        }
        for (column, wanted) in [("label", &self.labels), ("entity", &self.entities)] {
            let parts = wanted
                .iter()
                .map(|part| {
                    let mark = c.bind(part.to_lowercase());
                    format!("instr(folded(we.{column}), {mark}) > 0")
                })
                .collect::<Vec<_>>();
            if !parts.is_empty() {
                c.sql.push(format!(
                    "EXISTS (SELECT 1 FROM alert_entries ae JOIN watch_entries we ON we.id = ae.entry_id \
                     WHERE ae.alert_id = a.id AND ({}))",
                    parts.join(" OR ")
                ));
            }
        }
        if !self.lists.is_empty() {
            let marks: Vec<_> = self.lists.iter().map(|list| c.bind(list.clone())).collect();
            c.sql.push(format!(
                "EXISTS (SELECT 1 FROM alert_entries ae JOIN watch_entries we ON we.id = ae.entry_id \
                 JOIN lists wl ON wl.id = we.list_id WHERE ae.alert_id = a.id AND wl.name IN ({}))",
                marks.join(", ")
            ));
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
        }
        if let Some(time) = self.until {
            let mark = c.bind(time);
            c.sql.push(format!("b.timestamp <= {mark}"));
        }
        if let Some(hash) = self.tx {
            let mark = c.bind(hash.to_vec());
            c.sql.push(format!("m.tx_id IN (SELECT id FROM transactions WHERE hash = {mark})"));
        }
        if let Some(row) = self.after_row {
            let mark = c.bind(row);
            c.sql.push(format!("a.id > {mark}"));
        }
        c
    }

    fn status_condition(&self) -> Option<String> {
        let codes: Vec<_> = self.statuses.iter().map(|status| status.code().to_string()).collect();
        match (self.any_status, codes.is_empty()) {
            (true, _) => None,
            (false, true) => Some("b.status <> 3".to_owned()),
            (false, false) => Some(format!("b.status IN ({})", codes.join(", "))),
        }
    }

    fn triage_condition(&self) -> Option<String> {
        let codes: Vec<_> = self.triage.iter().map(|class| class.code().to_string()).collect();
        match (self.any_triage, codes.is_empty()) {
            (true, _) => None,
            (false, true) => Some("a.triage = 0".to_owned()),
            (false, false) => Some(format!("a.triage IN ({})", codes.join(", "))),
        }
    }
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

impl Store {
    /// Calls `each` with every alert that fits, in order. Returns how many there were.
    ///
    /// # Errors
    /// Of SQLite, or what `each` returns (a closed pipe, say).
    pub fn each_alert<E: From<StoreError>>(
        &self,
        filter: &AlertFilter,
        mut each: impl FnMut(AlertRow) -> std::result::Result<(), E>,
    ) -> std::result::Result<u64, E> {
        let run =
            |each: &mut dyn FnMut(AlertRow) -> std::result::Result<(), E>| -> Result<std::result::Result<u64, E>> {
                let mut conditions = filter.base();
                conditions.sql.extend(filter.status_condition());
                conditions.sql.extend(filter.triage_condition());
                let direction = match filter.order {
                    Order::Ascending => "ASC",
                    Order::Descending => "DESC",
                };
                let order = ["block_number", "block_id", "location", "direction"].map(|c| format!("a.{c} {direction}"));
                let mut sql = format!("{COLUMNS}{FROM}{} ORDER BY {}", conditions.and(), order.join(", "));
                if let Some(limit) = filter.limit {
                    let mark = conditions.bind(sql_int(limit));
                    sql.push_str(&format!(" LIMIT {mark}"));
                }
                let mut statement = self.conn.prepare(&sql)?;
                let values: Vec<&dyn ToSql> = conditions.values.iter().map(AsRef::as_ref).collect();
                let mut rows = statement.query(values.as_slice())?;
                let mut count = 0;
                while let Some(row) = rows.next()? {
                    let mut alert = alert_row(row)?;
                    alert.entries = self.matched_entries(alert.row)?;
                    count += 1;
                    if let Err(error) = each(alert) {
                        return Ok(Err(error));
                    }
                }
                Ok(Ok(count))
            };
        run(&mut each).map_err(|error| E::from(self.explain(error)))?
    }

    /// How many alerts the defaults of status and triage leave out: orphaned ones, and noise that is not orphaned.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn left_out(&self, filter: &AlertFilter) -> Result<(u64, u64)> {
        let count = |extra: Vec<String>| -> Result<u64> {
            let mut conditions = filter.base();
            conditions.sql.extend(extra);
            let sql = format!("SELECT count(*){FROM}{}", conditions.and());
            let values: Vec<&dyn ToSql> = conditions.values.iter().map(AsRef::as_ref).collect();
            Ok(self.conn.query_row(&sql, values.as_slice(), |row| row.get(0).map(chain_int))?)
        };
        let by_default_status = !filter.any_status && filter.statuses.is_empty();
        let by_default_triage = !filter.any_triage && filter.triage.is_empty();
        let orphaned = if by_default_status { count(vec!["b.status = 3".into()])? } else { 0 };
        let noise = if by_default_triage {
            count(filter.status_condition().into_iter().chain(["a.triage <> 0".to_owned()]).collect())?
        } else {
            0
        };
        Ok((orphaned, noise))
    }

    fn matched_entries(&self, alert: i64) -> Result<Vec<MatchedEntry>> {
        let mut statement = self.conn.prepare_cached(ENTRIES)?;
        let rows = statement.query_map([alert], |row| {
            let programs: String = row.get(4)?;
            Ok(MatchedEntry {
                label: row.get(0)?,
                list: row.get(1)?,
                list_kind: ListKind::from_code(row.get(2)?).unwrap_or(ListKind::Internal),
                entity: row.get(3)?,
                programs: serde_json::from_str(&programs).unwrap_or_default(),
                designation: Designation::from_code(row.get(5)?).unwrap_or(Designation::Unknown),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

fn alert_row(row: &Row<'_>) -> rusqlite::Result<AlertRow> {
    let bad = |column: usize| {
        rusqlite::Error::InvalidColumnType(column, "unknown code".to_owned(), rusqlite::types::Type::Integer)
    };
    let address = |column| maybe_bytes::<20>(row, column).map(|found| found.map(Address::from));
    let tx = match maybe_bytes::<32>(row, 7)? {
        None => None,
        Some(hash) => Some(TxRow {
            hash: hash.into(),
            index: chain_int(row.get(8)?),
            signer: address(9)?.ok_or_else(|| bad(9))?,
            to: address(10)?,
            success: row.get(11)?,
        }),
    };
    let location: Vec<u8> = row.get(13)?;
    let reasons: String = row.get(25)?;
    let standard = ["slip44", "erc20", "erc721", "erc1155"];
    Ok(AlertRow {
        id: bytes(row, 0)?.into(),
        row: row.get(1)?,
        status: AlertStatus::from_code(row.get(2)?).ok_or_else(|| bad(2))?,
        severity: Severity::from_code(row.get(3)?).ok_or_else(|| bad(3))?,
        block_number: chain_int(row.get(4)?),
        block_hash: bytes(row, 5)?.into(),
        timestamp: row.get(6)?,
        tx,
        kind: ActivityKind::from_code(row.get(12)?).ok_or_else(|| bad(12))?,
        location: Location::decode(&location).ok_or_else(|| bad(13))?,
        from: address(14)?,
        to: address(15)?,
        asset: AssetRow {
            standard: standard.get(usize::from(row.get::<_, u8>(16)?)).ok_or_else(|| bad(16))?,
            contract: address(17)?,
            symbol: row.get(18)?,
            decimals: row.get(19)?,
        },
        amount: row.get(20)?,
        token_id: row.get(21)?,
        watched: address(22)?.ok_or_else(|| bad(22))?,
        direction: Direction::from_code(row.get(23)?).ok_or_else(|| bad(23))?,
        entries: Vec::new(),
        triage: TriageClass::from_code(row.get(24)?).ok_or_else(|| bad(24))?,
        triage_reasons: serde_json::from_str(&reasons).unwrap_or_default(),
        proven: row.get::<_, i64>(26)? == 1,
        endpoint: row.get(27)?,
        seen_at_ms: row.get(28)?,
        replaces: maybe_bytes::<32>(row, 29)?.map(B256::from),
    })
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
