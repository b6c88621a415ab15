//! The proof: from what an endpoint claims to a block in which nothing is left to its word.
//!
//! The header must hash to the block's hash; transactions, receipts and withdrawals must hash to the roots in that header;
//! every sender is recovered from its signature. All that a node repeats besides (block hash, index, sender, status of each log
//! and receipt) is compared with what was proven, so that a single wrong byte is an error which says what did not fit.
//! Cheap things first, signatures last. What no hash covers is listed in the README: `totalDifficulty`, the hashes of ommers,
//! and traces.

use alloy::consensus::proofs::{calculate_receipt_root, calculate_transaction_root, calculate_withdrawals_root};
use alloy::consensus::transaction::SignerRecoverable;
use alloy::consensus::{
    EMPTY_OMMER_ROOT_HASH, Eip658Value, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _,
    TxReceipt as _,
};
use alloy::eips::eip2718::Encodable2718;
use alloy::eips::eip4895::Withdrawal;
use alloy::eips::eip7702::SignedAuthorization;
use alloy::primitives::{Address, B256, Bloom, Log, LogData, U256};
use alloy::rlp::{Encodable, Header as RlpHeader};

use super::bundle::{BlockBundle, RpcBody, RpcReceipt, RpcTransaction};
use super::traces::{Frame, Traces};
use super::transaction::{Envelope, effective_gas_price};

/// Gas of one blob ([EIP-4844](https://eips.ethereum.org/EIPS/eip-4844)).
const GAS_PER_BLOB: u64 = 131_072;

/// Which claim did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named as in the specification")]
pub enum Part {
    BlockHash,
    BlockNumber,
    HeaderHash,
    ParentHash,
    TransactionsRoot,
    ReceiptsRoot,
    WithdrawalsRoot,
    OmmersHash,
    LogsBloom,
    BlockSize,
    ChainId,
    TransactionHash,
    Sender,
    Recipient,
    ReceiptCount,
    ReceiptOrder,
    ReceiptType,
    GasUsed,
    GasPrice,
    BlobGas,
    ContractAddress,
    LogPosition,
    Position,
    Timestamp,
    Traces,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BlockHash => "block hash",
            Self::BlockNumber => "block number",
            Self::HeaderHash => "header hash",
            Self::ParentHash => "parent hash",
            Self::TransactionsRoot => "transactions root",
            Self::ReceiptsRoot => "receipts root",
            Self::WithdrawalsRoot => "withdrawals root",
            Self::OmmersHash => "ommers hash",
            Self::LogsBloom => "logs bloom",
            Self::BlockSize => "block size",
            Self::ChainId => "chain id",
            Self::TransactionHash => "transaction hash",
            Self::Sender => "sender",
            Self::Recipient => "recipient",
            Self::ReceiptCount => "number of receipts",
            Self::ReceiptOrder => "order of receipts",
            Self::ReceiptType => "receipt type",
            Self::GasUsed => "gas used",
            Self::GasPrice => "gas price",
            Self::BlobGas => "blob gas",
            Self::ContractAddress => "contract address",
            Self::LogPosition => "position of a log",
            Self::Position => "position of a transaction",
            Self::Timestamp => "timestamp",
            Self::Traces => "traces",
        })
    }
}

/// Why an answer is not the block that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A claim does not fit what it should equal.
    #[error("{part} does not fit{}: found {found}, expected {expected}", at(*index))]
    Mismatch {
        /// What was compared.
        part: Part,
        /// Index of the transaction, where it belongs to one.
        index: Option<u64>,
        /// What the answer says.
        found: String,
        /// What was computed or asked for.
        expected: String,
    },
    /// A transaction type that this build cannot encode, hence not prove.
    #[error(
        "transaction {index} is of unknown type {tx_type:#x}: this build cannot prove it; a newer bolo may, or --trust-rpc takes \
         the endpoint's word"
    )]
    UnknownTransactionType {
        /// Index of the transaction.
        index: u64,
        /// The type byte.
        tx_type: u64,
    },
    /// Something a transaction or receipt of its type must have is not there or out of range.
    #[error("transaction {index}: {detail}")]
    Malformed {
        /// Index of the transaction.
        index: u64,
        /// What is wrong with it.
        detail: String,
    },
}

