//! Traces of single transactions, put into the traces of their block: the text stays one that can be recorded and read again.

use alloy::primitives::B256;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::bundle::BundleError;
use super::{MissingTrace, json};

/// The trace of one transaction, as answered.
#[derive(Debug, Clone)]
pub struct SingleTrace {
    /// Index of the transaction in its block.
    pub index: u64,
    /// Its hash.
    pub hash: B256,
    /// The result of `debug_traceTransaction` with callTracer, or of `trace_transaction`.
    pub answer: Box<RawValue>,
}

/// The traces of a block with those of single transactions in the place of whatever it said of them. What names no transaction is of the
/// one at its place, unless a missing trace says that the order tells nothing: then it is left out.
///
/// # Errors
/// [`BundleError`] where the traces of the block are no list.
pub fn splice(
    block: &RawValue,
    missing: &[MissingTrace],
    singles: &[SingleTrace],
) -> Result<Box<RawValue>, BundleError> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        #[serde(default, alias = "txHash")]
        transaction_hash: Option<B256>,
    }
    let error = |error: serde_json::Error| BundleError { what: "traces", detail: error.to_string() };
    let items: Vec<&RawValue> = serde_json::from_str(block.get()).map_err(error)?;
    let unordered = missing.iter().any(|missing| missing.unordered);
    let mut spliced: Vec<String> = Vec::with_capacity(items.len() + singles.len());
    let mut done = vec![false; singles.len()];
    for (index, item) in items.into_iter().enumerate() {
        let named: Option<Named> = json::deep(item.get()).unwrap_or_default();
        let single = match named.and_then(|named| named.transaction_hash) {
            Some(hash) => singles.iter().position(|single| single.hash == hash),
            None if unordered => continue,
            None => singles.iter().position(|single| single.index == index as u64),
        };
        match single {
            None => spliced.push(item.get().to_owned()),
            Some(place) if std::mem::replace(&mut done[place], true) => {}
            Some(place) => spliced.extend(singles[place].items()),
        }
    }
    let rest = singles.iter().zip(done).filter(|(_, done)| !done);
    spliced.extend(rest.flat_map(|(single, _)| single.items()));
    RawValue::from_string(format!("[{}]", spliced.join(","))).map_err(error)
}

impl SingleTrace {
    /// As items of a block's traces.
    fn items(&self) -> Vec<String> {
        match serde_json::from_str::<Vec<&RawValue>>(self.answer.get()) {
            Ok(flat) => flat.into_iter().map(|item| item.get().to_owned()).collect(),
            Err(_) => vec![format!(r#"{{"txHash":"{}","result":{}}}"#, self.hash, self.answer.get())],
        }
    }
}
