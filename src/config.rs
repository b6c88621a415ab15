//! Flags, environment and bolo.toml, merged and checked once into plain values. Flags and environment win over the file.

mod lists;

use std::borrow::Cow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy::primitives::Address;
use alloy_chains::Chain;
use serde::Deserialize;

pub use lists::{ListConfig, ListSettings, Rhythm, RhythmSettings, check_list_name, list_settings};

use crate::screen::{Rule, Rules};
use crate::source::TraceMode;

/// What a file with secrets allows beyond mode 0640: that its group changes it, or that every user reads it.
const TOO_OPEN: u32 = 0o027;

/// What bolo.toml may hold. Unknown keys are refused: a mistyped one would be without effect.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// The database.
    pub db: Option<PathBuf>,
    /// Endpoints, the preferred one first.
    #[serde(default)]
    pub rpc_urls: Vec<String>,
    /// Chain, by id or name.
    pub chain: Option<String>,
    /// `auto`, `require` or `off`.
    pub traces: Option<String>,
    /// Wrapped-native contracts of a chain that is not known.
    #[serde(default)]
    pub wrapped_native: Vec<String>,
    /// Seconds between two looks at the head.
    pub poll_interval: Option<f64>,
    /// Seconds from one block to the next.
    pub slot: Option<f64>,
    /// Seconds that a call may take.
    pub timeout: Option<f64>,
    /// Blocks in flight.
    pub concurrency: Option<usize>,
    /// Endpoints that must have the same block at the head (watch).
    pub quorum: Option<usize>,
    /// Whether an index of the addresses of each block is kept, for looking back (watch, replay).
    pub lookback_index: Option<bool>,
    /// Whether what is held is screened again when the lists gain entries (watch).
    pub auto_lookback: Option<bool>,
    /// Blocks that are known for sure, as `NUMBER:HASH`.
    #[serde(default)]
    pub checkpoints: Vec<String>,
    /// Endpoints with how much may be asked of them; after those of `rpc_urls`.
    #[serde(default, rename = "endpoint")]
    pub endpoints: Vec<EndpointConfig>,
    /// Severity rules, in the order in which they are tried.
    #[serde(default)]
    pub severity: Vec<toml::Spanned<Rule>>,
    /// Lists with where they are fetched from and how often there is to be news of them.
    #[serde(default, rename = "list")]
    pub lists: Vec<ListConfig>,
}

/// An endpoint with settings of its own. They hold for its URL wherever that was named.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointConfig {
    /// Its URL or the path of its socket.
    pub url: String,
    /// Requests a second.
    pub rate: Option<f64>,
    /// Most requests in flight at once.
    pub concurrency: Option<u32>,
}

impl ConfigFile {
    /// The named file, or `bolo.toml` of the working folder where there is one.
    ///
    /// # Errors
    /// One line: the file cannot be read, or has a wrong key or value.
    pub fn load(path: Option<&Path>) -> Result<Self, String> {
        let (path, named) = path.map_or((Path::new("bolo.toml"), false), |path| (path, true));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if !named && error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(format!("cannot read the config file {}: {error}", path.display())),
        };
        // Before anything is said of it.
        crate::redact::register_urls_in(&text);
        let has_secrets = matches!(crate::redact::redacted(&text), Cow::Owned(_));
        if has_secrets && std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & TOO_OPEN != 0) {
            let path = path.display();
            tracing::warn!(
                "the config file {path} has secrets in its URLs, and other users can access it: run chmod 640 {path}"
            );
        }
        let wrong = |at: usize, why: &str| {
            let line = 1 + text[..at].matches('\n').count();
            format!("the config file {} line {line}: {}", path.display(), why.replace('\n', " "))
        };
        let config: Self =
            toml::from_str(&text).map_err(|error| wrong(error.span().map_or(0, |span| span.start), error.message()))?;
        for rule in &config.severity {
            rule.get_ref().check().map_err(|why| wrong(rule.span().start, &why))?;
        }
        config.rules().map_err(|why| wrong(config.severity.first().map_or(0, |rule| rule.span().start), &why))?;
        Ok(config)
    }

    /// The severity rules.
    ///
    /// # Errors
    /// One line: they name too many lists and programs.
    pub fn rules(&self) -> Result<Rules, String> {
        Rules::new(self.severity.iter().map(|rule| rule.get_ref().clone()).collect())
    }
}

