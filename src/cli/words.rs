//! Option values of a fixed set: accepted in any case, and by any prefix that only one of them has.

use std::ffi::OsStr;

use alloy::primitives::Address;
use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, ValueEnum};

/// The set, each value with its word.
#[derive(Debug, Clone)]
pub(super) struct Words<T>(Vec<(T, PossibleValue)>);

impl<T: Copy> Words<T> {
    /// Of an enum whose words are stored and printed as well.
    pub(super) fn of(all: &[(T, &'static str)]) -> Self {
        Self(all.iter().map(|(value, word)| (*value, PossibleValue::new(*word))).collect())
    }

    /// Of an enum that only the command line has.
    pub(super) fn of_enum() -> Self
    where
        T: ValueEnum,
    {
        let with_word = |value: &T| value.to_possible_value().map(|word| (*value, word));
        Self(T::value_variants().iter().filter_map(with_word).collect())
    }

    /// The same with `all`, which stands for no restriction.
    pub(super) fn or_all(self) -> Words<Option<T>> {
        let mut words: Vec<_> = self.0.into_iter().map(|(value, word)| (Some(value), word)).collect();
        words.push((None, PossibleValue::new("all")));
        Words(words)
    }

    /// The value of a word, or the words that `text` may mean: none or several.
    fn find(&self, text: &str) -> Result<T, Vec<&str>> {
        let text = text.trim().to_ascii_lowercase();
        if let Some((value, _)) = self.0.iter().find(|(_, word)| word.get_name() == text) {
            return Ok(*value);
        }
        let begin: Vec<_> = self.0.iter().filter(|(_, word)| word.get_name().starts_with(&text)).collect();
        match begin.as_slice() {
            [(value, _)] if !text.is_empty() => Ok(*value),
            _ => Err(begin.into_iter().map(|(_, word)| word.get_name()).collect()),
        }
    }
}

impl<T: Copy + Send + Sync + 'static> TypedValueParser for Words<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let text = value.to_string_lossy();
        self.find(&text).map_err(|may_mean| {
            let all = || self.0.iter().map(|(_, word)| word.get_name()).collect();
            let known: Vec<&str> = if may_mean.is_empty() || text.trim().is_empty() { all() } else { may_mean };
            let mut error = clap::Error::new(ErrorKind::InvalidValue).with_cmd(command);
            if let Some(arg) = arg {
                error.insert(ContextKind::InvalidArg, ContextValue::String(arg.to_string()));
            }
            error.insert(ContextKind::InvalidValue, ContextValue::String(text.into_owned()));
            let known = known.into_iter().map(str::to_owned).collect();
            error.insert(ContextKind::ValidValue, ContextValue::Strings(known));
            error
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(|(_, word)| word.clone())))
    }
}

/// Why a value was refused, in one line; none where something else is wrong with the command line.
pub(super) fn refused_value(error: &clap::Error) -> Option<String> {
    if error.kind() == ErrorKind::UnknownArgument {
        return misplaced_address(error);
    }
    if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
        return None;
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let option = text(ContextKind::InvalidArg)?.split([' ', '=', '[']).next()?;
    let known = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(known)) if !known.is_empty() => Some(format!("write one of {}", known.join(", "))),
        _ => None,
    };
    let what_to_do = std::error::Error::source(error)
        .map(ToString::to_string)
        .or(known)
        .unwrap_or_else(|| "it needs a value".to_owned());
    Some(match text(ContextKind::InvalidValue).unwrap_or_default() {
        "" => format!("{option} has no value: {what_to_do}"),
        value => format!("{option} {value:?}: {what_to_do}"),
    })
}

/// What to write instead of an address that belongs to no option, where the command takes addresses by one.
fn misplaced_address(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else { return None };
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else { return None };
    let is_taken = word.parse::<Address>().is_ok() && usage.to_string().contains("--address");
    is_taken.then(|| format!("{word:?} belongs to no option: write --address {word}"))
}

/// A number of seconds, with or without a fraction.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let wrong = || "write a number of seconds, such as 12 or 0.5".to_owned();
    text.trim().parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0).ok_or_else(wrong)
}

/// A whole number.
pub(super) fn count<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    let wrong = || "write a whole number, such as 8 or 1_000".to_owned();
    text.trim().replace('_', "").parse().map_err(|_| wrong())
}

