//! Ids of alerts and hashes of transactions on the command line: whole, or short as a table shows them.

use alloy::primitives::{B256, hex};

use super::Failure;
use crate::store::{HashRange, Store};
use crate::text::cell;

/// Fewer digits than that are rather a mistake than an id.
const MIN_DIGITS: usize = 4;

/// The alert that the text names.
pub(super) fn alert_id(store: &Store, text: &str) -> Result<B256, Failure> {
    let range = parse(text)?;
    let found = store.alert_ids(&range)?;
    one(&found, text, &range, "alert")
}

/// The transaction that the text names.
pub(super) fn transaction_hash(store: &Store, text: &str) -> Result<B256, Failure> {
    let range = parse(text)?;
    let found = store.transaction_hashes(&range)?;
    one(&found, text, &range, "transaction")
}

fn one(found: &[B256], text: &str, range: &HashRange, what: &str) -> Result<B256, Failure> {
    match found {
        [hash] => Ok(*hash),
        // A whole one is well-formed, whether or not it is there.
        [] if range.first == range.last => Ok(range.first),
        [] => Err(Failure::input(format!("{:?} begins no {what} of this database", cell(text, 80)))),
        several => {
            let names: Vec<_> = several.iter().map(B256::to_string).collect();
            Err(Failure::input(format!(
                "{:?} begins several {what}s: write more digits, as in {}",
                cell(text, 80),
                names.join(" or ")
            )))
        }
    }
}

/// `0x` and 64 hex digits, the first of them, or the first and last with `…` or `...` between.
fn parse(text: &str) -> Result<HashRange, Failure> {
    let bad = || {
        Failure::input(format!(
            "{:?} is no id: write 0x and 64 hex digits, the first {MIN_DIGITS} or more of them, or the short form of a table (0x60298e…1300)",
            cell(text, 80)
        ))
    };
    let plain = text.trim().to_ascii_lowercase();
    let plain = plain.strip_prefix("0x").unwrap_or(&plain);
    let (head, tail) = plain.split_once('…').or_else(|| plain.split_once("...")).unwrap_or((plain, ""));
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex(head) || !is_hex(tail) || head.len() < MIN_DIGITS || head.len() + tail.len() > 64 {
        return Err(bad());
    }
    let filled = |with: char| -> Result<B256, Failure> {
        let digits: String = head.chars().chain(std::iter::repeat(with)).take(64).collect();
        let bytes: [u8; 32] = hex::decode_to_array(digits).map_err(|_| bad())?;
        Ok(bytes.into())
    };
    Ok(HashRange { first: filled('0')?, last: filled('f')?, tail: tail.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_whole_and_in_any_short_form() {
        let id = "0x60298effc8d49a2c7ce2c963ca30897fda0c4cd4ac50b19196815cccaa4b1300";
        let whole = parse(id).unwrap();
        assert_eq!((whole.first, whole.last), (id.parse().unwrap(), id.parse().unwrap()));
        for short in ["0x60298e…1300", "60298E…1300", "0x60298e...1300", "0x60298", "6029", " 0x60298eff ", &id[..65]]
        {
            let range = parse(short).unwrap();
            assert!(range.first <= whole.first && whole.first <= range.last, "{short}");
            assert!(id.ends_with(&range.tail), "{short}");
        }
        let long = format!("{id}0");
        for bad in ["", "0x", "0x602", "0x60298g", "…1300", long.as_str(), "latest", "0x60298e…13…00"] {
            assert_eq!(parse(bad).unwrap_err().code, 1, "{bad}");
        }
    }
}
