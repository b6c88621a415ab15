//! Native transfers that logs prove ([EIP-7708](https://eips.ethereum.org/EIPS/eip-7708)): one activity for each log, but for the log
//! of the transaction's own payment, which the plane of transactions shows. Traces add which frame it was and nothing else, so that
//! the same block gives the same activities with traces and without.

use std::collections::BTreeSet;

use super::activity::{Activity, ActivityKind, Asset, CallFrame, CallType};
use super::logs::Place;
use super::{Decoded, Undecoded};
use crate::chain::native_logs::{NATIVE_LOG_EMITTER, NativeTransfer, match_frames, native_logs};
use crate::chain::{Frame, FrameKind, VerifiedTransaction};

/// `frames` are those of the transaction where they are known: then they fit the logs.
pub(super) fn decode(tx: &VerifiedTransaction, frames: Option<&[Frame]>, out: &mut Decoded) {
    let own = NativeTransfer::of_transaction(tx);
    // A transaction whose trace is missing has no frames.
    let frames = match_frames(tx, frames.unwrap_or_default()).unwrap_or_default();
    let mut decoded = BTreeSet::new();
    for (order, (place, transfer)) in native_logs(tx).enumerate() {
        decoded.insert(place);
        // It comes before all others, or not at all. Another payment may be equal to it.
        if order == 0 && own == Some(transfer) {
            continue;
        }
        let place = Place { tx_index: tx.index as u32, log_index: (tx.first_log_index + place as u64) as u32 };
        out.activities.push(Activity {
            kind: ActivityKind::InternalTransfer,
            location: place.location(0),
            from: Some(transfer.from),
            to: Some(transfer.to),
            asset: Asset::Native,
            amount: transfer.amount,
            token_id: None,
            operator: None,
            frame: frames.get(order).copied().flatten().and_then(call_frame),
        });
    }
    for (place, log) in tx.logs.iter().enumerate() {
        if log.address == NATIVE_LOG_EMITTER && !decoded.contains(&place) {
            out.count_log(Undecoded::NativeLog, log);
        }
    }
}

fn call_frame(frame: &Frame) -> Option<CallFrame> {
    let call_type = match frame.kind {
        FrameKind::Call => CallType::Call,
        FrameKind::Create => CallType::Create,
        FrameKind::SelfDestruct => CallType::SelfDestruct,
        FrameKind::NoValue | FrameKind::Unknown => return None,
    };
    Some(CallFrame { trace_address: frame.trace_address.clone(), call_type })
}
