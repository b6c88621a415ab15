//! Era files: whole stretches of history, up to 8,192 blocks each, as execution clients publish them.
//! [era1](https://github.com/eth-clients/e2store-format-specs/blob/main/formats/era1.md) is of the time before the Merge;
//! [ere](https://github.com/eth-clients/e2store-format-specs/blob/main/formats/ere.md), once called erae, is of any time, with
//! receipts without blooms.
//!
//! A file is looked through once before any of its blocks is given out: the order of its entries, the links between its headers,
//! their total difficulties and, where there is one, the accumulator over both. The blocks before a fault are given out, then the
//! fault; where the accumulator does not fit it cannot be told which block is false, and none is. The index is compared with what
//! was found, not used to find anything.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use alloy::primitives::{B256, Bytes, U256};

use super::e2store::{Entries, Entry, Kind};
use super::headers::{Headers, MOST_BLOCKS, accumulator_root};
use crate::chain::RawBlock;
use crate::chain::rlp::{RlpBlock, RlpReceipts};
use crate::source::{BlockTime, RawBundle, SourceError};

const VERSION: Kind = *b"e2";
const HEADER: Kind = [3, 0];
const BODY: Kind = [4, 0];
const RECEIPTS: Kind = [5, 0];
const DIFFICULTY: Kind = [6, 0];
const ACCUMULATOR: Kind = [7, 0];
const SLIM_RECEIPTS: Kind = [10, 0];
const PROOF: Kind = [11, 0];
const INDEX: Kind = *b"f2";
const DYNAMIC_INDEX: Kind = *b"g2";

/// Bytes of a header, unpacked; those of proof-of-authority chains have a list of signers in them.
const MOST_HEADER: u64 = 64 << 10;
/// Bytes of a body, or of a block's receipts, unpacked: several times what a block's gas pays for.
const MOST_PART: u64 = 64 << 20;

/// Which of the formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Blocks one by one, receipts with blooms.
    Era1,
    /// All headers, then all bodies, then all receipts, which have no blooms.
    Ere,
}

impl Form {
    /// By the name of the file; none where it is no era file.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "era1" => Some(Self::Era1),
            "ere" | "erae" => Some(Self::Ere),
            _ => None,
        }
    }

    fn receipts(self) -> Kind {
        match self {
            Self::Era1 => RECEIPTS,
            Self::Ere => SLIM_RECEIPTS,
        }
    }
}

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Era {
    name: String,
    form: Form,
    entries: Entries,
    parts: Parts,
    /// Number of the first block.
    first: u64,
    /// Blocks that are given out, and how many of them were.
    blocks: usize,
    given: usize,
    /// The times of the blocks, by their headers.
    times: Vec<u64>,
    /// What is wrong with the file, said after them.
    fault: Option<String>,
}

/// Where the parts of its blocks are.
#[derive(Debug, Default)]
struct Parts {
    headers: Vec<Entry>,
    bodies: Vec<Entry>,
    receipts: Vec<Entry>,
    difficulties: Vec<Entry>,
    proofs: Vec<Entry>,
    accumulator: Option<Entry>,
    index: Option<Entry>,
}

