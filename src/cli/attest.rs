//! `bolo attest`: what the ledger lets one say of an address that did not alert. It refuses rather than say too much.

use alloy::primitives::B256;
use clap::Args;
use serde_json::json;

use super::alert_json::checksum;
use super::completeness::{INCOMPLETE, NOTHING_SEEN, Question, as_json, in_words, named_range, say_open_end};
use super::present::{json_text, print};
use super::sources::address;
use super::words::Words;
use super::{Context, Failure};
use crate::decode::DecodeOptions;
use crate::store::{Access, AlertFilter, BlockRange, InternalEth, LedgerRange, RangeCoverage, Store};

/// `bolo attest`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("range").required(true).multiple(true))]
pub struct AttestArgs {
    /// The address
    #[arg(long, value_name = "ADDRESS")]
    address: String,
    /// First block, inclusive
    #[arg(long, value_name = "BLOCK", group = "range")]
    from_block: Option<String>,
    /// Last block, inclusive; without one or --until, the highest head that an endpoint has reported
    #[arg(long, value_name = "BLOCK", group = "range")]
    to_block: Option<String>,
    /// Blocks not before that time: RFC 3339, a date, or an age like 7d, 12h, 30m
    #[arg(long, value_name = "TIME", group = "range")]
    since: Option<String>,
    /// Blocks not after that time; a date is that whole day
    #[arg(long, value_name = "TIME", group = "range")]
    until: Option<String>,
    /// Form of the answer
    #[arg(long, value_parser = Words::<super::args::StatusFormat>::of_enum(), default_value = "table", value_name = "FORM")]
    format: super::args::StatusFormat,
}

pub(super) fn run(context: &Context, args: &AttestArgs) -> Result<u8, Failure> {
    let address = address(&args.address)?;
    let store = Store::open(&context.db, Access::Read)?.at_one_moment()?;
    let blocks = (args.from_block.as_deref(), args.to_block.as_deref());
    let named = named_range(&store, blocks, (args.since.as_deref(), args.until.as_deref()))?;
    let refuse = |reason: &str| Failure::new(INCOMPLETE, format!("not attested: {reason}"));
    let question =
        Question::new(&store, &named, std::slice::from_ref(&address))?.ok_or_else(|| refuse(NOTHING_SEEN))?;
    say_open_end(&question, &named)?;
    let BlockRange { first: from, last: to, .. } = question.range;
    // What was found is said before what is missing: no more blocks would take it back.
    let filter = AlertFilter {
        addresses: vec![address],
        from_block: named.from_block,
        to_block: named.to_block,
        since: named.since,
        until: named.until,
        any_triage: true,
        ..AlertFilter::default()
    };
    let touched = store.each_alert::<Failure>(&filter, |_| Ok(()))?;
    if touched > 0 {
        let alerts = if touched == 1 { "1 alert touches".to_owned() } else { format!("{touched} alerts touch") };
        return Err(Failure::input(format!(
            "not attested: {alerts} {address} in blocks {from} to {to} (bolo query --address {address} --triage all)"
        )));
    }
    if let Some(reason) = question.shortfalls()?.first() {
        return Err(refuse(reason));
    }
    if let Some((blocks, first)) = store.blocks_of_beneficiary(from, to, address)? {
        return Err(refuse(&format!(
            "the headers of {blocks} blocks of {from} to {to} name {address} as beneficiary, block {first} first: no priority fees were \
             paid to it, but block rewards, which bolo does not count, may have been"
        )));
    }
    let (Some(first_hash), Some(last_hash)) = (store.hash_of(from)?, store.hash_of(to)?) else {
        return Err(refuse(&format!("block {from} or {to} is not held")));
    };
    let anchor = store.anchor_of(to)?;
    let statement = Statement {
        chain_id: store.chain_id()?,
        address: checksum(address),
        undecoded: store.undecoded_in(from, to)?,
        coverage: question.coverage,
        ends: (first_hash, last_hash),
        ledger: question.ledger,
        anchor: anchor.map(|anchor| (anchor.number, anchor.hash)),
        finalized: store.final_hash(to)? == Some(last_hash),
    };
    let text = match args.format {
        super::args::StatusFormat::Json => json_text(&statement.as_json())? + "\n",
        super::args::StatusFormat::Table => statement.for_people(),
    };
    print(&text)?;
    Ok(0)
}

struct Statement {
    chain_id: Option<u64>,
    address: String,
    coverage: RangeCoverage,
    undecoded: Vec<(String, u64)>,
    ends: (B256, B256),
    ledger: Vec<LedgerRange>,
    anchor: Option<(u64, B256)>,
    finalized: bool,
}

