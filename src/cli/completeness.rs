//! What an answer about a range of blocks needs to be complete: one list of checks, for `query --require-complete` and `attest`
//! alike. A check that is added to the list holds for both.

use alloy::primitives::Address;
use jiff::Timestamp;

use super::Failure;
use super::coverage::CLAIMED_OF_MATCHED;
use super::moments::{parse_since, parse_until};
use super::sources::{BlockArg, in_order};
use super::status::age;
use crate::decode::{DecodeOptions, MAX_NAMED};
use crate::store::{BlockRange, LedgerRange, NamedRange, PRESENT, RangeCoverage, Store};

/// Exit code of an answer that is incomplete.
pub(super) const INCOMPLETE: u8 = 3;
/// Holes that are named.
const NAMED_HOLES: usize = 10;
/// Said where nothing is known of a range.
pub(super) const NOTHING_SEEN: &str = "no block of this range was seen: that there is no alert means nothing";

/// The range of a question as its flags name it.
pub(super) fn named_range(
    store: &Store,
    (from_block, to_block): (Option<&str>, Option<&str>),
    (since, until): (Option<&str>, Option<&str>),
) -> Result<NamedRange, Failure> {
    let [from, to] = [from_block, to_block].map(|text| text.map(BlockArg::parse).transpose());
    let (from, mut to) = (from?, to?);
    let mut from_block = from.map(|from| from.in_question(store)).transpose()?;
    if to == Some(BlockArg::LATEST) {
        // The open end, so that the range ends where it does without --to-block. It is a range all the same.
        to = None;
        from_block = from_block.or(since.is_none().then_some(0));
    }
    let to_block = to.map(|to| to.in_question(store)).transpose()?;
    if let (Some(from), Some(to)) = (from_block, to_block) {
        in_order(from, to)?;
    }
    let (since, until) = (since.map(parse_since).transpose()?, until.map(parse_until).transpose()?);
    if since.zip(until).is_some_and(|(since, until)| since > until) {
        return Err(Failure::input("--since is after --until"));
    }
    Ok(NamedRange { from_block, to_block, since, until })
}

/// Says on stderr how old the word is that ends a range with an open end: the chain goes on while no `watch` runs.
pub(super) fn say_open_end(question: &Question<'_>, named: &NamedRange) -> Result<(), Failure> {
    if named.to_block.is_some() || named.until.is_some() {
        return Ok(());
    }
    let end = question.range.last;
    match question.store.head_seen()? {
        Some(seen) if Timestamp::now().as_second().saturating_sub(seen) < PRESENT => {}
        Some(seen) => tracing::warn!(
            "the range ends with block {end}: an endpoint last reported its head {}, and the chain has gone on since (`bolo watch` takes \
             what follows)",
            age(seen)
        ),
        None => tracing::warn!("the range ends with block {end}, the highest here: no endpoint has reported a head"),
    }
    Ok(())
}

/// A question about a range, with what the ledger says of it.
pub(super) struct Question<'a> {
    pub(super) store: &'a Store,
    pub(super) range: BlockRange,
    pub(super) coverage: RangeCoverage,
    pub(super) ledger: Vec<LedgerRange>,
    /// The addresses that it is about; none: all that are watched.
    pub(super) addresses: &'a [Address],
}

impl<'a> Question<'a> {
    /// `None` where no block of the range can be named, or nothing is held.
    pub(super) fn new(store: &'a Store, named: &NamedRange, addresses: &'a [Address]) -> Result<Option<Self>, Failure> {
        let Some(range) = store.blocks_of(named, Timestamp::now().as_second())? else { return Ok(None) };
        let coverage = store.range_coverage(range)?;
        Ok(Some(Self { store, range, coverage, ledger: store.ledger(range.first, range.last)?, addresses }))
    }

    /// Whether no block of the range was seen, be it only by an endpoint's filter.
    pub(super) fn saw_nothing(&self) -> bool {
        self.coverage.proven + self.coverage.unproven + self.coverage.filtered == 0
    }

    /// Why the answer is not complete: a sentence for each reason, the one to mend first first. None where it is complete.
    pub(super) fn shortfalls(&self) -> Result<Vec<String>, Failure> {
        CHECKS.iter().filter_map(|check| check(self).transpose()).collect()
    }

    /// Why ETH that moved within transactions may have been missed; none where logs prove it or traces show it in every block that is
    /// held. What roots prove is complete without.
    pub(super) fn internal_shortfall(&self) -> Option<String> {
        let not_seen = self.coverage.internal_not_seen();
        (not_seen > 0).then(|| {
            format!(
                "in {not_seen} blocks of {} ETH that moved within transactions was not seen: they are of before EIP-7708, and not all of \
                 their traces are known; {} fills them",
                self.blocks(),
                self.replay(" --traces require")
            )
        })
    }

    fn replay(&self, flags: &str) -> String {
        format!("`bolo replay{flags} --from-block {} --to-block {}`", self.range.first, self.range.last)
    }

    fn blocks(&self) -> String {
        format!("{} to {}", self.range.first, self.range.last)
    }
}

