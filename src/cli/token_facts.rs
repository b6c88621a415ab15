//! Symbols and decimals in the filters of `query`: both are known only of tokens that were asked for them.

use super::Failure;
use super::alert_json::ChainWords;
use super::completeness::Question;
use crate::store::{AlertFilter, AmountFilter, AssetFilter, RangeCoverage, Store};

/// Why a filter by symbol, or by amount in units, may leave out alerts of tokens whose symbol or decimals are not known.
pub(super) fn unknown_tokens(
    question: &Question<'_>,
    filter: &AlertFilter,
    chain: &ChainWords,
) -> Result<Vec<String>, Failure> {
    let store = question.store;
    let RangeCoverage { from, to, .. } = question.coverage;
    let reason = |tokens: u64, what: &str, instead: &str| {
        (tokens > 0).then(|| {
            format!(
                "of {tokens} tokens with alerts in blocks {from} to {to} the {what} is not known, so that their alerts are left out: \
                 {instead}, or let `bolo watch` ask the tokens"
            )
        })
    };
    let (mut symbols, mut contracts) = (Vec::new(), Vec::new());
    for asset in &filter.assets {
        match asset {
            // Of the chain's own currency both are known, and its symbol asks for it.
            AssetFilter::Native => {}
            AssetFilter::Symbol(symbol)
                if chain.currency.symbol.is_some_and(|own| symbol.eq_ignore_ascii_case(own)) => {}
            AssetFilter::Symbol(symbol) => symbols.push(symbol),
            AssetFilter::Contract(contract, _) => contracts.push(*contract),
        }
    }
    let mut reasons = Vec::new();
    if !symbols.is_empty() {
        // A symbol may be that of any token.
        let tokens = store.unknown_tokens(from, to, &[])?.symbol;
        reasons.extend(reason(tokens, "symbol", "name the token by its contract"));
    }
    if matches!(filter.min_amount, Some(AmountFilter::Units(_))) {
        for symbol in symbols {
            contracts.extend(store.tokens_without_decimals(symbol)?);
        }
        if filter.assets.is_empty() || !contracts.is_empty() {
            let tokens = store.unknown_tokens(from, to, &contracts)?.decimals;
            reasons.extend(reason(tokens, "decimals", "give the amount in base units"));
        }
    }
    Ok(reasons)
}

/// Refuses an amount with more places than any of the named assets has, as far as their decimals are known.
pub(super) fn check_places(
    text: &str,
    amount: &AmountFilter,
    assets: &[AssetFilter],
    store: &Store,
    chain: &ChainWords,
) -> Result<(), Failure> {
    let mut most = None;
    for asset in assets {
        let decimals = match asset {
            AssetFilter::Native => Some(chain.currency.decimals),
            AssetFilter::Symbol(symbol) => store.decimals_of_symbol(symbol)?,
            AssetFilter::Contract(contract, _) => store.decimals_of_token(*contract)?,
        };
        most = most.max(decimals);
    }
    match most {
        Some(decimals) if amount.places() > usize::from(decimals) => Err(Failure::input(format!(
            "--min-amount {text:?} has {} decimals, and the asset has {decimals}: leave out the digits beyond",
            amount.places()
        ))),
        _ => Ok(()),
    }
}
