//! A severity rule as it is written: in bolo.toml, and as JSON in the store, which keeps the rules that its alerts were rated by.

use std::fmt::Write;

use alloy::primitives::{Address, U256};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::alert::{Designation, Direction, Severity, TriageClass};
use super::watchlist::ListKind;
use crate::chain::NativeCurrency;
use crate::decode::ActivityKind;

/// One rule. Of each condition any of the values will do, all conditions must hold, and one that is left out holds always; but
/// without `triage` a rule is about `value` only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The severity that it gives.
    #[serde(deserialize_with = "one", serialize_with = "show_one")]
    pub set: Severity,
    /// Name of the entry's list.
    #[serde(default, deserialize_with = "few", serialize_with = "show", skip_serializing_if = "Vec::is_empty")]
    pub list: Vec<String>,
    /// Kind of the entry's list.
    #[serde(default, deserialize_with = "few", serialize_with = "show", skip_serializing_if = "Vec::is_empty")]
    pub list_kind: Vec<ListKind>,
    /// A program of the entry, in any case.
    #[serde(default, deserialize_with = "few", serialize_with = "show", skip_serializing_if = "Vec::is_empty")]
    pub program: Vec<String>,
    /// How the block's time relates to the entry's listing.
    #[serde(default, deserialize_with = "few", serialize_with = "show", skip_serializing_if = "Vec::is_empty")]
    pub designation: Vec<Designation>,
    /// Side of the watched address.
    #[serde(default, deserialize_with = "few", serialize_with = "show", skip_serializing_if = "Vec::is_empty")]
    pub direction: Vec<Direction>,
    /// Kind of movement.
    #[serde(default, deserialize_with = "few", serialize_with = "show", skip_serializing_if = "Vec::is_empty")]
    pub kind: Vec<ActivityKind>,
    /// What moved.
    #[serde(default, deserialize_with = "few", serialize_with = "show", skip_serializing_if = "Vec::is_empty")]
    pub asset: Vec<RuleAsset>,
    /// At least so much; only with `asset`.
    #[serde(
        default,
        deserialize_with = "maybe",
        serialize_with = "show_maybe",
        skip_serializing_if = "Option::is_none"
    )]
    pub min_amount: Option<MinAmount>,
    /// Triage class; empty: `value`.
    #[serde(default, deserialize_with = "few", serialize_with = "show", skip_serializing_if = "Vec::is_empty")]
    pub triage: Vec<TriageClass>,
    /// Whether the activity touches an own wallet, on either side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<bool>,
}

impl Rule {
    /// What no single value shows to be wrong.
    ///
    /// # Errors
    /// One line.
    pub fn check(&self) -> Result<(), String> {
        let Some(least) = &self.min_amount else { return Ok(()) };
        let native = |asset: &RuleAsset| matches!(asset, RuleAsset::Native(_));
        if self.asset.is_empty() {
            return Err("min_amount needs asset: so many base units of one token say nothing of another's".to_owned());
        }
        if least.text.contains('.') && !self.asset.iter().all(native) {
            return Err(format!(
                "min_amount = {:?} with a decimal point is for asset = \"native\" only: what a token says of its decimals is not proven, \
                 so write base units",
                least.text
            ));
        }
        if !least.text.contains('.') && self.asset.len() > 1 {
            return Err("min_amount in base units needs one asset: write a rule for each".to_owned());
        }
        Ok(())
    }

    /// The rule in one line, as it could be written.
    pub fn text(&self) -> String {
        let mut text = format!("set = {:?}", self.set.name());
        add(&mut text, "list", &self.list);
        add(&mut text, "list_kind", &self.list_kind);
        add(&mut text, "program", &self.program);
        add(&mut text, "designation", &self.designation);
        add(&mut text, "direction", &self.direction);
        add(&mut text, "kind", &self.kind);
        add(&mut text, "asset", &self.asset);
        add(&mut text, "min_amount", self.min_amount.as_slice());
        add(&mut text, "triage", &self.triage);
        if let Some(own) = self.own {
            let _ = write!(text, ", own = {own}");
        }
        text
    }
}

fn add<T: Word>(text: &mut String, key: &str, values: &[T]) {
    let words: Vec<_> = values.iter().map(|value| format!("{:?}", value.show())).collect();
    let _ = match words.as_slice() {
        [] => Ok(()),
        [one] => write!(text, ", {key} = {one}"),
        many => write!(text, ", {key} = [{}]", many.join(", ")),
    };
}

