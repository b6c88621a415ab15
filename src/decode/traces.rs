//! Value that moves within a transaction, which only call frames show.

use super::activity::{Activity, ActivityKind, Asset, Location, Plane, Position};
use super::{Decoded, Undecoded};
use crate::chain::{Frame, FrameKind, VerifiedTransaction};

/// `native_logs`: what moved to another account is shown by its log, which is proven; left are the frames that move nothing to another.
pub(super) fn decode(tx: &VerifiedTransaction, frames: &[Frame], native_logs: bool, out: &mut Decoded) {
    for frame in frames {
        if native_logs && frame.to != Some(frame.from) {
            continue;
        }
        // The top frame is the transaction's own value once more.
        if frame.trace_address.is_empty() || frame.reverted || frame.value.is_zero() {
            continue;
        }
        let kind = match frame.kind {
            FrameKind::Call | FrameKind::Create => ActivityKind::InternalTransfer,
            FrameKind::SelfDestruct => ActivityKind::SelfDestruct,
            FrameKind::NoValue => continue,
            FrameKind::Unknown => {
                out.count_frame(Undecoded::UnknownFrame, std::iter::once(frame.from).chain(frame.to));
                continue;
            }
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
            frame: None,
            operator: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{Address, U256};

    fn frame(kind: FrameKind, value: u64, reverted: bool, path: &[u32]) -> Frame {
        let (from, to) = (Address::repeat_byte(1), Some(Address::repeat_byte(2)));
        Frame { trace_address: path.to_vec(), kind, from, to, value: U256::from(value), reverted }
    }

    #[test]
    fn a_frame_of_unknown_type_that_shows_value_is_counted() {
        let tx = VerifiedTransaction { index: 3, ..VerifiedTransaction::plain() };
        let unknown = FrameKind::Unknown;
        for (frames, counted, decoded) in [
            (vec![frame(unknown, 5, false, &[0])], 1, 0),
            (
                vec![
                    frame(unknown, 5, false, &[0]),
                    frame(unknown, 1, false, &[1, 0]),
                    frame(FrameKind::Call, 1, false, &[2]),
                ],
                2,
                1,
            ),
            // Nothing moved: no value, undone, the transaction's own value.
            (vec![frame(unknown, 0, false, &[0]), frame(unknown, 5, true, &[1]), frame(unknown, 5, false, &[])], 0, 0),
            (vec![frame(FrameKind::NoValue, 5, false, &[0])], 0, 0),
        ] {
            let mut out = Decoded::default();
            decode(&tx, &frames, false, &mut out);
            assert_eq!(out.undecoded.get(&Undecoded::UnknownFrame).copied().unwrap_or_default(), counted);
            assert_eq!(out.activities.len(), decoded);
            let sides = if counted > 0 { vec![Address::repeat_byte(1), Address::repeat_byte(2)] } else { Vec::new() };
            assert_eq!(out.named, crate::decode::Named::These(sides.into_iter().collect()));
        }
    }
}
