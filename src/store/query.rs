//! Reading alerts back: rows to plain values. Streams, so that a query of everything stays flat in memory.

use alloy::primitives::{Address, B256};
use rusqlite::{OptionalExtension, Row, params};

use super::alerts::SHOWN;
use super::entries::in_force;
use super::filter::AlertFilter;
use super::plan::{Plan, bound};
use super::versions::{VERSION, VersionRow, version};
use super::{Result, Store, StoreError, bytes, chain_int, maybe_bytes};
use crate::decode::{ActivityKind, AssetStandard, CallFrame, CallType, Location, Plane};
use crate::screen::{AlertStatus, Designation, Direction, ListKind, Severity, TriageClass, WatchEntry};

#[cfg(test)]
mod tests;

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
    pub operator: Option<Address>,
    pub watched: Address,
    pub direction: Direction,
    pub entries: Vec<MatchedEntry>,
    pub triage: TriageClass,
    pub triage_reasons: Vec<String>,
    pub proven: bool,
    pub endpoint: String,
    pub seen_at_ms: i64,
    pub replaces: Option<B256>,
    pub retroactive: bool,
    /// Of a movement that a log proves, where traces are known.
    pub frame: Option<CallFrame>,
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
    pub standard: AssetStandard,
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
    /// It matched when the block was last screened. Without, none of the alert's entries matches any more, and these did before.
    pub matches: bool,
    /// The version of the list that brought the entry.
    pub version: VersionRow,
}

/// What the defaults leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// Alerts of blocks that a reorg replaced.
    pub orphaned: u64,
    /// Noise that is not orphaned.
    pub noise: u64,
    /// What touches own wallets alone, and is not orphaned.
    pub own: u64,
    /// All were counted: otherwise there may be more.
    pub all: bool,
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
    LEFT JOIN addresses operator ON operator.id = m.operator_id \
    LEFT JOIN tokens ON tokens.address_id = m.token_address_id";

const COLUMNS: &str = "SELECT a.alert_id, a.id, b.status, a.severity, b.number, b.hash, b.timestamp, t.hash, t.tx_index, \
    signer.address, called.address, t.success, m.kind, a.location, f.address, r.address, m.asset, token.address, tokens.symbol, \
    tokens.decimals, m.amount, m.token_id, w.address, a.direction, a.triage, a.triage_reasons, b.proof, e.host, a.seen_at_ms, \
    a.replaces, a.retroactive, m.trace_address, m.detail, operator.address";

/// Of a watch entry `e` on a list `l` by a version `v`, before [`VERSION`].
const ENTRY: &str = "SELECT e.label, l.name, l.kind, e.entity, e.programs";

impl Store {
    /// Calls `each` with every alert that fits, in order. Returns how many there were.
    ///
    /// # Errors
    /// [`StoreError::NoAlert`] where it is to begin after one that is not there; of SQLite, or what `each` returns (a closed pipe,
    /// say).
    pub fn each_alert<E: From<StoreError>>(
        &self,
        filter: &AlertFilter,
        mut each: impl FnMut(AlertRow) -> std::result::Result<(), E>,
    ) -> std::result::Result<u64, E> {
        let run =
            |each: &mut dyn FnMut(AlertRow) -> std::result::Result<(), E>| -> Result<std::result::Result<u64, E>> {
                let mut count = 0;
                for filter in self.runs(filter)? {
                    if let Err(error) = self.run(&filter, &mut count, each)? {
                        return Ok(Err(error));
                    }
                }
                Ok(Ok(count))
            };
        run(&mut each).map_err(|error| E::from(self.explain(error)))?
    }

    /// Where severe alerts come first, the answer is two: the severe ones and the rest, each by its index, and each with its own place
    /// for a page to begin.
    pub(super) fn runs(&self, filter: &AlertFilter) -> Result<Vec<AlertFilter>> {
        if !filter.severe_first {
            return Ok(vec![filter.clone()]);
        }
        let wanted = |severity: &Severity| filter.severities.is_empty() || filter.severities.contains(severity);
        let (severe, rest): (Vec<_>, Vec<_>) =
            Severity::ALL.iter().map(|(severity, _)| *severity).filter(wanted).partition(|s| *s == Severity::Severe);
        let [severe, mut rest] = [severe, rest].map(|severities| AlertFilter { severities, ..filter.clone() });
        let mut runs = Vec::new();
        match filter.after.map(|id| self.severity_of(id)).transpose()? {
            Some(Severity::Severe) => {
                rest.after = None;
                runs.extend([severe, rest]);
            }
            Some(_) => runs.push(rest),
            None => runs.extend([severe, rest]),
        }
        runs.retain(|run| !run.severities.is_empty());
        Ok(runs)
    }