/// One thing that an answer needs; a sentence where it is not so.
type Check = fn(&Question<'_>) -> Result<Option<String>, Failure>;

const CHECKS: [Check; 7] = [
    every_block_is_held,
    ends_are_known,
    every_block_is_proven,
    senders_are_recovered,
    was_screened,
    this_version_decoded_it,
    undecoded_logs_name_none,
];

fn every_block_is_held(question: &Question<'_>) -> Result<Option<String>, Failure> {
    let BlockRange { first, last, .. } = question.range;
    let holes = question.store.holes(first, last)?;
    if holes.is_empty() {
        return Ok(None);
    }
    let mut named: Vec<_> = holes.iter().take(NAMED_HOLES).map(|(first, last)| format!("{first} to {last}")).collect();
    if holes.len() > NAMED_HOLES {
        named.push(format!("and {} holes more", holes.len() - NAMED_HOLES));
    }
    let filtered = match question.coverage.filtered {
        0 => String::new(),
        filtered => format!("; {filtered} of them were only asked for by --filtered, which proves nothing"),
    };
    Ok(Some(format!(
        "{} blocks of {} were not seen ({}{filtered}): {} takes them",
        question.coverage.missing(),
        question.blocks(),
        named.join(", "),
        question.replay(" --holes"),
    )))
}

fn ends_are_known(question: &Question<'_>) -> Result<Option<String>, Failure> {
    Ok((!question.range.ends_known).then(|| {
        format!(
            "it is not known which blocks begin and end that time: blocks {} are held, and a block before or after them may be of it \
             too. Take the blocks around it, or name blocks",
            question.blocks()
        )
    }))
}

fn every_block_is_proven(question: &Question<'_>) -> Result<Option<String>, Failure> {
    let unproven = question.coverage.unproven;
    Ok((unproven > 0).then(|| format!("{unproven} blocks of {} were taken on trust (--trust-rpc)", question.blocks())))
}

fn senders_are_recovered(question: &Question<'_>) -> Result<Option<String>, Failure> {
    let claimed = question.coverage.proven.saturating_sub(question.coverage.senders);
    Ok((claimed > 0).then(|| {
        format!(
            "in {claimed} blocks of {} senders were recovered for alerts only (--senders matched): {CLAIMED_OF_MATCHED}, is the \
             endpoint's word; {} recovers all",
            question.blocks(),
            question.replay("")
        )
    }))
}

fn was_screened(question: &Question<'_>) -> Result<Option<String>, Failure> {
    super::screened::shortfall(question.store, &question.ledger, question.addresses)
}

/// What an older version did not decode, and did not count either, this one cannot speak of.
fn this_version_decoded_it(question: &Question<'_>) -> Result<Option<String>, Failure> {
    let current = DecodeOptions::version();
    let others = question.ledger.iter().filter(|ledger| DecodeOptions::version_of(ledger.decoder) != current);
    let blocks: u64 = others.map(|ledger| ledger.range.to - ledger.range.from + 1).sum();
    Ok((blocks > 0).then(|| {
        format!(
            "{blocks} blocks of {} were decoded by another version of bolo, which finds other kinds of activity: {} decodes them again",
            question.blocks(),
            question.replay("")
        )
    }))
}

/// Undecoded logs and frames name none of the addresses, and the blocks' look-back filters record all the addresses that they name.
fn undecoded_logs_name_none(question: &Question<'_>) -> Result<Option<String>, Failure> {
    let BlockRange { first, last, .. } = question.range;
    let found = question.store.undecoded_naming(first, last, question.addresses)?;
    if let Some((block, address)) = found.first {
        return Ok(Some(format!(
            "what bolo does not decode names {} in {} blocks of {}, block {block} first: it may have moved value of {address} \
             (`bolo status --coverage` counts it by reason)",
            if question.addresses.is_empty() { "watched addresses" } else { "the address" },
            found.naming,
            question.blocks(),
        )));
    }
    if found.unindexed > 0 {
        return Ok(Some(format!(
            "{} blocks of {} have logs or frames that bolo does not decode, and no look-back filter that records which addresses these \
             name: {} adds it",
            found.unindexed,
            question.blocks(),
            question.replay(" --lookback-index")
        )));
    }
    Ok((found.unknown > 0).then(|| {
        format!(
            "in {} blocks of {} the logs and frames that bolo does not decode name more than {MAX_NAMED} addresses, which are not recorded: \
             they may name {}. Decode these blocks with another tool, or leave them out of the range",
            found.unknown,
            question.blocks(),
            if question.addresses.is_empty() { "watched addresses" } else { "the address" },
        )
    }))
}

/// Counts by reason, for people; none where there is nothing.
pub(super) fn in_words(counts: &[(String, u64)]) -> Option<String> {
    let parts: Vec<_> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The same for programs.
pub(super) fn as_json(counts: &[(String, u64)]) -> serde_json::Value {
    counts
        .iter()
        .map(|(reason, count)| (reason.clone(), serde_json::json!(count)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
