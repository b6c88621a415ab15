//! Blocks in their own encoding, RLP: of era archives, and of endpoints that answer `debug_getRawBlock` and
//! `debug_getRawReceipts`.
//!
//! Nothing is claimed here beside the data itself, so there is less to compare than in JSON, and more that can be proven: the hash
//! of the ommers is computed from their headers, and every sender is recovered, since none is named. What was hashed are slices of
//! the input, which are not copied. Total: any bytes give a block or an error.

use alloy::consensus::{Eip658Value, Header, Receipt, ReceiptEnvelope, TxType};
use alloy::eips::eip2718::{Decodable2718, Encodable2718};
use alloy::eips::eip4895::Withdrawal;
use alloy::primitives::{B256, Bloom, Bytes, Log, keccak256, logs_bloom};
use alloy::rlp::{Decodable, Error, Header as RlpHeader};
use serde_json::value::RawValue;

use super::bundle::BundleError;
use super::claim::Differences;
use super::error::{Part, VerifyError, same};
use super::fork::HEADER_FIELDS;
use super::proof::{Encoded, opened};
use super::receipts::{counts_gas_apart, enveloped, gas_paid};
use super::traces::Traces;
use super::trie::ordered_root;
use super::verified::{Proof, VerifiedBlock, VerifiedTransaction};
use super::verify::{Expected, verify_withdrawals};

/// Items of a list, above which it is not read: 262,144 transactions would burn more than 5 billion gas.
const MOST_ITEMS: usize = 1 << 18;

/// Topics of a log; the EVM has no instruction for more.
const MOST_TOPICS: usize = 4;

/// A block without its receipts.
#[derive(Debug, Clone)]
pub enum RlpBlock {
    /// `[header, [transaction …], [ommer …], [withdrawal …]?]`, as `debug_getRawBlock` answers it.
    Whole(Bytes),
    /// The header, and the list of the others, as archives keep them.
    Parts {
        /// The header.
        header: Bytes,
        /// `[[transaction …], [ommer …], [withdrawal …]?]`.
        body: Bytes,
    },
}

/// Receipts of a block, in the order of its transactions.
#[derive(Debug, Clone)]
pub enum RlpReceipts {
    /// A list of them with their blooms, those of typed transactions each a string of its
    /// [EIP-2718](https://eips.ethereum.org/EIPS/eip-2718) encoding: as era1 files have it.
    List(Bytes),
    /// The EIP-2718 encoding of each: the answer of `debug_getRawReceipts`.
    Each(Vec<Bytes>),
    /// A list of `[tx-type, post-state-or-status, cumulative-gas, logs]`, without blooms: as ere and erae files and the wire
    /// protocol eth/69 ([EIP-7642](https://eips.ethereum.org/EIPS/eip-7642)) have it.
    Slim(Bytes),
}

/// A block that could be read. Proves nothing yet.
#[derive(Debug)]
pub struct RlpBundle {
    header: Header,
    /// Fields of the header beyond those that this build knows.
    unknown_fields: usize,
    hash: B256,
    /// EIP-2718 encodings.
    transactions: Vec<Bytes>,
    /// The list of ommers, whole.
    ommers: Bytes,
    withdrawals: Option<Vec<Withdrawal>>,
    /// EIP-2718 encodings.
    receipts: Vec<Bytes>,
    consensus: Vec<ReceiptEnvelope>,
    traces: Option<Traces>,
}

impl RlpBundle {
    /// Reads a block with its receipts and, if had, the answer of `debug_traceBlockByHash` (callTracer) or `trace_block`.
    ///
    /// # Errors
    /// [`BundleError`] naming the part that could not be read.
    pub fn read(block: &RlpBlock, receipts: &RlpReceipts, traces: Option<&RawValue>) -> Result<Self, BundleError> {
        let of_block = |error: Error| BundleError { what: "block", detail: format!("RLP: {error}") };
        let (source, header, body) = match block {
            RlpBlock::Whole(block) => {
                let (header, body) = apart(block).map_err(of_block)?;
                (block, header, body)
            }
            RlpBlock::Parts { header, body } => (body, &header[..], payload(body).map_err(of_block)?),
        };
        let (transactions, ommers, withdrawals) = read_body(source, body).map_err(of_block)?;
        // Receipts of a transaction of an unknown type may be of any form; the transaction is what the block is refused for.
        let all_known = (0..).zip(&transactions).all(|(index, tx)| known_type(index, tx).is_ok());
        let (receipts, consensus) = match all_known {
            true => read_receipts(receipts).map_err(|detail| BundleError { what: "receipts", detail })?,
            false => Default::default(),
        };
        Ok(Self {
            hash: keccak256(header),
            unknown_fields: fields_of(header).map_err(of_block)?.saturating_sub(HEADER_FIELDS),
            header: read_header(header).map_err(of_block)?,
            transactions,
            ommers,
            withdrawals,
            receipts,
            consensus,
            traces: traces.map(|raw| Traces::parse(raw.get())).transpose()?,
        })
    }

