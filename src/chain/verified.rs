//! What is left of a block once it is proven: facts, with nothing of what proved them. Senders may be proven later than the rest.

use alloy::consensus::Header;
use alloy::consensus::transaction::SignerRecoverable;
use alloy::eips::eip2718::Decodable2718;
use alloy::eips::eip4895::Withdrawal;
use alloy::eips::eip7702::SignedAuthorization;
use alloy::primitives::{Address, B256, Bytes, Log, U256};

use super::claim::Differences;
use super::error::VerifyError;
use super::native_logs::{logs_native_transfers, match_frames};
use super::proof::Encoded;
use super::receipts::SenderClaims;
use super::traces::{BlockFrames, Frame, MissingTrace, Traces};
use super::transaction::Envelope;

/// Whether the data was proven or is the endpoint's word (`--trust-rpc`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Every hash, root and signature fits.
    Proven,
    /// Taken as answered.
    Unproven,
}

/// A transaction with what became of it. Facts only: what was needed to prove them is gone.
#[derive(Debug, Clone)]
pub struct VerifiedTransaction {
    /// Index in the block.
    pub index: u64,
    /// Transaction hash.
    pub hash: B256,
    /// Who signed it: proven where it was recovered, else as claimed.
    pub signer: Address,
    /// The signer was recovered from the signature.
    pub recovered: bool,
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

#[cfg(test)]
impl VerifiedTransaction {
    /// The first of its block, of no value, that succeeded and did nothing; tests name what they need.
    pub(crate) fn plain() -> Self {
        Self {
            index: 0,
            hash: B256::ZERO,
            signer: Address::ZERO,
            recovered: true,
            to: None,
            value: U256::ZERO,
            nonce: 0,
            success: Some(true),
            gas_used: 0,
            effective_gas_price: 0,
            logs: Vec::new(),
            first_log_index: 0,
            authorizations: Vec::new(),
        }
    }
}

/// Senders that a thread is worth starting for: a recovery costs some 50 µs, as a thread does.
const LEAST_SHARE: usize = 16;

impl VerifiedTransaction {
    /// Proves the sender from the bytes that were hashed into the root. Returns the one that was claimed, where that is another.
    fn recover(&mut self, encoded: &[u8]) -> Result<Option<(u64, Address)>, VerifyError> {
        let malformed = |detail: String| VerifyError::Malformed { index: self.index, detail };
        let envelope = Envelope::decode_2718_exact(encoded)
            .map_err(|error| malformed(format!("the transaction cannot be read: {error}")))?;
        let signer = envelope
            .recover_signer_unchecked()
            .map_err(|error| malformed(format!("signature names no sender: {error}")))?;
        self.recovered = true;
        let claimed = std::mem::replace(&mut self.signer, signer);
        Ok((claimed != signer).then_some((self.index, claimed)))
    }

    /// Whether value moved as far as the receipt tells: before Byzantium it is taken to have moved, since only a trace could
    /// prove that it did not.
    pub fn moved(&self) -> bool {
        self.success != Some(false)
    }
}

/// A block whose every part was proven, or taken on trust with [`Proof::Unproven`] where the user asked for that.
///
/// Its fields are private, and only the readers of this module tree can make one, from a [`ProvenParts`] each: a block as JSON
/// ([`verify`](super::verify), [`lean`](super::lean)), as RLP ([`rlp`](super::rlp)), as a stored proof ([`proof`](super::proof)) or
/// on trust ([`trusted`](super::trusted)).
///
/// ```compile_fail,E0451
/// # fn forge(block: bolo::chain::VerifiedBlock, hash: alloy::primitives::B256) {
/// let forged = bolo::chain::VerifiedBlock { hash, ..block };
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct VerifiedBlock {
    hash: B256,
    header: Header,
    transactions: Vec<VerifiedTransaction>,
    withdrawals: Vec<Withdrawal>,
    frames: Option<BlockFrames>,
    traces_refused: Option<VerifyError>,
    proof: Proof,
    encoded: Option<Encoded>,
    whole: bool,
    differences: Differences,
}

/// What a reader has found to fit, or has taken on trust.
#[derive(Debug)]
pub(super) struct ProvenParts {
    pub(super) hash: B256,
    pub(super) header: Header,
    pub(super) transactions: Vec<VerifiedTransaction>,
    pub(super) withdrawals: Vec<Withdrawal>,
    pub(super) proof: Proof,
    /// What its transactions and receipts were hashed from; none where nothing was proven, or where only a part is at hand.
    pub(super) encoded: Option<Encoded>,
    /// All of its transactions are here.
    pub(super) whole: bool,
    /// Fields of the answer that differed from what is proven.
    pub(super) differences: Differences,
}

impl VerifiedBlock {
    /// The only constructor. Call it once every part fits the block's hash, or with [`Proof::Unproven`].
    pub(super) fn new(parts: ProvenParts) -> Self {
        let ProvenParts { hash, header, transactions, withdrawals, proof, encoded, whole, differences } = parts;
        let (frames, traces_refused) = (None, None);
        Self { hash, header, transactions, withdrawals, frames, traces_refused, proof, encoded, whole, differences }
    }

