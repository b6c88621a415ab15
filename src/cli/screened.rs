//! Whether blocks were screened against a list that had what is asked for: without, that nothing alerted says nothing.

use alloy::primitives::Address;

use super::Failure;
use crate::lists::show_date;
use crate::store::{AlertFilter, LedgerRange, RangeCoverage, Store};

/// The first blocks of a range, next to each other, that were screened when the address was on no list that matched their time.
fn unwatched(store: &Store, ledger: &[LedgerRange], address: Address) -> Result<Option<(u64, u64)>, Failure> {
    for ledger in ledger {
        if let Some(first) = store.first_unscreened(address, ledger)? {
            return Ok(Some((first, ledger.range.to)));
        }
    }
    Ok(None)
}

/// The same in words, with what to do.
fn in_words(store: &Store, address: Address, (from, to): (u64, u64)) -> Result<String, Failure> {
    let mut listed = false;
    store.each_entry::<Failure>(Some(address), None, None, |_| {
        listed = true;
        Ok(())
    })?;
    let first = if listed { String::new() } else { format!("`bolo watchlist add {address}`, then ") };
    Ok(format!(
        "blocks {from} to {to} were screened when {address} was on no list: {first}`bolo replay --new-entries` looks there again"
    ))
}

/// The first block with an alert, of one of these addresses or of any, that reads otherwise by the present lists.
fn outdated(store: &Store, ledger: &[LedgerRange], addresses: &[Address]) -> Result<Option<u64>, Failure> {
    let addresses: Vec<_> = match addresses {
        [] => vec![None],
        some => some.iter().copied().map(Some).collect(),
    };
    for ledger in ledger {
        for address in &addresses {
            if let Some(block) = store.first_outdated_alert(*address, ledger)? {
                return Ok(Some(block));
            }
        }
    }
    Ok(None)
}

/// What the lists lacked when blocks were screened, as far as an answer about these addresses (none: all) depends on it; in words.
pub(super) fn shortfall(
    store: &Store,
    ledger: &[LedgerRange],
    addresses: &[Address],
) -> Result<Option<String>, Failure> {
    for address in addresses {
        if let Some(blocks) = unwatched(store, ledger, *address)? {
            return in_words(store, *address, blocks).map(Some);
        }
    }
    let lacking = if addresses.is_empty() { store.lacking_entries(ledger)? } else { 0 };
    if lacking > 0 {
        return Ok(Some(format!(
            "{lacking} blocks were screened before the watchlist gained entries: `bolo replay --new-entries` looks there again"
        )));
    }
    Ok(outdated(store, ledger, addresses)?.map(|block| {
        format!("alerts from block {block} on were made by older list entries: `bolo replay --new-entries` brings them to the present ones")
    }))
}

/// Lists of an answer as of a time that are known only from later on: who was on them then cannot be told. A list that was only ever
/// changed by hand has no such past.
pub(super) fn unknown_lists(store: &Store, filter: &AlertFilter) -> Result<Option<String>, Failure> {
    let Some(as_of) = filter.as_of else { return Ok(None) };
    let mut unknown = store.first_files()?;
    unknown.retain(|(list, first)| *first > as_of && (filter.lists.is_empty() || filter.lists.contains(list)));
    let Some((list, first)) = unknown.first() else { return Ok(None) };
    let others = match unknown.len() - 1 {
        0 => String::new(),
        others => format!(" (and of {others} other lists)"),
    };
    Ok(Some(format!(
        "the first version of the list {list:?} here is of {}, later than --as-of {}{others}: who was listed then is not known. Import \
         versions of that time, or name other lists by --list",
        show_date(*first),
        show_date(as_of)
    )))
}

/// Says on stderr how far the lists of then are those that an answer depends on. `coverage` is of the range that was asked for.
pub(super) fn say(filter: &AlertFilter, store: &Store, coverage: Option<&RangeCoverage>) -> Result<(), Failure> {
    let Some(highest) = store.highest()? else { return Ok(()) };
    let (from, to) = coverage.map_or((0, highest), |coverage| (coverage.from, coverage.to));
    let ledger = store.ledger(from, to)?;
    let mut lacking = Vec::new();
    for address in &filter.addresses {
        lacking.extend(unwatched(store, &ledger, *address)?.map(|blocks| (*address, blocks)));
    }
    if let Some((address, blocks)) = lacking.first() {
        let reason = in_words(store, *address, *blocks)?;
        tracing::warn!("that there is no alert means nothing there: {reason}");
        if lacking.len() > 1 {
            tracing::warn!(
                addresses = lacking.len(),
                "screened when they were on no list, in all: that there is no alert of them means nothing there"
            );
        }
    }
    // Of an address it is known when it was watched; any other one may be in the answer.
    if filter.addresses.is_empty() {
        let blocks = match coverage {
            Some(coverage) => coverage.screened_before,
            None => store.lacking_entries(&ledger)?,
        };
        if blocks > 0 {
            tracing::warn!(
                blocks,
                "screened before the watchlist gained entries: their past there is not known until `bolo replay --new-entries` has looked \
                 there again"
            );
        }
    }
    Ok(())
}
