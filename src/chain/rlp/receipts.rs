//! Receipts in their encodings: as they are hashed, or as archives shorten them.

use alloy::consensus::{Eip658Value, Receipt, ReceiptEnvelope, TxType};
use alloy::eips::eip2718::{Decodable2718, Encodable2718};
use alloy::primitives::{Bytes, Log};
use alloy::rlp::{Decodable, Error};

use super::RlpReceipts;
use super::list::{Item, encodings, items, payload};
use crate::chain::receipts::enveloped;

/// Topics of a log; the EVM has no instruction for more.
const MOST_TOPICS: usize = 4;

/// Reads receipts as they are encoded and as they are understood.
///
/// # Errors
/// What of them cannot be read.
pub(super) fn read_receipts(receipts: &RlpReceipts) -> Result<(Vec<Bytes>, Vec<ReceiptEnvelope>), String> {
    let unread = |error: Error| format!("RLP: {error}");
    let encoded = match receipts {
        RlpReceipts::List(list) => encodings(list, payload(list).map_err(unread)?).map_err(unread)?,
        RlpReceipts::Each(each) => each.clone(),
        RlpReceipts::Slim(list) => {
            let list = items(payload(list).map_err(unread)?).map_err(unread)?;
            let consensus = (0..).zip(&list).map(|(index, item)| slim(index, item)).collect::<Result<Vec<_>, _>>()?;
            return Ok((consensus.iter().map(|receipt| receipt.encoded_2718().into()).collect(), consensus));
        }
    };
    let read = |(index, bytes): (u64, &Bytes)| {
        let receipt = ReceiptEnvelope::decode_2718_exact(bytes).map_err(|error| format!("receipt {index}: {error}"))?;
        few_topics(index, receipt.logs())?;
        Ok::<_, String>(receipt)
    };
    let consensus = (0..).zip(&encoded).map(read).collect::<Result<Vec<_>, _>>()?;
    Ok((encoded, consensus))
}

/// A receipt without its bloom, which is computed.
fn slim(index: u64, item: &Item<'_>) -> Result<ReceiptEnvelope, String> {
    let read = || -> alloy::rlp::Result<(u8, Receipt<Log>)> {
        if !item.list {
            return Err(Error::UnexpectedString);
        }
        let mut rest = item.payload;
        let tx_type = u8::decode(&mut rest)?;
        let status = Eip658Value::decode(&mut rest)?;
        let cumulative_gas_used = u64::decode(&mut rest)?;
        let logs = Vec::decode(&mut rest)?;
        match rest {
            [] => Ok((tx_type, Receipt { status, cumulative_gas_used, logs })),
            _ => Err(Error::UnexpectedLength),
        }
    };
    let (tx_type, receipt) = read().map_err(|error| format!("receipt {index}: RLP: {error}"))?;
    few_topics(index, &receipt.logs)?;
    let tx_type = TxType::try_from(tx_type).map_err(|_| format!("receipt {index} is of unknown type {tx_type:#x}"))?;
    Ok(enveloped(tx_type, receipt.with_bloom()))
}

fn few_topics(index: u64, logs: &[Log]) -> Result<(), String> {
    match logs.iter().map(|log| log.topics().len()).find(|topics| *topics > MOST_TOPICS) {
        Some(topics) => Err(format!("receipt {index}: a log has {topics} topics; the EVM allows {MOST_TOPICS}")),
        None => Ok(()),
    }
}
