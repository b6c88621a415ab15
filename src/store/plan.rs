//! By which index a query finds its alerts. SQLite would guess; here the rarest thing asked for is counted, up to a bound, and leads:
//! its index has the alerts in the order of blocks, so that a page costs what the page is and not what the table is.

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, Rows, Statement};

use super::filter::{AlertFilter, AssetSet, Conditions, Order, Resolved};
use super::{Result, StoreError};
use crate::decode::ActivityKind;
use crate::screen::{Severity, TriageClass};

/// Up to so many values of one thing, each has a stream of its own, in order, and SQLite merges them.
const STREAMS: usize = 100;
/// No more than that is sorted: for more values, or for an index in another order.
const SORTABLE: i64 = 20_000;
/// What is more frequent than that is not counted further.
const FREQUENT: i64 = 30_000;

/// Where blocks lead, so many are thought of at each.
const ALERTS_OF_A_BLOCK: u64 = 20;

/// Movements of the chain's own currency are of these kinds and no others.
const NATIVE: [ActivityKind; 7] = [
    ActivityKind::NativeTransfer,
    ActivityKind::Transaction,
    ActivityKind::ContractCreation,
    ActivityKind::InternalTransfer,
    ActivityKind::SelfDestruct,
    ActivityKind::Withdrawal,
    ActivityKind::FeeRecipient,
];

/// Where alerts come from: a table by one of its indexes.
#[derive(Debug, Clone, Copy)]
enum Table {
    Alerts,
    Activities,
    Entries,
    Blocks,
}

/// Alerts that have one thing in common, as an index holds them.
#[derive(Debug, Clone)]
struct Stream {
    table: Table,
    index: &'static str,
    /// Of the table, and what the index finds.
    condition: String,
}

impl Stream {
    fn new(table: Table, index: &'static str, condition: String) -> Self {
        Self { table, index, condition }
    }

    /// The table with its letter, and the column that has the block's number.
    fn place(&self) -> (&'static str, &'static str) {
        match self.table {
            Table::Alerts => ("alerts a", "a.block_number"),
            Table::Activities => ("activities m", "m.block_number"),
            Table::Entries => ("alert_entries k", "k.block_number"),
            Table::Blocks => ("blocks b", "b.number"),
        }
    }

    /// The rest of the joins, in an order that SQLite may not change. The movement only where the conditions ask of it.
    fn joins(&self, conditions: &str) -> String {
        let joins = match self.table {
            Table::Alerts => " CROSS JOIN blocks b ON b.id = a.block_id",
            Table::Activities => {
                " CROSS JOIN alerts a INDEXED BY alerts_by_activity ON a.activity_id = m.id \
                  CROSS JOIN blocks b ON b.id = a.block_id"
            }
            Table::Entries => " CROSS JOIN alerts a ON a.id = k.alert_id CROSS JOIN blocks b ON b.id = a.block_id",
            Table::Blocks => {
                " CROSS JOIN alerts a INDEXED BY alerts_in_order ON a.block_number = b.number AND +a.block_id = b.id"
            }
        };
        let movement = !matches!(self.table, Table::Activities) && conditions.contains("m.");
        format!("{joins}{}", if movement { " CROSS JOIN activities m ON m.id = a.activity_id" } else { "" })
    }

    /// What leads, between the blocks of the range.
    fn led(&self, (from, to): (i64, i64)) -> (String, String) {
        let (table, number) = self.place();
        let range = match (from, to) {
            // Without the number in the index, each row would have to be read for nothing.
            (0, i64::MAX) if self.sorts() => "TRUE".to_owned(),
            (0, i64::MAX) => format!("{number} >= 0"),
            _ => format!("{number} BETWEEN {from} AND {to}"),
        };
        // Where the index is in another order, the range must not seem to be of use.
        let plus = if self.sorts() { "+" } else { "" };
        // SQLite takes an index of a part only where the query names that part in the same words.
        let part = if self.index == "alerts_by_direction" { " AND a.direction > 1" } else { "" };
        (format!("{table} INDEXED BY {}", self.index), format!("{}{part} AND {plus}{range}", self.condition))
    }

    /// Its index is in another order than that of blocks.
    fn sorts(&self) -> bool {
        ["activities_by_tx", "sqlite_autoindex_alerts_1"].contains(&self.index)
    }
}

/// How a query goes.
pub(super) struct Plan {
    streams: Vec<Stream>,
    pub(super) conditions: Conditions,
    range: (i64, i64),
    order: Order,
}

