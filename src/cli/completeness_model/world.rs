//! A store with what the model knows of it: the steps so far, and the watchlist at each of its revisions.
#![cfg(test)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256, keccak256};

use super::content::{Chain, Content, Decoder, Reading, Shown, address, hash, time};
use super::{BLOCKS, FORK, LATE, LISTS, ListStep, NATIVE_LOGS_FROM, Step};
use crate::chain::Differences;
use crate::chain::canonical::Link;
use crate::decode::{Activity, Named, Undecoded};
use crate::lists::ParsedEntry;
use crate::pipeline::Scan;
use crate::screen::{Alert, Designation, ListKind, WatchEntry, Watchlist, lookback, screen_activities};
use crate::store::{
    AlertFilter, AlertRow, BlockRecord, ListFile, ManualEntry, MatchedEntry, Progress, Store, StoreError,
    TransactionFacts,
};

/// What an alert says, without the texts of its entries.
pub(super) type Said = (Address, String);

pub(super) fn said_by(alert: &Alert, watchlist: &Watchlist) -> Said {
    let entries: Vec<_> = alert
        .matched
        .iter()
        .map(|(id, designation)| {
            let entry = watchlist.get(&alert.watched).iter().find(|entry| entry.id == *id).unwrap();
            (entry.kind, *designation)
        })
        .collect();
    (alert.watched, format!("{:?} {:?} {entries:?}", alert.severity, alert.triage.class))
}

/// With all entries that are shown, unless none matches any more.
fn said_by_row(row: &AlertRow) -> Said {
    let entries: Vec<_> = shown(row).iter().map(|entry| (entry.list_kind, entry.designation)).collect();
    (row.watched, format!("{:?} {:?} {entries:?}", row.severity, row.triage))
}

fn shown(row: &AlertRow) -> &[MatchedEntry] {
    if row.entries.iter().any(|entry| entry.matches) { &row.entries } else { &[] }
}

thread_local! {
    /// Stores of sequences that are done.
    static EMPTIED: RefCell<Vec<Store>> = const { RefCell::new(Vec::new()) };
}

/// A store with what the model knows of it.
pub(super) struct World<'a> {
    pub(super) chain: &'a Chain,
    pub(super) store: Store,
    pub(super) fork: usize,
    /// The list steps so far, in order.
    lists: Vec<ListStep>,
    /// The watchlist as it was at each revision.
    snapshots: Vec<Watchlist>,
}

impl<'a> World<'a> {
    pub(super) fn new(chain: &'a Chain) -> Self {
        let store = Store::in_memory(EMPTIED.with_borrow_mut(Vec::pop));
        let snapshots = vec![store.watchlist().unwrap()];
        Self { chain, store, fork: 0, lists: Vec::new(), snapshots }
    }

    pub(super) fn done(self) {
        EMPTIED.with_borrow_mut(|emptied| emptied.push(self.store));
    }

    fn change_lists(&mut self, step: &ListStep) {
        match step {
            ListStep::Import(list, kind, date, said) => {
                let entries: Vec<_> = (0u8..)
                    .zip(said)
                    .filter_map(|(who, said)| {
                        let (label, dated) = (*said)?;
                        Some(ParsedEntry {
                            label: Some(format!("label {label}")),
                            listed_from: dated.then_some(time(4) as i64),
                            ..ParsedEntry::bare(address(who))
                        })
                    })
                    .collect();
                let file = ListFile {
                    list: LISTS[*list],
                    kind: *kind,
                    published: *date,
                    imported_at: LATE,
                    source: "f",
                    format: "csv",
                    sha256: keccak256(format!("{said:?}")).0,
                    entries: &entries,
                    rejected: 0,
                };
                self.store.import_list(&file).unwrap();
            }
            ListStep::Add(list, who, label, now) => {
                let entry = ParsedEntry { label: Some(format!("label {label}")), ..ParsedEntry::bare(address(*who)) };
                self.store
                    .add_entry(&ManualEntry { list: LISTS[*list], kind: None, entry: &entry, now: *now })
                    .unwrap();
            }
            ListStep::Remove(who, list, now) => {
                self.store.remove_entry(address(*who), list.map(|list| LISTS[list]), *now).unwrap();
            }
        }
        self.lists.push(step.clone());
        let revision = usize::try_from(self.store.watch_revision().unwrap()).unwrap();
        // A revision that stood in between, if any, screens no block.
        while self.snapshots.len() <= revision {
            self.snapshots.push(self.store.watchlist().unwrap());
        }
    }

