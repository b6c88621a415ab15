//! One movement of value or permission, and the place in the chain that identifies it.

use alloy::primitives::{Address, U256};

use crate::named::named;

named! {
    /// What kind of movement. The words are those of CONTRACT's JSON.
    ActivityKind {
        /// Value of a successful top-level transaction.
        NativeTransfer = "native_transfer",
        /// Signed or called, and no value moved: none was sent, or it failed.
        Transaction = "transaction",
        /// A top-level creation that succeeded; the amount is the endowment.
        ContractCreation = "contract_creation",
        /// Value of a call or creation within a transaction.
        InternalTransfer = "internal_transfer",
        /// Balance sent by `SELFDESTRUCT`.
        SelfDestruct = "self_destruct",
        /// ERC-20 `Transfer`.
        Erc20Transfer = "erc20_transfer",
        /// ERC-721 `Transfer`.
        Erc721Transfer = "erc721_transfer",
        /// One id of an ERC-1155 `TransferSingle` or `TransferBatch`.
        Erc1155Transfer = "erc1155_transfer",
        /// WETH9 `Deposit`.
        Wrap = "wrap",
        /// WETH9 `Withdrawal`.
        Unwrap = "unwrap",
        /// Beacon chain withdrawal ([EIP-4895](https://eips.ethereum.org/EIPS/eip-4895)).
        Withdrawal = "withdrawal",
        /// Priority fees of a block.
        FeeRecipient = "fee_recipient",
        /// [ERC-6909](https://eips.ethereum.org/EIPS/eip-6909) `Transfer`.
        Erc6909Transfer = "erc6909_transfer",
    }
}

/// What moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asset {
    /// The chain's own currency, in wei.
    Native,
    /// A fungible token, in its base units.
    Erc20(Address),
    /// A non-fungible token: the id tells which.
    Erc721(Address),
    /// A multi-token: id and amount.
    Erc1155(Address),
    /// A multi-token of [ERC-6909](https://eips.ethereum.org/EIPS/eip-6909): id and amount.
    Erc6909(Address),
}

impl Asset {
    /// The emitting contract; none for the native currency.
    pub fn contract(self) -> Option<Address> {
        match self {
            Self::Native => None,
            Self::Erc20(contract) | Self::Erc721(contract) | Self::Erc1155(contract) | Self::Erc6909(contract) => {
                Some(contract)
            }
        }
    }

    /// The namespace of its CAIP-19 id; for the native currency that depends on the chain.
    pub fn standard(self) -> AssetStandard {
        match self {
            Self::Native => AssetStandard::Native,
            Self::Erc20(_) => AssetStandard::Erc20,
            Self::Erc721(_) => AssetStandard::Erc721,
            Self::Erc1155(_) => AssetStandard::Erc1155,
            Self::Erc6909(_) => AssetStandard::Erc6909,
        }
    }
}

named! {
    /// The standard that an asset follows. The words are the namespaces of CAIP-19, but for the native currency.
    AssetStandard {
        /// The chain's own currency.
        Native = "native",
        /// [ERC-20](https://eips.ethereum.org/EIPS/eip-20).
        Erc20 = "erc20",
        /// [ERC-721](https://eips.ethereum.org/EIPS/eip-721).
        Erc721 = "erc721",
        /// [ERC-1155](https://eips.ethereum.org/EIPS/eip-1155).
        Erc1155 = "erc1155",
        /// [ERC-6909](https://eips.ethereum.org/EIPS/eip-6909).
        Erc6909 = "erc6909",
    }
}

named! {
    /// Which part of a block shows the movement. The numbers are hashed into alert ids.
    Plane {
        /// The transactions themselves, with their receipts' status.
        Transactions = "transactions",
        /// Logs of receipts.
        Logs = "logs",
        /// Call frames; no root covers them.
        Traces = "traces",
        /// The block's withdrawals.
        Withdrawals = "withdrawals",
        /// Authorization lists of [EIP-7702](https://eips.ethereum.org/EIPS/eip-7702).
        Authorizations = "authorizations",
    }
}

/// Where within the plane.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Position {
    /// The transaction, withdrawal or block itself.
    Whole,
    /// Index of a log within the block.
    Log(u32),
    /// Path of a call frame from the top frame `[]`.
    Trace(Vec<u32>),
}

/// The identity of an activity within its block. Orders as the chain does: by transaction, then plane, then place; what belongs
/// to no transaction comes last.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    /// Index of the transaction in the block.
    pub tx_index: Option<u32>,
    /// The plane.
    pub plane: Plane,
    /// Place in the plane.
    pub position: Position,
    /// Place within a batch, or in the block's list of withdrawals.
    pub sub_index: u32,
}

/// Stands for "no transaction" where an index is encoded; no block can hold so many.
pub const NO_TRANSACTION: u32 = u32::MAX;

