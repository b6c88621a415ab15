//! The watchlist in memory: only what screening needs of an entry, found by its address at the same price for one entry and
//! for a million. Labels and the rest stay in the store.

use std::sync::Arc;

use alloy::primitives::{Address, map::AddressHashMap};

use super::alert::Designation;
use super::rules::Rules;
use crate::named::named;

named! {
    /// What a list is, strictest first: the strictest entry of an address speaks for an alert.
    ListKind {
        /// Dealings are forbidden (OFAC's SDN list and its likes).
        Blocking = "blocking",
        /// Frozen by a token's issuer.
        IssuerFreeze = "issuer-freeze",
        /// A warning by an authority, with no legal force (FBI announcements).
        Advisory = "advisory",
        /// The user's own watchlist.
        Internal = "internal",
        /// The user's own wallets.
        Own = "own",
    }
}

/// An entry as screening sees it. Times are seconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchEntry {
    /// Its id in the store.
    pub id: i64,
    /// The watched address.
    pub address: Address,
    /// What kind of list it stands on.
    pub kind: ListKind,
    /// Legal begin of the listing, where the list says so.
    pub listed_from: Option<i64>,
    /// Legal end, where the list says so.
    pub delisted_on: Option<i64>,
    /// Publication of the list version that brought it, where that date was given.
    pub known_from: Option<i64>,
    /// Publication of the version that no longer had it: blocks from then on are not matched.
    pub ended_on: Option<i64>,
}

impl WatchEntry {
    /// Whether a block of that time is matched at all.
    pub fn covers(&self, timestamp: i64) -> bool {
        self.ended_on.is_none_or(|end| timestamp < end)
    }

    /// How the time of a block relates to the listing.
    pub fn designation(&self, timestamp: i64) -> Designation {
        let ended = self.delisted_on.is_some_and(|end| timestamp >= end);
        match self.listed_from {
            Some(from) if timestamp < from => Designation::Before,
            _ if ended => Designation::After,
            Some(_) => Designation::Listed,
            None if self.known_from.is_some_and(|known| timestamp >= known) => Designation::Listed,
            None => Designation::Unknown,
        }
    }
}

/// All entries, by address.
#[derive(Debug, Clone, Default)]
pub struct Watchlist {
    entries: Vec<WatchEntry>,
    /// First entry of the address and their number.
    index: AddressHashMap<(u32, u32)>,
    revision: i64,
    rules: Arc<Rules>,
    /// By entry, in order: only of those that a rule names by list or program.
    marks: Vec<(i64, u64)>,
}

impl Watchlist {
    /// From entries in any order; those of one address keep their order, strictest kind first. `revision` tells which state of
    /// the store's lists this is.
    pub fn new(mut entries: Vec<WatchEntry>, revision: i64) -> Self {
        entries.sort_by_key(|entry| (entry.address, entry.kind));
        let mut index: AddressHashMap<(u32, u32)> = AddressHashMap::default();
        index.reserve(entries.len());
        for (place, entry) in (0u32..).zip(&entries) {
            index.entry(entry.address).or_insert((place, 0)).1 += 1;
        }
        Self { entries, index, revision, ..Self::default() }
    }

    /// Its alerts are rated by these rules. `marks` has the entries whose list or program one of them names, by id, in order
    /// ([`Rules::marks`]): none of the others costs memory for it.
    #[must_use]
    pub fn rated_by(self, rules: Arc<Rules>, marks: Vec<(i64, u64)>) -> Self {
        Self { rules, marks, ..self }
    }

    /// What its alerts are rated by.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Which of the lists and programs that rules name are those of an entry.
    pub fn marks(&self, entry: i64) -> u64 {
        self.marks.binary_search_by_key(&entry, |(id, _)| *id).map_or(0, |place| self.marks[place].1)
    }

    /// The entries of an address, strictest first; empty where it is not watched.
    pub fn get(&self, address: &Address) -> &[WatchEntry] {
        match self.index.get(address) {
            Some(&(first, count)) => &self.entries[first as usize..(first + count) as usize],
            None => &[],
        }
    }

    /// The watched addresses, once each, in no order.
    pub fn addresses(&self) -> impl Iterator<Item = Address> {
        self.index.keys().copied()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is watched.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Which state of the store's lists this is.
    pub fn revision(&self) -> i64 {
        self.revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: i64, byte: u8, kind: ListKind) -> WatchEntry {
        WatchEntry {
            id,
            address: Address::with_last_byte(byte),
            kind,
            listed_from: None,
            delisted_on: None,
            known_from: None,
            ended_on: None,
        }
    }

    #[test]
    fn an_address_on_several_lists_is_found_once_with_the_strictest_first() {
        let list = Watchlist::new(
            vec![entry(1, 7, ListKind::Internal), entry(2, 9, ListKind::Own), entry(3, 7, ListKind::Blocking)],
            1,
        );
        let ids: Vec<_> = list.get(&Address::with_last_byte(7)).iter().map(|e| e.id).collect();
        assert_eq!(ids, [3, 1]);
        assert!(list.get(&Address::with_last_byte(8)).is_empty());
    }

    #[test]
    fn designation_follows_the_listing_and_is_unknown_without_a_date() {
        let plain = entry(1, 7, ListKind::Blocking);
        assert_eq!(plain.designation(100), Designation::Unknown);
        let dated = WatchEntry { listed_from: Some(50), delisted_on: Some(80), ..plain };
        assert_eq!(dated.designation(49), Designation::Before);
        assert_eq!(dated.designation(50), Designation::Listed);
        assert_eq!(dated.designation(80), Designation::After);
        let known = WatchEntry { known_from: Some(50), ..plain };
        assert_eq!(known.designation(49), Designation::Unknown);
        assert_eq!(known.designation(50), Designation::Listed);
    }

    #[test]
    fn an_ended_entry_matches_only_what_was_before_its_end() {
        let ended = WatchEntry { ended_on: Some(50), ..entry(1, 7, ListKind::Blocking) };
        assert!(ended.covers(49) && !ended.covers(50));
    }
}
