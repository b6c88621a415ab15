//! Whether blocks were screened against a list that had what is asked for: without, that nothing alerted says nothing.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::Address;

use super::Failure;
use crate::store::{AlertFilter, LedgerRange, RangeCoverage, Store};

/// The first blocks of a range, next to each other, that were screened when the address was on no list.
pub(super) fn unwatched(
    store: &Store,
    ledger: &[LedgerRange],
    address: Address,
) -> Result<Option<(u64, u64)>, Failure> {
    // An address that is watched at a block is watched at those before it, as far as the same lists go.
    let mut highest = BTreeMap::new();
    for LedgerRange { range, watch_revision, .. } in ledger {
        highest.insert(*watch_revision, range.to);
    }
    let mut always = BTreeSet::new();
    for (revision, block) in highest {
        if store.was_watched(address, revision, block)? {
            always.insert(revision);
        }
    }
    for LedgerRange { range, watch_revision, .. } in ledger.iter().filter(|of| !always.contains(&of.watch_revision)) {
        if !store.was_watched(address, *watch_revision, range.to)? {
            return Ok(Some((range.from, range.to)));
        }
    }
    Ok(None)
}

/// The same in words, with what to do.
pub(super) fn in_words(store: &Store, address: Address, (from, to): (u64, u64)) -> Result<String, Failure> {
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

/// Says on stderr how far the lists of then are those that an answer depends on. `coverage` is of the range that was asked for.
///
/// # Errors
/// Exit code 3 where a complete answer is `required`, and an address that was asked for was not watched all along.
pub(super) fn say(
    filter: &AlertFilter,
    store: &Store,
    coverage: Option<&RangeCoverage>,
    required: bool,
) -> Result<(), Failure> {
    let Some(highest) = store.highest()? else { return Ok(()) };
    let (from, to) = coverage.map_or((0, highest), |coverage| (coverage.from, coverage.to));
    let ledger = if filter.addresses.is_empty() { Vec::new() } else { store.ledger(from, to)? };
    for address in &filter.addresses {
        let Some(blocks) = unwatched(store, &ledger, *address)? else { continue };
        let reason = in_words(store, *address, blocks)?;
        if required {
            return Err(Failure { code: 3, message: format!("the answer is not complete: {reason}") });
        }
        tracing::warn!("that there is no alert means nothing there: {reason}");
    }
    // Of an address it is known when it was watched; all else may have been added since.
    let by_entry = !(filter.lists.is_empty() && filter.labels.is_empty() && filter.entities.is_empty());
    if filter.addresses.is_empty() || by_entry {
        let blocks = match coverage {
            Some(coverage) => coverage.screened_before,
            None => store.block_coverage(from, to)?.screened_before,
        };
        if blocks > 0 {
            tracing::warn!(
                blocks,
                "screened before the watchlist gained entries: their past there is not known until `bolo replay` has taken the range again"
            );
        }
    }
    Ok(())
}