    /// What its transactions and receipts were hashed from.
    pub(super) fn encoded(&self) -> Option<&Encoded> {
        self.encoded.as_ref()
    }
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
    /// Whether all of its transactions are here; not so where it was opened from a proof of some of them.
    pub fn is_whole(&self) -> bool {
        self.whole
    }
    /// Transactions in order.
    pub fn transactions(&self) -> &[VerifiedTransaction] {
        &self.transactions
    }
    /// Whether its logs show every movement of the chain's own currency to another account
    /// ([EIP-7708](https://eips.ethereum.org/EIPS/eip-7708)), known by its header.
    pub fn logs_native_transfers(&self) -> bool {
        logs_native_transfers(&self.header)
    }
    /// Withdrawals in order.
    pub fn withdrawals(&self) -> &[Withdrawal] {
        &self.withdrawals
    }
    /// The call frames of each transaction, where there were any and they do not contradict what is proven. Those of a transaction in
    /// [`missing_traces`](Self::missing_traces) are empty.
    pub fn frames(&self) -> Option<&[Vec<Frame>]> {
        self.frames.as_ref().map(|found| &found.frames[..])
    }
    /// Transactions without frames, where others have them.
    pub fn missing_traces(&self) -> &[MissingTrace] {
        self.frames.as_ref().map_or(&[], |found| &found.missing)
    }
    /// Every transaction has its frames.
    pub fn has_all_traces(&self) -> bool {
        self.frames.as_ref().is_some_and(|found| found.missing.is_empty())
    }
    /// A block without transactions has no frames: nobody needs to be asked for them.
    pub fn expect_no_frames(&mut self) {
        if self.transactions.is_empty() {
            self.frames.get_or_insert_default();
        }
    }
    /// Why the traces that came with the block were not taken.
    pub fn traces_refused(&self) -> Option<&VerifyError> {
        self.traces_refused.as_ref()
    }
    /// Every sender was recovered from its signature.
    pub fn senders_proven(&self) -> bool {
        self.transactions.iter().all(|tx| tx.recovered)
    }

    /// Fields of the answer that differed from what is proven. None of them counts anywhere.
    pub fn differences(&self) -> &Differences {
        &self.differences
    }

    /// Hands them out.
    pub fn take_differences(&mut self) -> Differences {
        std::mem::take(&mut self.differences)
    }

    /// Whether a sender was stated that did not sign: then nothing that the answer says of any sender is worth anything.
    pub fn has_wrong_sender(&self) -> bool {
        ["transaction.from", "receipt.from"].into_iter().any(|field| self.differences.has(field))
    }

    /// Proves the senders of those transactions, by their index in the block, that are not proven yet. Where one of them is another
    /// one than was claimed, those of all are proven: returns whether that was so, since what was made of the claims is void then.
    ///
    /// # Errors
    /// [`VerifyError`] where a signature names no sender. A block of which nothing was proven keeps none of its signatures, so that
    /// nothing can be proven later either.
    pub fn recover(&mut self, indices: impl IntoIterator<Item = usize>) -> Result<bool, VerifyError> {
        let Some(encoded) = &self.encoded else { return Ok(false) };
        let mut wrong = Vec::new();
        for index in indices {
            if let Some(tx) = self.transactions.get_mut(index).filter(|tx| !tx.recovered) {
                wrong.extend(tx.recover(&encoded.transactions[index])?);
            }
        }
        if wrong.is_empty() {
            return Ok(false);
        }
        wrong.extend(self.prove_senders(1)?);
        self.note_wrong_senders(&wrong);
        Ok(true)
    }