    /// Number of the block, as its header says.
    pub fn number(&self) -> u64 {
        self.header.number
    }

    /// Proves the block, with the senders of all its transactions: none is claimed, so none can be proven later.
    ///
    /// Its hash is that of its header.
    ///
    /// # Errors
    /// The first that does not fit, cheap things first, signatures last.
    pub fn verify(self, expected: Expected) -> Result<VerifiedBlock, VerifyError> {
        let Self { header, unknown_fields, hash, transactions, ommers, withdrawals, receipts, consensus, traces } =
            self;
        if let Some(asked) = expected.hash {
            same(Part::BlockHash, None, hash, asked)?;
        }
        // What is stored as proof is encoded from the fields.
        if unknown_fields > 0 {
            let fields = format!("{unknown_fields} after the {HEADER_FIELDS} that it knows");
            return Err(VerifyError::UnknownHeaderFields { fields });
        }
        same(Part::HeaderHash, None, hash, header.hash_slow())?;
        same(Part::OmmersHash, None, keccak256(&ommers), header.ommers_hash)?;
        let mut differences = Differences::default();
        let withdrawals = verify_withdrawals(&header, &withdrawals.into(), &mut differences)?;
        for (index, tx) in (0..).zip(&transactions) {
            known_type(index, tx)?;
        }
        same(Part::ReceiptCount, None, receipts.len(), transactions.len())?;
        same(Part::TransactionsRoot, None, ordered_root(&transactions), header.transactions_root)?;
        same(Part::ReceiptsRoot, None, ordered_root(&receipts), header.receipts_root)?;
        verify_blooms(&header, &consensus)?;
        let proven = open(&header, &transactions, consensus, expected.chain_id)?;
        let mut block = VerifiedBlock {
            hash,
            header,
            transactions: proven,
            withdrawals,
            frames: None,
            traces_refused: None,
            proof: Proof::Proven,
            encoded: Some(Encoded { transactions, receipts }),
            whole: true,
            differences,
        };
        block.accept_traces(traces)?;
        Ok(block)
    }
}

/// Whether a block lists no transactions.
pub(super) fn lists_no_transactions(block: &RlpBlock) -> bool {
    let body = match block {
        RlpBlock::Whole(block) => apart(block).map(|(_, body)| body),
        RlpBlock::Parts { body, .. } => payload(body),
    };
    body.and_then(|mut body| next(&mut body))
        .is_ok_and(|transactions| transactions.list && transactions.payload.is_empty())
}

/// The block's hash, which is its header's; none where there is no header to be found.
pub fn hash_of(block: &RlpBlock) -> Option<B256> {
    match block {
        RlpBlock::Whole(block) => apart(block).ok().map(|(header, _)| keccak256(header)),
        RlpBlock::Parts { header, .. } => Some(keccak256(header)),
    }
}

/// The block's number alone; none where even that cannot be read.
pub fn number_of(block: &RlpBlock) -> Option<u64> {
    let header = match block {
        RlpBlock::Whole(block) => apart(block).ok()?.0,
        RlpBlock::Parts { header, .. } => header,
    };
    read_header(header).ok().map(|header| header.number)
}

/// Number of a header's fields.
fn fields_of(header: &[u8]) -> alloy::rlp::Result<usize> {
    Ok(items(payload(header)?)?.len())
}

