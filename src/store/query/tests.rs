//! What queries find, by whatever index, and that none reads a whole table for it.
#![cfg(test)]

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, U256};

use super::super::tests::{WATCHED, hash, open, record, record_location};
use super::super::*;
use crate::chain::Proof;
use crate::chain::canonical::Link;
use crate::decode::ActivityKind;
use crate::screen::{Direction, Severity, TriageClass, alert_id};

/// Everything that can be asked for, one by one and together.
fn documented() -> Vec<(&'static str, AlertFilter)> {
    use crate::screen::AlertStatus;
    let filter = AlertFilter { limit: Some(50), ..AlertFilter::default() };
    let kind = |kinds: &[ActivityKind]| AlertFilter { kinds: kinds.to_vec(), ..filter.clone() };
    let status = |statuses: &[AlertStatus]| AlertFilter { statuses: statuses.to_vec(), ..filter.clone() };
    let asset = |asset| AlertFilter { assets: vec![asset], ..filter.clone() };
    let other = Address::with_last_byte(3);
    let id = alert_id(1, hash(3), &record_location(1), WATCHED);
    vec![
        ("nothing", filter.clone()),
        ("severe first", AlertFilter { severe_first: true, ..filter.clone() }),
        (
            "severe of an address first",
            AlertFilter { severe_first: true, addresses: vec![WATCHED], order: Order::Ascending, ..filter.clone() },
        ),
        ("oldest first", AlertFilter { order: Order::Ascending, ..filter.clone() }),
        ("address", AlertFilter { addresses: vec![WATCHED], ..filter.clone() }),
        ("addresses", AlertFilter { addresses: vec![WATCHED, other], ..filter.clone() }),
        (
            "many addresses",
            AlertFilter { addresses: (0..=255).map(Address::with_last_byte).collect(), ..filter.clone() },
        ),
        ("counterparty", AlertFilter { counterparties: vec![other], ..filter.clone() }),
        ("both sides", AlertFilter { addresses: vec![WATCHED], counterparties: vec![other], ..filter.clone() }),
        ("label", AlertFilter { labels: vec!["w".to_owned()], ..filter.clone() }),
        ("entity", AlertFilter { entities: vec!["w".to_owned()], ..filter.clone() }),
        ("list", AlertFilter { lists: vec!["mine".to_owned()], ..filter.clone() }),
        ("lists", AlertFilter { lists: vec!["mine".to_owned(), "other".to_owned()], ..filter.clone() }),
        ("as of a time", AlertFilter { as_of: Some(i64::MAX), ..filter.clone() }),
        ("list as of a time", AlertFilter { as_of: Some(i64::MAX), lists: vec!["mine".to_owned()], ..filter.clone() }),
        ("kind", kind(&[ActivityKind::NativeTransfer])),
        ("kinds", kind(&[ActivityKind::NativeTransfer, ActivityKind::Wrap])),
        ("native", asset(AssetFilter::Native)),
        ("symbol", asset(AssetFilter::Symbol("USDC".to_owned()))),
        ("contract", asset(AssetFilter::Contract(other, None))),
        ("token", asset(AssetFilter::Contract(other, Some(U256::ONE)))),
        ("direction", AlertFilter { directions: vec![Direction::In], ..filter.clone() }),
        ("rare direction", AlertFilter { directions: vec![Direction::Party, Direction::Own], ..filter.clone() }),
        ("amount", AlertFilter { min_amount: Some(AmountFilter::Base(U256::from(5))), ..filter.clone() }),
        ("amount in units", AlertFilter { min_amount: Some(AmountFilter::Units("0.0".to_owned())), ..filter.clone() }),
        ("blocks", AlertFilter { from_block: Some(3), to_block: Some(9), ..filter.clone() }),
        ("time", AlertFilter { since: Some(1_700_000_003), until: Some(1_700_000_009), ..filter.clone() }),
        ("orphaned", status(&[AlertStatus::Orphaned])),
        ("pending", status(&[AlertStatus::Pending, AlertStatus::Safe])),
        ("finalized", status(&[AlertStatus::Finalized])),
        ("any status", AlertFilter { any_status: true, any_triage: true, ..filter.clone() }),
        ("severity", AlertFilter { severities: vec![Severity::High, Severity::Low], ..filter.clone() }),
        ("noise", AlertFilter { triage: vec![TriageClass::ZeroValue], ..filter.clone() }),
        ("value", AlertFilter { triage: vec![TriageClass::Value], ..filter.clone() }),
        ("transaction", AlertFilter { tx: Some(hash(103)), ..filter.clone() }),
        ("id", AlertFilter { id: Some(id), ..filter.clone() }),
        ("next page", AlertFilter { after: Some(id), ..filter.clone() }),
        ("page before", AlertFilter { after: Some(id), order: Order::Ascending, ..filter.clone() }),
        ("of a commit", AlertFilter { rows: Some(vec![7, 8]), from_block: Some(3), to_block: Some(3), ..filter }),
    ]
}