    pub(super) fn watchlist(&self) -> &Watchlist {
        self.snapshots.last().unwrap()
    }

    pub(super) fn content(&self, number: u64) -> &Content {
        &self.chain[if number > FORK { self.fork } else { 0 }][number as usize]
    }

    fn activities(&self, number: u64, reading: Reading) -> Vec<Activity> {
        let payments = (0u32..).zip(&self.content(number).payments);
        payments
            .filter(|(_, payment)| reading.shows(payment, number))
            .map(|(index, payment)| payment.activity(index, number, reading.traces))
            .collect()
    }

    /// The alerts of a block that is read so, by the present lists.
    pub(super) fn screened(&self, number: u64, reading: Reading) -> Vec<Alert> {
        let block = (hash(number, self.fork), time(number));
        screen_activities(1, block, &self.activities(number, reading), |activity| activity.from, self.watchlist())
    }

    /// What is counted as undecoded in a block that is read so, and whom it may name.
    pub(super) fn undecoded(&self, number: u64, reading: Reading) -> (BTreeMap<Undecoded, u64>, Named) {
        let (mut counts, mut names, mut anybody) = (BTreeMap::new(), BTreeSet::new(), false);
        let content = self.content(number);
        for unknown in content.unknown.iter().filter(|unknown| !unknown.frame || reading.traces) {
            let reason = if unknown.frame { Undecoded::UnknownFrame } else { Undecoded::TopicCount };
            *counts.entry(reason).or_default() += 1;
            names.extend(unknown.names.iter().copied().map(address));
            anybody |= unknown.anybody;
        }
        if reading.decoder == Decoder::Other {
            for payment in content.payments.iter().filter(|payment| payment.shown == Shown::ByDecoder) {
                *counts.entry(Undecoded::UnknownWrapper).or_default() += 1;
                names.extend(payment.activity(0, number, false).sides());
            }
        }
        (counts, if anybody { Named::Anybody } else { Named::These(names) })
    }

    fn record(&self, number: u64, reading: Reading) -> BlockRecord {
        let link = Link {
            number,
            hash: hash(number, self.fork),
            parent_hash: number.checked_sub(1).map(|parent| hash(parent, self.fork)).unwrap_or_default(),
        };
        let facts = |index: u32| TransactionFacts {
            hash: keccak256([&link.hash[..], &index.to_be_bytes()].concat()),
            signer: address(0),
            to: None,
            success: Some(true),
            first_log_index: 0,
        };
        let (undecoded, named) = self.undecoded(number, reading);
        let activities = self.activities(number, reading);
        BlockRecord {
            chain_id: 1,
            link,
            timestamp: time(number),
            proof: reading.proof(),
            traces: reading.traces,
            native_logs: number >= NATIVE_LOGS_FROM,
            senders: reading.senders && !reading.trust,
            watch_revision: self.watchlist().revision(),
            decoder: reading.decoder.fingerprint(),
            endpoint: "e".to_owned(),
            seen_at_ms: 0,
            transactions: (0..4).map(|index| (index, facts(index))).collect(),
            undecoded,
            named,
            beneficiary: address(self.content(number).beneficiary),
            differences: Differences::default(),
            evidence: None,
            lookback: (reading.index && !reading.trust).then(|| lookback::index(&activities)),
            alerts: self.screened(number, reading),
            missing_traces: None,
            progress: Progress::Replay,
        }
    }

    pub(super) fn read(&mut self, (from, to): (u64, u64), reading: Reading) {
        let records: Vec<_> = (from..=to).map(|number| self.record(number, reading)).collect();
        self.store.append_all(&records).unwrap();
    }

    pub(super) fn look_back(&mut self, range: (u64, u64), reading: Reading, most: u64) {
        let begin = |store: &Store| Scan::begin(store, range, reading.decoder.fingerprint(), reading.proof()).unwrap();
        let mut scan = begin(&self.store);
        let (left, mut seen) = (scan.left(), 0);
        while let Some(looked) = scan.step(&mut self.store, most).unwrap() {
            seen += looked.ruled_out;
            for span in looked.to_read {
                self.read(span, reading);
                seen += span.1 - span.0 + 1;
            }
        }
        let rest = begin(&self.store).left();
        assert_eq!(left, seen + rest, "every block is ruled out, read, or left");
        assert!(rest == 0 || reading.trust);
    }

    fn reorg(&mut self) {
        self.fork = 1 - self.fork;
        for number in FORK + 1..=BLOCKS {
            self.store.revert(number - 1, Progress::Replay).unwrap();
        }
    }

