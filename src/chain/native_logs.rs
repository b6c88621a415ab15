//! Logs of native transfers ([EIP-7708](https://eips.ethereum.org/EIPS/eip-7708)): since Amsterdam each movement of the chain's own
//! currency to another account leaves a `Transfer` log of a fixed emitter, so that the receipts root proves it. Call frames of the
//! same transaction can therefore be held against something proven.

use std::collections::HashSet;

use alloy::consensus::Header;
use alloy::primitives::{Address, Log, U256, address};
use alloy::sol;
use alloy::sol_types::SolEvent;

use super::error::{Part, VerifyError, mismatch};
use super::traces::{Frame, FrameKind};
use super::verified::VerifiedTransaction;

sol! {
    event Transfer(address indexed from, address indexed to, uint256 value);
}

/// Emits the logs of native transfers. No code can stand there, so that no contract can forge one.
pub const NATIVE_LOG_EMITTER: Address = address!("fffffffffffffffffffffffffffffffffffffffe");

/// Whether the header is of a fork that logs native transfers. EIP-7708 adds no field of its own; both fields that Amsterdam adds
/// ([EIP-7928](https://eips.ethereum.org/EIPS/eip-7928), [EIP-7843](https://eips.ethereum.org/EIPS/eip-7843)) must be there, since a
/// chain may take over one of these without the logs, and its transfers must not be called seen.
pub fn logs_native_transfers(header: &Header) -> bool {
    header.block_access_list_hash.is_some() && header.slot_number.is_some()
}

/// A movement of the chain's own currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NativeTransfer {
    /// Who paid.
    pub from: Address,
    /// Who was paid.
    pub to: Address,
    /// Wei.
    pub amount: U256,
}

impl std::fmt::Display for NativeTransfer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} wei from {} to {}", self.amount, self.from, self.to)
    }
}

impl NativeTransfer {
    /// What a log of the emitter says; none where the log is another's, or is no well-formed `Transfer`.
    pub fn of_log(log: &Log) -> Option<Self> {
        let [Transfer::SIGNATURE_HASH, from, to] = log.topics() else { return None };
        let is_padded = |word: &[u8]| word[..12].iter().all(|byte| *byte == 0);
        let amount = <[u8; 32]>::try_from(&log.data.data[..]).ok()?;
        (log.address == NATIVE_LOG_EMITTER && is_padded(&from[..]) && is_padded(&to[..])).then(|| Self {
            from: Address::from_word(*from),
            to: Address::from_word(*to),
            amount: U256::from_be_bytes(amount),
        })
    }

    /// The payment of the transaction itself, its value or its contract's endowment, where that leaves a log: it succeeded, and pays
    /// another account than its signer.
    pub fn of_transaction(tx: &VerifiedTransaction) -> Option<Self> {
        let to = tx.to.unwrap_or_else(|| tx.signer.create(tx.nonce));
        let leaves_log = tx.moved() && !tx.value.is_zero() && to != tx.signer;
        leaves_log.then_some(Self { from: tx.signer, to, amount: tx.value })
    }

    /// The movement that a frame makes, where that leaves a log: it was not undone and pays another account than its own. The top
    /// frame of a creation may leave out whom it made: `created`.
    fn of_frame(frame: &Frame, created: Address) -> Option<Self> {
        let to = frame.to.or(frame.trace_address.is_empty().then_some(created));
        let moves = frame.kind != FrameKind::NoValue && !frame.reverted && !frame.value.is_zero();
        // One without a recipient would be no call that succeeded: it must not pass for one that moves nothing.
        let to = to.unwrap_or_default();
        (moves && to != frame.from).then_some(Self { from: frame.from, to, amount: frame.value })
    }
}

/// The logs of native transfers of a transaction, each with its place among the logs of the transaction, in order.
pub fn native_logs(tx: &VerifiedTransaction) -> impl Iterator<Item = (usize, NativeTransfer)> {
    tx.logs.iter().enumerate().filter_map(|(place, log)| Some((place, NativeTransfer::of_log(log)?)))
}

/// Possible matches of frames with logs that are looked through: far more than any block within the gas limit can need.
const MAX_MATCHES: usize = 1 << 24;