fn at(index: Option<u64>) -> String {
    index.map(|i| format!(" at transaction {i}")).unwrap_or_default()
}

/// Whether the data was proven or is the endpoint's word (`--trust-rpc`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Every hash, root and signature fits.
    Proven,
    /// Taken as answered.
    Unproven,
}

/// What we asked for.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The hash by which the block was asked for; none for a block of an archive, which proves itself.
    pub hash: Option<B256>,
    /// The chain's id: a transaction signed for another one does not belong here.
    pub chain_id: u64,
}

/// A transaction with what became of it. Facts only: what was needed to prove them is gone.
#[derive(Debug, Clone)]
pub struct VerifiedTransaction {
    /// Index in the block.
    pub index: u64,
    /// Transaction hash.
    pub hash: B256,
    /// Who signed it.
    pub signer: Address,
    /// Whom it called; none for a creation.
    pub to: Option<Address>,
    /// Value in wei.
    pub value: U256,
    /// Nonce of the signer.
    pub nonce: u64,
    /// Status of the receipt; none before Byzantium ([EIP-658](https://eips.ethereum.org/EIPS/eip-658)).
    pub success: Option<bool>,
    /// Gas used by it alone.
    pub gas_used: u64,
    /// Wei per gas that it paid.
    pub effective_gas_price: u128,
    /// Its logs, in order.
    pub logs: Vec<Log>,
    /// Index in the block of its first log.
    pub first_log_index: u64,
    /// Authorizations of [EIP-7702](https://eips.ethereum.org/EIPS/eip-7702), as signed.
    pub authorizations: Vec<SignedAuthorization>,
}

impl VerifiedTransaction {
    /// Whether value moved as far as the receipt tells: before Byzantium it is taken to have moved, since only a trace could
    /// prove that it did not.
    pub fn moved(&self) -> bool {
        self.success != Some(false)
    }
}

/// A block whose every part was proven, or taken on trust with [`Proof::Unproven`] where the user asked for that.
/// There is no other way to make one than [`verify`] and [`trust`].
#[derive(Debug, Clone)]
pub struct VerifiedBlock {
    hash: B256,
    header: Header,
    transactions: Vec<VerifiedTransaction>,
    withdrawals: Vec<Withdrawal>,
    frames: Option<Vec<Vec<Frame>>>,
    traces_refused: Option<VerifyError>,
    proof: Proof,
}

impl VerifiedBlock {
    /// The block's hash.
    pub fn hash(&self) -> B256 {
        self.hash
    }
    /// Its number.
    pub fn number(&self) -> u64 {
        self.header.number
    }
    /// The whole header.
    pub fn header(&self) -> &Header {
        &self.header
    }
    /// Transactions in order.
    pub fn transactions(&self) -> &[VerifiedTransaction] {
        &self.transactions
    }
    /// Withdrawals in order.
    pub fn withdrawals(&self) -> &[Withdrawal] {
        &self.withdrawals
    }
    /// The call frames of each transaction, where there were any and they do not contradict what is proven.
    pub fn frames(&self) -> Option<&[Vec<Frame>]> {
        self.frames.as_deref()
    }
    /// Why the traces that came with the block were not taken.
    pub fn traces_refused(&self) -> Option<&VerifyError> {
        self.traces_refused.as_ref()
    }
    /// Proven or not.
    pub fn proof(&self) -> Proof {
        self.proof
    }
}

fn mismatch(
    part: Part,
    index: Option<u64>,
    found: impl std::fmt::Display,
    expected: impl std::fmt::Display,
) -> VerifyError {
    VerifyError::Mismatch { part, index, found: found.to_string(), expected: expected.to_string() }
}

