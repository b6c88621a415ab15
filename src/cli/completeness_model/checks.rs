//! What every answer is held against.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::Address;

use super::content::{Decoder, Reading, Shown, address, time};
use super::world::{World, said_by};
use super::{ADDRESSES, BLOCKS, LISTS, NATIVE_LOGS_FROM};
use crate::cli::completeness::Question;
use crate::cli::screened;
use crate::store::NamedRange;

/// A question: about an address or all, in a range whose ends are blocks or times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) who: Option<u8>,
    pub(super) range: (u64, u64),
    pub(super) by_time: (bool, bool),
}

impl Ask {
    /// A second around the blocks, so that the ends in time are theirs.
    fn named(&self) -> NamedRange {
        let ((first, last), (since, until)) = (self.range, self.by_time);
        NamedRange {
            from_block: (!since).then_some(first),
            to_block: (!until).then_some(last),
            since: since.then(|| time(first) as i64 - 1),
            until: until.then(|| time(last) as i64 + 1),
        }
    }
}

impl World<'_> {
    /// Why an answer is not complete; also of internal ETH.
    fn shortfalls(&self, ask: &Ask, addresses: &[Address]) -> (Vec<String>, Option<String>) {
        match Question::new(&self.store, &ask.named(), addresses).unwrap() {
            Some(question) => (question.shortfalls().unwrap(), question.internal_shortfall()),
            None => (vec!["nothing is stored".to_owned()], Some("nothing is stored".to_owned())),
        }
    }

    /// Holds the answers of `attest` and `query --require-complete` against the chain itself: what is complete lacks nothing that a
    /// root proves, however the blocks were read. Whether a watched address was attested.
    pub(super) fn check_answer(&self, ask: &Ask) -> bool {
        let asked: Vec<Address> = ask.who.map(address).into_iter().collect();
        let (shortfalls, internal) = self.shortfalls(ask, &asked);
        let (must_refuse, may_refuse) = self.expected(ask);
        assert!(!must_refuse || !shortfalls.is_empty(), "(a) {ask:?}: complete, and it is not");
        assert!(may_refuse || shortfalls.is_empty(), "(b) {ask:?}: refused for nothing: {shortfalls:?}");
        if !shortfalls.is_empty() {
            return false;
        }
        let stored = self.stored(ask.range);
        let is_seen = |traces: bool, number: u64| traces || number >= NATIVE_LOGS_FROM;
        let all_seen = stored.iter().all(|(number, _, reading)| is_seen(reading.traces, *number));
        assert_eq!(internal.is_none(), all_seen, "{ask:?}: internal ETH");
        // The truth: all senders, the present decoder, and the traces that were seen.
        let mut wanted = BTreeMap::new();
        for number in ask.range.0..=ask.range.1 {
            let traces = stored.iter().any(|(stored, _, reading)| *stored == number && reading.traces);
            for alert in self.screened(number, Reading { traces, ..Reading::FULL }) {
                if asked.is_empty() || asked.contains(&alert.watched) {
                    wanted.insert(alert.id, said_by(&alert, self.watchlist()));
                }
            }
        }
        let (found, lapsed) = self.alerts_of(ask.range, &asked);
        // Alerts of an address that left its list stay until their block is screened again.
        let lacking: Vec<_> = wanted.iter().filter(|(id, said)| found.get(*id) != Some(said)).collect();
        assert!(lacking.is_empty(), "(a) {ask:?}: a complete answer lacks {lacking:?} of {found:?}");
        let Some(who) = ask.who else { return false };
        let beneficiary = self.store.blocks_of_beneficiary(ask.range.0, ask.range.1, address(who)).unwrap();
        if beneficiary.is_some() || found.len() + lapsed > 0 {
            return false;
        }
        for number in ask.range.0..=ask.range.1 {
            let content = self.content(number);
            let touched = content.payments.iter().any(|payment| payment.touches(who) && !payment.is_unproven(number));
            assert!(!touched && content.beneficiary != who, "(a) {ask:?}: attested, and block {number} touches it");
        }
        true
    }

    /// Whether an answer has to be refused, and whether it may be: by how the blocks are stored, the lists then and now, and what the
    /// blocks hold.
    fn expected(&self, ask: &Ask) -> (bool, bool) {
        let now = self.store.watch_revision().unwrap();
        let stored = self.stored(ask.range);
        let asked: Vec<u8> = ask.who.map_or_else(|| (0..ADDRESSES).collect(), |who| vec![who]);
        let mut must_refuse = (stored.len() as u64) < ask.range.1 - ask.range.0 + 1;
        // The blocks around a time need not be stored.
        let mut may_refuse = must_refuse || ask.by_time.0 || ask.by_time.1;
        for (number, revision, reading) in stored {
            must_refuse |= reading.trust || !reading.senders || reading.decoder == Decoder::Older;
            must_refuse |= asked.iter().any(|who| {
                let matched = !self.entries(*who, revision, number).is_empty();
                // Of an address that nobody asks for, only what the lists match now is needed.
                !matched && (ask.who.is_some() || !self.entries(*who, now, number).is_empty())
            });
            // The lists changed for an address of the block since it was screened.
            may_refuse |= (0..ADDRESSES).any(|who| self.shown(who, revision, number) != self.shown(who, now, number));
            // Which addresses they name is recorded only with the block's look-back filter.
            must_refuse |= !reading.index && !self.undecoded(number, reading).0.is_empty();
            let content = self.content(number);
            let watched = |who: &u8| ask.who.is_some() || self.was_ever_watched(*who);
            for unknown in &content.unknown {
                let names = unknown.anybody || asked.iter().any(|who| unknown.names.contains(who) && watched(who));
                must_refuse |= names && (!unknown.frame || reading.traces);
                may_refuse |= unknown.anybody || asked.iter().any(|who| unknown.names.contains(who));
            }
            // What this decoder only counts.
            let counted = content.payments.iter().filter(|payment| payment.shown == Shown::ByDecoder);
            let mut counted = counted.filter(|_| reading.decoder == Decoder::Other);
            may_refuse |= counted.any(|payment| asked.iter().any(|who| payment.touches(*who)));
        }
        (must_refuse, must_refuse || may_refuse)
    }

    fn lists_shortfall(&self, addresses: &[Address]) -> Option<String> {
        screened::shortfall(&self.store, &self.store.ledger(0, BLOCKS).unwrap(), addresses).unwrap()
    }

    /// (a) and (b) of the lists alone, over all that is stored: against a fresh run that read the blocks in the same way.
    pub(super) fn check_lists(&self, fresh: &World<'_>) {
        let (stored_blocks, now) = (self.stored((0, BLOCKS)), self.store.watch_revision().unwrap());
        let (stored, wanted) = (self.alerts(), fresh.alerts());
        let differs: BTreeSet<_> =
            wanted.iter().filter(|(id, alert)| stored.get(*id) != Some(alert)).map(|(_, (who, _))| *who).collect();
        let mut behind_for_any = false;
        let ledger = self.store.ledger(0, BLOCKS).unwrap();
        for who in 0..ADDRESSES {
            let unscreened: Vec<_> = stored_blocks
                .iter()
                .filter(|(number, revision, _)| self.entries(who, *revision, *number).is_empty())
                .collect();
            // `attest` says that the address was not touched: refused where any block was not screened for it, and nowhere else.
            let first = ledger.iter().find_map(|ledger| self.store.first_unscreened(address(who), ledger).unwrap());
            assert_eq!(
                first,
                unscreened.first().map(|(number, ..)| *number),
                "address {who} at revision {now}: {stored_blocks:?}"
            );
            let missing = wanted.iter().any(|(id, (watched, _))| *watched == address(who) && !stored.contains_key(id));
            assert!(!missing || first.is_some(), "(a) attest: address {who} has an alert that is missing");
            behind_for_any |= unscreened.iter().any(|(number, ..)| !self.entries(who, now, *number).is_empty());
            let refused = self.lists_shortfall(&[address(who)]);
            assert!(refused.is_some() || !differs.contains(&address(who)), "(a) --address: address {who}");
        }
        let lacking = self.store.lacking_entries(&ledger).unwrap();
        assert_eq!(
            lacking > 0,
            behind_for_any,
            "blocks that a look-back has to look at, for an address that matches now"
        );
        let refused = self.lists_shortfall(&[]);
        assert!(refused.is_some() || differs.is_empty(), "(a) --require-complete: {differs:?}");
        // (b): the lists changed for an address of a block since it was screened.
        let changed = stored_blocks.iter().any(|(number, revision, _)| {
            (0..ADDRESSES).any(|who| self.shown(who, *revision, *number) != self.shown(who, now, *number))
        });
        assert!(refused.is_none() || changed, "(b) {refused:?}: nothing changed");
    }

    /// (c), and (b): what the lists were refused for is accepted after a look-back.
    pub(super) fn check_look_back(&mut self, reading: Reading) {
        let reading = Reading { trust: false, ..reading };
        self.look_back((0, BLOCKS), reading, 4);
        let now = self.store.watch_revision().unwrap();
        assert!(self.stored((0, BLOCKS)).iter().all(|(_, revision, _)| *revision == now), "nothing is behind");
        let fresh = self.fresh();
        let (lines, wanted) = (self.store.digest_lines(), fresh.store.digest_lines());
        let unlike = lines.iter().zip(&wanted).find(|(line, wanted)| line != wanted);
        assert!(
            unlike.is_none() && lines.len() == wanted.len(),
            "(c) {} of {} lines: {unlike:?}",
            lines.len(),
            wanted.len()
        );
        let standing = |world: &World<'_>| -> BTreeMap<_, _> {
            world.alerts().into_iter().filter(|(_, (_, said))| !said.ends_with(" []")).collect()
        };
        assert_eq!(standing(self), standing(&fresh), "(c) the entries of alerts after a look-back");
        for list in LISTS {
            assert_eq!(self.alerts_of_list(list), fresh.alerts_of_list(list), "(c) --list {list} after a look-back");
        }
        fresh.done();
        assert_eq!(self.lists_shortfall(&[]), None, "(b) --require-complete after a look-back");
        for who in 0..ADDRESSES {
            let matched =
                self.stored((0, BLOCKS)).iter().all(|(number, ..)| !self.entries(who, now, *number).is_empty());
            assert_eq!(self.lists_shortfall(&[address(who)]).is_none(), matched, "(b) address {who} after a look-back");
        }
        assert_eq!(self.store.ledger_differences().unwrap(), []);
    }

    /// (b): after a replay of all with all there is, only what is in the blocks refuses.
    pub(super) fn check_full_replay(&mut self) {
        self.read((0, BLOCKS), Reading::FULL);
        let now = self.store.watch_revision().unwrap();
        for who in (0..ADDRESSES).map(Some).chain([None]) {
            let ask = Ask { who, range: (0, BLOCKS), by_time: (false, false) };
            let unmatched = |who: u8| (0..=BLOCKS).any(|number| self.entries(who, now, number).is_empty());
            let mut unknown = (0..=BLOCKS).flat_map(|number| &self.content(number).unknown);
            let refused = who.is_some_and(unmatched)
                || unknown.any(|unknown| match who {
                    Some(who) => unknown.anybody || unknown.names.contains(&who),
                    None => unknown.anybody || unknown.names.iter().any(|who| self.was_ever_watched(*who)),
                });
            let asked: Vec<Address> = who.map(address).into_iter().collect();
            let (shortfalls, internal) = self.shortfalls(&ask, &asked);
            assert_eq!(!shortfalls.is_empty(), refused, "(b) {who:?} after a full replay: {shortfalls:?}");
            assert_eq!(internal, None);
        }
    }
}