impl Plan {
    /// Chooses what leads. With `whole`, also to what the default of triage leaves out.
    pub(super) fn of(conn: &Connection, filter: &AlertFilter, whole: bool) -> Result<Self> {
        let resolved = filter.resolve(conn)?;
        let mut conditions = filter.base(&resolved);
        let mut candidates = candidates(filter, &resolved, &mut conditions);
        let by_default = (!whole && !filter.any_triage).then(|| vec![i64::from(TriageClass::Value.code())]);
        // Comes last: of what is frequent, anything else that was asked for is likely to be rarer.
        let everything = match resolved.triage.as_ref().or(by_default.as_ref()) {
            Some(wanted) => each(&mut conditions, Table::Alerts, "alerts_by_triage", "a.triage", wanted),
            None => vec![Stream::new(Table::Alerts, "alerts_in_order", "TRUE".to_owned())],
        };
        candidates.push(everything.clone());
        let mut range = resolved.range;
        if let Some(id) = filter.after {
            range = after(conn, id, filter.order, range, &mut conditions)?;
        }
        let values = conditions.values();
        let mut best = (i64::MAX, everything);
        for streams in candidates {
            let sorted = streams.iter().any(|stream| stream.sorts() || stream.condition.contains(" IN "));
            let cap = if sorted { SORTABLE } else { FREQUENT }.min(best.0);
            let count = count(conn, &streams, range, cap, &values)?;
            if count < best.0 && !(sorted && count >= SORTABLE) {
                best = (count, streams);
            }
        }
        // A short span of blocks may hold less than the rarest thing does.
        if range != (0, i64::MAX) && best.0 > 0 {
            let all = vec![Stream::new(Table::Alerts, "alerts_in_order", "TRUE".to_owned())];
            let span = count(conn, &all, range, best.0.min(FREQUENT), &values)?;
            if span < best.0.min(FREQUENT) {
                best = (span, all);
            }
        }
        drop(values);
        Ok(Self { streams: best.1, conditions, range, order: filter.order })
    }

    /// Row ids of the alerts that fit, in order; one that two streams have comes twice, one after the other.
    pub(super) fn ids(&self, extra: &[String]) -> String {
        let all: Vec<_> = self.conditions.sql.iter().chain(extra).map(String::as_str).collect();
        let and = if all.is_empty() { String::new() } else { format!(" AND {}", all.join(" AND ")) };
        let selects: Vec<_> = self
            .streams
            .iter()
            .map(|stream| {
                let (table, condition) = stream.led(self.range);
                let number = stream.place().1;
                format!(
                    "SELECT a.id AS id, {number} AS number, a.block_id AS block_id, a.location AS location, a.direction AS side \
                     FROM {table}{} WHERE {condition}{and}",
                    stream.joins(&and)
                )
            })
            .collect();
        let direction = if self.order == Order::Ascending { "ASC" } else { "DESC" };
        let order = ["number", "block_id", "location", "side", "id"].map(|column| format!("{column} {direction}"));
        format!("{} ORDER BY {}", selects.join(" UNION ALL "), order.join(", "))
    }

    /// Status and triage of what fits but for these, of the first so many that the lead has.
    pub(super) fn sample(&self, most: u64, all: bool) -> String {
        // Where it is not all, each stream has its share; a block has some twenty alerts.
        let share = if all { most } else { most / self.streams.len().max(1) as u64 + 1 };
        let and = match self.conditions.sql.as_slice() {
            [] => String::new(),
            all => format!(" WHERE {}", all.join(" AND ")),
        };
        let each: Vec<_> = self
            .streams
            .iter()
            .map(|stream| {
                let letter = stream.place().0.rsplit(' ').next().unwrap_or_default();
                let direction = if self.order == Order::Ascending { "ASC" } else { "DESC" };
                let order =
                    if stream.sorts() { String::new() } else { format!(" ORDER BY {} {direction}", stream.place().1) };
                let (table, condition) = stream.led(self.range);
                let most = if matches!(stream.table, Table::Blocks) { share / ALERTS_OF_A_BLOCK + 1 } else { share };
                format!(
                    "SELECT a.id AS id, b.status AS status, a.triage AS triage FROM \
                     (SELECT {letter}.* FROM {table} WHERE {condition}{order} LIMIT {most}) {letter}{}{and}",
                    stream.joins(&and)
                )
            })
            .collect();
        format!("SELECT DISTINCT id, status, triage FROM ({})", each.join(" UNION ALL "))
    }

    /// Whether the lead has no more than that.
    pub(super) fn is_within(&self, conn: &Connection, most: u64) -> Result<bool> {
        let blocks = self.streams.iter().any(|stream| matches!(stream.table, Table::Blocks));
        let most = super::sql_int(if blocks { most / ALERTS_OF_A_BLOCK } else { most });
        Ok(count(conn, &self.streams, self.range, most.saturating_add(1), &self.conditions.values())? <= most)
    }
}