/// `found` must equal `expected`.
fn same<T: PartialEq + std::fmt::Display>(
    part: Part,
    index: Option<u64>,
    found: T,
    expected: T,
) -> Result<(), VerifyError> {
    if found == expected { Ok(()) } else { Err(mismatch(part, index, found, expected)) }
}

/// Where the node states it, `found` must equal `expected`.
fn same_if_stated<T: PartialEq + std::fmt::Display>(
    part: Part,
    index: Option<u64>,
    found: Option<T>,
    expected: T,
) -> Result<(), VerifyError> {
    found.map_or(Ok(()), |found| same(part, index, found, expected))
}

fn shown(address: Option<Address>) -> String {
    address.map_or_else(|| "null".to_owned(), |a| a.to_string())
}

/// Proves a block.
///
/// # Errors
/// The first claim that does not fit, cheap ones first.
pub fn verify(bundle: BlockBundle, expected: Expected) -> Result<VerifiedBlock, VerifyError> {
    let BlockBundle { header, body, receipts, traces } = bundle;
    if let Some(hash) = expected.hash {
        same(Part::BlockHash, None, body.hash, hash)?;
    }
    let hash = header.hash_slow();
    same(Part::HeaderHash, None, body.hash, hash)?;
    // keccak of an RLP list is computed from headers that we do not have; but none and some can be told apart.
    if body.uncles.is_empty() != (header.ommers_hash == EMPTY_OMMER_ROOT_HASH) {
        let listed = format!("{} ommers listed", body.uncles.len());
        return Err(mismatch(Part::OmmersHash, None, listed, header.ommers_hash));
    }
    let withdrawals = verify_withdrawals(&header, &body)?;
    let envelopes = verify_transactions(&header, &body, expected.chain_id)?;
    verify_size(&header, &body, &envelopes)?;
    let transactions = verify_receipts(&header, hash, &body, &envelopes, &receipts)?;
    let (frames, traces_refused) = accept_traces(traces, &transactions);
    Ok(VerifiedBlock { hash, header, transactions, withdrawals, frames, traces_refused, proof: Proof::Proven })
}

fn verify_withdrawals(header: &Header, body: &RpcBody) -> Result<Vec<Withdrawal>, VerifyError> {
    match (&body.withdrawals, header.withdrawals_root) {
        (Some(list), Some(root)) => {
            same(Part::WithdrawalsRoot, None, calculate_withdrawals_root(list), root)?;
            Ok(list.clone())
        }
        // Nodes before Shanghai leave the field out, or say null, or give an empty list.
        (None, None) => Ok(Vec::new()),
        (Some(list), None) if list.is_empty() => Ok(Vec::new()),
        (Some(list), None) => {
            Err(mismatch(Part::WithdrawalsRoot, None, format!("{} withdrawals", list.len()), "none in the header"))
        }
        (None, Some(root)) => Err(mismatch(Part::WithdrawalsRoot, None, "no withdrawals", root)),
    }
}

/// Roots, hashes and positions; senders come later.
fn verify_transactions(header: &Header, body: &RpcBody, chain_id: u64) -> Result<Vec<Envelope>, VerifyError> {
    let mut envelopes = Vec::with_capacity(body.transactions.len());
    for (index, tx) in (0u64..).zip(&body.transactions) {
        let at = Some(index);
        let envelope = tx.to_envelope(index)?;
        same_if_stated(Part::BlockHash, at, tx.block_hash, body.hash)?;
        same_if_stated(Part::BlockNumber, at, tx.block_number.map(|n| n.to()), header.number)?;
        same_if_stated(Part::Position, at, tx.transaction_index.map(|n| n.to()), index)?;
        same_if_stated(Part::Timestamp, at, tx.block_timestamp.map(|n| n.to()), header.timestamp)?;
        let mut encoded = Vec::with_capacity(envelope.encode_2718_len());
        envelope.encode_2718(&mut encoded);
        same(Part::TransactionHash, at, tx.hash, alloy::primitives::keccak256(&encoded))?;
        verify_chain_id(tx, &envelope, index, chain_id)?;
        verify_stated_price(tx, &envelope, header, index)?;
        envelopes.push(envelope);
    }
    same(Part::TransactionsRoot, None, calculate_transaction_root(&envelopes), header.transactions_root)?;
    Ok(envelopes)
}

