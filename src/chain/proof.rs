//! Proof that lasts: of a proven block, as many nodes of its Merkle-Patricia tries as show that some transactions, receipts and
//! withdrawals are its own. With the header's bytes they prove an alert for ever, with no network and no endpoint.
//!
//! A node is known by the keccak of its bytes, so paths that share nodes share them here too, and two proofs of one block are
//! joined by putting their nodes together. Format: docs/evidence.md.

use std::collections::{BTreeMap, BTreeSet};

use alloy::consensus::transaction::SignerRecoverable;
use alloy::consensus::{
    EMPTY_ROOT_HASH, Eip658Value, Header, ReceiptEnvelope, Transaction as _, TxReceipt as _, Typed2718,
};
use alloy::eips::eip2718::Decodable2718;
use alloy::eips::eip4895::Withdrawal;
use alloy::primitives::map::B256HashMap;
use alloy::primitives::{B256, Bytes, keccak256};
use alloy::rlp::{Decodable, Encodable, Header as RlpHeader};
use alloy::trie::Nibbles;
use alloy::trie::nodes::TrieNode;

use super::claim::Differences;
use super::error::{Part, VerifyError, mismatch, same};
use super::transaction::{Envelope, effective_gas_price};
use super::trie::nodes_towards;
use super::verified::{Proof, ProvenParts, VerifiedBlock, VerifiedTransaction};

/// The bytes that the roots of a block were computed from, in order.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    pub(super) transactions: Vec<Bytes>,
    pub(super) receipts: Vec<Bytes>,
}

/// What of a block is to be proven.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Indices of transactions, each with its receipt.
    pub transactions: BTreeSet<u64>,
    /// Every transaction and receipt: what the fees of a block add up from.
    pub whole: bool,
    /// The block's withdrawals.
    pub withdrawals: bool,
}

/// The header's RLP and trie nodes, each list from the root down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockProof {
    /// RLP of the header.
    pub header: Bytes,
    /// Nodes of the transactions' trie.
    pub transactions: Vec<Bytes>,
    /// Nodes of the receipts' trie.
    pub receipts: Vec<Bytes>,
    /// Nodes of the withdrawals' trie.
    pub withdrawals: Vec<Bytes>,
}

impl VerifiedBlock {
    /// The proof of a part of the block; none where the block was taken on trust.
    pub fn prove(&self, wanted: &Wanted) -> Option<BlockProof> {
        let encoded = self.encoded()?;
        let is_wanted = |index: usize| wanted.whole || wanted.transactions.contains(&(index as u64));
        let withdrawals: Vec<Bytes> = match wanted.withdrawals {
            true => self.withdrawals().iter().map(|one| alloy::rlp::encode(one).into()).collect(),
            false => Vec::new(),
        };
        Some(BlockProof {
            header: alloy::rlp::encode(self.header()).into(),
            transactions: nodes_towards(&encoded.transactions, is_wanted),
            receipts: nodes_towards(&encoded.receipts, is_wanted),
            withdrawals: nodes_towards(&withdrawals, |_| true),
        })
    }
}

fn key(index: u64) -> Nibbles {
    Nibbles::unpack(alloy::rlp::encode_fixed_size(&index))
}

/// Longest key: the RLP of a 64-bit index.
const LONGEST_KEY: usize = 18;

/// What a list of nodes shows of a trie.
struct Opened<'a> {
    /// Items by their index.
    items: BTreeMap<u64, Vec<u8>>,
    /// The nodes in the order of the trie, from the root down.
    nodes: Vec<&'a Bytes>,
    /// No branch leads to a node that is not here: these are all items there are.
    whole: bool,
    /// Only what lies on the way to these keys is wanted.
    towards: Option<Vec<Nibbles>>,
}

impl<'a> Opened<'a> {
    /// All of it; every node must have its place.
    fn open(part: Part, root: B256, nodes: &'a [Bytes]) -> Result<Self, VerifyError> {
        let opened = Self::towards(part, root, nodes, None)?;
        if opened.nodes.len() != nodes.len() {
            let found = format!("{} nodes of which {} are of this trie", nodes.len(), opened.nodes.len());
            return Err(mismatch(part, None, found, root));
        }
        Ok(opened)
    }

    /// What lies on the way to those keys.
    fn towards(part: Part, root: B256, nodes: &'a [Bytes], towards: Option<Vec<Nibbles>>) -> Result<Self, VerifyError> {
        let by_hash: B256HashMap<&Bytes> = nodes.iter().map(|node| (keccak256(node), node)).collect();
        let mut opened = Self { items: BTreeMap::new(), nodes: Vec::new(), whole: true, towards };
        if nodes.is_empty() {
            opened.whole = root == EMPTY_ROOT_HASH;
        } else {
            opened.descend(part, Child::Hash(root), Nibbles::default(), &by_hash)?;
        }
        Ok(opened)
    }

