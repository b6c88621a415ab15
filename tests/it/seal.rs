//! Small blocks that prove: a few transactions of a real block with their receipts, and a header made anew around them.

use alloy::consensus::{Eip658Value, Header, Receipt, ReceiptEnvelope, TxReceipt as _, Typed2718 as _};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{B256, Bloom, Log, LogData, keccak256};
use alloy::trie::root::ordered_trie_root_encoded;
use bolo::chain::BlockBundle;
use serde_json::{Map, Value, json};

use crate::mutant::Random;

/// A block with its receipts.
#[derive(Clone)]
pub(crate) struct Sealed {
    block: Value,
    receipts: Value,
}

/// Up to three transactions of a block, one of them of that type; none where it has none.
pub(crate) fn mini(block: &Value, receipts: &Value, kind: &str, random: &mut Random) -> Option<Sealed> {
    let (transactions, all) = (block["transactions"].as_array()?, receipts.as_array()?);
    let short = |index: &usize| transactions[*index].to_string().len() + all[*index].to_string().len() < 12_000;
    let fitting: Vec<_> = (0..all.len()).filter(short).collect();
    let of_kind: Vec<_> = fitting.iter().filter(|index| transactions[**index]["type"] == kind).copied().collect();
    if of_kind.is_empty() {
        return None;
    }
    let mut chosen = vec![*random.pick(&of_kind)];
    chosen.extend((0..random.below(3)).map(|_| *random.pick(&fitting)));
    chosen.sort_unstable();
    chosen.dedup();
    let mut sealed = Sealed { block: block.clone(), receipts: Value::Null };
    sealed.block["transactions"] = chosen.iter().map(|index| transactions[*index].clone()).collect();
    sealed.receipts = chosen.iter().map(|index| all[*index].clone()).collect();
    if let Some(withdrawals) = sealed.block["withdrawals"].as_array_mut() {
        withdrawals.truncate(2);
    }
    sealed.seal(true)
}

impl Sealed {
    /// As it is written where keys are sorted.
    pub(crate) fn text(&self) -> (String, String) {
        (self.block.to_string(), self.receipts.to_string())
    }

    /// The type of its first transaction of the highest type.
    pub(crate) fn kind(&self) -> usize {
        let kinds = self.block["transactions"].as_array().unwrap().iter();
        kinds.map(|tx| tx["type"].as_str().map_or(0, |kind| usize::from(kind.as_bytes()[2] - b'0'))).max().unwrap()
    }

    /// Written with the keys of each object in any order.
    pub(crate) fn shuffled(&self, random: &mut Random) -> (String, String) {
        let (mut block, mut receipts) = (String::new(), String::new());
        write(&self.block, &mut block, random);
        write(&self.receipts, &mut receipts, random);
        (block, receipts)
    }