fn verify_chain_id(tx: &RpcTransaction, envelope: &Envelope, index: u64, chain_id: u64) -> Result<(), VerifyError> {
    let stated = tx.chain_id.map(|id| id.to::<u64>());
    match envelope.chain_id() {
        Some(signed) => {
            same(Part::ChainId, Some(index), signed, chain_id)?;
            same_if_stated(Part::ChainId, Some(index), stated, signed)
        }
        // Signed before EIP-155, for every chain: nodes state null, 0, or the chain's own.
        None if stated.is_some_and(|s| s != 0 && s != chain_id) => {
            Err(mismatch(Part::ChainId, Some(index), stated.unwrap_or_default(), chain_id))
        }
        None => Ok(()),
    }
}

/// `gasPrice` of a transaction with a maximum fee is not signed: the price paid, or the maximum as some nodes have it.
fn verify_stated_price(
    tx: &RpcTransaction,
    envelope: &Envelope,
    header: &Header,
    index: u64,
) -> Result<(), VerifyError> {
    let paid = effective_gas_price(envelope, header.base_fee_per_gas);
    match tx.gas_price.map(|p| p.to::<u128>()) {
        Some(stated) if stated != paid && stated != envelope.max_fee_per_gas() => {
            Err(mismatch(Part::GasPrice, Some(index), stated, paid))
        }
        _ => Ok(()),
    }
}

/// The stated size is the length of the block's RLP; anvil counts one byte less. With ommers it cannot be computed from their
/// hashes.
fn verify_size(header: &Header, body: &RpcBody, envelopes: &[Envelope]) -> Result<(), VerifyError> {
    let Some(stated) = body.size else { return Ok(()) };
    if !body.uncles.is_empty() {
        return Ok(());
    }
    let list = |payload: usize| RlpHeader { list: true, payload_length: payload }.length() + payload;
    let transactions = envelopes.iter().map(Encodable::length).sum::<usize>();
    let withdrawals = match (&body.withdrawals, header.withdrawals_root) {
        (Some(all), Some(_)) => list(all.iter().map(Encodable::length).sum()),
        _ => 0,
    };
    let length = list(header.length() + list(transactions) + list(0) + withdrawals);
    let stated = stated.to::<u64>();
    if stated.checked_add(1) == Some(length as u64) {
        Ok(())
    } else {
        same(Part::BlockSize, None, stated, length as u64)
    }
}

/// Whether the header is of a fork that counts a block's gas otherwise than its receipts do (EIP-7778, EIP-8037): known by the
/// fields that came with the same fork.
fn counts_gas_apart(header: &Header) -> bool {
    header.block_access_list_hash.is_some() || header.slot_number.is_some()
}

