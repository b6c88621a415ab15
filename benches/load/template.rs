//! A modern block, really signed and with true roots, in the sizes that mainnet has: its place in the chain is left open.

use std::ops::Range;

use alloy::consensus::proofs::calculate_withdrawals_root;
use alloy::consensus::{
    EMPTY_OMMER_ROOT_HASH, Eip658Value, EthereumTxEnvelope, Header, Receipt, ReceiptEnvelope, SignableTransaction,
    Signed, Transaction as _, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy, TxReceipt as _, Typed2718 as _,
};
use alloy::eips::eip2718::Encodable2718;
use alloy::eips::eip2930::{AccessList, AccessListItem};
use alloy::eips::eip4895::Withdrawal;
use alloy::eips::eip7702::{Authorization, SignedAuthorization};
use alloy::primitives::{Address, B64, B256, Bloom, Bytes, Log, TxKind, U256, b256, bytes};
use alloy::rlp::Encodable;
use alloy::trie::root::ordered_trie_root_encoded;

use crate::draw::{Rng, Signers, sign};
use crate::logs;
use crate::text::{Field, Text};

type Envelope = EthereumTxEnvelope<TxEip4844>;

/// Transactions of a block.
const TRANSACTIONS: u64 = 300;
const WITHDRAWALS: u64 = 16;
const BASE_FEE: u64 = 1_200_000_000;
const BLOB_PRICE: u128 = 2_298_806;
const GAS_PER_BLOB: u64 = 131_072;

/// What a block is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As mainnet's are: 60 M gas.
    Modern,
    /// 200 M gas under Amsterdam, of plain transfers alone, each with its log (EIP-7708).
    Transfers,
    /// 200 M gas under Amsterdam, of transactions with eight logs each.
    Logs,
}

impl Shape {
    fn transactions(self) -> u64 {
        match self {
            Self::Modern => TRANSACTIONS,
            Self::Transfers => 9_500,
            Self::Logs => 1_500,
        }
    }
}

/// A log's place in the text of the receipts.
pub(crate) struct LogAt {
    pub(crate) text: Range<usize>,
    pub(crate) address: Address,
    pub(crate) topics: Vec<B256>,
}

/// A transaction's hash, and its receipt's place in the text of the receipts.
pub(crate) type ReceiptAt = (B256, Range<usize>);

/// A block without number, parent and time.
pub(crate) struct Template {
    pub(crate) header: Header,
    /// With full transactions, and with their hashes only.
    pub(crate) full: Text,
    pub(crate) hashes: Text,
    pub(crate) receipts: Text,
    pub(crate) logs: Vec<LogAt>,
    /// Transaction hashes with the places of their receipts.
    pub(crate) transactions: Vec<ReceiptAt>,
    /// RLP of transactions, ommers and withdrawals: a block's body.
    pub(crate) body: Vec<u8>,
    /// As they are hashed into the roots.
    pub(crate) encoded_transactions: Vec<Vec<u8>>,
    pub(crate) encoded_receipts: Vec<Vec<u8>>,
}

struct Made {
    tx: Envelope,
    signer: Address,
    receipt: ReceiptEnvelope,
    gas_used: u64,
}