    fn descend(
        &mut self,
        part: Part,
        child: Child<'_>,
        path: Nibbles,
        by_hash: &B256HashMap<&'a Bytes>,
    ) -> Result<(), VerifyError> {
        let broken = |what: &str| mismatch(part, None, what, "a node of a Merkle-Patricia trie");
        let is_wanted = |target: &Nibbles| target.starts_with(&path) || path.starts_with(target);
        if self.towards.as_ref().is_some_and(|targets| !targets.iter().any(is_wanted)) {
            self.whole = false;
            return Ok(());
        }
        let mut bytes: &[u8] = match child {
            Child::Inline(bytes) => bytes,
            Child::Hash(hash) => match by_hash.get(&hash) {
                Some(node) => {
                    self.nodes.push(node);
                    node
                }
                None => {
                    self.whole = false;
                    return Ok(());
                }
            },
        };
        if path.len() > LONGEST_KEY {
            return Err(broken("a key of more than 9 bytes"));
        }
        let node = TrieNode::decode(&mut bytes).map_err(|error| broken(&error.to_string()))?;
        if !bytes.is_empty() {
            return Err(broken("bytes after a node"));
        }
        match node {
            TrieNode::EmptyRoot => Err(broken("an empty node")),
            TrieNode::Leaf(leaf) => {
                if path.len() + leaf.key.len() > LONGEST_KEY {
                    return Err(broken("a key of more than 9 bytes"));
                }
                let path = path.join(&leaf.key);
                if !path.len().is_multiple_of(2) {
                    return Err(broken("a key of another length"));
                }
                let key_bytes = path.pack();
                let index =
                    alloy::rlp::decode_exact::<u64>(&key_bytes).map_err(|_| broken("a key that is no index"))?;
                self.items.insert(index, leaf.value);
                Ok(())
            }
            TrieNode::Extension(extension) => {
                // An empty one would lead nowhere, as deep as somebody likes.
                if extension.key.is_empty() || path.len() + extension.key.len() > LONGEST_KEY {
                    return Err(broken("an extension of no key, or of too long a one"));
                }
                let path = path.join(&extension.key);
                self.descend(part, Child::of(&extension.child), path, by_hash)
            }
            TrieNode::Branch(branch) => {
                let mut children = branch.stack.iter();
                for nibble in branch.state_mask.iter() {
                    let child = children.next().ok_or_else(|| broken("a branch with fewer children than it says"))?;
                    let mut path = path;
                    path.push(nibble);
                    self.descend(part, Child::of(child), path, by_hash)?;
                }
                Ok(())
            }
        }
    }
}

/// How a node names the one below it: by its hash, or whole where it is small.
#[derive(Clone, Copy)]
enum Child<'a> {
    Hash(B256),
    Inline(&'a [u8]),
}

impl<'a> Child<'a> {
    fn of(node: &'a alloy::trie::nodes::RlpNode) -> Self {
        node.as_hash().map_or_else(|| Self::Inline(node.as_slice()), Self::Hash)
    }
}

/// What is to be known of a block besides its proof.
#[derive(Debug, Clone, Copy)]
pub struct Claimed<'a> {
    /// Its hash.
    pub hash: B256,
    /// The chain its transactions were signed for.
    pub chain_id: u64,
    /// Index in the block of the first log of a transaction: no root covers it unless every receipt before it is there.
    pub first_log_index: &'a BTreeMap<u64, u64>,
}