/// What moved, by what a block proves: a symbol is what any token may call itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleAsset {
    /// The chain's own currency; of that chain, where it is named.
    Native(Option<u64>),
    /// A contract's tokens, or one of its ids.
    Contract {
        /// The chain, where it is named.
        chain: Option<u64>,
        /// The contract.
        contract: Address,
        /// Which one.
        token_id: Option<U256>,
        /// As it was written.
        text: String,
    },
}

/// At least so much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinAmount {
    /// In base units; of what is written with a decimal point, in units of 10^-18.
    value: U256,
    text: String,
}

impl MinAmount {
    /// Whether an amount in base units is enough. What is written with a decimal point is of the chain's own currency.
    pub fn is_reached(&self, amount: U256, chain_id: u64) -> bool {
        if !self.text.contains('.') {
            return amount >= self.value;
        }
        let places = 18u8.saturating_sub(NativeCurrency::of_chain(chain_id).decimals);
        amount >= self.value.div_ceil(U256::from(10).pow(U256::from(places)))
    }
}

/// A value that is written as a word.
trait Word: Sized {
    fn read(text: &str) -> Result<Self, String>;
    fn show(&self) -> String;
}

macro_rules! words_of {
    ($($named:ty),+) => {$(
        impl Word for $named {
            fn read(text: &str) -> Result<Self, String> {
                Self::from_name(text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|(_, name)| *name).collect();
                    format!("{text:?}: write one of {}", known.join(", "))
                })
            }

            fn show(&self) -> String {
                self.name().to_owned()
            }
        }
    )+};
}

words_of!(Severity, ListKind, Designation, Direction, ActivityKind, TriageClass);

impl Word for String {
    fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() { Err("an empty name".to_owned()) } else { Ok(text.to_owned()) }
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Word for RuleAsset {
    fn read(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "{text:?}: write native, a contract's address or a CAIP-19 id (a symbol is what any token may call itself)"
            )
        };
        let contract = |chain, contract: &str, token_id| {
            let address: Address = contract.parse().map_err(|_| bad())?;
            let hex = contract.trim_start_matches("0x");
            let mixed =
                hex.contains(|c: char| c.is_ascii_uppercase()) && hex.contains(|c: char| c.is_ascii_lowercase());
            if mixed && !address.to_checksum(None).ends_with(hex) {
                return Err(format!("{text:?}: the address has a wrong checksum"));
            }
            let contract = address;
            Ok(Self::Contract { chain, contract, token_id, text: text.to_owned() })
        };
        if text == "native" {
            return Ok(Self::Native(None));
        }
        let Some(rest) = text.strip_prefix("eip155:") else { return contract(None, text, None) };
        let mut parts = rest.split('/');
        let chain: u64 = parts.next().and_then(|chain| chain.parse().ok()).ok_or_else(bad)?;
        let (namespace, asset) = parts.next().and_then(|part| part.split_once(':')).ok_or_else(bad)?;
        let token_id = match parts.next() {
            Some(id) => Some(U256::from_str_radix(id, 10).map_err(|_| bad())?),
            None => None,
        };
        match (namespace, parts.next()) {
            ("slip44" | "native", None) if token_id.is_none() => {
                let currency = NativeCurrency::of_chain(chain);
                if format!("{namespace}:{asset}") == currency.reference() {
                    Ok(Self::Native(Some(chain)))
                } else {
                    Err(format!("{text:?}: chain {chain} has the currency {}", currency.caip19(chain)))
                }
            }
            ("erc20" | "erc721" | "erc1155" | "erc6909", None) => contract(Some(chain), asset, token_id),
            _ => Err(bad()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Native(None) => "native".to_owned(),
            Self::Native(Some(chain)) => NativeCurrency::of_chain(*chain).caip19(*chain),
            Self::Contract { text, .. } => text.clone(),
        }
    }
}

impl Word for MinAmount {
    fn read(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "{text:?}: write base units (\"1500000\"), or units of the chain's own currency with a decimal point (\"1.5\")"
            )
        };
        let plain = text.trim().replace('_', "");
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let base = match plain.split_once('.') {
            Some((whole, fraction)) if digits(whole) && digits(fraction) && fraction.len() <= 18 => {
                format!("{whole}{fraction:0<18}")
            }
            None if digits(&plain) => plain,
            _ => return Err(bad()),
        };
        let value = U256::from_str_radix(&base, 10).map_err(|_| bad())?;
        Ok(Self { value, text: text.to_owned() })
    }

    fn show(&self) -> String {
        self.text.clone()
    }
}