/// Matches the frames of a transaction that move value to another account with its logs, one by one and in order (depth first, the top
/// frame first): the frame of each log. Whether the value that a frame of unknown type shows moves, its log alone tells; where a log can
/// be that of several frames, it has none.
///
/// # Errors
/// [`VerifyError`] with [`Part::Traces`] where frames move more, less or something else than the logs say.
pub fn match_frames<'a>(tx: &VerifiedTransaction, frames: &'a [Frame]) -> Result<Vec<Option<&'a Frame>>, VerifyError> {
    let created = tx.signer.create(tx.nonce);
    let logs: Vec<NativeTransfer> = native_logs(tx).map(|(_, transfer)| transfer).collect();
    let logged: HashSet<&NativeTransfer> = logs.iter().collect();
    let moves: Vec<(&Frame, NativeTransfer)> = frames
        .iter()
        .filter_map(|frame| Some((frame, NativeTransfer::of_frame(frame, created)?)))
        .filter(|(frame, transfer)| frame.kind != FrameKind::Unknown || logged.contains(transfer))
        .collect();
    // As many frames as are too many leave no log, whichever they are; only those of unknown type can.
    let Some(too_many) = moves.len().checked_sub(logs.len()) else {
        return Err(contradiction(tx.index, &moves, &logs));
    };
    let width = too_many + 1;
    if (moves.len() + 1).saturating_mul(width) > MAX_MATCHES {
        return Err(contradiction(tx.index, &moves, &logs));
    }
    let can_skip = |frame: usize, skipped: usize| moves[frame].0.kind == FrameKind::Unknown && skipped < too_many;
    let can_match = |frame: usize, skipped: usize| logs.get(frame - skipped) == Some(&moves[frame].1);
    // Whether the frames from one on fit the logs from there on, where that many before it left no log.
    let mut fits = vec![false; (moves.len() + 1) * width];
    fits[moves.len() * width + too_many] = true;
    for frame in (0..moves.len()).rev() {
        for skipped in 0..=too_many.min(frame) {
            let next = (frame + 1) * width + skipped;
            fits[frame * width + skipped] =
                (can_match(frame, skipped) && fits[next]) || (can_skip(frame, skipped) && fits[next + 1]);
        }
    }
    if !fits[0] {
        return Err(contradiction(tx.index, &moves, &logs));
    }
    let mut matched = vec![None; logs.len()];
    let mut is_certain = vec![true; logs.len()];
    let mut reached = vec![false; width];
    reached[0] = true;
    for (frame, (of, _)) in moves.iter().enumerate() {
        let mut next_reached = vec![false; width];
        for skipped in (0..=too_many.min(frame)).filter(|skipped| reached[*skipped]) {
            let next = (frame + 1) * width + skipped;
            if can_match(frame, skipped) && fits[next] {
                next_reached[skipped] = true;
                is_certain[frame - skipped] &= matched[frame - skipped].replace(*of).is_none();
            }
            if can_skip(frame, skipped) && fits[next + 1] {
                next_reached[skipped + 1] = true;
            }
        }
        reached = next_reached;
    }
    Ok(matched.into_iter().zip(is_certain).map(|(frame, is_certain)| frame.filter(|_| is_certain)).collect())
}