impl Template {
    pub(crate) fn new(seed: u64, signers: &Signers, shape: Shape) -> Self {
        let mut rng = Rng(seed);
        let mut gas = 0;
        let all: Vec<Made> =
            (0..shape.transactions()).map(|index| make(index, shape, &mut rng, signers, &mut gas)).collect();
        let amsterdam = shape != Shape::Modern;
        let withdrawals: Vec<Withdrawal> = (0..WITHDRAWALS).map(|index| withdrawal(index, &mut rng)).collect();
        let encoded_transactions: Vec<_> = all.iter().map(|made| made.tx.encoded_2718()).collect();
        let encoded_receipts: Vec<_> = all.iter().map(|made| made.receipt.encoded_2718()).collect();
        let blobs = all.iter().map(|made| blobs(&made.tx)).sum::<u64>();
        let header = Header {
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            beneficiary: rng.holder(),
            state_root: rng.word(),
            transactions_root: ordered_trie_root_encoded(&encoded_transactions),
            receipts_root: ordered_trie_root_encoded(&encoded_receipts),
            logs_bloom: all.iter().fold(Bloom::ZERO, |bloom, made| bloom | made.receipt.bloom()),
            gas_limit: if amsterdam { 200_000_000 } else { 60_000_000 },
            block_access_list_hash: amsterdam.then(|| rng.word()),
            slot_number: amsterdam.then_some(0xa7_d8c1),
            gas_used: gas,
            extra_data: bytes!("626f6c6f2062656e6368"),
            mix_hash: rng.word(),
            nonce: B64::ZERO,
            base_fee_per_gas: Some(BASE_FEE),
            withdrawals_root: Some(calculate_withdrawals_root(&withdrawals)),
            blob_gas_used: Some(blobs * GAS_PER_BLOB),
            excess_blob_gas: Some(0xa33_a1bb),
            parent_beacon_block_root: Some(rng.word()),
            requests_hash: Some(b256!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")),
            // Of the widths that every place in the chain has.
            number: 0x100_0000,
            timestamp: 0x6000_0000,
            ..Header::default()
        };
        let mut body = Vec::new();
        let envelopes: Vec<Envelope> = all.iter().map(|made| made.tx.clone()).collect();
        envelopes.encode(&mut body);
        Vec::<Header>::new().encode(&mut body);
        withdrawals.encode(&mut body);
        let content = header.length() + body.len();
        let size = content + alloy::rlp::length_of_length(content);
        let full = block_text(&header, size, &all, &withdrawals, true);
        let hashes = block_text(&header, size, &all, &withdrawals, false);
        let (receipts, transactions, logs) = receipts_text(&all);
        Self { header, full, hashes, receipts, logs, transactions, body, encoded_transactions, encoded_receipts }
    }
}

fn blobs(tx: &Envelope) -> u64 {
    tx.blob_versioned_hashes().map_or(0, |hashes| hashes.len() as u64)
}

fn withdrawal(index: u64, rng: &mut Rng) -> Withdrawal {
    Withdrawal {
        index: 0x718_a93b + index,
        validator_index: 0x15_3977 + index,
        address: rng.holder(),
        amount: 16_000_000 + rng.below(1_000_000),
    }
}

/// What a transaction does.
enum Act {
    Plain,
    Token,
    Swap,
}

fn make(index: u64, shape: Shape, rng: &mut Rng, signers: &Signers, cumulative: &mut u64) -> Made {
    let (key, signer) = signers.draw(rng);
    let act = match rng.below(100) {
        _ if shape == Shape::Transfers => Act::Plain,
        _ if shape == Shape::Logs => Act::Swap,
        0..35 => Act::Plain,
        35..75 => Act::Token,
        _ => Act::Swap,
    };
    let failed = shape == Shape::Modern && index % 20 == 7;
    let (to, input, logs, gas_used) = match act {
        Act::Plain => (rng.holder(), Bytes::new(), Vec::new(), 21_000),
        Act::Token => {
            let (token, log, input) = logs::token_call(signer, rng);
            (token, input, vec![log], 45_000 + rng.below(20_000))
        }
        Act::Swap => {
            let count = if shape == Shape::Logs { 8 } else { 6 + rng.below(11) };
            let length = 4 + 32 * usize::try_from(8 + rng.below(40)).unwrap();
            let logs = (0..count).map(|_| logs::of_a_swap(signer, rng)).collect();
            (rng.token(), rng.bytes(length).into(), logs, 120_000 + rng.below(200_000))
        }
    };
    let value = if matches!(act, Act::Plain) { rng.amount() } else { U256::ZERO };
    let logs = if shape == Shape::Transfers { vec![logs::native_transfer(signer, to, value)] } else { logs };
    let tx = signed(key, to, value, input, gas_used + 9_000, rng);
    let logs = if failed { Vec::new() } else { logs };
    *cumulative += gas_used;
    let receipt = Receipt { status: Eip658Value::Eip658(!failed), cumulative_gas_used: *cumulative, logs }.with_bloom();
    let receipt = match tx {
        Envelope::Legacy(_) => ReceiptEnvelope::Legacy(receipt),
        Envelope::Eip2930(_) => ReceiptEnvelope::Eip2930(receipt),
        Envelope::Eip1559(_) => ReceiptEnvelope::Eip1559(receipt),
        Envelope::Eip4844(_) => ReceiptEnvelope::Eip4844(receipt),
        Envelope::Eip7702(_) => ReceiptEnvelope::Eip7702(receipt),
    };
    Made { tx, signer, receipt, gas_used }
}

/// Of the types that mainnet has, in about its shares.
fn signed(key: B256, to: Address, value: U256, input: Bytes, gas_limit: u64, rng: &mut Rng) -> Envelope {
    let nonce = rng.below(200_000);
    let chain_id = 1;
    let max_priority_fee_per_gas = u128::from(rng.below(2_000_000_000));
    let max_fee_per_gas = u128::from(BASE_FEE) * 2 + u128::from(rng.below(1_000_000_000));
    let gas_price = u128::from(BASE_FEE + rng.below(1_000_000_000));
    let call = TxKind::Call(to);
    match rng.below(100) {
        0..20 => seal(key, TxLegacy { chain_id: Some(chain_id), nonce, gas_price, gas_limit, to: call, value, input }),
        20..22 => {
            let access_list = access_list(rng);
            seal(key, TxEip2930 { chain_id, nonce, gas_price, gas_limit, to: call, value, access_list, input })
        }
        22..24 => seal(
            key,
            TxEip4844 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas,
                max_priority_fee_per_gas,
                to,
                value,
                access_list: AccessList::default(),
                blob_versioned_hashes: (0..=rng.below(3)).map(|_| versioned(rng.word())).collect(),
                max_fee_per_blob_gas: 1_000_000_000,
                input,
            },
        ),
        24..27 => seal(
            key,
            TxEip7702 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas,
                max_priority_fee_per_gas,
                to,
                value,
                access_list: AccessList::default(),
                authorization_list: (0..=rng.below(2)).map(|_| authorization(key, rng)).collect(),
                input,
            },
        ),
        _ => {
            let access_list = if rng.below(30) == 0 { access_list(rng) } else { AccessList::default() };
            seal(
                key,
                TxEip1559 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas,
                    max_priority_fee_per_gas,
                    to: call,
                    value,
                    access_list,
                    input,
                },
            )
        }
    }
}