impl Location {
    /// The location as bytes that order as locations do: transaction index (4, big endian, all ones for none), plane (1), number
    /// of position words (4), the words (4 each: the log index, or the trace address), sub index (4). The alert id hashes
    /// exactly these.
    pub fn encode(&self) -> Vec<u8> {
        let words: &[u32] = match &self.position {
            Position::Whole => &[],
            Position::Log(index) => std::slice::from_ref(index),
            Position::Trace(path) => path,
        };
        let mut out = Vec::with_capacity(13 + 4 * words.len());
        out.extend(self.tx_index.unwrap_or(NO_TRANSACTION).to_be_bytes());
        out.push(self.plane as u8);
        out.extend((words.len() as u32).to_be_bytes());
        out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        out.extend(self.sub_index.to_be_bytes());
        out
    }

    /// The opposite of [`encode`](Self::encode); none where the bytes are not of that form.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        let plane = Plane::from_code(*bytes.get(4)?)?;
        let count = word(5)? as usize;
        if bytes.len() != count.checked_mul(4)?.checked_add(13)? {
            return None;
        }
        let words = (0..count).map(|i| word(9 + 4 * i)).collect::<Option<Vec<_>>>()?;
        let position = match (plane, words.as_slice()) {
            (Plane::Traces, _) => Position::Trace(words),
            (Plane::Logs, [index]) => Position::Log(*index),
            (Plane::Logs, _) => return None,
            (_, []) => Position::Whole,
            _ => return None,
        };
        let tx_index = word(0).filter(|index| *index != NO_TRANSACTION);
        Some(Self { tx_index, plane, position, sub_index: word(9 + 4 * count)? })
    }
}

impl PartialOrd for Location {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Location {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.tx_index
            .unwrap_or(NO_TRANSACTION)
            .cmp(&other.tx_index.unwrap_or(NO_TRANSACTION))
            .then(self.plane.cmp(&other.plane))
            .then_with(|| self.position.cmp(&other.position))
            .then(self.sub_index.cmp(&other.sub_index))
    }
}

named! {
    /// Which instruction moved value within a transaction. The words are those of the contract's `detail`.
    CallType {
        /// `CALL`.
        Call = "call",
        /// `CREATE` or `CREATE2`.
        Create = "create",
        /// `SELFDESTRUCT`.
        SelfDestruct = "selfdestruct",
    }
}

/// The call frame of a movement that a log proves: no root covers it, and the movement's identity does not depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFrame {
    /// Path from the top frame, which is `[]`.
    pub trace_address: Vec<u32>,
    /// What made it.
    pub call_type: CallType,
}

/// One movement. Amounts are in base units (wei, token units); `from` and `to` as the source has them: none for a withdrawal's
/// or a fee's origin, or the target of a creation that failed; the zero address for a mint or burn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// What it is.
    pub kind: ActivityKind,
    /// Where it is.
    pub location: Location,
    /// Who gave.
    pub from: Option<Address>,
    /// Who got.
    pub to: Option<Address>,
    /// What.
    pub asset: Asset,
    /// How much; 1 for an ERC-721 token, 0 where no value moved.
    pub amount: U256,
    /// Which one, for ERC-721, ERC-1155 and ERC-6909.
    pub token_id: Option<U256>,
    /// The call frame of a native movement that a log proves, where traces are known.
    pub frame: Option<CallFrame>,
    /// Who moved it on behalf of the giving side, where the event says so and that is screened: ERC-6909's `caller`.
    pub operator: Option<Address>,
}

impl Activity {
    /// The addresses it touches, the giving side first, then the receiving one and the operator, each once: what is screened, and what
    /// the index for looking back holds.
    pub fn sides(&self) -> impl Iterator<Item = Address> {
        let [from, to, operator] = self.parties();
        from.into_iter().chain(to).chain(operator)
    }

    /// The same by role: the giving side, the receiving one where it is another, and the operator where it is neither.
    pub fn parties(&self) -> [Option<Address>; 3] {
        let (from, to) = (self.from, self.to);
        [from, to.filter(|to| from != Some(*to)), self.operator.filter(|other| ![from, to].contains(&Some(*other)))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn locations() -> impl Strategy<Value = Location> {
        let position = prop_oneof![
            (0u32..4, any::<u32>()).prop_map(|(plane, index)| match plane {
                0 => (Plane::Transactions, Position::Whole),
                1 => (Plane::Withdrawals, Position::Whole),
                _ => (Plane::Logs, Position::Log(index)),
            }),
            proptest::collection::vec(any::<u32>(), 0..5).prop_map(|path| (Plane::Traces, Position::Trace(path))),
        ];
        (proptest::option::of(0u32..1000), position, any::<u32>())
            .prop_map(|(tx_index, (plane, position), sub_index)| Location { tx_index, plane, position, sub_index })
    }

    proptest! {
        #[test]
        fn a_location_survives_its_encoding(location in locations()) {
            prop_assert_eq!(Location::decode(&location.encode()), Some(location));
        }

        #[test]
        fn no_two_locations_share_an_encoding(a in locations(), b in locations()) {
            prop_assert_eq!(a.encode() == b.encode(), a == b);
        }

        #[test]
        fn bytes_that_are_no_location_are_none(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(location) = Location::decode(&bytes) {
                prop_assert_eq!(location.encode(), bytes);
            }
        }
    }
}
