//! `bolo query`.

use alloy::primitives::{Address, B256, U256};

use super::alert_json::ChainWords;
use super::amount::MinAmount;
use super::args::{OrderArg, QueryArgs, RequireComplete};
use super::completeness::{INCOMPLETE, NOTHING_SEEN, Question, in_words, named_range, say_open_end};
use super::explain::explain;
use super::present::AlertPrinter;
use super::short_id::{alert_id, transaction_hash};
use super::sources::address;
use super::token_facts::{check_places, unknown_tokens};
use super::{Context, Failure};
use crate::lists::parse_address;
use crate::store::{Access, AlertFilter, AmountFilter, AssetFilter, LeftOut, NamedRange, Order, RangeCoverage, Store};

pub(super) fn run(context: &Context, args: &QueryArgs) -> Result<u8, Failure> {
    if let Some(word) = args.words.first() {
        return Err(misplaced(word));
    }
    let store = Store::open(&context.db, Access::Read)?.at_one_moment()?;
    if let Some(id) = &args.explain {
        explain(context, &store, id, args.format)?;
        return Ok(0);
    }
    let chain = ChainWords::of(store.chain_id()?.unwrap_or(1));
    let filter = filter(args, &store, &chain)?;
    let named = range_of(&filter);
    if args.require_complete.is_some() && !named.is_named() {
        return Err(Failure::input("--require-complete needs a range: --from-block, --to-block, --since or --until"));
    }
    let subjects = subjects(&filter, &store)?;
    let question = Question::new(&store, &named, &subjects)?.filter(|question| !question.saw_nothing());
    let mut printer = AlertPrinter::new(args.format, chain, args.wide)?;
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
    if !named.is_named() || question.is_some() {
        let coverage = question.as_ref().filter(|_| named.is_named()).map(|question| &question.coverage);
        super::screened::say(&filter, &store, coverage)?;
    }
    if named.is_named() {
        if let Some(question) = &question {
            say_open_end(question, &named)?;
        }
        return say_coverage(question.as_ref(), (&filter, &chain), args.require_complete);
    }
    say_searched(&store)?;
    Ok(0)
}

/// Says on stderr what an answer without a range is about: the blocks that are held, and what is not seen of them and between them.
fn say_searched(store: &Store) -> Result<(), Failure> {
    let held = store.coverage()?;
    let runs = super::coverage::runs(&held);
    let (Some((first, _)), Some((_, last))) = (runs.first(), runs.last()) else {
        tracing::warn!("searched no block: none was taken yet");
        return Ok(());
    };
    let coverage = store.block_coverage(*first, *last)?;
    let blocks = coverage.proven + coverage.unproven;
    let ranges = if runs.len() == 1 { "1 range".to_owned() } else { format!("{} ranges", runs.len()) };
    tracing::info!("searched {blocks} blocks in {ranges} between {first} and {last}");
    let not_seen = [
        (coverage.missing(), "blocks between them"),
        (coverage.internal_not_seen(), "blocks' ETH that moved within transactions"),
        (coverage.proven - coverage.senders, "blocks' senders, but for those of alerts (--senders matched)"),
        (coverage.unproven, "blocks' proof (--trust-rpc)"),
    ];
    let not_seen: Vec<_> =
        not_seen.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if !not_seen.is_empty() {
        tracing::info!("not seen: {}", not_seen.join("; "));
    }
    say_undecoded(store, *first, *last)
}

/// Says on stderr what was not decoded in a range.
fn say_undecoded(store: &Store, from: u64, to: u64) -> Result<(), Failure> {
    if let Some(counts) = in_words(&store.undecoded_in(from, to)?) {
        tracing::info!("logs and frames that look like a movement of value and are not decoded: {counts}");
    }
    Ok(())
}

/// What a word that belongs to no option was probably meant as.
fn misplaced(word: &str) -> Failure {
    let shown = crate::text::cell(word, 80);
    let is_hash = word.trim().trim_start_matches("0x").len() == 64;
    let option = if is_hash { "--tx" } else { "--address" };
    let or = if is_hash { " (or `--explain` for the id of an alert)" } else { "" };
    Failure::input(format!("{shown:?} belongs to no option: write `bolo query {option} {shown}`{or}"))
}

/// The addresses that the answer is about; none: all that are watched. As of a time, these are the addresses that were listed then: the
/// present lists need not have them, so that blocks were screened without them.
fn subjects(filter: &AlertFilter, store: &Store) -> Result<Vec<Address>, Failure> {
    let mut addresses = filter.addresses.clone();
    if let (Some(time), true) = (filter.as_of, addresses.is_empty()) {
        store.each_entry::<Failure>(None, None, Some(time), |entry| {
            addresses.push(entry.address);
            Ok(())
        })?;
        addresses.sort_unstable();
        addresses.dedup();
    }
    Ok(addresses)
}