fn seal<T: SignableTransaction<alloy::primitives::Signature>>(key: B256, tx: T) -> Envelope
where
    Envelope: From<Signed<T>>,
{
    let signature = sign(key, tx.signature_hash());
    tx.into_signed(signature).into()
}

fn access_list(rng: &mut Rng) -> AccessList {
    let item = |rng: &mut Rng| AccessListItem { address: rng.token(), storage_keys: vec![rng.word(), rng.word()] };
    AccessList((0..2).map(|_| item(rng)).collect())
}

fn versioned(mut hash: B256) -> B256 {
    hash.0[0] = 1;
    hash
}

fn authorization(key: B256, rng: &mut Rng) -> SignedAuthorization {
    let plain = Authorization { chain_id: U256::from(1), address: rng.token(), nonce: rng.below(1_000) };
    let signature = sign(key, plain.signature_hash());
    plain.into_signed(signature)
}

fn block_text(header: &Header, size: usize, all: &[Made], withdrawals: &[Withdrawal], whole: bool) -> Text {
    let mut text = Text::default();
    text.raw("{").place("hash", Field::Hash).place("parentHash", Field::Parent);
    text.hex("sha3Uncles", header.ommers_hash).hex("miner", header.beneficiary).hex("stateRoot", header.state_root);
    text.hex("transactionsRoot", header.transactions_root).hex("receiptsRoot", header.receipts_root);
    text.hex("logsBloom", header.logs_bloom).literal("difficulty", "\"0x0\"").place("number", Field::Number);
    text.hex("gasLimit", header.gas_limit).hex("gasUsed", header.gas_used).place("timestamp", Field::Timestamp);
    text.bytes("extraData", &header.extra_data).hex("mixHash", header.mix_hash);
    text.literal("nonce", "\"0x0000000000000000\"").hex("baseFeePerGas", BASE_FEE);
    text.hex("withdrawalsRoot", header.withdrawals_root.unwrap()).hex("blobGasUsed", header.blob_gas_used.unwrap());
    text.hex("excessBlobGas", header.excess_blob_gas.unwrap());
    text.hex("parentBeaconBlockRoot", header.parent_beacon_block_root.unwrap());
    text.hex("requestsHash", header.requests_hash.unwrap());
    if let (Some(list), Some(slot)) = (header.block_access_list_hash, header.slot_number) {
        text.hex("blockAccessListHash", list).hex("slotNumber", slot);
    }
    text.hex("size", size).literal("uncles", "[]");
    text.open("transactions", "[");
    for (index, made) in all.iter().enumerate() {
        text.comma();
        if whole {
            transaction_text(&mut text, index, made);
        } else {
            text.raw(&format!("\"{:#x}\"", made.tx.tx_hash()));
        }
    }
    text.raw("]").open("withdrawals", "[");
    for withdrawal in withdrawals {
        text.comma().raw("{").hex("index", withdrawal.index).hex("validatorIndex", withdrawal.validator_index);
        text.hex("address", withdrawal.address).hex("amount", withdrawal.amount).raw("}");
    }
    text.raw("]}");
    text
}