    /// With other values in it, and proving again; none where that cannot be.
    pub(crate) fn changed(&self, random: &mut Random) -> Option<Self> {
        let mut changed = self.clone();
        for _ in 0..=random.below(3) {
            let count = changed.receipts.as_array()?.len();
            let index = random.below(count);
            match random.below(12) {
                0 => {
                    changed.block["transactions"].as_array_mut()?.remove(index);
                    changed.receipts.as_array_mut()?.remove(index);
                    if count == 1 {
                        return changed.seal(true);
                    }
                }
                1 | 2 => {
                    let tx = &mut changed.block["transactions"][index];
                    let key = *random.pick(&["nonce", "gas", "value", "r", "s"]);
                    tx[key] = json!(quantity(random, if key == "nonce" || key == "gas" { 64 } else { 256 }));
                }
                3 => changed.block["transactions"][index]["input"] = json!(hex(random.below(70), random)),
                4 => {
                    let tx = &mut changed.block["transactions"][index];
                    if tx["accessList"].is_array() {
                        tx["accessList"] = (0..random.below(4)).map(|_| entry(random)).collect();
                    }
                }
                5 => {
                    let logs = changed.receipts[index]["logs"].as_array_mut()?;
                    if !logs.is_empty() {
                        let at = random.below(logs.len());
                        logs[at]["topics"] = (0..random.below(6)).map(|_| json!(hex(32, random))).collect();
                        logs[at]["data"] = json!(hex(random.below(70), random));
                        if random.chance(30) {
                            let copy = logs[at].clone();
                            logs.push(copy);
                        }
                        if random.chance(30) {
                            logs.remove(at);
                        }
                    }
                }
                6 => {
                    let status = json!(random.pick(&["0x0", "0x1", "0x1", "0x2"]));
                    if changed.receipts[index]["status"].is_string() {
                        changed.receipts[index]["status"] = status;
                    }
                }
                7 => {
                    let list = changed.block["transactions"][index]["blobVersionedHashes"].as_array_mut();
                    if let Some(list) = list {
                        list.push(json!(hex(32, random)));
                        changed.receipts[index]["blobGasUsed"] = json!(format!("{:#x}", list.len() * 131_072));
                    }
                }
                8 => {
                    let list = changed.block["transactions"][index]["authorizationList"].as_array_mut();
                    if let Some(list) = list {
                        let copy = list.first().cloned();
                        list.extend(copy);
                    }
                }
                9 => changed.receipts[index]["gasUsed"] = json!(quantity(random, 40)),
                10 => {
                    let parity = random.below(2);
                    let tx = &mut changed.block["transactions"][index];
                    if tx["yParity"].is_string() {
                        tx["yParity"] = json!(format!("{parity:#x}"));
                        tx["v"] = tx["yParity"].clone();
                    }
                }
                _ => {
                    let tx = &mut changed.block["transactions"][index];
                    let optional = ["yParity", "v", "chainId", "gasPrice", "type", "blockTimestamp"];
                    let key = *random.pick(&optional);
                    if random.chance(50) { drop(tx.as_object_mut()?.remove(key)) } else { tx[key] = Value::Null }
                }
            }
        }
        changed.seal(true)
    }

    /// With blooms that are not those of its logs, and hashes that fit all the same.
    pub(crate) fn with_false_blooms(&self) -> Option<Self> {
        self.clone().seal(false)
    }

    /// Hashes, roots, places and sums made to fit what is in it.
    fn seal(mut self, true_bloom: bool) -> Option<Self> {
        let header = self.block.as_object()?.clone();
        let mut header: Header = serde_json::from_value(Value::Object(header)).ok()?;
        let bundle = self.parse()?;
        let mut encoded = Vec::new();
        for (index, tx) in bundle.body.transactions.iter().flatten().enumerate() {
            let bytes = tx.to_envelope(index as u64).ok()?.encoded_2718();
            self.block["transactions"][index]["hash"] = json!(keccak256(&bytes));
            encoded.push(bytes);
        }
        header.transactions_root = ordered_trie_root_encoded(&encoded);
        let mut bloom = Bloom::ZERO;
        let mut sum = 0u64;
        let mut all = Vec::new();
        for (index, (receipt, tx)) in bundle.receipts.iter().zip(bundle.body.transactions.iter().flatten()).enumerate()
        {
            sum = sum.checked_add(receipt.gas_used.value()?.to())?;
            let logs = receipt.logs.iter().map(|log| {
                // More than four topics cannot be in a root: they are refused before.
                Log { address: log.address, data: LogData::new_unchecked(log.topics.clone(), log.data.clone()) }
            });
            let status = match (receipt.status.value(), receipt.root.value()) {
                (Some(status), _) => Eip658Value::Eip658(!status.is_zero()),
                (None, Some(root)) => Eip658Value::PostState(B256::try_from(root.as_ref()).ok()?),
                (None, None) => return None,
            };
            let envelope = tx.to_envelope(index as u64).ok()?;
            let mut inner = Receipt { status, cumulative_gas_used: sum, logs: logs.collect() }.with_bloom();
            inner.logs_bloom.0[7] ^= u8::from(!true_bloom);
            bloom.accrue_bloom(&inner.bloom());
            let place = &mut self.receipts[index];
            place["logsBloom"] = json!(inner.bloom());
            place["cumulativeGasUsed"] = json!(format!("{sum:#x}"));
            place["transactionHash"] = self.block["transactions"][index]["hash"].clone();
            if header.base_fee_per_gas.is_some() || place["effectiveGasPrice"].is_string() {
                let paid = bolo::chain::transaction::effective_gas_price(&envelope, header.base_fee_per_gas);
                place["effectiveGasPrice"] = json!(format!("{paid:#x}"));
                let tx = &mut self.block["transactions"][index];
                if tx["maxFeePerGas"].is_string() && tx["gasPrice"].is_string() {
                    tx["gasPrice"] = json!(format!("{paid:#x}"));
                }
            }
            if tx.to.is_none() && !receipt.contract_address.is_absent() {
                place["contractAddress"] = json!(tx.from.value()?.create(tx.nonce.to()));
            }
            let receipt = match envelope.ty() {
                0 => ReceiptEnvelope::Legacy(inner),
                1 => ReceiptEnvelope::Eip2930(inner),
                2 => ReceiptEnvelope::Eip1559(inner),
                3 => ReceiptEnvelope::Eip4844(inner),
                _ => ReceiptEnvelope::Eip7702(inner),
            };
            all.push(receipt.encoded_2718());
        }
        header.receipts_root = ordered_trie_root_encoded(&all);
        (header.logs_bloom, header.gas_used) = (bloom, sum);
        if let Some(withdrawals) = bundle.body.withdrawals.value() {
            header.withdrawals_root = Some(alloy::consensus::proofs::calculate_withdrawals_root(withdrawals));
            self.block["withdrawalsRoot"] = json!(header.withdrawals_root);
        }
        self.block["transactionsRoot"] = json!(header.transactions_root);
        self.block["receiptsRoot"] = json!(header.receipts_root);
        self.block["logsBloom"] = json!(bloom);
        self.block["gasUsed"] = json!(format!("{sum:#x}"));
        // Its length is another one now: nodes may leave it out.
        self.block.as_object_mut()?.remove("size");
        let hash = json!(header.hash_slow());
        self.block["hash"] = hash.clone();
        self.place(&hash);
        Some(self)
    }

