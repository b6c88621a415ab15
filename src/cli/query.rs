//! `bolo query`.

use alloy::primitives::{B256, U256};
use jiff::{Span, Timestamp};

use super::alert_json::ChainWords;
use super::amount::MinAmount;
use super::args::{OrderArg, QueryArgs};
use super::explain::explain;
use super::present::AlertPrinter;
use super::sources::{BlockArg, address, hash, in_order};
use super::{Context, Failure};
use crate::lists::{parse_address, parse_date};
use crate::store::{Access, AlertFilter, AmountFilter, AssetFilter, LeftOut, Order, RangeCoverage, Store};

pub(super) fn run(context: &Context, args: &QueryArgs) -> Result<u8, Failure> {
    let store = Store::open(&context.db, Access::Read)?.at_one_moment()?;
    if let Some(id) = &args.explain {
        explain(context, &store, id, args.format)?;
        return Ok(0);
    }
    let chain = ChainWords::of(store.chain_id()?.unwrap_or(1));
    let filter = filter(args, &store, &chain)?;
    let coverage = coverage(&filter, &store)?;
    if args.require_complete && !has_range(&filter) {
        return Err(Failure::input("--require-complete needs a range: --from-block, --to-block, --since or --until"));
    }
    let mut printer = AlertPrinter::new(args.format, chain)?;
    let mut last = None;
    // One more than is shown tells whether there is more.
    let asked = AlertFilter { limit: filter.limit.map(|limit| limit.saturating_add(1)), ..filter.clone() };
    let mut left = filter.limit.unwrap_or(u64::MAX);
    let found = store.each_alert::<Failure>(&asked, |row| {
        if left == 0 {
            return Ok(());
        }
        left -= 1;
        last = Some(row.id);
        printer.alert(&row)
    })?;
    let shown = printer.finish()?;
    report(&filter, &store, shown, last.filter(|_| found > shown))?;
    // A range of which nothing was seen depends on no list.
    if !has_range(&filter) || coverage.is_some() {
        super::screened::say(&filter, &store, coverage.as_ref(), args.require_complete)?;
    }
    Ok(if has_range(&filter) { say_coverage(coverage.as_ref(), args.require_complete) } else { 0 })
}

fn has_range(filter: &AlertFilter) -> bool {
    filter.from_block.is_some() || filter.to_block.is_some() || filter.since.is_some() || filter.until.is_some()
}

/// Says on stderr what the answer leaves out.
fn report(filter: &AlertFilter, store: &Store, shown: u64, more_after: Option<B256>) -> Result<(), Failure> {
    // Who asks for all waits for all.
    let most = if filter.limit.is_none() { i64::MAX as u64 } else { COUNTED };
    let LeftOut { orphaned, noise, own, all } = store.left_out(filter, most)?;
    let at_least = (!all).then_some(true);
    if shown == 0 {
        tracing::info!("no alerts fit");
    }
    if let Some(after) = more_after {
        tracing::info!(shown, %after, "there are more: --after that id prints the next, --limit 0 all");
    }
    if orphaned > 0 {
        tracing::info!(orphaned, at_least, "left out: alerts of blocks that a reorg replaced (--status all)");
    }
    if noise > 0 {
        tracing::info!(noise, at_least, "left out: noise (--triage all)");
    }
    if own > 0 {
        tracing::info!(own, at_least, "left out: what touches own wallets alone (--triage own)");
    }
    Ok(())
}

/// So many alerts are looked at to count what is left out.
const COUNTED: u64 = 2_000;

/// A tip older than that, in seconds, is not the present.
const PRESENT: i64 = 15 * 60;

/// How much of the range is there; none where no block of it is, or no range was given. An open end is the present: the highest
/// block that an endpoint told of, and a tip that is not old.
fn coverage(filter: &AlertFilter, store: &Store) -> Result<Option<RangeCoverage>, Failure> {
    let Some(highest) = store.highest()? else { return Ok(None) };
    let mut ends_known = true;
    let (mut from, mut to) = (filter.from_block.unwrap_or(0), filter.to_block.unwrap_or(highest));
    if filter.since.is_some() || filter.until.is_some() {
        let Some(time) = store.time_coverage(filter.since, filter.until)? else { return Ok(None) };
        ends_known = time.ends_known;
        (from, to) = (from.max(time.from), to.min(time.to));
        if filter.until.is_none() && filter.to_block.is_none() {
            ends_known &= store.tip_timestamp()?.is_some_and(|tip| Timestamp::now().as_second() - tip < PRESENT);
        }
    } else if filter.to_block.is_none() {
        to = to.max(store.head()?.unwrap_or(0));
    }
    if from > to {
        return Ok(None);
    }
    Ok(Some(RangeCoverage { ends_known, ..store.block_coverage(from, to)? }))
}