fn price(tx: &Envelope) -> u128 {
    tx.effective_gas_price(Some(BASE_FEE))
}

fn transaction_text(text: &mut Text, index: usize, Made { tx, signer, .. }: &Made) {
    text.raw("{").hex("type", tx.ty()).literal("chainId", "\"0x1\"").hex("nonce", tx.nonce());
    text.hex("gas", tx.gas_limit());
    if let Some(priority) = tx.max_priority_fee_per_gas() {
        text.hex("maxFeePerGas", tx.max_fee_per_gas()).hex("maxPriorityFeePerGas", priority);
    }
    if let Some(fee) = tx.max_fee_per_blob_gas() {
        text.hex("maxFeePerBlobGas", fee);
    }
    text.hex("to", tx.to().unwrap()).hex("value", tx.value());
    if let Some(list) = tx.access_list() {
        text.literal("accessList", &serde_json::to_string(list).unwrap());
    }
    if let Some(hashes) = tx.blob_versioned_hashes() {
        text.literal("blobVersionedHashes", &serde_json::to_string(hashes).unwrap());
    }
    if let Some(list) = tx.authorization_list() {
        text.literal("authorizationList", &serde_json::to_string(list).unwrap());
    }
    let signature = tx.signature();
    let parity = u64::from(signature.v());
    text.bytes("input", tx.input()).hex("r", signature.r()).hex("s", signature.s());
    match tx {
        Envelope::Legacy(_) => text.hex("v", 37 + parity),
        _ => text.hex("yParity", parity).hex("v", parity),
    };
    text.hex("hash", tx.tx_hash()).place("blockHash", Field::Hash).place("blockNumber", Field::Number);
    text.hex("transactionIndex", index).hex("from", *signer).hex("gasPrice", price(tx)).raw("}");
}

fn receipts_text(all: &[Made]) -> (Text, Vec<ReceiptAt>, Vec<LogAt>) {
    let mut text = Text::default();
    let (mut transactions, mut places) = (Vec::new(), Vec::new());
    text.raw("[");
    for (index, Made { tx, signer, receipt, gas_used }) in all.iter().enumerate() {
        text.comma();
        let begin = text.len();
        text.raw("{").hex("type", tx.ty()).literal("status", if receipt.is_success() { "\"0x1\"" } else { "\"0x0\"" });
        text.hex("cumulativeGasUsed", receipt.cumulative_gas_used()).open("logs", "[");
        for log in receipt.logs() {
            text.comma();
            places.push(log_text(&mut text, log, *tx.tx_hash(), index, places.len()));
        }
        text.raw("]").hex("logsBloom", receipt.bloom());
        text.hex("transactionHash", tx.tx_hash()).hex("transactionIndex", index);
        text.place("blockHash", Field::Hash).place("blockNumber", Field::Number).hex("gasUsed", *gas_used);
        text.hex("effectiveGasPrice", price(tx));
        if blobs(tx) > 0 {
            text.hex("blobGasPrice", BLOB_PRICE).hex("blobGasUsed", blobs(tx) * GAS_PER_BLOB);
        }
        text.hex("from", *signer).hex("to", tx.to().unwrap()).literal("contractAddress", "null").raw("}");
        transactions.push((*tx.tx_hash(), begin..text.len()));
    }
    text.raw("]");
    (text, transactions, places)
}

fn log_text(text: &mut Text, log: &Log, tx: B256, tx_index: usize, log_index: usize) -> LogAt {
    let begin = text.len();
    text.raw("{").hex("address", log.address);
    text.literal("topics", &serde_json::to_string(log.topics()).unwrap()).bytes("data", &log.data.data);
    text.place("blockHash", Field::Hash).place("blockNumber", Field::Number).place("blockTimestamp", Field::Timestamp);
    text.hex("transactionHash", tx).hex("transactionIndex", tx_index).hex("logIndex", log_index);
    text.literal("removed", "false").raw("}");
    LogAt { text: begin..text.len(), address: log.address, topics: log.topics().to_vec() }
}
