//! From the command line's words to endpoints, chains and blocks.

use std::time::Duration;

use alloy::eips::BlockNumHash;
use alloy::primitives::Address;

use super::args::{SourceArgs, TraceArg};
use super::{Context, Failure};
use crate::chain::canonical::HIGHEST_BLOCK;
use crate::config::{EndpointConfig, chain_facts, parse_chain, parse_seconds, parse_traces};
use crate::decode::DecodeOptions;
use crate::lists::parse_address;
use crate::pipeline::{Judge, connect};
use crate::source::{DEFAULT_MAX_ANSWER, EndpointOptions, Pool, PoolOptions, TraceMode};
use crate::store::Store;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
const DEFAULT_CONCURRENCY: usize = 8;

/// What the flags and bolo.toml say of the source, checked.
#[derive(Debug, Clone)]
pub(super) struct SourceSettings {
    pub(super) endpoints: Vec<EndpointOptions>,
    pub(super) chain_id: Option<u64>,
    pub(super) traces: TraceMode,
    pub(super) trust: bool,
    pub(super) wrapped_native: Vec<Address>,
    pub(super) timeout: Duration,
    pub(super) concurrency: usize,
    pub(super) checkpoints: Vec<BlockNumHash>,
    /// Only watching sets it.
    pub(super) quorum: usize,
    /// Only replaying sets it.
    pub(super) raw: bool,
}

impl SourceSettings {
    pub(super) fn new(context: &Context, args: &SourceArgs) -> Result<Self, Failure> {
        let config = &context.config;
        // White space parts URLs as a comma does; the path of an IPC socket may have some.
        let from_flags = args.rpc_url.iter().flat_map(|text| {
            let is_path = std::path::Path::new(text.trim()).exists();
            let parts = if is_path { vec![text.trim()] } else { text.split_whitespace().collect() };
            parts.into_iter().map(str::to_owned)
        });
        let mut urls: Vec<String> = from_flags.collect();
        if urls.is_empty() {
            let of_file = config.rpc_urls.iter().chain(config.endpoints.iter().map(|endpoint| &endpoint.url));
            urls.extend(of_file.cloned());
            let mut seen = std::collections::HashSet::new();
            urls.retain(|url| seen.insert(url.clone()));
        }
        urls.iter().for_each(|url| crate::redact::register_url(url));
        Pool::check_urls(&urls)?;
        let chain = args.chain.as_ref().or(config.chain.as_ref());
        let traces = match (args.traces, &config.traces) {
            (Some(TraceArg::Auto), _) | (None, None) => TraceMode::Auto,
            (Some(TraceArg::Require), _) => TraceMode::Require,
            (Some(TraceArg::Off), _) => TraceMode::Off,
            (None, Some(text)) => parse_traces(text).map_err(Failure::input)?,
        };
        let wrapped = if args.wrapped_native.is_empty() { &config.wrapped_native } else { &args.wrapped_native };
        let timeout = match args.timeout.or(config.timeout) {
            Some(seconds) => parse_seconds("timeout", seconds).map_err(Failure::input)?,
            None => DEFAULT_TIMEOUT,
        };
        let concurrency = args.concurrency.or(config.concurrency).unwrap_or(DEFAULT_CONCURRENCY);
        if !(1..=256).contains(&concurrency) {
            return Err(Failure::input(format!("concurrency {concurrency}: write a number from 1 to 256")));
        }
        let checkpoints = if args.checkpoint.is_empty() { &config.checkpoints } else { &args.checkpoint };
        Ok(Self {
            endpoints: urls
                .into_iter()
                .map(|url| endpoint(url, &config.endpoints, concurrency))
                .collect::<Result<_, _>>()?,
            checkpoints: checkpoints.iter().map(|text| checkpoint(text)).collect::<Result<_, _>>()?,
            quorum: 1,
            raw: false,
            chain_id: chain.map(|text| parse_chain(text)).transpose().map_err(Failure::input)?,
            traces,
            trust: args.trust_rpc,
            wrapped_native: wrapped.iter().map(|text| address(text)).collect::<Result<_, _>>()?,
            timeout,
            concurrency,
        })
    }

    /// Connects to the endpoints; `rounds` is how often all of them are asked for one thing before giving up.
    /// They must be of the store's chain, where one is given, and its blocks those of the checkpoints; what they lie about is kept there.
    pub(super) async fn connect(&self, rounds: u32, store: Option<&mut Store>) -> Result<Pool, Failure> {
        let Some(store) = store else { return Ok(Pool::connect(self.pool_options(rounds, None)?).await?) };
        let mut options = self.pool_options(rounds, store.chain_id()?)?;
        // A mistaken one is nobody's lie.
        store.vouch(&options.checkpoints)?;
        // Those that are kept hold on; one that is given anew stands for the one of its number.
        let given: Vec<_> = options.checkpoints.iter().map(|given| given.number).collect();
        options.checkpoints.extend(store.checkpoints()?.into_iter().filter(|kept| !given.contains(&kept.number)));
        Ok(connect(store, options).await?)
    }