/// Every thing asked for, as streams whose alerts hold all that fit.
fn candidates(filter: &AlertFilter, resolved: &Resolved, c: &mut Conditions) -> Vec<Vec<Stream>> {
    use Table::{Activities, Alerts, Blocks, Entries};
    let mut all = Vec::new();
    if let Some(wanted) = &resolved.watched {
        all.push(each(c, Alerts, "alerts_by_watched", "a.watched_id", wanted));
    }
    if let Some(wanted) = &resolved.others {
        all.push(each(c, Alerts, "alerts_by_counterparty", "a.counterparty_id", wanted));
    }
    if let Some(wanted) = &resolved.lists {
        all.push(each(c, Entries, "alert_entries_by_list", "k.list_id", wanted));
    }
    for wanted in &resolved.entries {
        all.push(each(c, Entries, "alert_entries_by_entry", "k.entry_id", wanted));
    }
    if let Some(wanted) = &resolved.kinds {
        all.push(each(c, Activities, "activities_by_kind", "m.kind", wanted));
    }
    // All but severe is almost everything.
    if let Some(wanted) = resolved.severities.as_ref().filter(|wanted| wanted.len() < Severity::ALL.len() - 1) {
        all.push(each(c, Alerts, "alerts_by_severity", "a.severity", wanted));
    }
    if let Some(wanted) = resolved.directions.as_ref().filter(|wanted| wanted.iter().all(|code| *code > 1)) {
        all.push(each(c, Alerts, "alerts_by_direction", "a.direction", wanted));
    }
    if let Some(assets) = &resolved.assets {
        let mut streams = Vec::new();
        for asset in assets {
            let native: Vec<_> = NATIVE.iter().map(|kind| i64::from(kind.code())).collect();
            streams.extend(match asset {
                AssetSet::Native => each(c, Activities, "activities_by_kind", "m.kind", &native),
                AssetSet::Tokens(ids) => each(c, Activities, "activities_by_token", "m.token_address_id", ids),
                AssetSet::One(id, _) => each(c, Activities, "activities_by_token", "m.token_address_id", &[*id]),
            });
        }
        all.push(streams);
    }
    if let Some(wanted) = &resolved.txs {
        all.push(each(c, Activities, "activities_by_tx", "m.tx_id", wanted));
    }
    if let Some(wanted) = &resolved.digits {
        all.push(each(c, Activities, "activities_by_digits", "length(m.amount)", wanted));
    }
    if let Some(id) = filter.id {
        let mark = c.bind(id.to_vec());
        all.push(vec![Stream::new(Alerts, "sqlite_autoindex_alerts_1", format!("a.alert_id = {mark}"))]);
    }
    if filter.orphaned_only() {
        all.push(vec![Stream::new(Blocks, "blocks_orphaned", "b.status = 3".to_owned())]);
    }
    all.retain(|streams| streams.len() <= 2 * STREAMS);
    all
}

/// A stream for each value, or one for all where there are many.
fn each(c: &mut Conditions, table: Table, index: &'static str, column: &str, wanted: &[i64]) -> Vec<Stream> {
    if wanted.len() > STREAMS {
        return vec![Stream::new(table, index, format!("{column} IN {}", c.set(wanted)))];
    }
    let streams = wanted.iter().map(|id| Stream::new(table, index, format!("{column} = {id}")));
    if wanted.is_empty() { vec![Stream::new(table, index, format!("{column} = -1"))] } else { streams.collect() }
}

/// Runs a statement with as many of the values as it uses.
pub(super) fn bound<'a>(statement: &'a mut Statement<'_>, values: &[&dyn ToSql]) -> Result<Rows<'a>> {
    for (place, value) in values.iter().enumerate().take(statement.parameter_count()) {
        statement.raw_bind_parameter(place + 1, value)?;
    }
    Ok(statement.raw_query())
}

/// How many there are, or `cap`.
fn count(conn: &Connection, streams: &[Stream], range: (i64, i64), cap: i64, values: &[&dyn ToSql]) -> Result<i64> {
    let mut sum = 0;
    for stream in streams {
        let (table, condition) = stream.led(range);
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {condition} LIMIT {})", cap - sum);
        let mut statement = conn.prepare(&sql)?;
        let found = bound(&mut statement, values)?.next()?.map(|row| row.get::<_, i64>(0)).transpose()?;
        sum += found.unwrap_or_default();
        if sum >= cap {
            return Ok(cap);
        }
    }
    Ok(sum)
}

/// Leaves what comes after that alert: the range from its block on, which is returned, and within it by place.
fn after(
    conn: &Connection,
    id: alloy::primitives::B256,
    order: Order,
    (from, to): (i64, i64),
    c: &mut Conditions,
) -> Result<(i64, i64)> {
    let found = conn
        .prepare_cached("SELECT block_number, block_id, hex(location), direction, id FROM alerts WHERE alert_id = ?1")?
        .query_row([id.as_slice()], |row| {
            let ints: [i64; 4] = [row.get(0)?, row.get(1)?, row.get(3)?, row.get(4)?];
            Ok((ints, row.get::<_, String>(2)?))
        })
        .optional()?;
    let Some(([number, block, side, row], location)) = found else { return Err(StoreError::NoAlert(id)) };
    let beyond = if order == Order::Ascending { ">" } else { "<" };
    c.sql.push(format!(
        "(+a.block_number, a.block_id, a.location, a.direction, a.id) {beyond} ({number}, {block}, x'{location}', {side}, {row})"
    ));
    Ok(match order {
        Order::Ascending => (from.max(number), to),
        Order::Descending => (from, to.min(number)),
    })
}