/// A word, or several in an array.
struct Few<T>(std::marker::PhantomData<T>);

impl<'de, T: Word> Visitor<'de> for Few<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a word in quotes, or several in [ ]")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        T::read(text).map(|word| vec![word]).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut words = Vec::new();
        while let Some(text) = seq.next_element::<String>()? {
            words.push(T::read(&text).map_err(A::Error::custom)?);
        }
        if words.is_empty() { Err(A::Error::custom("an empty list would never fit: leave it out")) } else { Ok(words) }
    }
}

fn few<'de, D: Deserializer<'de>, T: Word>(from: D) -> Result<Vec<T>, D::Error> {
    from.deserialize_any(Few(std::marker::PhantomData))
}

fn one<'de, D: Deserializer<'de>, T: Word>(from: D) -> Result<T, D::Error> {
    T::read(&String::deserialize(from)?).map_err(D::Error::custom)
}

fn maybe<'de, D: Deserializer<'de>, T: Word>(from: D) -> Result<Option<T>, D::Error> {
    one(from).map(Some)
}

fn show<S: Serializer, T: Word>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().map(Word::show))
}

fn show_one<S: Serializer, T: Word>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&value.show())
}

fn show_maybe<S: Serializer, T: Word>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(Word::show).serialize(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_the_same_after_the_store_kept_it() {
        let text = r#"{"set":"severe","list":["a","b"],"list_kind":["blocking"],"program":["DPRK3"],"designation":["listed"],"direction":["out"],"kind":["wrap"],"asset":["native","eip155:1/slip44:60"],"min_amount":"1_000.5","triage":["value"],"own":true}"#;
        let rule: Rule = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&rule).unwrap(), text);
        assert_eq!(
            rule.text(),
            r#"set = "severe", list = ["a", "b"], list_kind = "blocking", program = "DPRK3", designation = "listed", direction = "out", kind = "wrap", asset = ["native", "eip155:1/slip44:60"], min_amount = "1_000.5", triage = "value", own = true"#
        );
        let least = rule.min_amount.clone().unwrap().value;
        assert_eq!(least, U256::from(1_000_500_000_000_000_000_000u128));
        assert_eq!(rule.check(), Ok(()));
    }

    #[test]
    fn what_cannot_be_told_for_sure_is_refused() {
        let bad = |rule: serde_json::Value| match serde_json::from_value::<Rule>(rule) {
            Ok(rule) => rule.check().unwrap_err(),
            Err(error) => error.to_string(),
        };
        let token = "0x1111111111111111111111111111111111111111";
        for (rule, why) in [
            (serde_json::json!({}), "set"),
            (serde_json::json!({"set": "worst"}), "severe"),
            (serde_json::json!({"set": "low", "direction": "sideways"}), "party"),
            (serde_json::json!({"set": "low", "list": []}), "leave it out"),
            (serde_json::json!({"set": "low", "list": " "}), "empty name"),
            (serde_json::json!({"set": "low", "colour": "red"}), "colour"),
            (serde_json::json!({"set": "low", "asset": "USDC"}), "symbol"),
            (
                serde_json::json!({"set": "low", "asset": "0xDac17F958D2ee523a2206206994597C13D831ec7"}),
                "wrong checksum",
            ),
            (serde_json::json!({"set": "low", "asset": "eip155:1/slip44:60/7"}), "CAIP-19"),
            (serde_json::json!({"set": "low", "min_amount": "5"}), "needs asset"),
            (serde_json::json!({"set": "low", "asset": token, "min_amount": "1.5"}), "base units"),
            (serde_json::json!({"set": "low", "asset": [token, "native"], "min_amount": "5"}), "a rule for each"),
            (serde_json::json!({"set": "low", "asset": token, "min_amount": "1e18"}), "base units"),
            (serde_json::json!({"set": "low", "own": "yes"}), "boolean"),
        ] {
            let found = bad(rule.clone());
            assert!(found.contains(why), "{rule}: {found}");
        }
    }
}
