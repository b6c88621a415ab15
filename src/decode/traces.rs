//! Value that moves within a transaction, which only call frames show.

use super::Decoded;
use super::activity::{Activity, ActivityKind, Asset, Location, Plane, Position};
use crate::chain::{Frame, FrameKind, VerifiedTransaction};

pub(super) fn decode(tx: &VerifiedTransaction, frames: &[Frame], out: &mut Decoded) {
    for frame in frames {
        // The top frame is the transaction's own value once more.
        if frame.trace_address.is_empty() || frame.reverted || frame.value.is_zero() {
            continue;
        }
        let kind = match frame.kind {
            FrameKind::Call | FrameKind::Create => ActivityKind::InternalTransfer,
            FrameKind::SelfDestruct => ActivityKind::SelfDestruct,
            FrameKind::NoValue => continue,
        };
        out.activities.push(Activity {
            kind,
            location: Location {
                tx_index: Some(tx.index as u32),
                plane: Plane::Traces,
                position: Position::Trace(frame.trace_address.clone()),
                sub_index: 0,
            },
            from: Some(frame.from),
            to: frame.to,
            asset: Asset::Native,
            amount: frame.value,
            token_id: None,
        });
    }
}
