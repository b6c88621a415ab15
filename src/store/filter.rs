//! From filters to SQL conditions. Values are always bound, never written into the text.

use alloy::primitives::{Address, B256, U256};
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::addresses::find_address;
use super::alerts::SHOWN;
use super::entries::in_force;
use super::{Result, meta, sql_int};
use crate::chain::NativeCurrency;
use crate::decode::ActivityKind;
use crate::screen::{AlertStatus, Direction, ListKind, Severity, TriageClass};

/// Which alerts. Within one filter any of its values will do; all filters must fit.
#[derive(Debug, Clone, Default)]
pub struct AlertFilter {
    /// Watched address.
    pub addresses: Vec<Address>,
    /// The other side.
    pub counterparties: Vec<Address>,
    /// Part of an entry's label, in any case; hidden characters in either do not count.
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
    /// Triage classes; empty: only `value`, which leaves out noise and own wallets alone. [`AlertFilter::any_triage`] takes all.
    pub triage: Vec<TriageClass>,
    /// Noise and own wallets alone as well.
    pub any_triage: bool,
    /// Hash of the transaction.
    pub tx: Option<B256>,
    /// The alert of that id.
    pub id: Option<B256>,
    /// Of addresses that were listed at that time, unix seconds; what is said of them is what was said then. With [`AlertFilter::lists`]: on
    /// one of these.
    pub as_of: Option<i64>,
    /// Alerts in these rows only: what a commit just added.
    pub rows: Option<Vec<i64>>,
    /// Those after the alert of that id, in the order of the answer.
    pub after: Option<B256>,
    /// At most so many.
    pub limit: Option<u64>,
    /// Oldest or newest first.
    pub order: Order,
    /// Severe ones before all others, each in the order of blocks.
    pub severe_first: bool,
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

/// Conditions of a query with their values. What they say of an alert `a`, its block `b`, its movement `m`.
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

    /// A set of numbers, for `IN`.
    pub(super) fn set(&mut self, ids: &[i64]) -> String {
        if ids.len() <= 50 {
            // Never empty: SQLite then forgets what else is asked.
            let ids: Vec<_> = if ids.is_empty() { &[-1] } else { ids }.iter().map(ToString::to_string).collect();
            return format!("({})", ids.join(", "));
        }
        let mark = self.bind(serde_json::json!(ids).to_string());
        format!("(SELECT value FROM json_each({mark}))")
    }

    pub(super) fn values(&self) -> Vec<&dyn ToSql> {
        self.values.iter().map(AsRef::as_ref).collect()
    }
}

/// A filter whose addresses, lists, entries, tokens and times were looked up: the rows that they are, by number.
pub(super) struct Resolved {
    /// With a time: those that were listed then, where they are not very many.
    pub(super) watched: Option<Vec<i64>>,
    pub(super) others: Option<Vec<i64>>,
    pub(super) lists: Option<Vec<i64>>,
    /// Entries by label, and by entity.
    pub(super) entries: Vec<Vec<i64>>,
    pub(super) assets: Option<Vec<AssetSet>>,
    pub(super) txs: Option<Vec<i64>>,
    pub(super) kinds: Option<Vec<i64>>,
    pub(super) severities: Option<Vec<i64>>,
    pub(super) directions: Option<Vec<i64>>,
    pub(super) triage: Option<Vec<i64>>,
    /// How many digits an amount has that is large enough: those numbers that there are.
    pub(super) digits: Option<Vec<i64>>,
    /// First and last block.
    pub(super) range: (i64, i64),
    /// Decimals of the chain's own currency.
    pub(super) native_decimals: u8,
}

/// Tokens by the number of their address.
pub(super) enum AssetSet {
    Native,
    Tokens(Vec<i64>),
    One(i64, String),
}

/// So many addresses on lists at a time are not looked for one by one.
const MANY_LISTED: usize = 20_000;

/// By how many blocks the first block of a time may be missed by the index: forks differ in time by less than a reorg's window.
const TIME_SLACK: i64 = 400;