fn verify_receipts(
    header: &Header,
    hash: B256,
    body: &RpcBody,
    envelopes: &[Envelope],
    receipts: &[RpcReceipt],
) -> Result<Vec<VerifiedTransaction>, VerifyError> {
    same(Part::ReceiptCount, None, receipts.len(), envelopes.len())?;
    let mut consensus = Vec::with_capacity(receipts.len());
    let mut bloom = Bloom::ZERO;
    let mut log_index = 0u64;
    let mut gas_before = 0u64;
    for ((index, receipt), (tx, envelope)) in (0u64..).zip(receipts).zip(body.transactions.iter().zip(envelopes)) {
        let at = Some(index);
        same(Part::ReceiptOrder, at, receipt.transaction_hash, tx.hash)?;
        same(Part::ReceiptOrder, at, receipt.transaction_index.to(), index)?;
        same_if_stated(Part::BlockHash, at, receipt.block_hash, hash)?;
        same_if_stated(Part::BlockNumber, at, receipt.block_number.map(|n| n.to()), header.number)?;
        same_if_stated(Part::Timestamp, at, receipt.block_timestamp.map(|n| n.to()), header.timestamp)?;
        same_if_stated(Part::ReceiptType, at, receipt.tx_type.map(|t| t.to()), u64::from(envelope.tx_type() as u8))?;
        same_if_stated(Part::Sender, at, receipt.from, tx.from)?;
        if receipt.to != tx.to {
            return Err(mismatch(Part::Recipient, at, shown(receipt.to), shown(tx.to)));
        }
        let cumulative: u64 = receipt.cumulative_gas_used.to();
        let alone = cumulative.checked_sub(gas_before);
        if !counts_gas_apart(header) {
            let alone = alone.ok_or_else(|| mismatch(Part::GasUsed, at, cumulative, gas_before))?;
            same_if_stated(Part::GasUsed, at, receipt.gas_used.map(|g| g.to()), alone)?;
        }
        gas_before = cumulative;
        let paid = effective_gas_price(envelope, header.base_fee_per_gas);
        same_if_stated(Part::GasPrice, at, receipt.effective_gas_price.map(|p| p.to()), paid)?;
        verify_blob_gas(receipt, envelope, receipts, index)?;
        log_index = verify_log_positions(receipt, tx, header, hash, index, log_index)?;
        let with_bloom = consensus_receipt(receipt, index)?;
        same_if_stated(Part::LogsBloom, at, receipt.logs_bloom, with_bloom.logs_bloom)?;
        bloom.accrue_bloom(&with_bloom.logs_bloom);
        consensus.push(match envelope {
            Envelope::Legacy(_) => ReceiptEnvelope::Legacy(with_bloom),
            Envelope::Eip2930(_) => ReceiptEnvelope::Eip2930(with_bloom),
            Envelope::Eip1559(_) => ReceiptEnvelope::Eip1559(with_bloom),
            Envelope::Eip4844(_) => ReceiptEnvelope::Eip4844(with_bloom),
            Envelope::Eip7702(_) => ReceiptEnvelope::Eip7702(with_bloom),
        });
    }
    same(Part::ReceiptsRoot, None, calculate_receipt_root(&consensus), header.receipts_root)?;
    same(Part::LogsBloom, None, header.logs_bloom, bloom)?;
    if !counts_gas_apart(header) {
        same(Part::GasUsed, None, gas_before, header.gas_used)?;
    }
    let mut first_log_index = 0;
    let mut gas_before = 0;
    let mut verified = Vec::with_capacity(envelopes.len());
    for ((index, receipt), (tx, envelope)) in (0u64..).zip(consensus).zip(body.transactions.iter().zip(envelopes)) {
        let claimed = &receipts[verified.len()];
        let signer = envelope
            .recover_signer_unchecked()
            .map_err(|err| VerifyError::Malformed { index, detail: format!("signature names no sender: {err}") })?;
        same(Part::Sender, Some(index), tx.from, signer)?;
        verify_created(tx, claimed, signer, index)?;
        let success = match receipt.status_or_post_state() {
            Eip658Value::Eip658(status) => Some(status),
            Eip658Value::PostState(_) => None,
        };
        let cumulative = receipt.cumulative_gas_used();
        let logs = receipt.into_logs();
        let count = logs.len() as u64;
        verified.push(VerifiedTransaction {
            index,
            hash: tx.hash,
            signer,
            to: tx.to,
            value: tx.value,
            nonce: envelope.nonce(),
            success,
            // Under EIP-7778 the difference includes refunds that were paid back: there the receipt's own word is nearer.
            gas_used: match claimed.gas_used {
                Some(stated) if counts_gas_apart(header) => stated.to(),
                _ => cumulative.saturating_sub(gas_before),
            },
            effective_gas_price: effective_gas_price(envelope, header.base_fee_per_gas),
            logs,
            first_log_index,
            authorizations: tx.authorization_list.clone().unwrap_or_default(),
        });
        first_log_index += count;
        gas_before = cumulative;
    }
    Ok(verified)
}