/// Says on stderr how far the range is covered; the exit code.
fn say_coverage(coverage: Option<&RangeCoverage>, required: bool) -> u8 {
    let incomplete = if required { 3 } else { 0 };
    match coverage {
        None => {
            tracing::warn!("no block of this range was seen: that there is no alert means nothing");
            incomplete
        }
        Some(c) if c.is_complete() => {
            tracing::info!(
                from = c.from,
                to = c.to,
                "complete: every block of the range is proven, with all its senders"
            );
            if c.traces < c.proven {
                tracing::warn!(
                    blocks = c.proven - c.traces,
                    "without traces: internal transfers were not seen in these"
                );
            }
            0
        }
        Some(c) => {
            tracing::warn!(
                from = c.from,
                to = c.to,
                proven = c.proven,
                unproven = c.unproven,
                senders_of_alerts_only = c.proven - c.senders,
                missing = c.missing(),
                ends_known = c.ends_known,
                "the range is not complete: alerts may be missing"
            );
            if c.filtered > 0 {
                tracing::warn!(
                    blocks = c.filtered,
                    "of the missing blocks, filtered: an endpoint said that they do not touch the list (replay --filtered), which nothing \
                     proves, and some kinds a filter does not see"
                );
            }
            incomplete
        }
    }
}

fn filter(args: &QueryArgs, store: &Store, chain: &ChainWords) -> Result<AlertFilter, Failure> {
    let block = |text: &Option<String>| -> Result<Option<u64>, Failure> {
        text.as_deref().map(|text| BlockArg::parse(text)?.stored(store)).transpose()
    };
    let time = |text: &Option<String>| text.as_deref().map(parse_time).transpose();
    let (from_block, to_block) = (block(&args.from_block)?, block(&args.to_block)?);
    if let (Some(from), Some(to)) = (from_block, to_block) {
        in_order(from, to)?;
    }
    let (since, until) = (time(&args.since)?, time(&args.until)?);
    if since.zip(until).is_some_and(|(since, until)| since > until) {
        return Err(Failure::input("--since is after --until"));
    }
    let lists = store.lists()?;
    if let Some(name) = args.list.iter().find(|name| !lists.iter().any(|list| list.name == **name)) {
        return Err(Failure::input(format!("there is no list {name:?} (bolo status names them)")));
    }
    let (min_amount, assets_of) = amount_and_assets(args, chain)?;
    let (statuses, any_status) = or_all(&args.status);
    let (triage, any_triage) = or_all(&args.triage);
    Ok(AlertFilter {
        addresses: args.address.iter().map(|text| address(text)).collect::<Result<_, _>>()?,
        counterparties: args.counterparty.iter().map(|text| address(text)).collect::<Result<_, _>>()?,
        labels: args.label.clone(),
        entities: args.entity.clone(),
        lists: args.list.clone(),
        kinds: args.kind.clone(),
        assets: assets_of.iter().flat_map(|text| assets(text, chain)).collect::<Result<_, _>>()?,
        directions: args.direction.clone(),
        min_amount,
        from_block,
        to_block,
        since,
        until,
        statuses,
        any_status,
        severities: args.severity.clone(),
        triage,
        any_triage,
        as_of: super::watchlist::date(args.as_of.as_ref())?,
        id: None,
        tx: args.tx.as_deref().map(hash).transpose()?,
        rows: None,
        after: args.after.as_deref().map(hash).transpose()?,
        limit: (args.limit > 0).then_some(args.limit),
        order: match args.order {
            OrderArg::Asc => Order::Ascending,
            OrderArg::Desc => Order::Descending,
        },
        severe_first: true,
    })
}

/// The smallest amount and the assets. An amount that names its asset (100eth) is of that asset.
fn amount_and_assets(args: &QueryArgs, chain: &ChainWords) -> Result<(Option<AmountFilter>, Vec<String>), Failure> {
    let Some(text) = args.min_amount.as_deref() else { return Ok((None, args.asset.clone())) };
    let MinAmount { filter, asset } = MinAmount::parse(text, &chain.native_symbol)?;
    let Some(asset) = asset else {
        if filter.is_tiny_as_native() && (args.asset.is_empty() || args.asset.iter().any(|asset| asset == "native")) {
            tracing::warn!(
                "--min-amount {text} is in base units: of the native currency that is next to nothing; write 100eth or 100.0"
            );
        }
        return Ok((Some(filter), args.asset.clone()));
    };
    if !args.asset.is_empty() {
        return Err(Failure::input(format!(
            "--min-amount {text:?} names an asset and --asset does too: give the amount without it (1.5), or leave --asset out"
        )));
    }
    Ok((Some(filter), vec![asset]))
}

