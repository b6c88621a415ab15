//! How blocks were read, counted: a slower way is never taken in silence.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::chain::lean::Path;
use crate::chain::{Difference, VerifiedBlock};

/// How the blocks of a run were read so far, shared by all workers.
#[derive(Debug, Clone, Default)]
pub(super) struct Paths(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    lean: u64,
    rlp: u64,
    /// By reason.
    typed: BTreeMap<&'static str, u64>,
    /// What was said of whom.
    said: HashSet<(String, &'static str)>,
}

impl Paths {
    /// Counts a block; each way, and each reason for the slow one, is said once of each source.
    pub(super) fn note(&self, path: &Path, source: &str, number: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (way, reason) = match path {
            Path::Lean => {
                counts.lean += 1;
                ("lean", "JSON as expected")
            }
            Path::Rlp => {
                counts.rlp += 1;
                ("rlp", "RLP")
            }
            Path::Typed(odd) => {
                *counts.typed.entry(odd.0).or_default() += 1;
                ("typed, which is slower", odd.0)
            }
        };
        if counts.said.insert((source.to_owned(), reason)) {
            tracing::debug!(source, number, reason, "blocks are read the way: {way}");
        }
    }

    /// Says of each source, once, which fields differ from what is proven.
    pub(super) fn note_differences(&self, block: &VerifiedBlock, source: &str) {
        for (field, difference) in block.differences().iter() {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if counts.said.insert((source.to_owned(), field)) {
                let Difference { found, proven, index, .. } = difference;
                tracing::warn!(
                    source, block = block.number(), transaction = index, field, %found, %proven,
                    "a field differs from what is proven: the proven value counts; `bolo status` has the number of differences"
                );
            }
        }
    }

    /// Says how many went which way.
    pub(super) fn say(&self) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let typed: u64 = counts.typed.values().sum();
        tracing::debug!(lean = counts.lean, rlp = counts.rlp, typed, reasons = ?counts.typed, "how blocks were read");
    }
}