/// The blob price is not in any root and nothing here depends on it; what can be checked is: all of a block pay the same, none
/// more than its maximum, and the gas is that of its blobs. Nodes state it for blob transactions only, or as 0 for others.
fn verify_blob_gas(
    receipt: &RpcReceipt,
    envelope: &Envelope,
    all: &[RpcReceipt],
    index: u64,
) -> Result<(), VerifyError> {
    let at = Some(index);
    let blobs = envelope.blob_versioned_hashes().map_or(0, |hashes| hashes.len() as u64);
    same_if_stated(Part::BlobGas, at, receipt.blob_gas_used.map(|g| g.to()), blobs * GAS_PER_BLOB)?;
    let Some(price) = receipt.blob_gas_price.map(|p| p.to::<u128>()) else { return Ok(()) };
    match envelope.max_fee_per_blob_gas() {
        Some(max) if price > max || price == 0 => Err(mismatch(Part::BlobGas, at, price, format!("1 to {max}"))),
        Some(_) => {
            let first =
                all.iter().filter(|r| r.blob_gas_used.is_some_and(|g| !g.is_zero())).find_map(|r| r.blob_gas_price);
            first.map_or(Ok(()), |first| same(Part::BlobGas, at, price, first.to()))
        }
        None => Ok(()),
    }
}

/// What each log says of its place; returns the index in the block of the next one.
fn verify_log_positions(
    receipt: &RpcReceipt,
    tx: &RpcTransaction,
    header: &Header,
    hash: B256,
    index: u64,
    mut log_index: u64,
) -> Result<u64, VerifyError> {
    let at = Some(index);
    for log in &receipt.logs {
        same_if_stated(Part::BlockHash, at, log.block_hash, hash)?;
        same_if_stated(Part::BlockNumber, at, log.block_number.map(|n| n.to()), header.number)?;
        same_if_stated(Part::Timestamp, at, log.block_timestamp.map(|n| n.to()), header.timestamp)?;
        same_if_stated(Part::LogPosition, at, log.transaction_hash, tx.hash)?;
        same_if_stated(Part::LogPosition, at, log.transaction_index.map(|n| n.to()), index)?;
        same_if_stated(Part::LogPosition, at, log.log_index.map(|n| n.to()), log_index)?;
        if log.removed == Some(true) {
            return Err(mismatch(Part::LogPosition, at, "a log marked as removed", "a log of this block"));
        }
        log_index += 1;
    }
    Ok(log_index)
}

/// The receipt as it is hashed, its bloom computed from its logs.
fn consensus_receipt(receipt: &RpcReceipt, index: u64) -> Result<ReceiptWithBloom<Receipt<Log>>, VerifyError> {
    let malformed = |detail: String| VerifyError::Malformed { index, detail };
    let status = match (receipt.status.map(|s| s.to::<u64>()), &receipt.root) {
        (Some(0), _) => Eip658Value::Eip658(false),
        (Some(1), _) => Eip658Value::Eip658(true),
        (Some(other), _) => return Err(malformed(format!("receipt status {other} is neither 0 nor 1"))),
        (None, Some(root)) => Eip658Value::PostState(
            B256::try_from(root.as_ref()).map_err(|_| malformed("receipt root is not 32 bytes".into()))?,
        ),
        (None, None) => return Err(malformed("receipt has neither status nor root".into())),
    };
    let logs = receipt.logs.iter().map(consensus_log).collect::<Result<Vec<_>, _>>().map_err(malformed)?;
    Ok(Receipt { status, cumulative_gas_used: receipt.cumulative_gas_used.to(), logs }.with_bloom())
}

fn consensus_log(log: &super::bundle::RpcLog) -> Result<Log, String> {
    let data = LogData::new(log.topics.clone(), log.data.clone())
        .ok_or_else(|| format!("a log has {} topics; the EVM allows 4", log.topics.len()))?;
    Ok(Log { address: log.address, data })
}

