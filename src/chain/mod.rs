//! What a block is, and how it is proven: pure, with no I/O, clock or async.
//!
//! Data comes in as a [`BlockBundle`] (whatever an endpoint or an archive claims) and leaves as a [`VerifiedBlock`]. Its
//! fields are private and only the readers here can make one, so nothing unproven can reach decode by accident. Where a block
//! belongs in the chain that we hold is decided in [`canonical`].

mod blob_price;
pub mod bundle;
pub mod canonical;
mod claim;
mod currency;
mod error;
pub mod fork;
mod keccak;
pub mod lean;
pub mod native_logs;
pub mod proof;
mod receipts;
pub mod rlp;
pub mod traces;
pub mod transaction;
pub mod trie;
pub mod trusted;
mod verified;
pub mod verify;

pub use bundle::{BlockBundle, BundleError, RawBlock};
pub use claim::{Claim, Difference, Differences};
pub use currency::NativeCurrency;
pub use error::{Part, VerifyError};
pub use traces::{Frame, FrameKind, MissingTrace};
pub use verified::{Proof, VerifiedBlock, VerifiedTransaction};
pub use verify::{Expected, check_storable};