#[test]
fn no_documented_query_scans_or_sorts_a_table() {
    use crate::store::plan::{Plan, bound};
    let (_place, mut store) = open();
    let records: Vec<_> = (0..20).map(|number| record(&store, number, true)).collect();
    store.append_all(&records).unwrap();
    let tables =
        ["a", "m", "b", "k", "t", "ae", "alerts", "activities", "blocks", "transactions", "alert_entries", "e"];
    let runs = |(name, filter)| store.runs(&filter).unwrap().into_iter().map(move |run| (name, run));
    let asked = documented().into_iter().flat_map(runs);
    for ((name, filter), whole) in asked.flat_map(|run| [(run.clone(), false), (run, true)]) {
        let plan = Plan::of(&store.conn, &filter, whole).unwrap();
        let sorts = ["many addresses", "transaction", "id"].contains(&name);
        // The page, or what the defaults leave out.
        let sql = if whole { plan.sample(10, false) } else { plan.ids(&[]) };
        let mut statement = store.conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut rows = bound(&mut statement, &plan.conditions.values()).unwrap();
        let mut steps = 0;
        while let Some(row) = rows.next().unwrap() {
            let step: String = row.get(3).unwrap();
            let scan = step.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
            assert!(scan.is_none_or(|table| !tables.contains(&table) || whole), "{name}: {step}\n{sql}");
            // Within a block there is little to sort; a transaction has little; of the others no more is sorted than is counted before.
            let sorted = step.contains("TEMP B-TREE FOR ORDER BY");
            assert!(!sorted || sorts, "{name}: {step}\n{sql}");
            steps += 1;
        }
        assert!(steps >= 2, "{name}: {sql}");
    }
}