fn range_of(filter: &AlertFilter) -> NamedRange {
    let AlertFilter { from_block, to_block, since, until, .. } = *filter;
    NamedRange { from_block, to_block, since, until }
}

/// Says on stderr what the answer leaves out.
fn report(filter: &AlertFilter, store: &Store, shown: u64, more_after: Option<B256>) -> Result<(), Failure> {
    // Who asks for all waits for all.
    let most = if filter.limit.is_none() { i64::MAX as u64 } else { COUNTED };
    let LeftOut { orphaned, noise, own, all } = store.left_out(filter, most)?;
    let at_least = (!all).then_some(true);
    if shown == 0 {
        tracing::info!("no alerts fit");
        for asset in &filter.assets {
            let AssetFilter::Symbol(symbol) = asset else { continue };
            if !filter.assets.contains(&AssetFilter::Native) && !store.knows_symbol(symbol)? {
                tracing::warn!(
                    "no token of an alert here is known by the symbol {symbol:?}: name it by its contract, which is proven"
                );
            }
        }
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

/// Says on stderr what is known of the ETH that moved within transactions.
fn say_internal(coverage: &RangeCoverage) {
    if coverage.internal_claimed > 0 {
        tracing::info!(
            blocks = coverage.internal_claimed,
            "internal transfers of these blocks are claimed by an endpoint's traces, which no root covers"
        );
    }
    if coverage.internal_not_seen() > 0 {
        tracing::warn!(
            blocks = coverage.internal_not_seen(),
            "without traces, and before EIP-7708: internal transfers were not seen in these"
        );
    }
}

/// Says on stderr how far the range is covered; the exit code.
fn say_coverage(
    question: Option<&Question<'_>>,
    (filter, chain): (&AlertFilter, &ChainWords),
    required: Option<RequireComplete>,
) -> Result<u8, Failure> {
    let Some(question) = question else {
        if required.is_some() {
            return Err(Failure::new(INCOMPLETE, format!("the answer is not complete: {NOTHING_SEEN}")));
        }
        tracing::warn!("{NOTHING_SEEN}");
        return Ok(0);
    };
    let c = &question.coverage;
    say_undecoded(question.store, c.from, c.to)?;
    for address in question.addresses {
        if let Some((blocks, first)) = question.store.blocks_of_beneficiary(c.from, c.to, *address)? {
            tracing::warn!(%address, blocks, first, "headers name it as beneficiary: block rewards are not counted");
        }
    }
    let mut shortfalls = question.shortfalls()?;
    shortfalls.extend(super::screened::unknown_lists(question.store, filter)?);
    shortfalls.extend(unknown_tokens(question, filter, chain)?);
    if required == Some(RequireComplete::Internal) {
        shortfalls.extend(question.internal_shortfall());
    }
    if c.is_complete() {
        if shortfalls.is_empty() {
            tracing::info!(
                from = c.from,
                to = c.to,
                "complete: every block of the range is proven, with all its senders"
            );
        }
        say_internal(c);
    } else {
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
    }
    if required.is_none() {
        for reason in &shortfalls {
            tracing::warn!("the range is not complete: {reason}");
        }
        return Ok(0);
    }
    if shortfalls.is_empty() {
        return Ok(0);
    }
    let first = shortfalls.remove(0);
    for reason in shortfalls {
        tracing::warn!("{reason}");
    }
    Err(Failure::new(INCOMPLETE, format!("the answer is not complete: {first}")))
}

fn filter(args: &QueryArgs, store: &Store, chain: &ChainWords) -> Result<AlertFilter, Failure> {
    let (blocks, times) = ((&args.from_block, &args.to_block), (&args.since, &args.until));
    let NamedRange { from_block, to_block, since, until } =
        named_range(store, (blocks.0.as_deref(), blocks.1.as_deref()), (times.0.as_deref(), times.1.as_deref()))?;
    let lists = store.lists()?;
    if let Some(name) = args.list.iter().find(|name| !lists.iter().any(|list| list.name == **name)) {
        return Err(Failure::input(format!("there is no list {name:?} (bolo status names them)")));
    }
    let (min_amount, assets_of) = amount_and_assets(args, chain)?;
    let asked_assets: Vec<_> = assets_of.iter().flat_map(|text| assets(text, chain)).collect::<Result<_, _>>()?;
    if let (Some(text), Some(amount)) = (&args.min_amount, &min_amount) {
        check_places(text, amount, &asked_assets, store, chain)?;
    }
    let (statuses, any_status) = or_all(&args.status);
    let (triage, any_triage) = or_all(&args.triage);
    Ok(AlertFilter {
        addresses: asked_addresses(args)?,
        counterparties: args.counterparty.iter().map(|text| address(text)).collect::<Result<_, _>>()?,
        labels: searched("--label", &args.label)?,
        entities: searched("--entity", &args.entity)?,
        lists: args.list.clone(),
        kinds: args.kind.clone(),
        assets: asked_assets,
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
        tx: args.tx.as_deref().map(|text| transaction_hash(store, text)).transpose()?,
        rows: None,
        after: args.after.as_deref().map(|text| alert_id(store, text)).transpose()?,
        limit: (args.limit > 0).then_some(args.limit),
        order: match args.order {
            OrderArg::Asc => Order::Ascending,
            OrderArg::Desc => Order::Descending,
        },
        severe_first: true,
    })
}

/// Parts of texts to be searched for.
fn searched(option: &str, texts: &[String]) -> Result<Vec<String>, Failure> {
    match texts.iter().find(|text| !text.is_empty() && crate::text::folded(text).is_empty()) {
        Some(text) => Err(Failure::input(format!(
            "{option} {:?} has nothing but hidden characters, which searches leave out: write a part that can be seen",
            crate::text::cell(text, 40)
        ))),
        None => Ok(texts.to_vec()),
    }
}

/// The addresses of --address and of --address-file, each once.
fn asked_addresses(args: &QueryArgs) -> Result<Vec<Address>, Failure> {
    let mut addresses = args.address.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = &args.address_file {
        let text = if path.as_os_str() == "-" {
            std::io::read_to_string(std::io::stdin())
        } else {
            std::fs::read_to_string(path)
        };
        let text = text.map_err(|error| Failure::input(format!("cannot read {}: {error}", path.display())))?;
        let before = addresses.len();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                let wrong =
                    |error: Failure| Failure::input(format!("{} line {number}: {}", path.display(), error.message));
                addresses.push(address(line).map_err(wrong)?);
            }
        }
        if addresses.len() == before {
            return Err(Failure::input(format!("{} has no address: write one a line", path.display())));
        }
    }
    let mut seen = std::collections::HashSet::new();
    addresses.retain(|address| seen.insert(*address));
    Ok(addresses)
}