    pub(super) fn apply(&mut self, step: &Step) {
        match step {
            Step::List(step) => self.change_lists(step),
            Step::Replay(range, reading) => self.read(*range, *reading),
            Step::LookBack(range, reading, most) => self.look_back(*range, *reading, *most),
            Step::Reorg => self.reorg(),
            Step::Revert(above) => {
                self.store.revert_above(*above, "test", &[], LATE).unwrap();
            }
        }
    }

    /// Number, revision, and how each stored block of a range was read.
    pub(super) fn stored(&self, (from, to): (u64, u64)) -> Vec<(u64, i64, Reading)> {
        let ledger = self.store.ledger(from, to).unwrap();
        let blocks = ledger.iter().flat_map(|ledger| {
            let range = ledger.range;
            let reading = move |number| Reading {
                index: self.store.is_indexed(hash(number, self.fork)).unwrap(),
                traces: range.traces,
                senders: range.senders,
                trust: !range.proven,
                decoder: Decoder::of(ledger.decoder),
            };
            (range.from..=range.to).map(move |number| (number, ledger.watch_revision, reading(number)))
        });
        blocks.collect()
    }

    /// The entries of an address that matched a block at a state of the lists.
    pub(super) fn entries(&self, who: u8, revision: i64, number: u64) -> Vec<WatchEntry> {
        let entries = self.snapshots[usize::try_from(revision).unwrap()].get(&address(who));
        entries.iter().filter(|entry| entry.covers(time(number) as i64)).copied().collect()
    }

    /// Whether an entry of the address is in force, or a later version ended it.
    pub(super) fn was_ever_watched(&self, who: u8) -> bool {
        who < super::ADDRESSES && !self.watchlist().get(&address(who)).is_empty()
    }

    /// The same as an alert shows it.
    pub(super) fn shown(&self, who: u8, revision: i64, number: u64) -> Vec<(i64, ListKind, Designation)> {
        let entries = self.entries(who, revision, number);
        entries.iter().map(|entry| (entry.id, entry.kind, entry.designation(time(number) as i64))).collect()
    }

    /// Each stored alert of a filter.
    fn each_alert(&self, filter: &AlertFilter, mut each: impl FnMut(AlertRow)) {
        self.store
            .each_alert::<StoreError>(filter, |row| {
                each(row);
                Ok(())
            })
            .unwrap();
    }

    /// The alerts of the store: id, address, severity, class and the entries that match, with their texts.
    pub(super) fn alerts(&self) -> BTreeMap<B256, Said> {
        let mut found = BTreeMap::new();
        self.each_alert(&AlertFilter { any_triage: true, ..AlertFilter::default() }, |row| {
            let labels: Vec<_> = shown(&row).iter().map(|entry| (&entry.list, &entry.label)).collect();
            let (watched, said) = said_by_row(&row);
            found.insert(row.id, (watched, format!("{said} {labels:?}")));
        });
        found
    }

    /// The alerts that `query --list` finds, and that have an entry which matches.
    pub(super) fn alerts_of_list(&self, list: &str) -> BTreeSet<B256> {
        let filter = AlertFilter { any_triage: true, lists: vec![list.to_owned()], ..AlertFilter::default() };
        let mut found = BTreeSet::new();
        self.each_alert(&filter, |row| {
            if !shown(&row).is_empty() {
                found.insert(row.id);
            }
        });
        found
    }

    /// The alerts of a range, of these addresses or of all: those with an entry that matches, and the number of the others.
    pub(super) fn alerts_of(&self, (from, to): (u64, u64), addresses: &[Address]) -> (BTreeMap<B256, Said>, usize) {
        let filter = AlertFilter {
            any_triage: true,
            addresses: addresses.to_vec(),
            from_block: Some(from),
            to_block: Some(to),
            ..AlertFilter::default()
        };
        let (mut found, mut lapsed) = (BTreeMap::new(), 0);
        self.each_alert(&filter, |row| {
            if row.entries.iter().any(|entry| entry.matches) {
                found.insert(row.id, said_by_row(&row));
            } else {
                lapsed += 1;
            }
        });
        (found, lapsed)
    }

    /// A fresh run with the present lists over the stored blocks, read as they are stored.
    pub(super) fn fresh(&self) -> World<'a> {
        let mut fresh = World::new(self.chain);
        fresh.fork = self.fork;
        for step in &self.lists {
            fresh.change_lists(step);
        }
        for (number, _, reading) in self.stored((0, BLOCKS)) {
            fresh.read((number, number), reading);
        }
        fresh
    }
}