impl Era {
    pub(super) fn open(path: &Path, form: Form) -> Result<Self, SourceError> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let failed = |error: std::io::Error| SourceError::Archive(format!("{}: {error}", path.display()));
        let mut entries = Entries::new(File::open(path).map_err(failed)?).map_err(failed)?;
        let bad = |detail: String| SourceError::Archive(format!("{name}: {detail}"));
        match entries.next().map_err(|detail| bad(format!("is no era file: {detail}")))? {
            Some(Entry { kind: VERSION, length: 0, .. }) => {}
            None => return Err(bad("is empty".to_owned())),
            Some(_) => return Err(bad("is no era file: it does not start with the entry of version e2".to_owned())),
        }
        let mut parts = Parts::default();
        let fault = parts.find(&mut entries, form).err();
        let mut era = Self { name, form, entries, parts, first: 0, blocks: 0, given: 0, times: Vec::new(), fault };
        era.look_through();
        Ok(era)
    }

    /// Its first block and how many there are, by its index; none where that is not to be had.
    pub(super) fn stretch(path: &Path, form: Form) -> Option<(u64, u64)> {
        let mut file = File::open(path).ok()?;
        let mut word = |from_end: u64| {
            file.seek(SeekFrom::End(-i64::try_from(from_end).ok()?)).ok()?;
            let mut word = [0; 8];
            file.read_exact(&mut word).ok()?;
            Some(u64::from_le_bytes(word))
        };
        let count = word(8).filter(|count| (1..=MOST_BLOCKS as u64).contains(count))?;
        let (slots, tail) = match form {
            Form::Era1 => (1, 8),
            Form::Ere => (word(16).filter(|slots| (2..=5).contains(slots))?, 16),
        };
        Some((word(8 + 8 * count * slots + tail)?, count))
    }

    /// Leaves out the next blocks as far as they are outside of a range; returns how many. What is wrong with the file is then not
    /// said where it is behind the range.
    pub(super) fn pass_over(&mut self, (from, to): (u64, u64)) -> u64 {
        let next = self.first + self.given as u64;
        let left = (self.blocks - self.given) as u64;
        let outside = match next {
            next if next < from => left.min(from - next),
            next if next > to => {
                self.fault = None;
                left
            }
            _ => 0,
        };
        self.given += outside as usize;
        outside
    }

    /// The next block; what is wrong with the file comes after the last that is good.
    pub(super) fn next_block(&mut self) -> Result<Option<(u64, RawBundle)>, SourceError> {
        let Some((place, number)) = self.next_place()? else { return Ok(None) };
        match self.block(place) {
            Ok(block) => Ok(Some((number, RawBundle::new(block, None, &self.name)))),
            Err(detail) => {
                (self.blocks, self.fault) = (self.given, None);
                Err(SourceError::Archive(format!("{} block {number}: {detail}", self.name)))
            }
        }
    }

    /// Number and time of the next block, whose body and receipts are not read.
    pub(super) fn next_time(&mut self) -> Result<Option<BlockTime>, SourceError> {
        let place = self.next_place()?;
        Ok(place.and_then(|(place, number)| Some(BlockTime { number, timestamp: *self.times.get(place)? })))
    }

    /// The place of the next block in the file, and its number.
    fn next_place(&mut self) -> Result<Option<(usize, u64)>, SourceError> {
        if self.given == self.blocks {
            return match self.fault.take() {
                Some(fault) => Err(SourceError::Archive(format!("{}: {fault}", self.name))),
                None => Ok(None),
            };
        }
        let place = self.given;
        self.given += 1;
        Ok(Some((place, self.first + place as u64)))
    }

    fn block(&mut self, place: usize) -> Result<RawBlock, String> {
        let mut part = |entry: Entry, most| self.entries.unpacked(entry, most).map(Bytes::from);
        let header = part(self.parts.headers[place], MOST_HEADER)?;
        let body = part(self.parts.bodies[place], MOST_PART)?;
        let receipts = part(self.parts.receipts[place], MOST_PART)?;
        let receipts = match self.form {
            Form::Era1 => RlpReceipts::List(receipts),
            Form::Ere => RlpReceipts::Slim(receipts),
        };
        Ok(RawBlock::Rlp { block: RlpBlock::Parts { header, body }, receipts })
    }

    /// Headers, accumulator, index. Leaves the number of good blocks, and the first fault.
    fn look_through(&mut self) {
        let parts = &self.parts;
        let mut whole = parts.headers.len().min(parts.bodies.len()).min(parts.receipts.len());
        if self.form == Form::Era1 {
            whole = whole.min(parts.difficulties.len());
        }
        let mut headers = Headers::default();
        for place in 0..self.parts.headers.len() {
            if let Err(detail) = self.header(place, &mut headers) {
                // One of the two that do not link is false: both are left out.
                whole = whole.min(place.saturating_sub(1));
                self.fault = Some(detail);
                break;
            }
        }
        self.first = headers.first.unwrap_or_default();
        self.times = std::mem::take(&mut headers.times);
        self.blocks = whole;
        if self.fault.is_some() {
            return;
        }
        if let Err(detail) = self.accumulated(&headers) {
            self.blocks = 0;
            self.fault = Some(detail);
            return;
        }
        self.fault = self.indexed().err();
    }

    fn header(&mut self, place: usize, headers: &mut Headers) -> Result<(), String> {
        let rlp = self.entries.unpacked(self.parts.headers[place], MOST_HEADER)?;
        let difficulty = match self.parts.difficulties.get(place) {
            Some(entry) => {
                let bytes = self.entries.plain(*entry, 32)?;
                let bytes = <[u8; 32]>::try_from(bytes)
                    .map_err(|_| format!("the total difficulty at byte {} is not of 32 bytes", entry.at))?;
                Some(U256::from_le_bytes(bytes))
            }
            None => None,
        };
        headers.add(&rlp, difficulty)
    }

    /// The root in the file is that of its headers.
    fn accumulated(&mut self, headers: &Headers) -> Result<(), String> {
        let Some(entry) = self.parts.accumulator else {
            return Ok(());
        };
        let stated = self.entries.plain(entry, 32)?;
        // Blocks after the Merge are in no accumulator; a whole file of them in era1 is of a chain that never had another kind.
        let records: Vec<_> = match self.form {
            Form::Era1 => headers.records.iter().map(|(record, _)| *record).collect(),
            Form::Ere => headers.records.iter().filter(|(_, worked)| *worked).map(|(record, _)| *record).collect(),
        };
        let root = accumulator_root(records);
        if stated == root {
            return Ok(());
        }
        let stated = Bytes::from(stated);
        Err(format!(
            "the accumulator does not fit the headers: found {stated}, computed {}; no block is taken",
            B256::from(root)
        ))
    }

    /// The index says what was found.
    fn indexed(&mut self) -> Result<(), String> {
        let Some(entry) = self.parts.index else { return Ok(()) };
        let parts = &self.parts;
        let optional = [&parts.difficulties, &parts.proofs].into_iter().filter(|list| !list.is_empty()).count();
        let (slots, tail) = match self.form {
            Form::Era1 => (1, 1),
            Form::Ere => (3 + optional, 2),
        };
        let count = parts.headers.len();
        let words = 1 + count * slots + tail;
        let wrong = |what: &str| format!("the block index at byte {} does not fit the blocks: {what}", entry.at);
        if entry.length != 8 * words as u64 {
            return Err(wrong("it is not as long as they need"));
        }
        let data = self.entries.plain(entry, entry.length)?;
        let words: Vec<u64> = data
            .chunks_exact(8)
            .map(|word| word.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
            .collect();
        let (start, rest) = words.split_first().ok_or_else(|| wrong("it is empty"))?;
        if *start != self.first {
            return Err(wrong(&format!("it starts with block {start}, they with {}", self.first)));
        }
        let (offsets, tail) = rest.split_at(count * slots);
        let expected = match self.form {
            Form::Era1 => vec![count as u64],
            Form::Ere => vec![slots as u64, count as u64],
        };
        if tail != expected {
            return Err(wrong(&format!("it ends with {tail:?}, not {expected:?}")));
        }
        // Offsets count from the index's own entry, so they are negative.
        let is_at = |offset: u64, part: &Entry| entry.at.wrapping_add(offset) == part.at;
        for (place, offsets) in offsets.chunks_exact(slots).enumerate() {
            let fixed = [&parts.headers, &parts.bodies, &parts.receipts];
            let fits = offsets.iter().enumerate().all(|(slot, offset)| match fixed.get(slot) {
                Some(list) => is_at(*offset, &list[place]),
                None => [&parts.difficulties, &parts.proofs]
                    .into_iter()
                    .filter_map(|list| list.get(place))
                    .any(|part| is_at(*offset, part)),
            });
            if !fits {
                return Err(wrong(&format!("block {} is elsewhere", self.first + place as u64)));
            }
        }
        Ok(())
    }
}