/// What a chain has that its blocks do not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainFacts {
    /// Its wrapped-native contracts, as far as they are built in.
    pub wrapped_native: Vec<Address>,
    /// How long a block takes, where that is known.
    pub block_time: Option<Duration>,
}

/// The facts of a chain, built in for known ones.
pub fn chain_facts(chain_id: u64) -> ChainFacts {
    let named = Chain::from_id(chain_id).named();
    ChainFacts {
        wrapped_native: named.and_then(alloy_chains::NamedChain::wrapped_native_token).into_iter().collect(),
        block_time: named.and_then(alloy_chains::NamedChain::average_blocktime_hint),
    }
}

/// A chain by id or name.
///
/// # Errors
/// One line that says how to write it.
pub fn parse_chain(text: &str) -> Result<u64, String> {
    text.parse::<Chain>()
        .map(Chain::id)
        .map_err(|_| format!("{text:?} is no chain that is known by name: write its id, like 1 for Ethereum's mainnet"))
}

/// `auto`, `require` or `off`.
///
/// # Errors
/// One line.
pub fn parse_traces(text: &str) -> Result<TraceMode, String> {
    match text {
        "auto" => Ok(TraceMode::Auto),
        "require" => Ok(TraceMode::Require),
        "off" => Ok(TraceMode::Off),
        _ => Err(format!("traces = {text:?}: write auto, require or off")),
    }
}

/// Seconds, more than none and no more than an hour.
///
/// # Errors
/// One line.
pub fn parse_seconds(name: &str, seconds: f64) -> Result<Duration, String> {
    if seconds.is_finite() && seconds > 0.0 && seconds <= 3600.0 {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("{name} {seconds}: write seconds, more than 0 and at most 3600"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mainnet_is_known_by_name_and_has_its_wrapper() {
        assert_eq!(parse_chain("mainnet"), Ok(1));
        assert_eq!(parse_chain("31337"), Ok(31337));
        assert!(parse_chain("no-such-chain").is_err());
        assert_eq!(
            chain_facts(1).wrapped_native,
            [alloy::primitives::address!("C02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2")]
        );
        assert!(chain_facts(424_242_424_242).wrapped_native.is_empty());
    }

    #[test]
    fn endpoints_have_settings_of_their_own() {
        let text =
            "quorum = 2\ncheckpoints = [\"1:0xab\"]\n[[endpoint]]\nurl = \"http://a\"\nrate = 2.5\nconcurrency = 4\n";
        let config: ConfigFile = toml::from_str(text).unwrap();
        let endpoint = EndpointConfig { url: "http://a".into(), rate: Some(2.5), concurrency: Some(4) };
        assert_eq!((config.endpoints, config.quorum), (vec![endpoint], Some(2)));
        assert!(toml::from_str::<ConfigFile>("[[endpoint]]\nurl = \"http://a\"\nrates = 2\n").is_err());
    }

    #[test]
    fn an_unknown_key_in_the_config_is_an_error_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bolo.toml");
        std::fs::write(&path, "chain = \"mainnet\"\nrpc_url = \"x\"\n").unwrap();
        let error = ConfigFile::load(Some(&path)).unwrap_err();
        assert!(error.contains("line 2") && error.contains("rpc_url"), "{error}");
    }

    #[test]
    fn a_wrong_severity_rule_is_an_error_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bolo.toml");
        let rules = |text: &str| {
            std::fs::write(&path, text).unwrap();
            ConfigFile::load(Some(&path))
        };
        let good = "[[severity]]\nset = \"low\"\nlist_kind = \"blocking\"\n\n";
        let config = rules(&format!("{good}[[severity]]\nset = \"high\"\nown = true\n")).unwrap();
        assert_eq!(config.rules().unwrap().as_slice()[1].text(), "set = \"high\", own = true");
        for (bad, line, why) in [
            ("[[severity]]\nset = \"worst\"\n", 6, "severe"),
            ("[[severity]]\nset = \"low\"\nkind = [\"wrap\",\n\"swap\"]\n", 7, "unwrap"),
            ("[[severity]]\nset = \"low\"\nlists = \"x\"\n", 7, "lists"),
            ("[[severity]]\nset = \"low\"\nmin_amount = \"5\"\n", 5, "needs asset"),
            ("[[severity]]\nlist = \"x\"\n", 5, "set"),
        ] {
            let error = rules(&format!("{good}{bad}")).unwrap_err();
            assert!(error.contains(&format!("line {line}:")) && error.contains(why), "{bad}: {error}");
        }
    }
}