/// The values that were given, and whether `all` was among them, which lifts the restriction.
fn or_all<T: Copy>(given: &[Option<T>]) -> (Vec<T>, bool) {
    match given.iter().copied().collect::<Option<Vec<T>>>() {
        Some(values) => (values, false),
        None => (Vec::new(), true),
    }
}

/// A symbol, a contract, or a CAIP-19 id. A symbol that is the native currency's means that as well.
fn assets(text: &str, chain: &ChainWords) -> Vec<Result<AssetFilter, Failure>> {
    let text = text.trim();
    if text.starts_with("eip155:") {
        return vec![caip19(text, chain)];
    }
    if text.starts_with("0x") || text.starts_with("0X") {
        return vec![address(text).map(|contract| AssetFilter::Contract(contract, None))];
    }
    let mut found = vec![Ok(AssetFilter::Symbol(text.to_owned()))];
    if text.eq_ignore_ascii_case(&chain.native_symbol) || text == "native" {
        found.push(Ok(AssetFilter::Native));
    }
    found
}

fn caip19(text: &str, chain: &ChainWords) -> Result<AssetFilter, Failure> {
    let bad = |why: &str| Failure::input(format!("{text:?} is no CAIP-19 id of this chain: {why}"));
    let mut parts = text.split('/');
    let reference = parts.next().and_then(|part| part.strip_prefix("eip155:")).unwrap_or_default();
    if reference != chain.chain_id.to_string() {
        return Err(bad(&format!("the database is of chain {}", chain.chain_id)));
    }
    let (namespace, asset) = parts.next().and_then(|part| part.split_once(':')).ok_or_else(|| bad("no asset in it"))?;
    let token_id = parts
        .next()
        .map(|id| U256::from_str_radix(id, 10).map_err(|_| bad("the token id is no decimal number")))
        .transpose()?;
    match namespace {
        "slip44" => Ok(AssetFilter::Native),
        "erc20" | "erc721" | "erc1155" => parse_address(asset)
            .map(|contract| AssetFilter::Contract(contract, token_id))
            .map_err(|reason| bad(&reason)),
        _ => Err(bad("write slip44:60, erc20:0x…, erc721:0x… or erc1155:0x…")),
    }
}

/// RFC 3339, a date, or an age.
fn parse_time(text: &str) -> Result<i64, Failure> {
    if let Ok(seconds) = parse_date(text) {
        return Ok(seconds);
    }
    let bad = || {
        Failure::input(format!(
            "{text:?} is no time: write 2025-02-21T14:00:00Z, 2025-02-21, or an age like 7d, 12h, 30m"
        ))
    };
    let (number, unit) = text.trim().split_at_checked(text.trim().len().saturating_sub(1)).ok_or_else(bad)?;
    let number: i64 = number.parse().ok().filter(|number| *number >= 0).ok_or_else(bad)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(bad()),
    };
    let age = number.checked_mul(seconds).ok_or_else(bad)?;
    let span = Span::new().try_seconds(age).map_err(|_| bad())?;
    Timestamp::now().checked_sub(span).map(Timestamp::as_second).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_are_symbols_contracts_or_caip19() {
        let chain = ChainWords::of(1);
        let one = |text: &str| assets(text, &chain).remove(0);
        assert_eq!(one("USDC"), Ok(AssetFilter::Symbol("USDC".into())));
        assert_eq!(assets("eth", &chain).len(), 2);
        assert_eq!(one("eip155:1/slip44:60"), Ok(AssetFilter::Native));
        let nft = "eip155:1/erc721:0x06012c8cf97BEaD5deAe237070F9587f8E7A266d/771769";
        assert!(matches!(one(nft), Ok(AssetFilter::Contract(_, Some(_)))));
        for bad in [
            "eip155:5/slip44:60",
            "eip155:1",
            "eip155:1/erc20:0x12",
            "0x12",
            "eip155:1/erc721:0x06012c8cf97BEaD5deAe237070F9587f8E7A266d/x",
        ] {
            assert_eq!(one(bad).unwrap_err().code, 1, "{bad}");
        }
    }

    #[test]
    fn times_are_dates_or_ages() {
        assert_eq!(parse_time("1970-01-02"), Ok(86_400));
        let week = parse_time("7d").unwrap();
        assert!((Timestamp::now().as_second() - week - 7 * 86_400).abs() < 5);
        for bad in ["", "d", "7y", "-1d", "99999999999999999d", "é"] {
            assert_eq!(parse_time(bad).unwrap_err().code, 1, "{bad}");
        }
    }
}