/// Kinds that this bolo does not decode, so that nothing is said of them.
const NOT_DECODED: [&str; 15] = [
    "approval",
    "approval_for_all",
    "permit2",
    "authorization_used",
    "issuer_freeze",
    "issuer_unfreeze",
    "issuer_seizure",
    "oracle_listing",
    "oracle_delisting",
    "delegation",
    "user_operation",
    "control_change",
    "contract_execution",
    "unexplained_balance",
    "exposure",
];

impl Statement {
    fn traces(&self) -> String {
        match (self.coverage.traces, self.coverage.proven) {
            (0, _) => "missing".to_owned(),
            (seen, all) if seen == all => "unproven".to_owned(),
            (seen, all) => format!("unproven in {seen} of {all} blocks, missing in the others"),
        }
    }

    /// How many blocks' internal ETH is proven by logs, claimed by traces, or not seen.
    fn internal_eth_json(&self) -> serde_json::Value {
        json!({
            InternalEth::Proven.name(): self.coverage.internal_proven,
            InternalEth::Claimed.name(): self.coverage.internal_claimed,
            InternalEth::NotSeen.name(): self.coverage.internal_not_seen(),
        })
    }

    /// The same for people.
    fn internal_eth(&self) -> String {
        let RangeCoverage { internal_proven, internal_claimed, .. } = self.coverage;
        let parts = [
            (internal_proven, "proven by logs (EIP-7708)"),
            (internal_claimed, "claimed by traces: nothing touched it there either, by the endpoints' word"),
            (self.coverage.internal_not_seen(), "not seen, so not covered by this statement"),
        ];
        let said: Vec<_> = parts
            .iter()
            .filter(|(blocks, _)| *blocks > 0)
            .map(|(blocks, what)| format!("{what}, in {blocks} blocks"))
            .collect();
        said.join("; ")
    }

    fn as_json(&self) -> serde_json::Value {
        let RangeCoverage { from, to, .. } = self.coverage;
        let mut revisions: Vec<_> = self.ledger.iter().map(|range| range.watch_revision).collect();
        revisions.dedup();
        // Which decoder with which wrapped-native contracts took the blocks: another number than the others' found other things.
        let mut decoders: Vec<_> = self.ledger.iter().map(|range| range.decoder.to_string()).collect();
        decoders.sort();
        decoders.dedup();
        let current = DecodeOptions::version();
        json!({
            "statement": "no activity of the proven planes touched the address",
            "chain_id": self.chain_id,
            "address": self.address,
            "from": {"number": from, "hash": self.ends.0.to_string()},
            "to": {"number": to, "hash": self.ends.1.to_string()},
            "blocks": self.coverage.proven,
            "planes": {"transactions": "proven", "logs": "proven", "withdrawals": "proven", "traces": self.traces()},
            "internal_eth": self.internal_eth_json(),
            "senders": "all",
            "not_decoded": NOT_DECODED,
            "undecoded": as_json(&self.undecoded),
            "watch_revisions": revisions,
            "decoder_version": current,
            "decoders": decoders,
            "finalized": self.finalized,
            "anchor": self.anchor.map(|(number, hash)| json!({"number": number, "hash": hash.to_string()})),
            "made_by": format!("bolo {}", env!("CARGO_PKG_VERSION")),
        })
    }

    fn for_people(&self) -> String {
        let RangeCoverage { from, to, proven, .. } = self.coverage;
        let chain = self.chain_id.map_or_else(|| "?".to_owned(), |id| id.to_string());
        let anchor = match self.anchor {
            Some((number, hash)) => format!("anchored by the checkpoint at block {number} ({hash})"),
            None => {
                "anchored by no checkpoint: the headers are as true as the endpoints' word for the last hash".to_owned()
            }
        };
        format!(
            "No proven activity touched {address} on chain {chain}\n\
             from block {from} {first}\n  to block {to} {last}\n\
             {proven} blocks, none missing. Transactions, logs and withdrawals: proven.\n\
             ETH that moved within transactions: {internal}.\n\
             The chain is {anchor}{final}.\n\
             Logs and frames that look like a movement and could not be decoded, none of which names it: {undecoded}.\n\
             Not decoded, so nothing is said of: {not}.\n",
            address = self.address,
            internal = self.internal_eth(),
            undecoded = in_words(&self.undecoded).unwrap_or_else(|| "none".to_owned()),
            first = self.ends.0,
            last = self.ends.1,
            final = if self.finalized { "; the last block is final" } else { "; the last block is not final yet" },
            not = NOT_DECODED.join(", "),
        )
    }
}