impl BlockProof {
    /// Opens the proof: the block with those of its transactions that are proven, each with its receipt.
    ///
    /// # Errors
    /// [`VerifyError`] naming what does not fit.
    pub fn open(&self, claimed: Claimed<'_>) -> Result<VerifiedBlock, VerifyError> {
        same(Part::HeaderHash, None, keccak256(&self.header), claimed.hash)?;
        let header = self.read_header()?;
        let transactions = Opened::open(Part::TransactionsRoot, header.transactions_root, &self.transactions)?;
        let receipts = Opened::open(Part::ReceiptsRoot, header.receipts_root, &self.receipts)?;
        if !transactions.items.keys().eq(receipts.items.keys()) {
            return Err(mismatch(Part::ReceiptCount, None, receipts.items.len(), transactions.items.len()));
        }
        let whole = transactions.whole && receipts.whole;
        let withdrawals = self.open_withdrawals(&header)?;
        let mut proven = Vec::with_capacity(transactions.items.len());
        let (mut gas_before, mut logs_before) = (0, 0);
        for ((index, tx), receipt) in transactions.items.iter().zip(receipts.items.values()) {
            let (mut tx, cumulative) =
                open_transaction(*index, tx, receipt, claimed.chain_id, header.base_fee_per_gas)?;
            let logs = tx.logs.len() as u64;
            let stated = claimed.first_log_index.get(index).copied();
            if whole {
                super::error::same_if_stated(Part::LogPosition, Some(*index), stated, logs_before)?;
                tx.first_log_index = logs_before;
                tx.gas_used = cumulative.saturating_sub(gas_before);
            } else {
                tx.first_log_index = stated.unwrap_or_default();
            }
            gas_before = cumulative;
            logs_before += logs;
            proven.push(tx);
        }
        Ok(VerifiedBlock::new(ProvenParts {
            hash: claimed.hash,
            header,
            transactions: proven,
            withdrawals,
            proof: Proof::Proven,
            encoded: None,
            whole,
            differences: Differences::default(),
        }))
    }

    /// Whether one of the transactions that it shows was signed for a chain id. [`open`](Self::open) refuses any that was signed for
    /// another one; where none was (before EIP-155, or where only withdrawals are shown), nothing proves the chain id.
    ///
    /// # Errors
    /// [`VerifyError`] where the proof itself is broken.
    pub fn signs_chain_id(&self) -> Result<bool, VerifyError> {
        let root = self.read_header()?.transactions_root;
        let transactions = Opened::open(Part::TransactionsRoot, root, &self.transactions)?;
        let signed = |tx: &Vec<u8>| Envelope::decode_2718_exact(tx).is_ok_and(|envelope| envelope.chain_id().is_some());
        Ok(transactions.items.values().any(signed))
    }

    fn open_withdrawals(&self, header: &Header) -> Result<Vec<Withdrawal>, VerifyError> {
        if self.withdrawals.is_empty() {
            return Ok(Vec::new());
        }
        let root = header.withdrawals_root.unwrap_or(EMPTY_ROOT_HASH);
        let opened = Opened::open(Part::WithdrawalsRoot, root, &self.withdrawals)?;
        let count = opened.items.len() as u64;
        if !opened.whole || !opened.items.keys().copied().eq(0..count) {
            return Err(mismatch(Part::WithdrawalsRoot, None, format!("{count} withdrawals, not all"), root));
        }
        let read = |bytes: &Vec<u8>| {
            alloy::rlp::decode_exact::<Withdrawal>(bytes)
                .map_err(|error| mismatch(Part::WithdrawalsRoot, None, error, "the RLP of a withdrawal"))
        };
        opened.items.values().map(read).collect()
    }

    /// Both proofs as one: every node once, from the root down.
    ///
    /// # Errors
    /// [`VerifyError`] where they are not of one block.
    pub fn join(&self, other: &Self) -> Result<Self, VerifyError> {
        same(Part::HeaderHash, None, keccak256(&other.header), keccak256(&self.header))?;
        let header = self.read_header()?;
        let join = |part: Part, root: B256, one: &[Bytes], other: &[Bytes]| -> Result<Vec<Bytes>, VerifyError> {
            let mut seen = BTreeSet::new();
            let all: Vec<Bytes> =
                one.iter().chain(other).filter(|node| seen.insert(keccak256(node))).cloned().collect();
            Ok(Opened::open(part, root, &all)?.nodes.into_iter().cloned().collect())
        };
        let withdrawals_root = header.withdrawals_root.unwrap_or(EMPTY_ROOT_HASH);
        Ok(Self {
            header: self.header.clone(),
            transactions: join(
                Part::TransactionsRoot,
                header.transactions_root,
                &self.transactions,
                &other.transactions,
            )?,
            receipts: join(Part::ReceiptsRoot, header.receipts_root, &self.receipts, &other.receipts)?,
            withdrawals: join(Part::WithdrawalsRoot, withdrawals_root, &self.withdrawals, &other.withdrawals)?,
        })
    }