/// The first frame or log that does not fit.
fn contradiction(index: u64, moves: &[(&Frame, NativeTransfer)], logs: &[NativeTransfer]) -> VerifyError {
    let same = moves.iter().zip(logs).take_while(|((_, frame), log)| frame == *log).count();
    let name = |what: &str, transfer: Option<&NativeTransfer>| {
        let transfer = transfer.map_or_else(|| "none".to_owned(), ToString::to_string);
        format!("{what} {same} of value that moved: {transfer}")
    };
    mismatch(
        Part::Traces,
        Some(index),
        name("frame", moves.get(same).map(|(_, transfer)| transfer)),
        name("log", logs.get(same)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{B256, Bytes, LogData};

    fn who(byte: u8) -> Address {
        Address::with_last_byte(byte)
    }

    fn log(from: u8, to: u8, amount: u64) -> Log {
        let topics = vec![Transfer::SIGNATURE_HASH, who(from).into_word(), who(to).into_word()];
        let data = Bytes::from(U256::from(amount).to_be_bytes::<32>());
        Log { address: NATIVE_LOG_EMITTER, data: LogData::new_unchecked(topics, data) }
    }

    fn tx(logs: Vec<Log>) -> VerifiedTransaction {
        VerifiedTransaction {
            signer: who(1),
            to: Some(who(2)),
            value: U256::from(5),
            logs,
            ..VerifiedTransaction::plain()
        }
    }

    fn frame(path: &[u32], kind: FrameKind, from: u8, to: u8, value: u64) -> Frame {
        let (from, to, value) = (who(from), Some(who(to)), U256::from(value));
        Frame { trace_address: path.to_vec(), kind, from, to, value, reverted: false }
    }

    #[test]
    fn only_a_well_formed_transfer_of_the_emitter_is_a_native_transfer() {
        let good = log(1, 2, 5);
        let found = NativeTransfer { from: who(1), to: who(2), amount: U256::from(5) };
        assert_eq!(NativeTransfer::of_log(&good), Some(found));
        let with = |change: &dyn Fn(&mut Vec<B256>, &mut Vec<u8>)| {
            let (mut topics, mut data) = (good.topics().to_vec(), good.data.data.to_vec());
            change(&mut topics, &mut data);
            Log { address: NATIVE_LOG_EMITTER, data: LogData::new_unchecked(topics, data.into()) }
        };
        let malformed = [
            Log { address: who(0xaa), ..good.clone() },
            with(&|topics, _| topics.truncate(2)),
            with(&|topics, _| topics.push(B256::ZERO)),
            with(&|topics, _| topics[0] = B256::ZERO),
            with(&|topics, _| topics[1] = B256::repeat_byte(1)),
            with(&|topics, _| topics[2].0[0] = 1),
            with(&|_, data| data.truncate(31)),
            with(&|_, data| data.push(0)),
            with(&|_, data| data.clear()),
        ];
        for log in malformed {
            assert_eq!(NativeTransfer::of_log(&log), None, "{log:?}");
        }
    }

    #[test]
    fn frames_must_move_what_the_logs_say_in_their_order() {
        use FrameKind::{Call, Create, NoValue, SelfDestruct};
        let tx = tx(vec![log(1, 2, 5), log(2, 3, 1), log(3, 4, 2), log(4, 2, 3)]);
        let honest = vec![
            frame(&[], Call, 1, 2, 5),
            frame(&[0], Create, 2, 3, 1),
            frame(&[0, 0], Call, 3, 3, 9),
            frame(&[0, 1], NoValue, 3, 9, 9),
            frame(&[0, 2], Call, 3, 4, 2),
            Frame { reverted: true, ..frame(&[1], Call, 2, 9, 1) },
            frame(&[2], Call, 2, 9, 0),
            frame(&[3], SelfDestruct, 4, 2, 3),
        ];
        let paths = |frames: &[Frame]| -> Vec<Vec<u32>> {
            match_frames(&tx, frames).unwrap().iter().map(|frame| frame.unwrap().trace_address.clone()).collect()
        };
        assert_eq!(paths(&honest), [vec![], vec![0], vec![0, 2], vec![3]]);
        // A type that nobody knows moved value where there is a log of it, and nothing where there is none.
        let mut odd = honest.clone();
        (odd[4].kind, odd[3].kind) = (FrameKind::Unknown, FrameKind::Unknown);
        assert_eq!(paths(&odd), paths(&honest));
        type Change = fn(&mut Vec<Frame>);
        let forgeries: [Change; 8] = [
            |frames| frames.swap(1, 4),
            |frames| frames[4].value = U256::from(3),
            |frames| frames[4].to = Some(who(9)),
            |frames| frames[4].to = None,
            |frames| frames[1].from = who(9),
            |frames| frames[5].reverted = false,
            |frames| frames[3].kind = Call,
            |frames| frames.truncate(4),
        ];
        for (place, forge) in forgeries.iter().enumerate() {
            let mut frames = honest.clone();
            forge(&mut frames);
            assert!(match_frames(&tx, &frames).is_err(), "forgery {place}");
        }
        let said = match_frames(&tx, &honest[..4]).unwrap_err().to_string();
        assert!(
            said.contains("found frame 2 of value that moved: none, expected log 2 of value that moved: 2 wei"),
            "{said}"
        );
    }

    #[test]
    fn a_frame_of_unknown_type_never_takes_the_log_of_a_known_one() {
        use FrameKind::{Call, Unknown};
        let paths = |logs: &[Log], frames: &[Frame]| -> Option<Vec<Option<Vec<u32>>>> {
            let matched = match_frames(&tx(logs.to_vec()), frames).ok()?;
            Some(matched.into_iter().map(|frame| frame.map(|frame| frame.trace_address.clone())).collect())
        };
        let [first, second] = [log(2, 3, 1), log(2, 4, 1)];
        let at = |place: u32, kind, to| frame(&[place], kind, 2, to, 1);
        let place = |place: u32| Some(vec![place]);
        // One payment: the known frame made it, before or behind a frame of unknown type that shows the same.
        assert_eq!(paths(std::slice::from_ref(&first), &[at(0, Unknown, 3), at(1, Call, 3)]), Some(vec![place(1)]));
        assert_eq!(paths(std::slice::from_ref(&first), &[at(0, Call, 3), at(1, Unknown, 3)]), Some(vec![place(0)]));
        let between = [at(0, Unknown, 3), at(1, Call, 3), at(2, Unknown, 3)];
        assert_eq!(paths(std::slice::from_ref(&first), &between), Some(vec![place(1)]));
        // Two payments: both made one each.
        let twice = [first.clone(), first.clone()];
        assert_eq!(paths(&twice, &[at(0, Unknown, 3), at(1, Call, 3)]), Some(vec![place(0), place(1)]));
        // Either of two can have made it, and which one nobody can tell.
        assert_eq!(paths(std::slice::from_ref(&first), &[at(0, Unknown, 3), at(1, Unknown, 3)]), Some(vec![None]));
        assert_eq!(paths(&twice, &between), Some(vec![None, None]));
        // What comes behind decides: the first of these cannot have moved anything.
        let mixed = [at(0, Unknown, 4), at(1, Unknown, 3), at(2, Call, 4)];
        assert_eq!(paths(&[first.clone(), second.clone()], &mixed), Some(vec![place(1), place(2)]));
        // A known frame without a log, a log without a frame, another order.
        assert_eq!(paths(&[], &[at(0, Call, 3), at(1, Unknown, 3)]), None);
        assert_eq!(paths(std::slice::from_ref(&second), &[at(0, Unknown, 3), at(1, Call, 3)]), None);
        assert_eq!(paths(&twice, &[at(0, Call, 3)]), None);
        assert_eq!(paths(&[second, first], &[at(0, Call, 3), at(1, Unknown, 4)]), None);
        // More than any execution has are refused, and cost neither time nor memory.
        let many = vec![at(0, Unknown, 3); 200_000];
        assert_eq!(paths(&[log(2, 3, 1)], &many), None);
    }

    #[test]
    fn a_creation_whose_top_frame_names_no_contract_pays_the_one_that_it_made() {
        let created = who(1).create(0);
        let mut paid = log(1, 2, 5);
        paid.data = LogData::new_unchecked(
            vec![Transfer::SIGNATURE_HASH, who(1).into_word(), created.into_word()],
            paid.data.data.clone(),
        );
        let tx = VerifiedTransaction { to: None, ..tx(vec![paid]) };
        let top = Frame { to: None, ..frame(&[], FrameKind::Create, 1, 2, 5) };
        assert!(match_frames(&tx, &[top]).is_ok());
        let own = NativeTransfer::of_transaction(&tx).unwrap();
        assert_eq!(own, NativeTransfer { from: who(1), to: created, amount: U256::from(5) });
    }

    #[test]
    fn a_transaction_pays_nobody_else_where_it_fails_pays_itself_or_pays_nothing() {
        let pays = tx(Vec::new());
        assert!(NativeTransfer::of_transaction(&pays).is_some());
        let others = [
            VerifiedTransaction { success: Some(false), ..pays.clone() },
            VerifiedTransaction { to: Some(pays.signer), ..pays.clone() },
            VerifiedTransaction { value: U256::ZERO, ..pays },
        ];
        assert!(others.iter().all(|tx| NativeTransfer::of_transaction(tx).is_none()));
    }
}