/// The address of a created contract follows from signer and nonce. Nodes differ on failed creations, where some say null.
fn verify_created(tx: &RpcTransaction, receipt: &RpcReceipt, signer: Address, index: u64) -> Result<(), VerifyError> {
    let expected = tx.to.is_none().then(|| signer.create(tx.nonce.to()));
    let odd = |stated: Option<Address>| mismatch(Part::ContractAddress, Some(index), shown(stated), shown(expected));
    match (receipt.contract_address, expected) {
        (Some(stated), expected) if Some(stated) != expected => return Err(odd(Some(stated))),
        _ => {}
    }
    match tx.creates {
        Some(stated) if Some(stated) != expected => Err(odd(Some(stated))),
        _ => Ok(()),
    }
}

/// Frames are taken where they do not contradict what is proven; otherwise it is said why not.
fn accept_traces(
    traces: Option<Traces>,
    transactions: &[VerifiedTransaction],
) -> (Option<Vec<Vec<Frame>>>, Option<VerifyError>) {
    match traces.map(|traces| traces.frames(transactions)) {
        None => (None, None),
        Some(Ok(frames)) => (Some(frames), None),
        Some(Err(refused)) => (None, Some(refused)),
    }
}

/// Takes a block at its endpoint's word (`--trust-rpc`), for chains whose blocks this build cannot prove. Only what later
/// stages rely on is checked: the hash that was asked for, and one receipt for each transaction, in order.
///
/// # Errors
/// Where even that does not fit.
pub fn trust(bundle: BlockBundle, expected: Expected) -> Result<VerifiedBlock, VerifyError> {
    let BlockBundle { header, body, receipts, traces } = bundle;
    if let Some(hash) = expected.hash {
        same(Part::BlockHash, None, body.hash, hash)?;
    }
    same(Part::ReceiptCount, None, receipts.len(), body.transactions.len())?;
    let base_fee = header.base_fee_per_gas;
    let mut transactions = Vec::with_capacity(receipts.len());
    let (mut first_log_index, mut gas_before) = (0, 0);
    for ((index, tx), receipt) in (0u64..).zip(body.transactions).zip(receipts) {
        same(Part::ReceiptOrder, Some(index), receipt.transaction_hash, tx.hash)?;
        let logs = receipt
            .logs
            .iter()
            .map(consensus_log)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|detail| VerifyError::Malformed { index, detail })?;
        let cumulative: u64 = receipt.cumulative_gas_used.to();
        let count = logs.len() as u64;
        let max_fee = tx.max_fee_per_gas.or(tx.gas_price).map_or(0, |p| p.to());
        transactions.push(VerifiedTransaction {
            index,
            hash: tx.hash,
            signer: tx.from,
            to: tx.to,
            value: tx.value,
            nonce: tx.nonce.to(),
            success: receipt.status.map(|s| !s.is_zero()),
            gas_used: receipt.gas_used.map_or_else(|| cumulative.saturating_sub(gas_before), |g| g.to()),
            effective_gas_price: receipt.effective_gas_price.map_or_else(
                || match (base_fee, tx.max_priority_fee_per_gas) {
                    (Some(base), Some(tip)) => max_fee.min(u128::from(base) + tip.to::<u128>()),
                    _ => tx.gas_price.map_or(max_fee, |p| p.to()),
                },
                |p| p.to(),
            ),
            logs,
            first_log_index,
            authorizations: tx.authorization_list.unwrap_or_default(),
        });
        first_log_index += count;
        gas_before = cumulative;
    }
    let (frames, traces_refused) = accept_traces(traces, &transactions);
    Ok(VerifiedBlock {
        hash: body.hash,
        header,
        transactions,
        withdrawals: body.withdrawals.unwrap_or_default(),
        frames,
        traces_refused,
        proof: Proof::Unproven,
    })
}