impl Parts {
    /// Where everything is. What was found before a fault stays.
    fn find(&mut self, entries: &mut Entries, form: Form) -> Result<(), String> {
        // Places in the order of a file; how far it must have come for the blocks to be behind.
        let (mut rank, mut others) = (0, 0);
        let behind = if form == Form::Era1 { 4 } else { 2 };
        while let Some(entry) = entries.next()? {
            let misplaced = || {
                format!(
                    "the entry at byte {} (type {:02x}{:02x}) has no place there",
                    entry.at, entry.kind[0], entry.kind[1]
                )
            };
            if self.index.is_some() {
                return Err(format!("has bytes after its block index, at byte {}", entry.at));
            }
            let (list, place) = match entry.kind {
                HEADER => (&mut self.headers, 1),
                BODY => (&mut self.bodies, 2),
                kind if kind == form.receipts() => (&mut self.receipts, 3),
                DIFFICULTY => (&mut self.difficulties, 4),
                PROOF if form == Form::Ere => (&mut self.proofs, 4),
                ACCUMULATOR if (behind..6).contains(&rank) => {
                    (self.accumulator, rank) = (Some(entry), 6);
                    continue;
                }
                INDEX | DYNAMIC_INDEX if rank >= behind && (form == Form::Ere || entry.kind == INDEX) => {
                    (self.index, rank) = (Some(entry), 7);
                    continue;
                }
                VERSION | RECEIPTS | SLIM_RECEIPTS | PROOF | ACCUMULATOR | INDEX | DYNAMIC_INDEX => {
                    return Err(misplaced());
                }
                // Other entries may stand behind the blocks, and are skipped as the container says.
                _ if (behind..6).contains(&rank) && others < MOST_BLOCKS => {
                    (others, rank) = (others + 1, 5);
                    continue;
                }
                _ => return Err(misplaced()),
            };
            let in_order = match form {
                // One block after the other: a header starts the next.
                Form::Era1 => place == rank + 1 || (place == 1 && rank == 4),
                Form::Ere => place == rank || place == rank + 1 || (place == 4 && rank >= behind && rank < 4),
            };
            if !in_order {
                return Err(misplaced());
            }
            if list.len() == MOST_BLOCKS {
                return Err(format!("has more than {MOST_BLOCKS} blocks"));
            }
            rank = place;
            list.push(entry);
        }
        self.complete(form, entries.length())
    }

    /// All that the format has is there.
    fn complete(&self, form: Form, length: u64) -> Result<(), String> {
        if self.index.is_none() {
            return Err(format!("ends at byte {length} without a block index: cut off"));
        }
        let count = self.headers.len();
        if form == Form::Ere && self.receipts.is_empty() {
            return Err("has no receipts (the noreceipts profile), without which nothing can be proven".to_owned());
        }
        if form == Form::Era1 && self.accumulator.is_none() {
            return Err("has no accumulator".to_owned());
        }
        let optional = |list: &[Entry]| list.is_empty() || list.len() == count;
        let all = self.bodies.len() == count
            && self.receipts.len() == count
            && optional(&self.proofs)
            && (optional(&self.difficulties) && (self.accumulator.is_none() || !self.difficulties.is_empty()));
        if all {
            return Ok(());
        }
        Err(format!(
            "has {count} headers, {} bodies, {} receipts, {} total difficulties, {} proofs",
            self.bodies.len(),
            self.receipts.len(),
            self.difficulties.len(),
            self.proofs.len()
        ))
    }
}
