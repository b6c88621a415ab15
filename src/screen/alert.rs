//! An alert: an activity that touches a watched address, with an id that is the same for ever.

use alloy::primitives::{Address, B256, Keccak256};

use super::triage::Triage;
use crate::decode::{Activity, Location};
use crate::named::named;

named! {
    /// How sure it is that the block stays. A reorg retracts; nothing is deleted.
    AlertStatus {
        /// In a block that may still be replaced.
        Pending = "pending",
        /// In a block that the endpoint calls safe, or 12 deep where it has no such tag.
        Safe = "safe",
        /// In a final block, or 64 deep where the endpoint has no such tag.
        Finalized = "finalized",
        /// In a block that a reorg replaced.
        Orphaned = "orphaned",
    }
}

named! {
    /// Which side the watched address is on.
    Direction {
        /// It gave.
        Out = "out",
        /// It got.
        In = "in",
        /// Both.
        Own = "self",
        /// Neither: it acted or is named otherwise.
        Party = "party",
    }
}

named! {
    /// How the block's time relates to the listing.
    Designation {
        /// Before the address was listed.
        Before = "before",
        /// While it was.
        Listed = "listed",
        /// After it had left the list.
        After = "after",
        /// The list gives no date.
        Unknown = "unknown",
    }
}

named! {
    /// How much it matters, lowest first.
    Severity {
        /// Noise, or the user's own wallets among strangers.
        Low = "low",
        /// Contact with an advisory or internal entry.
        Medium = "medium",
        /// Direct contact with a blocked entry.
        High = "high",
        /// Own wallets and blocked ones at once.
        Severe = "severe",
    }
}

named! {
    /// What an alert is worth looking at: anything but `value` is kept, tagged, and left out unless asked for.
    TriageClass {
        /// Real.
        Value = "value",
        /// A token transfer of nothing, by somebody who is neither side: bait for address poisoning.
        ZeroValue = "zero_value",
        /// Too little to matter.
        Dust = "dust",
        /// A log that names an address which had no part in it.
        Spoofed = "spoofed",
        /// A token that passes for another.
        UnverifiedToken = "unverified_token",
        /// No alert: it touches the user's own wallets and nothing else that is watched. Kept for looking back.
        Own = "own",
    }
}

/// An activity that touches a watched address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// [`alert_id`].
    pub id: B256,
    /// What happened.
    pub activity: Activity,
    /// The watched address.
    pub watched: Address,
    /// Its side.
    pub direction: Direction,
    /// Ids in the store of its entries, strictest first, each with the designation at the block's time.
    pub matched: Vec<(i64, Designation)>,
    /// How much it matters.
    pub severity: Severity,
    /// Noise or not.
    pub triage: Triage,
}

/// The id of an alert: keccak-256 of, one after the other, the chain id (8 bytes, big endian), the block's hash (32), the location
/// ([`Location::encode`]: transaction index 4, plane 1, number of position words 4, position words 4 each, sub index 4), and the
/// watched address (20). The same facts give the same id on any machine and under any list.
pub fn alert_id(chain_id: u64, block_hash: B256, location: &Location, watched: Address) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(chain_id.to_be_bytes());
    hasher.update(block_hash);
    hasher.update(location.encode());
    hasher.update(watched);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Plane, Position};
    use alloy::primitives::keccak256;

    #[test]
    fn the_id_is_the_hash_of_the_documented_bytes() {
        let location = Location { tx_index: Some(2), plane: Plane::Logs, position: Position::Log(3), sub_index: 1 };
        let mut bytes = vec![0, 0, 0, 0, 0, 0, 0, 1];
        bytes.extend([0xbb; 32]);
        bytes.extend([0, 0, 0, 2, 1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 1]);
        bytes.extend([0xaa; 20]);
        let id = alert_id(1, B256::repeat_byte(0xbb), &location, Address::repeat_byte(0xaa));
        assert_eq!(id, keccak256(bytes));
    }
}