/// Joins a value that begins with a minus sign and a digit to its option, so that the option says what it takes. clap would take
/// `-7d` for an option of its own.
pub fn join_negative_values(args: impl Iterator<Item = std::ffi::OsString>) -> Vec<std::ffi::OsString> {
    let mut joined: Vec<std::ffi::OsString> = Vec::new();
    for arg in args {
        let negative = arg.to_str().is_some_and(|text| {
            text.strip_prefix('-')
                .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit() || first == '.'))
        });
        match joined.last_mut() {
            Some(option) if negative && is_bare_option(option) => {
                option.push("=");
                option.push(arg);
            }
            _ => joined.push(arg),
        }
    }
    joined
}

fn is_bare_option(arg: &OsStr) -> bool {
    arg.to_str().is_some_and(|text| text.len() > 2 && text.starts_with("--") && !text.contains('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::ActivityKind;
    use crate::screen::{AlertStatus, Severity};

    #[test]
    fn a_word_is_found_in_any_case_and_by_a_prefix_that_only_it_has() {
        let kinds = Words::of(ActivityKind::ALL);
        for text in ["erc20_transfer", "ERC20_Transfer", "erc20", " Erc20_t"] {
            assert_eq!(kinds.find(text), Ok(ActivityKind::Erc20Transfer), "{text}");
        }
        let severities = Words::of(Severity::ALL);
        assert_eq!(severities.find("High"), Ok(Severity::High));
        assert_eq!(severities.find("s"), Ok(Severity::Severe));
        // `transaction` is a whole word, though nothing else begins with it; `un` is not the word `unwrap` alone for ever.
        assert_eq!(kinds.find("wrap"), Ok(ActivityKind::Wrap));
        assert!(kinds.find("erc").unwrap_err().len() >= 3, "an ambiguous prefix names what it may mean");
        for nothing in ["", " ", "tsv", "erc20_transfers"] {
            assert!(severities.find(nothing).is_err(), "{nothing:?}");
        }
        let statuses = Words::of(AlertStatus::ALL).or_all();
        assert_eq!(statuses.find("ALL"), Ok(None));
        assert_eq!(statuses.find("pend"), Ok(Some(AlertStatus::Pending)));
    }

    #[test]
    fn a_wrong_value_is_one_line_and_exit_1_and_a_wrong_option_is_usage() {
        let line = |args: &[&str]| {
            let error = <crate::cli::Cli as clap::Parser>::try_parse_from(args).unwrap_err();
            let failure = crate::cli::refused(&error)?;
            assert_eq!(failure.code, 1);
            Some(failure.message)
        };
        let all = "write one of table, json, jsonl, csv";
        assert_eq!(line(&["bolo", "query", "--format", "tsv"]).unwrap(), format!("--format \"tsv\": {all}"));
        assert_eq!(line(&["bolo", "watchlist", "show", "--format="]).unwrap(), format!("--format has no value: {all}"));
        let cases: [(&[&str], &str); 4] = [
            (
                &["bolo", "query", "--severity", "urgent"],
                "--severity \"urgent\": write one of low, medium, high, severe",
            ),
            (&["bolo", "query", "--limit=-1"], "--limit \"-1\": write a whole number, such as 8 or 1_000"),
            (&["bolo", "watch", "--slot", "soon"], "--slot \"soon\": write a number of seconds, such as 12 or 0.5"),
            (
                &["bolo", "query", "--kind", "erc"],
                "--kind \"erc\": write one of erc20_transfer, erc721_transfer, erc1155_transfer",
            ),
        ];
        for (args, expected) in cases {
            assert!(line(args).unwrap().starts_with(expected), "{args:?}: {:?}", line(args));
        }
        for usage in [&["bolo", "query", "--colour"][..], &["bolo", "record"], &["bolo", "quary"]] {
            assert_eq!(line(usage), None, "{usage:?}");
        }
    }

    #[test]
    fn numbers_say_what_they_are_to_be() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        assert_eq!(count("1_000"), Ok(1000u64));
        for bad in ["", "abc", "-1", "1e", "NaN", "inf"] {
            assert!(seconds(bad).unwrap_err().contains("number of seconds"), "{bad}");
            assert!(count::<u64>(bad).unwrap_err().contains("whole number"), "{bad}");
        }
    }

    #[test]
    fn a_negative_value_reaches_its_option() {
        let joined = |args: &[&str]| join_negative_values(args.iter().map(Into::into));
        assert_eq!(joined(&["bolo", "query", "--limit", "-1"]), ["bolo", "query", "--limit=-1"]);
        assert_eq!(joined(&["--since", "-7d", "--until", "-.5h"]), ["--since=-7d", "--until=-.5h"]);
        assert_eq!(joined(&["-v", "-1", "--a=b", "-2", "-q"]), ["-v", "-1", "--a=b", "-2", "-q"]);
    }
}