/// The smallest amount and the assets. An amount that names its asset (100eth) is of that asset.
fn amount_and_assets(args: &QueryArgs, chain: &ChainWords) -> Result<(Option<AmountFilter>, Vec<String>), Failure> {
    let Some(text) = args.min_amount.as_deref() else { return Ok((None, args.asset.clone())) };
    let MinAmount { filter, asset } = MinAmount::parse(text, chain.currency.symbol.unwrap_or_default())?;
    let Some(asset) = asset else {
        if filter.is_tiny_as_native(chain.currency.decimals)
            && (args.asset.is_empty() || args.asset.iter().any(|asset| asset == "native"))
        {
            tracing::warn!(
                "--min-amount {text} is in base units: of the native currency that is next to nothing; write 100native or 100.0"
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

/// A symbol, a contract, or a CAIP-19 id. A symbol that is the native currency's means that as well, and `native` nothing else.
fn assets(text: &str, chain: &ChainWords) -> Vec<Result<AssetFilter, Failure>> {
    let text = text.trim();
    if text.starts_with("eip155:") {
        return vec![caip19(text, chain)];
    }
    if text.starts_with("0x") || text.starts_with("0X") {
        return vec![address(text).map(|contract| AssetFilter::Contract(contract, None))];
    }
    if text.eq_ignore_ascii_case("native") {
        return vec![Ok(AssetFilter::Native)];
    }
    let mut found = vec![Ok(AssetFilter::Symbol(text.to_owned()))];
    if chain.currency.symbol.is_some_and(|symbol| text.eq_ignore_ascii_case(symbol)) {
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
        "slip44" | "native" if format!("{namespace}:{asset}") == chain.currency.reference() => Ok(AssetFilter::Native),
        "erc20" | "erc721" | "erc1155" | "erc6909" => parse_address(asset)
            .map(|contract| AssetFilter::Contract(contract, token_id))
            .map_err(|reason| bad(&reason)),
        _ => Err(bad(&format!(
            "write {}, erc20:0x…, erc721:0x…, erc1155:0x… or erc6909:0x…",
            chain.currency.reference()
        ))),
    }
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
}