    fn parse(&self) -> Option<BlockBundle> {
        let (block, receipts) = self.text();
        BlockBundle::parse(block.as_bytes(), receipts.as_bytes(), None).ok()
    }

    /// What each object says of its place.
    fn place(&mut self, hash: &Value) {
        let mut log_index = 0;
        let count = self.receipts.as_array().map_or(0, Vec::len);
        for index in 0..count {
            let at = json!(format!("{index:#x}"));
            let tx_hash = self.block["transactions"][index]["hash"].clone();
            for object in [&mut self.block["transactions"][index], &mut self.receipts[index]] {
                object["blockHash"] = hash.clone();
                object["transactionIndex"] = at.clone();
            }
            for log in self.receipts[index]["logs"].as_array_mut().into_iter().flatten() {
                log["blockHash"] = hash.clone();
                log["transactionIndex"] = at.clone();
                log["transactionHash"] = tx_hash.clone();
                log["logIndex"] = json!(format!("{log_index:#x}"));
                log_index += 1;
            }
        }
    }
}

fn hex(bytes: usize, random: &mut Random) -> String {
    let digits = (0..2 * bytes).map(|_| char::from(b"0123456789abcdef"[random.below(16)]));
    std::iter::once("0x".to_owned()).chain(digits.map(String::from)).collect()
}

fn quantity(random: &mut Random, bits: usize) -> String {
    let digits = 1 + random.below(bits / 4);
    let text = hex(digits.div_ceil(2), random);
    let text = text[2..2 + digits].trim_start_matches('0');
    if text.is_empty() { "0x0".to_owned() } else { format!("0x{text}") }
}

fn entry(random: &mut Random) -> Value {
    let keys: Vec<_> = (0..random.below(4)).map(|_| hex(32, random)).collect();
    json!({"address": hex(20, random), "storageKeys": keys})
}

fn write(value: &Value, out: &mut String, random: &mut Random) {
    match value {
        Value::Object(members) => write_object(members, out, random),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out, random);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn write_object(members: &Map<String, Value>, out: &mut String, random: &mut Random) {
    let mut members: Vec<_> = members.iter().collect();
    for last in (1..members.len()).rev() {
        members.swap(last, random.below(last + 1));
    }
    out.push('{');
    for (index, (key, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&format!("{key:?}:"));
        write(value, out, random);
    }
    out.push('}');
}