    /// How the pool of these endpoints is made.
    pub(super) fn pool_options(&self, rounds: u32, known_chain: Option<u64>) -> Result<PoolOptions, Failure> {
        if self.endpoints.is_empty() {
            return Err(Failure::input(
                "no endpoint given: name one with --rpc-url URL, ETH_RPC_URL, or rpc_urls in bolo.toml",
            ));
        }
        if self.quorum > self.endpoints.len() {
            return Err(Failure::input(format!(
                "--quorum {} needs as many endpoints: {} given",
                self.quorum,
                self.endpoints.len()
            )));
        }
        Ok(PoolOptions {
            endpoints: self.endpoints.clone(),
            timeout: self.timeout,
            max_answer: DEFAULT_MAX_ANSWER,
            chain_id: self.chain_id.or(known_chain),
            traces: self.traces,
            rounds: Some(rounds),
            trust: self.trust,
            quorum: self.quorum,
            raw: self.raw,
            checkpoints: self.checkpoints.clone(),
        })
    }

    /// How answers of that chain are judged and decoded.
    pub(super) fn judge(&self, chain_id: u64) -> Judge {
        let mut wrapped_native = chain_facts(chain_id).wrapped_native;
        wrapped_native.extend(&self.wrapped_native);
        if self.trust {
            tracing::warn!("--trust-rpc: nothing is proven; what comes of it is marked unproven");
        }
        Judge::new(chain_id, self.trust, DecodeOptions::of_chain(chain_id, wrapped_native))
            .requiring_traces(self.traces == TraceMode::Require)
    }
}

/// An endpoint with the settings that bolo.toml has for its URL. Without, it may have as many requests in flight as the calls of
/// all blocks in flight: a block, its receipts and its traces.
fn endpoint(url: String, settings: &[EndpointConfig], concurrency: usize) -> Result<EndpointOptions, Failure> {
    let own = settings.iter().find(|own| own.url == url);
    let rate = own.and_then(|own| own.rate);
    if let Some(rate) = rate.filter(|rate| !(0.001..=100_000.0).contains(rate)) {
        return Err(Failure::input(format!("rate = {rate}: write requests a second, from 0.001 to 100000")));
    }
    let default = u32::try_from(concurrency * 3).unwrap_or(u32::MAX);
    let concurrency = own.and_then(|own| own.concurrency).unwrap_or(default);
    if !(1..=768).contains(&concurrency) {
        return Err(Failure::input(format!(
            "concurrency = {concurrency} of an endpoint: write a number from 1 to 768"
        )));
    }
    Ok(EndpointOptions { url, rate, concurrency })
}

/// Refuses a last block that no endpoint can have yet.
pub(super) async fn is_there(pool: &Pool, to: u64) -> Result<(), Failure> {
    let head = pool.head().await?.link.number;
    if to > head {
        return Err(Failure::input(format!("--to-block {to} is not there yet: the chain is at block {head}")));
    }
    Ok(())
}

/// `NUMBER:HASH`.
pub(super) fn checkpoint(text: &str) -> Result<BlockNumHash, Failure> {
    let bad =
        || Failure::input(format!("{text:?} is no checkpoint: write NUMBER:HASH, the hash as 0x and 64 hex digits"));
    let (number, hash) = text.trim().split_once(':').ok_or_else(bad)?;
    match BlockArg::parse(number) {
        Ok(BlockArg::Number(number)) => Ok(BlockNumHash { number, hash: hash.trim().parse().map_err(|_| bad())? }),
        Err(too_high) if too_high.message.contains("too high") => Err(too_high),
        _ => Err(bad()),
    }
}

/// Says what screening will do, before it does.
pub(super) fn announce(watched: usize, settings: &SourceSettings, chain_id: u64) {
    if settings.wrapped_native.is_empty() && chain_facts(chain_id).wrapped_native.is_empty() {
        tracing::info!(chain_id, "no wrapped-native contract is known for this chain: name it with --wrapped-native");
    }
    if watched == 0 {
        tracing::warn!("the watchlist is empty: blocks are taken, but nothing can alert (bolo watchlist import FILE)");
    } else {
        tracing::info!(entries = watched, "watchlist read");
    }
}

/// An address of the command line.
pub(super) fn address(text: &str) -> Result<Address, Failure> {
    parse_address(text.trim()).map_err(|reason| Failure::input(format!("{text:?} {reason}")))
}

/// A block as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockArg {
    Number(u64),
    Tag(&'static str),
}

impl BlockArg {
    pub(super) const LATEST: Self = Self::Tag("latest");