    /// Proves all senders, on so many threads.
    ///
    /// # Errors
    /// As [`recover`](Self::recover).
    pub fn recover_all(&mut self, threads: usize) -> Result<(), VerifyError> {
        let wrong = self.prove_senders(threads)?;
        self.note_wrong_senders(&wrong);
        Ok(())
    }

    /// Counts senders that were claimed and are others. Frames were held against the claims: those that only fit these are refused.
    fn note_wrong_senders(&mut self, wrong: &[(u64, Address)]) {
        for (index, claimed) in wrong {
            if let Some(tx) = usize::try_from(*index).ok().and_then(|place| self.transactions.get(place)) {
                self.differences.note("transaction.from", Some(*index), claimed, tx.signer);
            }
        }
        if !wrong.is_empty()
            && let Some(Err(refused)) = self.frames.as_ref().map(|frames| frames.check_tops(&self.transactions))
        {
            self.frames = None;
            self.traces_refused = Some(refused);
        }
    }

    /// Proves all senders, of which something is missing or contradicted, and compares what was stated of them.
    ///
    /// # Errors
    /// As [`recover`](Self::recover).
    pub(super) fn settle_senders(&mut self, claims: &[SenderClaims]) -> Result<(), VerifyError> {
        self.prove_senders(1)?;
        for (tx, claims) in self.transactions.iter().zip(claims) {
            claims.compare(tx, &mut self.differences);
        }
        Ok(())
    }

    /// Takes frames where they do not contradict what is proven, the logs of native transfers included; otherwise it is kept why
    /// not. Before traces are refused, it is made sure that it is not the claimed senders which are wrong.
    ///
    /// # Errors
    /// As [`recover`](Self::recover).
    pub(super) fn accept_traces(&mut self, traces: Option<Traces>) -> Result<(), VerifyError> {
        let Some(traces) = traces else { return Ok(()) };
        let checked = match traces.frames(self.hash, &self.transactions) {
            Ok(frames) if frames.check_tops(&self.transactions).is_ok() => self.match_native_logs(frames),
            Ok(frames) => {
                self.recover_all(1)?;
                frames.check_tops(&self.transactions).and_then(|()| self.match_native_logs(frames))
            }
            Err(refused) => Err(refused),
        };
        match checked {
            Ok(frames) => self.frames = Some(frames),
            Err(refused) => self.traces_refused = Some(refused),
        }
        Ok(())
    }

    /// Frames that moved what the logs of EIP-7708 say was moved, where the block has such. A trace that is missing contradicts nothing.
    fn match_native_logs(&self, found: BlockFrames) -> Result<BlockFrames, VerifyError> {
        if self.logs_native_transfers() {
            let is_known = |tx: &&VerifiedTransaction| found.missing.iter().all(|missing| missing.index != tx.index);
            let known = self.transactions.iter().zip(&found.frames).filter(|(tx, _)| is_known(tx));
            known.map(|(tx, frames)| match_frames(tx, frames)).try_for_each(|matched| matched.map(drop))?;
        }
        Ok(found)
    }

    /// Proves all senders that are not proven yet; those that were claimed and are others, by index.
    fn prove_senders(&mut self, threads: usize) -> Result<Vec<(u64, Address)>, VerifyError> {
        let Some(encoded) = &self.encoded else { return Ok(Vec::new()) };
        let share = self.transactions.len().div_ceil(threads.max(1)).max(LEAST_SHARE);
        let recover = |(transactions, encoded): (&mut [VerifiedTransaction], &[Bytes])| {
            let open = transactions.iter_mut().zip(encoded).filter(|(tx, _)| !tx.recovered);
            open.filter_map(|(tx, encoded)| tx.recover(encoded).transpose()).collect::<Result<Vec<_>, _>>()
        };
        let mut shares = self.transactions.chunks_mut(share).zip(encoded.transactions.chunks(share));
        let Some(first) = shares.next() else { return Ok(Vec::new()) };
        std::thread::scope(|scope| {
            let others: Vec<_> = shares.map(|share| scope.spawn(move || recover(share))).collect();
            let mut wrong = recover(first);
            for other in others {
                let other = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                wrong = wrong.and_then(|mut wrong| {
                    wrong.extend(other?);
                    Ok(wrong)
                });
            }
            wrong
        })
    }

    /// Proven or not.
    pub fn proof(&self) -> Proof {
        self.proof
    }
}