/// The header, as far as its fields are known: what a later fork adds comes after them.
fn read_header(header: &[u8]) -> alloy::rlp::Result<Header> {
    let fields = items(payload(header)?)?;
    let known: usize = fields.iter().take(HEADER_FIELDS).map(|field| field.whole.len()).sum();
    if fields.len() <= HEADER_FIELDS {
        return alloy::rlp::decode_exact(header);
    }
    let mut cut = Vec::with_capacity(header.len());
    RlpHeader { list: true, payload_length: known }.encode(&mut cut);
    fields.iter().take(HEADER_FIELDS).for_each(|field| cut.extend_from_slice(field.whole));
    alloy::rlp::decode_exact(&cut)
}

/// The chain that the transactions were signed for: that of the first which says so. None where there is none, or where they
/// cannot be read.
pub fn chain_id_of(block: &RlpBlock) -> Option<u64> {
    use alloy::consensus::Transaction as _;
    let (source, body) = match block {
        RlpBlock::Whole(block) => (block, apart(block).ok()?.1),
        RlpBlock::Parts { body, .. } => (body, payload(body).ok()?),
    };
    let (transactions, ..) = read_body(source, body).ok()?;
    transactions.iter().find_map(|tx| super::transaction::Envelope::decode_2718_exact(tx).ok()?.chain_id())
}

/// One item of a list.
struct Item<'a> {
    /// With its prefix.
    whole: &'a [u8],
    /// Without.
    payload: &'a [u8],
    list: bool,
}

/// Takes the next item off a list's payload.
fn next<'a>(rest: &mut &'a [u8]) -> alloy::rlp::Result<Item<'a>> {
    let start = *rest;
    let header = RlpHeader::decode(rest)?;
    let payload = rest.get(..header.payload_length).ok_or(Error::InputTooShort)?;
    *rest = &rest[payload.len()..];
    Ok(Item { whole: &start[..start.len() - rest.len()], payload, list: header.list })
}

/// The payload of a list that is all there is.
fn payload(list: &[u8]) -> alloy::rlp::Result<&[u8]> {
    let mut rest = list;
    let item = next(&mut rest)?;
    match (item.list, rest) {
        (true, []) => Ok(item.payload),
        (true, _) => Err(Error::UnexpectedLength),
        (false, _) => Err(Error::UnexpectedString),
    }
}

/// The items of a list's payload.
fn items(payload: &[u8]) -> alloy::rlp::Result<Vec<Item<'_>>> {
    let (mut rest, mut all) = (payload, Vec::new());
    while !rest.is_empty() {
        if all.len() == MOST_ITEMS {
            return Err(Error::Custom("more than 262,144 items in a list"));
        }
        all.push(next(&mut rest)?);
    }
    Ok(all)
}

/// The header of a whole block, and the payload of its body.
fn apart(block: &[u8]) -> alloy::rlp::Result<(&[u8], &[u8])> {
    let mut body = payload(block)?;
    let header = next(&mut body)?;
    Ok((header.whole, body))
}

type Body = (Vec<Bytes>, Bytes, Option<Vec<Withdrawal>>);

/// Transactions, the list of ommers, withdrawals.
fn read_body(source: &Bytes, body: &[u8]) -> alloy::rlp::Result<Body> {
    let mut rest = body;
    let (transactions, ommers) = (next(&mut rest)?, next(&mut rest)?);
    if !transactions.list || !ommers.list {
        return Err(Error::UnexpectedString);
    }
    let withdrawals = match rest {
        [] => None,
        _ => Some(Vec::decode(&mut rest)?),
    };
    if !rest.is_empty() {
        return Err(Error::Custom("the body has more parts than transactions, ommers and withdrawals"));
    }
    Ok((encodings(source, transactions.payload)?, source.slice_ref(ommers.whole), withdrawals))
}

/// The EIP-2718 encodings in a list of transactions or receipts: the item itself where it is a list, else what the string holds.
fn encodings(source: &Bytes, payload: &[u8]) -> alloy::rlp::Result<Vec<Bytes>> {
    let encoding = |item: Item<'_>| match (item.list, item.payload.first()) {
        (true, _) => Ok(source.slice_ref(item.whole)),
        (false, Some(1..=0x7f)) => Ok(source.slice_ref(item.payload)),
        (false, _) => Err(Error::Custom("a string that starts with no type of EIP-2718")),
    };
    items(payload)?.into_iter().map(encoding).collect()
}