impl AlertFilter {
    pub(super) fn resolve(&self, conn: &Connection) -> Result<Resolved> {
        let addresses = |wanted: &[Address]| -> Result<Option<Vec<i64>>> {
            let found: Result<Vec<_>> = wanted.iter().map(|address| find_address(conn, *address)).collect();
            Ok((!wanted.is_empty()).then_some(found?.into_iter().flatten().collect()))
        };
        let ids = |sql: &str, value: &dyn ToSql| -> Result<Vec<i64>> {
            let mut statement = conn.prepare_cached(sql)?;
            let rows = statement.query_map([value], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        };
        let all = |sql: &str, values: &[String]| -> Result<Option<Vec<i64>>> {
            let mut found = Vec::new();
            for value in values {
                found.extend(ids(sql, value)?);
            }
            found.sort_unstable();
            found.dedup();
            Ok((!values.is_empty()).then_some(found))
        };
        let folded = |texts: &[String]| texts.iter().map(|text| crate::text::folded(text)).collect::<Vec<_>>();
        let entries = [
            all("SELECT id FROM committed_entries WHERE instr(folded(label), ?1) > 0", &folded(&self.labels))?,
            all("SELECT id FROM committed_entries WHERE instr(folded(entity), ?1) > 0", &folded(&self.entities))?,
        ];
        let assets: Result<Vec<_>> = self
            .assets
            .iter()
            .map(|asset| {
                Ok(match asset {
                    AssetFilter::Native => AssetSet::Native,
                    AssetFilter::Symbol(symbol) => AssetSet::Tokens(ids(
                        "SELECT address_id FROM tokens WHERE symbol IS NOT NULL AND symbol = ?1 COLLATE NOCASE",
                        symbol,
                    )?),
                    AssetFilter::Contract(contract, token_id) => match (find_address(conn, *contract)?, token_id) {
                        (Some(id), Some(token_id)) => AssetSet::One(id, token_id.to_string()),
                        (id, _) => AssetSet::Tokens(id.into_iter().collect()),
                    },
                })
            })
            .collect();
        let codes = |codes: Vec<i64>| (!codes.is_empty()).then_some(codes);
        let lists = all("SELECT id FROM lists WHERE name = ?1", &self.lists)?;
        let watched = addresses(&self.addresses)?;
        Ok(Resolved {
            watched: match self.as_of {
                Some(time) => self.listed_then(conn, time, watched, lists.as_deref())?,
                None => watched,
            },
            others: addresses(&self.counterparties)?,
            lists,
            entries: entries.into_iter().flatten().collect(),
            assets: if self.assets.is_empty() { None } else { Some(assets?) },
            txs: self.tx.map(|hash| ids("SELECT id FROM transactions WHERE hash = ?1", &hash.to_vec())).transpose()?,
            kinds: codes(self.kinds.iter().map(|kind| i64::from(kind.code())).collect()),
            severities: codes(self.severities.iter().map(|severity| i64::from(severity.code())).collect()),
            directions: codes(self.directions.iter().map(|direction| i64::from(direction.code())).collect()),
            triage: match (self.any_triage, self.triage.is_empty()) {
                (false, false) => codes(self.triage.iter().map(|class| i64::from(class.code())).collect()),
                _ => None,
            },
            digits: self.digits(conn)?,
            range: self.range(conn)?,
            native_decimals: {
                let chain_id = meta(conn, "chain_id")?.and_then(|text| text.parse().ok()).unwrap_or(0);
                NativeCurrency::of_chain(chain_id).decimals
            },
        })
    }

    /// Of these addresses, or of all, those that were on one of the lists at that time; `None` where that may be any of very many.
    fn listed_then(
        &self,
        conn: &Connection,
        time: i64,
        of: Option<Vec<i64>>,
        lists: Option<&[i64]>,
    ) -> Result<Option<Vec<i64>>> {
        let on = |lists: &[i64]| lists.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let on = lists.map_or_else(String::new, |lists| format!(" AND e.list_id IN ({})", on(lists)));
        let entries = "SELECT DISTINCT e.address_id FROM committed_entries e JOIN list_versions v ON v.id = e.first_version \
             LEFT JOIN list_versions ended ON ended.id = e.end_version";
        let then = in_force("?1");
        if !self.wants_own() {
            // Own wallets alone are no alert, so that there is none where nothing else was listed.
            let own = ListKind::Own.code();
            let sql = format!("{entries} JOIN lists l ON l.id = e.list_id WHERE l.kind <> {own} AND {then} LIMIT 1");
            if !conn.prepare_cached(&sql)?.exists([time])? {
                return Ok(Some(Vec::new()));
            }
        }
        let Some(of) = of else {
            let sql = format!("{entries} WHERE {then}{on} LIMIT {MANY_LISTED}");
            let mut statement = conn.prepare_cached(&sql)?;
            let found: Vec<_> = statement.query_map([time], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            return Ok((found.len() < MANY_LISTED).then_some(found));
        };
        let mut statement =
            conn.prepare_cached(&format!("{entries} WHERE e.address_id = ?2 AND {then}{on} LIMIT 1"))?;
        let mut found = Vec::new();
        for id in of {
            if statement.exists([time, id])? {
                found.push(id);
            }
        }
        Ok(Some(found))
    }

    /// What touches own wallets and nothing else is asked for as well.
    fn wants_own(&self) -> bool {
        self.any_triage || self.triage.contains(&TriageClass::Own)
    }

    /// How many digits the amounts have that may be large enough, as far as there are such amounts: one look at the index for each.
    fn digits(&self, conn: &Connection) -> Result<Option<Vec<i64>>> {
        let Some(AmountFilter::Base(least)) = &self.min_amount else { return Ok(None) };
        let least = i64::try_from(least.to_string().len()).unwrap_or(i64::MAX);
        let mut statement = conn.prepare_cached(
            "SELECT length(amount) FROM activities INDEXED BY activities_by_digits WHERE length(amount) < ?1 \
             ORDER BY length(amount) DESC LIMIT 1",
        )?;
        let (mut found, mut below) = (Vec::new(), i64::MAX);
        while let Some(digits) = statement.query_row([below], |row| row.get(0)).optional()?
            && digits >= least
        {
            found.push(digits);
            below = digits;
        }
        Ok(Some(found))
    }

    /// The blocks that a range of blocks, of time, or a status leaves, as far as an index can tell.
    fn range(&self, conn: &Connection) -> Result<(i64, i64)> {
        let at = |sql: &str, values: &[i64]| -> Result<Option<i64>> {
            let mut statement = conn.prepare_cached(sql)?;
            Ok(statement.query_row(params_from_iter(values), |row| row.get(0)).optional()?.flatten())
        };
        let mut from = self.from_block.map_or(0, sql_int);
        let mut to = self.to_block.map_or(i64::MAX, sql_int);
        // A block on trust may claim any time: where others are proven, their times count, and all blocks on trust are looked at.
        let any_proven = at("SELECT 1 FROM coverage WHERE proof = 1 LIMIT 1", &[])?.unwrap_or(0);
        if let Some(time) = self.since {
            let first = at(
                "SELECT number FROM blocks WHERE timestamp >= ?1 AND proof >= ?2 ORDER BY timestamp LIMIT 1",
                &[time, any_proven],
            )?;
            let on_trust = at("SELECT min(first) FROM coverage WHERE proof = 0 AND ?1", &[any_proven])?;
            let first = first.into_iter().chain(on_trust).min();
            from = from.max(first.map_or(i64::MAX, |number| number - TIME_SLACK));
        }
        if let Some(time) = self.until {
            let last = at(
                "SELECT number FROM blocks WHERE timestamp <= ?1 AND proof >= ?2 ORDER BY timestamp DESC LIMIT 1",
                &[time, any_proven],
            )?;
            let on_trust = at("SELECT max(last) FROM coverage WHERE proof = 0 AND ?1", &[any_proven])?;
            let last = last.into_iter().chain(on_trust).max();
            to = to.min(last.map_or(-1, |number| number + TIME_SLACK));
        }
        let unsettled = |status: &AlertStatus| matches!(status, AlertStatus::Pending | AlertStatus::Safe);
        if !self.any_status && !self.statuses.is_empty() && self.statuses.iter().all(unsettled) {
            let first = at("SELECT min(number) FROM blocks WHERE status < 2 AND number >= 0", &[])?;
            from = from.max(first.unwrap_or(i64::MAX));
        }
        Ok((from, to))
    }

    /// Everything but status, triage and the range of blocks.
    pub(super) fn base(&self, resolved: &Resolved) -> Conditions {
        let mut c = Conditions::default();
        for (column, wanted) in [
            ("+a.watched_id", &resolved.watched),
            ("+a.counterparty_id", &resolved.others),
            ("+m.tx_id", &resolved.txs),
            ("+m.kind", &resolved.kinds),
            ("+a.direction", &resolved.directions),
            ("+a.severity", &resolved.severities),
        ] {
            if let Some(wanted) = wanted {
                let set = c.set(wanted);
                c.sql.push(format!("{column} IN {set}"));
            }
        }
        // As of a time, an entry counts that was in force then, be it that it does not match any more.
        let shown = if self.as_of.is_some() { "TRUE" } else { SHOWN };
        let sets = resolved.entries.iter().map(|entries| ("entry_id", entries));
        for (column, wanted) in sets.chain(resolved.lists.iter().map(|lists| ("list_id", lists))) {
            let set = c.set(wanted);
            c.sql.push(format!(
                "EXISTS (SELECT 1 FROM alert_entries ae INDEXED BY sqlite_autoindex_alert_entries_1 WHERE ae.alert_id = a.id AND +ae.{column} IN {set} AND {shown})"
            ));
        }
        if let Some(assets) = &resolved.assets {
            let any: Vec<_> = assets.iter().map(|asset| asset.condition(&mut c)).collect();
            c.sql.push(format!("({})", any.join(" OR ")));
        }
        if let Some(amount) = &self.min_amount {
            let sql = match amount {
                AmountFilter::Base(least) => {
                    let mark = c.bind(least.to_string());
                    format!("(+length(m.amount), +m.amount) >= (length({mark}), {mark})")
                }
                AmountFilter::Units(least) => {
                    let mark = c.bind(least.clone());
                    format!(
                        "units_at_least(m.amount, CASE m.asset WHEN 0 THEN {native} ELSE \
                         (SELECT decimals FROM tokens WHERE address_id = m.token_address_id) END, {mark})",
                        native = resolved.native_decimals
                    )
                }
            };
            c.sql.push(sql);
        }
        if let Some(time) = self.since {
            let mark = c.bind(time);
            c.sql.push(format!("+b.timestamp >= {mark}"));
        }
        if let Some(time) = self.until {
            let mark = c.bind(time);
            c.sql.push(format!("+b.timestamp <= {mark}"));
        }
        if let Some(time) = self.as_of {
            let on = resolved
                .lists
                .as_ref()
                .map_or_else(|| "TRUE".to_owned(), |lists| format!("+e.list_id IN {}", c.set(lists)));
            let mark = c.bind(time);
            if resolved.watched.is_none() {
                c.sql.push(format!(
                    "EXISTS (SELECT 1 FROM watch_entries e INDEXED BY watch_entries_by_address JOIN list_versions v ON v.id = e.first_version \
                     LEFT JOIN list_versions ended ON ended.id = e.end_version WHERE e.address_id = a.watched_id AND v.list_id IS NOT NULL AND {on} AND {})",
                    in_force(&mark)
                ));
            }
            if !self.wants_own() {
                // Own wallets alone, as it was then: no side of it was on another list.
                let own = ListKind::Own.code();
                c.sql.push(format!(
                    "EXISTS (SELECT 1 FROM alerts o INDEXED BY alerts_by_activity JOIN watch_entries e INDEXED BY watch_entries_by_address \
                     ON e.address_id = o.watched_id JOIN lists l ON l.id = e.list_id JOIN list_versions v ON v.id = e.first_version \
                     LEFT JOIN list_versions ended ON ended.id = e.end_version \
                     WHERE o.activity_id = a.activity_id AND v.list_id IS NOT NULL AND l.kind <> {own} AND {})",
                    in_force(&mark)
                ));
            }
        }
        if let Some(id) = self.id {
            let mark = c.bind(id.to_vec());
            c.sql.push(format!("a.alert_id = {mark}"));
        }
        if let Some(rows) = &self.rows {
            let rows: Vec<_> = rows.iter().map(i64::to_string).collect();
            c.sql.push(format!("+a.id IN ({})", rows.join(",")));
        }
        c
    }

    pub(super) fn status_condition(&self) -> Option<String> {
        let codes: Vec<_> = self.statuses.iter().map(|status| status.code().to_string()).collect();
        match (self.any_status, codes.is_empty()) {
            (true, _) => None,
            (false, true) => Some("+b.status <> 3".to_owned()),
            (false, false) => Some(format!("+b.status IN ({})", codes.join(", "))),
        }
    }

    pub(super) fn triage_condition(&self) -> Option<String> {
        let codes: Vec<_> = self.triage.iter().map(|class| class.code().to_string()).collect();
        match (self.any_triage, codes.is_empty()) {
            (true, _) => None,
            (false, true) => Some("+a.triage = 0".to_owned()),
            (false, false) => Some(format!("+a.triage IN ({})", codes.join(", "))),
        }
    }

    pub(super) fn orphaned_only(&self) -> bool {
        !self.any_status && self.statuses == [AlertStatus::Orphaned]
    }
}

impl AssetSet {
    pub(super) fn condition(&self, c: &mut Conditions) -> String {
        match self {
            Self::Native => "m.asset = 0".to_owned(),
            Self::Tokens(ids) => format!("+m.token_address_id IN {}", c.set(ids)),
            Self::One(id, token_id) => {
                let mark = c.bind(token_id.clone());
                format!("(+m.token_address_id = {id} AND m.token_id = {mark})")
            }
        }
    }
}