    fn severity_of(&self, id: B256) -> Result<Severity> {
        let found: Option<u8> = self
            .conn
            .prepare_cached("SELECT severity FROM alerts WHERE alert_id = ?1")?
            .query_row([id.as_slice()], |row| row.get(0))
            .optional()?;
        found.and_then(Severity::from_code).ok_or(StoreError::NoAlert(id))
    }

    /// Calls `each` with what one plan finds, as long as `count` is below the limit.
    fn run<E>(
        &self,
        filter: &AlertFilter,
        count: &mut u64,
        each: &mut dyn FnMut(AlertRow) -> std::result::Result<(), E>,
    ) -> Result<std::result::Result<(), E>> {
        if filter.limit.is_some_and(|limit| *count >= limit) {
            return Ok(Ok(()));
        }
        let plan = Plan::of(&self.conn, filter, false)?;
        let extra: Vec<_> = filter.status_condition().into_iter().chain(filter.triage_condition()).collect();
        let mut statement = self.conn.prepare(&plan.ids(&extra))?;
        let mut rows = bound(&mut statement, &plan.conditions.values())?;
        let mut details = self.conn.prepare_cached(&format!("{COLUMNS}{FROM} WHERE a.id = ?1"))?;
        let mut last = None;
        while filter.limit.is_none_or(|limit| *count < limit)
            && let Some(row) = rows.next()?
        {
            let id: i64 = row.get(0)?;
            if last.replace(id) == Some(id) {
                continue;
            }
            let mut alert = details.query_row([id], alert_row)?;
            alert.entries = match filter.as_of {
                None => self.matched_entries(alert.row)?,
                Some(as_of) => self.entries_then(&alert, as_of)?,
            };
            *count += 1;
            if let Err(error) = each(alert) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// How many alerts the defaults of status and triage leave out: orphaned ones, and of those that are not, noise and own wallets
    /// alone. Looks at no more than `most` alerts, in the order of blocks, and says where that was not all.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn left_out(&self, filter: &AlertFilter, most: u64) -> Result<LeftOut> {
        // Without a place to begin, both parts of the answer are looked at as one.
        let runs = if filter.after.is_some() { self.runs(filter)? } else { vec![filter.clone()] };
        let mut sum = LeftOut { orphaned: 0, noise: 0, own: 0, all: true };
        for run in &runs {
            let found = self.left_out_of(run, most)?;
            sum = LeftOut {
                orphaned: sum.orphaned + found.orphaned,
                noise: sum.noise + found.noise,
                own: sum.own + found.own,
                all: sum.all && found.all,
            };
        }
        Ok(sum)
    }

    fn left_out_of(&self, filter: &AlertFilter, most: u64) -> Result<LeftOut> {
        let by_default_status = !filter.any_status && filter.statuses.is_empty();
        let by_default_triage = !filter.any_triage && filter.triage.is_empty();
        if !by_default_status && !by_default_triage {
            return Ok(LeftOut { orphaned: 0, noise: 0, own: 0, all: true });
        }
        let plan = Plan::of(&self.conn, filter, true)?;
        let orphaned = if by_default_status { "status = 3" } else { "FALSE" };
        let wanted = filter.status_condition().map_or_else(|| "TRUE".to_owned(), |sql| sql.replace("+b.", ""));
        let (value, own) = (TriageClass::Value.code(), TriageClass::Own.code());
        let [noise, own] = [format!("triage NOT IN ({value}, {own})"), format!("triage = {own}")]
            .map(|class| if by_default_triage { format!("{class} AND {wanted}") } else { "FALSE".to_owned() });
        let all = plan.is_within(&self.conn, most)?;
        let sql = format!(
            "SELECT count(*) FILTER (WHERE {orphaned}), count(*) FILTER (WHERE {noise}), count(*) FILTER (WHERE {own}) FROM ({})",
            plan.sample(most, all)
        );
        let mut statement = self.conn.prepare(&sql)?;
        let mut rows = bound(&mut statement, &plan.conditions.values())?;
        let found = match rows.next()? {
            Some(row) => [chain_int(row.get(0)?), chain_int(row.get(1)?), chain_int(row.get(2)?)],
            None => [0; 3],
        };
        let [orphaned, noise, own] = found;
        Ok(LeftOut { orphaned, noise, own, all })
    }

    fn matched_entries(&self, alert: i64) -> Result<Vec<MatchedEntry>> {
        let mut statement = self.conn.prepare_cached(&format!(
            "{ENTRY}, ae.designation, ae.matches, {VERSION} FROM alert_entries ae JOIN watch_entries e ON e.id = ae.entry_id \
             JOIN lists l ON l.id = e.list_id JOIN list_versions v ON v.id = e.first_version \
             WHERE ae.alert_id = ?1 AND {SHOWN} ORDER BY ae.rank"
        ))?;
        let rows = statement.query_map([alert], |row| {
            let designation = Designation::from_code(row.get(5)?).unwrap_or(Designation::Unknown);
            matched_entry(row, designation, row.get(6)?, 7)
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The entries that the watched address of an alert had at a time, strictest first.
    fn entries_then(&self, alert: &AlertRow, as_of: i64) -> Result<Vec<MatchedEntry>> {
        let mut statement = self.conn.prepare_cached(&format!(
            "{ENTRY}, e.listed_from, e.delisted_on, e.known_from, {VERSION} FROM addresses x JOIN committed_entries e ON e.address_id = x.id \
             JOIN lists l ON l.id = e.list_id JOIN list_versions v ON v.id = e.first_version \
             LEFT JOIN list_versions ended ON ended.id = e.end_version WHERE x.address = ?1 AND {} ORDER BY l.kind, l.name",
            in_force("?2")
        ))?;
        let rows = statement.query_map(params![alert.watched.as_slice(), as_of], |row| {
            let entry = WatchEntry {
                id: 0,
                address: alert.watched,
                kind: ListKind::from_code(row.get(2)?).unwrap_or(ListKind::Internal),
                listed_from: row.get(5)?,
                delisted_on: row.get(6)?,
                known_from: row.get(7)?,
                ended_on: None,
            };
            matched_entry(row, entry.designation(alert.timestamp), true, 8)
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// From [`ENTRY`], and [`VERSION`] at that column.
fn matched_entry(row: &Row<'_>, designation: Designation, matches: bool, at: usize) -> rusqlite::Result<MatchedEntry> {
    let programs: String = row.get(4)?;
    Ok(MatchedEntry {
        label: row.get(0)?,
        list: row.get(1)?,
        list_kind: ListKind::from_code(row.get(2)?).unwrap_or(ListKind::Internal),
        entity: row.get(3)?,
        programs: serde_json::from_str(&programs).unwrap_or_default(),
        designation,
        matches,
        version: version(row, at)?,
    })
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
    let location = Location::decode(&location).ok_or_else(|| bad(13))?;
    let reasons: String = row.get(25)?;
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
        location: location.clone(),
        from: address(14)?,
        to: address(15)?,
        asset: AssetRow {
            standard: AssetStandard::from_code(row.get(16)?).ok_or_else(|| bad(16))?,
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
        // No root covers traces: what only they show is the endpoint's word, however well the block is proven.
        proven: row.get::<_, i64>(26)? == 1 && location.plane != Plane::Traces,
        endpoint: row.get(27)?,
        seen_at_ms: row.get(28)?,
        replaces: maybe_bytes::<32>(row, 29)?.map(B256::from),
        retroactive: row.get(30)?,
        frame: call_frame(row, 31)?,
        operator: address(33)?,
    })
}

/// The call frame of a movement that a log proves, from two columns.
fn call_frame(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<CallFrame>> {
    let (path, code): (Option<Vec<u8>>, Option<u8>) = (row.get(at)?, row.get(at + 1)?);
    let call_type = code.and_then(CallType::from_code);
    Ok(path.zip(call_type).map(|(path, call_type)| CallFrame {
        trace_address: path
            .chunks_exact(4)
            .map(|step| step.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
            .collect(),
        call_type,
    }))
}