fn read_receipts(receipts: &RlpReceipts) -> Result<(Vec<Bytes>, Vec<ReceiptEnvelope>), String> {
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

/// A transaction of a type that this build knows.
fn known_type(index: u64, encoded: &[u8]) -> Result<(), VerifyError> {
    match encoded.first() {
        Some(&tx_type @ 1..=0x7f) if TxType::try_from(tx_type).is_err() => {
            Err(VerifyError::UnknownTransactionType { index, tx_type: tx_type.into() })
        }
        _ => Ok(()),
    }
}

/// The bloom of each receipt is that of its logs, the header's is all of them.
fn verify_blooms(header: &Header, receipts: &[ReceiptEnvelope]) -> Result<(), VerifyError> {
    let mut sum = Bloom::ZERO;
    for (index, receipt) in (0..).zip(receipts) {
        let bloom = logs_bloom(receipt.logs());
        same(Part::LogsBloom, Some(index), *receipt.logs_bloom(), bloom)?;
        sum.accrue_bloom(&bloom);
    }
    same(Part::LogsBloom, None, header.logs_bloom, sum)
}

/// The transactions with their receipts.
fn open(
    header: &Header,
    transactions: &[Bytes],
    receipts: Vec<ReceiptEnvelope>,
    chain_id: u64,
) -> Result<Vec<VerifiedTransaction>, VerifyError> {
    let apart = counts_gas_apart(header);
    // Gas first: recovery is what costs.
    let mut gas_before = 0;
    for (index, receipt) in (0..).zip(&receipts) {
        let cumulative = receipt.cumulative_gas_used();
        gas_paid(index, cumulative, gas_before)?;
        gas_before = cumulative;
    }
    if !apart {
        same(Part::GasUsed, None, gas_before, header.gas_used)?;
    }
    let mut proven = Vec::with_capacity(transactions.len());
    let (mut gas_before, mut first_log_index) = (0, 0);
    for ((index, tx), receipt) in (0..).zip(transactions).zip(receipts) {
        let (mut tx, cumulative) = opened(index, tx, receipt, chain_id, header.base_fee_per_gas)?;
        tx.gas_used = gas_paid(index, cumulative, gas_before)?;
        tx.first_log_index = first_log_index;
        gas_before = cumulative;
        first_log_index += tx.logs.len() as u64;
        proven.push(tx);
    }
    Ok(proven)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(items: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        RlpHeader { list: true, payload_length: items.iter().map(|item| item.len()).sum() }.encode(&mut out);
        items.iter().for_each(|item| out.extend_from_slice(item));
        out
    }

    fn string(bytes: &[u8]) -> Vec<u8> {
        alloy::rlp::encode(bytes)
    }

    const EMPTY: &[u8] = &[0xc0];
    const EXPECTED: Expected = Expected { hash: None, chain_id: 1 };

    fn empty(body: &[&[u8]], receipts: &RlpReceipts) -> Result<VerifiedBlock, String> {
        let header = alloy::rlp::encode(Header { number: 7, ..Header::default() });
        let block = RlpBlock::Parts { header: header.into(), body: list(body).into() };
        assert_eq!(number_of(&block), Some(7));
        let bundle = RlpBundle::read(&block, receipts, None).map_err(|error| error.to_string())?;
        bundle.verify(EXPECTED).map_err(|error| error.to_string())
    }

    fn receipt(tx_type: u8, topics: usize) -> Bytes {
        let topics = vec![B256::ZERO; topics];
        let log = Log::new_unchecked(Default::default(), topics, Bytes::new());
        let mut logs = Vec::new();
        alloy::rlp::encode_list(&[log], &mut logs);
        list(&[&list(&[&alloy::rlp::encode(tx_type), &[1], &[5], &logs])]).into()
    }

    #[test]
    fn what_is_no_body_or_receipt_is_refused_and_said() {
        let none = || RlpReceipts::Slim(EMPTY.to_vec().into());
        assert_eq!(empty(&[EMPTY, EMPTY], &none()).unwrap().number(), 7);
        assert!(empty(&[EMPTY, EMPTY], &RlpReceipts::Each(Vec::new())).is_ok());
        let refused = |body: &[&[u8]], receipts: RlpReceipts, words: &str| {
            let error = empty(body, &receipts).unwrap_err();
            assert!(error.contains(words), "{error} instead of {words}");
        };
        refused(&[EMPTY], none(), "block cannot be read: RLP: input too short");
        refused(&[EMPTY, &[0x80]], none(), "unexpected string");
        refused(&[EMPTY, EMPTY, EMPTY, EMPTY], none(), "more parts");
        refused(&[EMPTY, &list(&[EMPTY])], none(), "ommers hash does not fit");
        refused(&[&list(&[&string(&[5, 0xc0])]), EMPTY], none(), "transaction 0 is of unknown type 0x5");
        let typed =
            |receipts: RlpReceipts| refused(&[&list(&[&string(&[6, 0xc0])]), EMPTY], receipts, "unknown type 0x6");
        typed(RlpReceipts::Slim(receipt(6, 1)));
        typed(RlpReceipts::Each(vec![Bytes::from_static(&[6, 0xc2, 1, 5])]));
        let one = || RlpReceipts::Each(vec![ReceiptEnvelope::Legacy(Default::default()).encoded_2718().into()]);
        refused(&[&list(&[&string(&[5, 0xc0])]), EMPTY], one(), "transaction 0 is of unknown type 0x5");
        refused(&[&list(&[&string(&[0xc0])]), EMPTY], one(), "starts with no type");
        refused(&[&list(&[&[0x80]]), EMPTY], one(), "starts with no type");
        refused(&[EMPTY, EMPTY], RlpReceipts::Slim(receipt(9, 4)), "receipt 0 is of unknown type 0x9");
        refused(&[EMPTY, EMPTY], RlpReceipts::Slim(receipt(2, 5)), "5 topics");
        refused(&[EMPTY, EMPTY], RlpReceipts::Slim(receipt(2, 4)), "number of receipts");
        refused(&[EMPTY, EMPTY], RlpReceipts::List(vec![0x80].into()), "receipts cannot be read");
        // 262,145 items of a byte each.
        let many = list(&[&vec![1; MOST_ITEMS + 1]]);
        refused(&[&many, EMPTY], none(), "more than 262,144 items");
    }

    #[test]
    fn a_header_with_more_fields_than_are_known_is_refused_and_says_to_update() {
        let amsterdam = Header {
            number: 7,
            base_fee_per_gas: Some(1),
            withdrawals_root: Some(B256::ZERO),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            requests_hash: Some(B256::ZERO),
            block_access_list_hash: Some(B256::ZERO),
            slot_number: Some(9),
            ..Header::default()
        };
        let encoded = alloy::rlp::encode(&amsterdam);
        assert_eq!(fields_of(&encoded), Ok(HEADER_FIELDS), "as many as alloy's header has");
        let fields: Vec<_> =
            items(payload(&encoded).unwrap()).unwrap().iter().map(|item| item.whole.to_vec()).collect();
        for more in [vec![string(&[1; 32])], vec![string(&[1]), string(&[2; 32])], vec![EMPTY.to_vec(), string(&[])]] {
            let all: Vec<_> = fields.iter().chain(&more).map(Vec::as_slice).collect();
            let block = RlpBlock::Parts { header: list(&all).into(), body: list(&[EMPTY, EMPTY, EMPTY]).into() };
            assert_eq!(number_of(&block), Some(7));
            let read = RlpBundle::read(&block, &RlpReceipts::Each(Vec::new()), None).unwrap();
            let error = read.verify(EXPECTED).unwrap_err();
            assert!(error.is_unknown_fork());
            let said = error.to_string();
            assert!(said.contains(&format!("({} after the 23", more.len())) && said.contains("update bolo"), "{said}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_block_or_an_error(
            block in proptest::collection::vec(any::<u8>(), 0..300),
            lengths in proptest::collection::vec(0xb0u8.., 0..20),
            receipts in proptest::collection::vec(prop_oneof![any::<u8>(), 0xb8u8..], 0..300),
        ) {
            let block: Bytes = [lengths, block].concat().into();
            let header: Bytes = alloy::rlp::encode(Header::default()).into();
            let receipts: Bytes = receipts.into();
            for block in [RlpBlock::Whole(block.clone()), RlpBlock::Parts { header, body: block }] {
                for receipts in [
                    RlpReceipts::List(receipts.clone()),
                    RlpReceipts::Slim(receipts.clone()),
                    RlpReceipts::Each(vec![receipts.clone()]),
                ] {
                    if let Ok(bundle) = RlpBundle::read(&block, &receipts, None) {
                        let _ = bundle.verify(EXPECTED);
                    }
                }
                let _ = (number_of(&block), chain_id_of(&block));
            }
        }
    }
}