    /// What of it one part needs, and nothing else.
    ///
    /// # Errors
    /// [`VerifyError`] where the proof itself is broken.
    pub fn only(&self, wanted: &Wanted) -> Result<Self, VerifyError> {
        let header = self.read_header()?;
        let keep = |part: Part, root: B256, nodes: &[Bytes]| -> Result<Vec<Bytes>, VerifyError> {
            let targets = wanted.transactions.iter().copied().map(key).collect();
            let opened = Opened::towards(part, root, nodes, if wanted.whole { None } else { Some(targets) })?;
            Ok(opened.nodes.into_iter().cloned().collect())
        };
        Ok(Self {
            header: self.header.clone(),
            transactions: keep(Part::TransactionsRoot, header.transactions_root, &self.transactions)?,
            receipts: keep(Part::ReceiptsRoot, header.receipts_root, &self.receipts)?,
            withdrawals: if wanted.withdrawals { self.withdrawals.clone() } else { Vec::new() },
        })
    }

    fn read_header(&self) -> Result<Header, VerifyError> {
        alloy::rlp::decode_exact(&self.header)
            .map_err(|error| mismatch(Part::HeaderHash, None, error, "the RLP of a header"))
    }

    /// As it is stored: RLP of `[header, [node …], [node …], [node …]]`, transactions, receipts, withdrawals.
    pub fn encode(&self) -> Vec<u8> {
        let lists = [&self.transactions, &self.receipts, &self.withdrawals];
        let payload = self.header.length() + lists.iter().map(Encodable::length).sum::<usize>();
        let mut out = Vec::with_capacity(payload + 5);
        RlpHeader { list: true, payload_length: payload }.encode(&mut out);
        self.header.encode(&mut out);
        lists.iter().for_each(|list| list.encode(&mut out));
        out
    }

    /// The opposite of [`encode`](Self::encode).
    ///
    /// # Errors
    /// [`VerifyError`] where the bytes are not of that form.
    pub fn decode(bytes: &[u8]) -> Result<Self, VerifyError> {
        let read = || -> alloy::rlp::Result<Self> {
            let mut rest = bytes;
            let mut rest = RlpHeader::decode_bytes(&mut rest, true).and_then(|payload| match rest {
                [] => Ok(payload),
                _ => Err(alloy::rlp::Error::UnexpectedLength),
            })?;
            let proof = Self {
                header: Bytes::decode(&mut rest)?,
                transactions: Vec::decode(&mut rest)?,
                receipts: Vec::decode(&mut rest)?,
                withdrawals: Vec::decode(&mut rest)?,
            };
            if rest.is_empty() { Ok(proof) } else { Err(alloy::rlp::Error::UnexpectedLength) }
        };
        read().map_err(|error| mismatch(Part::HeaderHash, None, error, "a stored proof"))
    }
}

/// A transaction with its receipt, and the gas used in the block up to its end.
fn open_transaction(
    index: u64,
    tx: &[u8],
    receipt: &[u8],
    chain_id: u64,
    base_fee: Option<u64>,
) -> Result<(VerifiedTransaction, u64), VerifyError> {
    let receipt = ReceiptEnvelope::decode_2718_exact(receipt)
        .map_err(|error| VerifyError::Malformed { index, detail: format!("receipt cannot be read: {error}") })?;
    opened(index, tx, receipt, chain_id, base_fee)
}

/// The same where the receipt is read already.
pub(super) fn opened(
    index: u64,
    tx: &[u8],
    receipt: ReceiptEnvelope,
    chain_id: u64,
    base_fee: Option<u64>,
) -> Result<(VerifiedTransaction, u64), VerifyError> {
    let malformed = |detail: String| VerifyError::Malformed { index, detail };
    let envelope = Envelope::decode_2718_exact(tx).map_err(|error| malformed(format!("cannot be read: {error}")))?;
    same(Part::ReceiptType, Some(index), receipt.ty(), envelope.ty())?;
    if let Some(signed) = envelope.chain_id() {
        same(Part::ChainId, Some(index), signed, chain_id)?;
    }
    let signer = envelope
        .recover_signer_unchecked()
        .map_err(|error| malformed(format!("signature names no sender: {error}")))?;
    let success = match receipt.status_or_post_state() {
        Eip658Value::Eip658(status) => Some(status),
        Eip658Value::PostState(_) => None,
    };
    let cumulative = receipt.cumulative_gas_used();
    let tx = VerifiedTransaction {
        index,
        hash: keccak256(tx),
        signer,
        recovered: true,
        to: envelope.to(),
        value: envelope.value(),
        nonce: envelope.nonce(),
        success,
        gas_used: 0,
        effective_gas_price: effective_gas_price(&envelope, base_fee),
        logs: receipt.into_logs(),
        first_log_index: 0,
        authorizations: envelope.authorization_list().map(<[_]>::to_vec).unwrap_or_default(),
    };
    Ok((tx, cumulative))
}