#[test]
fn what_is_frequent_and_not_asked_for_is_not_read() {
    use crate::store::plan::Plan;
    let (_place, mut store) = open();
    let records: Vec<_> = (0..20).map(|number| record(&store, number, true)).collect();
    store.append_all(&records).unwrap();
    let leads = |filter: &AlertFilter| {
        let runs = store.runs(filter).unwrap();
        let last = Plan::of(&store.conn, runs.last().unwrap(), false).unwrap().ids(&[]);
        last.split("INDEXED BY ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    };
    let by_default = AlertFilter { severe_first: true, ..AlertFilter::default() };
    assert_eq!(leads(&by_default), "alerts_by_triage", "of one's own and of noise there may be any amount");
    assert_eq!(leads(&AlertFilter { any_triage: true, ..by_default.clone() }), "alerts_in_order");
    store.conn.execute("UPDATE alerts SET triage = 5 WHERE id > 1", []).unwrap();
    let address = AlertFilter { addresses: vec![WATCHED], ..by_default.clone() };
    assert_eq!(leads(&address), "alerts_by_triage", "rarer than the address");
    store.conn.execute("UPDATE alerts SET triage = 0", []).unwrap();
    // As of a time when hardly anything was listed.
    let then = |time, addresses| AlertFilter { as_of: Some(time), addresses, ..by_default.clone() };
    let ids = |filter: &AlertFilter| store.each_alert::<StoreError>(filter, |_| Ok(())).unwrap();
    assert_eq!((leads(&then(i64::MAX, vec![])).as_str(), ids(&then(i64::MAX, vec![]))), ("alerts_by_watched", 40));
    for addresses in [vec![], vec![WATCHED]] {
        let before = then(-1, addresses);
        let plan = Plan::of(&store.conn, &before, false).unwrap().ids(&[]);
        assert!(plan.contains("a.watched_id = -1"), "{plan}");
        assert_eq!(ids(&before), 0);
    }
}

#[test]
fn every_query_finds_the_same_by_whatever_index_and_pages_follow_each_other() {
    let (_place, mut store) = open();
    let records: Vec<_> = (0..20).map(|number| record(&store, number, true)).collect();
    store.append_all(&records).unwrap();
    let ids = |filter: &AlertFilter| {
        let mut ids = Vec::new();
        store
            .each_alert::<StoreError>(filter, |row| {
                ids.push(row.id);
                Ok(())
            })
            .map(|_| ids)
    };
    let found: BTreeMap<_, _> =
        documented().into_iter().map(|(name, filter)| (name, ids(&filter).unwrap().len())).collect();
    let many = |names: &[&str], count: usize| names.iter().for_each(|name| assert_eq!(found[name], count, "{name}"));
    many(
        &[
            "nothing",
            "severe first",
            "severe of an address first",
            "oldest first",
            "address",
            "addresses",
            "list",
            "kind",
            "kinds",
            "native",
            "amount in units",
            "any status",
        ],
        40,
    );
    many(&["pending", "severity", "value", "lists"], 40);
    many(&["counterparty", "both sides", "transaction", "of a commit"], 2);
    many(
        &[
            "label",
            "entity",
            "symbol",
            "contract",
            "token",
            "rare direction",
            "direction",
            "noise",
            "orphaned",
            "finalized",
        ],
        0,
    );
    many(&["amount"], 30);
    many(&["blocks", "time"], 14);
    assert_eq!((found["id"], found["next page"], found["page before"]), (1, 7, 32));
    for order in [Order::Ascending, Order::Descending] {
        for (name, filter) in documented().into_iter().filter(|(_, filter)| filter.after.is_none()) {
            let all = ids(&AlertFilter { limit: None, order, ..filter.clone() }).unwrap();
            let (mut pages, mut after) = (Vec::new(), None);
            loop {
                let page = ids(&AlertFilter { limit: Some(3), after, order, ..filter.clone() }).unwrap();
                after = page.last().copied();
                pages.extend(page);
                if after.is_none() || pages.len() > all.len() {
                    break;
                }
            }
            assert_eq!(pages, all, "{name}");
        }
    }
    let nowhere = AlertFilter { after: Some(B256::ZERO), ..AlertFilter::default() };
    assert!(matches!(ids(&nowhere), Err(StoreError::NoAlert(_))));
}

#[test]
fn what_is_left_out_is_counted_and_where_not_all_was_that_is_said() {
    let (_place, mut store) = open();
    let mut records: Vec<_> = (0..20).map(|number| record(&store, number, true)).collect();
    for record in &mut records {
        record.alerts[1].triage.class = TriageClass::ZeroValue;
    }
    store.append_all(&records).unwrap();
    store.revert(17, Progress::Replay).unwrap();
    let filter = AlertFilter { addresses: vec![WATCHED], ..AlertFilter::default() };
    for filter in [&AlertFilter::default(), &filter] {
        assert_eq!(store.left_out(filter, 40).unwrap(), LeftOut { orphaned: 4, noise: 18, own: 0, all: true });
        let some = store.left_out(filter, 10).unwrap();
        assert!(!some.all && some.noise < 18 && some.noise > 0, "{some:?}");
    }
}

#[test]
fn the_time_that_a_block_on_trust_claims_hides_no_alert_of_a_range_in_time() {
    let (first, start) = (2_000, 1_700_000_000);
    // Far above or below all others, it claims a time between two of theirs: first or last of all in one of the ranges.
    for (number, claimed) in [(10_000, 49), (10_000, 1), (5, 71), (5, 239), (1_000_000, 121)] {
        let (_place, mut store) = open();
        let at = |number, seconds, record: BlockRecord| BlockRecord {
            link: Link { number, ..record.link },
            timestamp: start + seconds,
            ..record
        };
        let mut records: Vec<_> =
            (0..20).map(|place| at(first + place, 12 * place, record(&store, place, true))).collect();
        records.push(BlockRecord { proof: Proof::Unproven, ..at(number, claimed, record(&store, 20, true)) });
        store.append_all(&records).unwrap();
        for (since, until) in
            [(Some(claimed), None), (None, Some(claimed)), (Some(40), Some(130)), (Some(claimed - 1), None)]
        {
            let in_range =
                |seconds: u64| since.is_none_or(|since| seconds >= since) && until.is_none_or(|until| seconds <= until);
            let expected = (0..20).map(|place| 12 * place).chain([claimed]).filter(|time| in_range(*time)).count() * 2;
            let time = |seconds: Option<u64>| seconds.map(|seconds| (start + seconds) as i64);
            let filter = AlertFilter { since: time(since), until: time(until), ..AlertFilter::default() };
            let found = store.each_alert::<StoreError>(&filter, |_| Ok(())).unwrap();
            assert_eq!(found as usize, expected, "block {number} claims {claimed}: {since:?} to {until:?}");
        }
    }
}