    /// Decimal, `0x…`, `1_000`, `15.5M`, or a tag.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let bad = || {
            Failure::input(format!(
                "{text:?} is no block: write a number (15537394, 15_537_394, 0xed14f2, 15.5M) or earliest, finalized, safe, latest"
            ))
        };
        let text = text.trim();
        if let Some(tag) = ["earliest", "finalized", "safe", "latest"].into_iter().find(|tag| *tag == text) {
            return Ok(Self::Tag(tag));
        }
        let plain = text.replace('_', "");
        if let Some(digits) = plain.strip_prefix("0x") {
            if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(bad());
            }
            return storable(text, u64::from_str_radix(digits, 16).ok());
        }
        let (number, factor) = match plain.as_bytes().last() {
            Some(b'k' | b'K') => (&plain[..plain.len() - 1], 1_000u64),
            Some(b'm' | b'M') => (&plain[..plain.len() - 1], 1_000_000),
            _ => (plain.as_str(), 1),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let Some(mut value) = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(factor)) else {
            return storable(text, None);
        };
        let mut unit = factor;
        for digit in fraction.bytes() {
            if unit % 10 != 0 {
                return Err(bad());
            }
            unit /= 10;
            let Some(sum) = value.checked_add(u64::from(digit - b'0') * unit) else { return storable(text, None) };
            value = sum;
        }
        storable(text, Some(value))
    }

    /// As the endpoint sees it now.
    pub(super) async fn at(self, pool: &Pool) -> Result<u64, Failure> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Tag("earliest") => Ok(0),
            Self::Tag(tag) => Ok(pool.tagged(tag).await?),
        }
    }

    /// As a range of `query` and `attest` means it: `latest` is the highest head that an endpoint reported, the others are as the store has
    /// them.
    pub(super) fn in_question(self, store: &Store) -> Result<u64, Failure> {
        match self {
            Self::LATEST => match store.open_end()? {
                Some(end) => Ok(end),
                None => self.stored(store),
            },
            _ => self.stored(store),
        }
    }

    /// As the store has it.
    pub(super) fn stored(self, store: &Store) -> Result<u64, Failure> {
        let found = match self {
            Self::Number(number) => Some(number),
            Self::Tag("earliest") => Some(0),
            Self::Tag("finalized") => store.finalized()?,
            Self::Tag("safe") => store.highest_safe()?,
            Self::Tag(_) => store.highest()?,
        };
        found.ok_or_else(|| Failure::input("the database holds no such block yet"))
    }
}

/// Refuses a number above those that a database can hold; `None` is one that is larger still.
fn storable(text: &str, number: Option<u64>) -> Result<BlockArg, Failure> {
    number.filter(|number| *number <= HIGHEST_BLOCK).map(BlockArg::Number).ok_or_else(|| {
        Failure::input(format!(
            "block {text:?} is too high: the highest block number that bolo can store is {HIGHEST_BLOCK}"
        ))
    })
}

/// Both ends of a range, in order.
pub(super) fn in_order(from: u64, to: u64) -> Result<(u64, u64), Failure> {
    if from <= to {
        Ok((from, to))
    } else {
        Err(Failure::input(format!("--from-block {from} is after --to-block {to}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::B256;

    #[test]
    fn checkpoints_are_read_and_others_refused() {
        let hash = B256::repeat_byte(0xab);
        assert_eq!(checkpoint(&format!("15.5M:{hash}")), Ok(BlockNumHash { number: 15_500_000, hash }));
        for text in ["", "1", "1:", "1:0xab", "latest:0xab", &format!("safe:{hash}"), &format!("{hash}:1")] {
            assert_eq!(checkpoint(text).unwrap_err().code, 1, "{text}");
        }
    }

    #[test]
    fn blocks_are_read_as_people_write_them() {
        for (text, number) in
            [("15537394", 15_537_394), ("1_000", 1000), ("0xed14f2", 15_537_394), ("15.5M", 15_500_000), ("2k", 2000)]
        {
            assert_eq!(BlockArg::parse(text), Ok(BlockArg::Number(number)), "{text}");
        }
        assert_eq!(BlockArg::parse("safe"), Ok(BlockArg::Tag("safe")));
        for text in ["", "-1", "1.5", "0x", "M", "1.0000001M", "99999999999999999999", "newest"] {
            assert_eq!(BlockArg::parse(text).unwrap_err().code, 1, "{text}");
        }
    }

    #[test]
    fn a_block_number_that_no_database_can_hold_is_refused_in_every_spelling() {
        for text in ["9223372036854775806", "0x7ffffffffffffffe", "9_223_372_036_854_775_806"] {
            assert_eq!(BlockArg::parse(text), Ok(BlockArg::Number(HIGHEST_BLOCK)), "{text}");
        }
        let hash = B256::repeat_byte(1);
        for text in [
            "9223372036854775808",
            "0x8000000000000000",
            "0xffffffffffffffff",
            "0xFFFF_FFFF_FFFF_FFFF",
            "0x1ffffffffffffffffffff",
            "18446744073709551615",
            "18446744073709551616",
            "10000000000000M",
            "9223372036854775.9k",
            "18446744073709551.616k",
        ] {
            let refused = BlockArg::parse(text).unwrap_err();
            assert!(refused.code == 1 && refused.message.contains("too high"), "{text}: {refused:?}");
            assert_eq!(checkpoint(&format!("{text}:{hash}")).unwrap_err().code, 1, "{text}");
        }
    }
}
