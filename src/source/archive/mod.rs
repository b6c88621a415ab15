//! Archives: blocks from which everything can be replayed and proven with no network. Recorded answers, one block a line
//! ([`lines`]), and the era files that clients publish ([`era`]).

mod e2store;
mod era;
mod headers;
mod lines;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{BlockTime, RawBundle, SourceError};
use crate::chain::{RawBlock, rlp};

use era::Era;
pub use lines::ArchiveWriter;
use lines::Lines;

/// The recorded chain that comes with the crate has this as its name.
pub const BUILT_IN: &str = "built-in demo";

/// How the names of archive files end.
const ENDINGS: [&str; 5] = [".jsonl", ".jsonl.zst", ".era1", ".ere", ".erae"];

/// The blocks of one or more archive files, in the order of the files and of the blocks in them.
pub struct Archive {
    left_out: Vec<PathBuf>,
    files: std::vec::IntoIter<PathBuf>,
    current: Option<Reader>,
    /// First and last block that are wanted, and how many others were passed over.
    wanted: (u64, u64),
    passed_over: u64,
    /// Bytes of the blocks that were given out.
    read: Arc<AtomicU64>,
}

enum Reader {
    Lines(Lines),
    Era(Box<Era>),
}

/// What times pick of an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlocksOfTime {
    /// The lowest block that is not before the first time.
    pub first: Option<BlockTime>,
    /// The highest block that is not after the last time.
    pub last: Option<BlockTime>,
}

impl BlocksOfTime {
    fn add(&mut self, block: BlockTime, since: i64, until: i64) {
        let time = block.seconds();
        if time >= since && self.first.is_none_or(|first| block.number < first.number) {
            self.first = Some(block);
        }
        if time <= until && self.last.is_none_or(|last| block.number > last.number) {
            self.last = Some(block);
        }
    }
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("files", &self.files).finish_non_exhaustive()
    }
}

fn hidden(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

impl Archive {
    /// A file, or all `.jsonl`, `.jsonl.zst`, `.era1`, `.ere` and `.erae` files of a folder in the order of their names, which
    /// for era files is that of their blocks.
    ///
    /// # Errors
    /// [`SourceError::Archive`] where there is none.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let failed = |error: std::io::Error| SourceError::Archive(format!("{}: {error}", path.display()));
        let mut left_out = Vec::new();
        let files = if path.is_dir() {
            let mut files = Vec::new();
            for entry in std::fs::read_dir(path).map_err(failed)? {
                let file = entry.map_err(failed)?.path();
                let name = file.to_string_lossy();
                if ENDINGS.iter().any(|ending| name.ends_with(ending)) {
                    files.push(file);
                } else if !hidden(&file) {
                    left_out.push(file);
                }
            }
            if files.is_empty() {
                let endings = ENDINGS.join(", ");
                return Err(SourceError::Archive(format!("{}: no archive ({endings}) in it", path.display())));
            }
            files.sort();
            left_out.sort();
            files
        } else {
            File::open(path).map_err(failed)?;
            vec![path.to_owned()]
        };
        Ok(Self { left_out, ..Self::of(files, None) })
    }

    /// Files of the folder whose names do not say that they are archives; hidden ones aside.
    pub fn left_out(&self) -> &[PathBuf] {
        &self.left_out
    }

    /// An archive in memory, compressed.
    ///
    /// # Errors
    /// [`SourceError::Archive`] where it is no zstd.
    pub fn from_bytes(compressed: &'static [u8]) -> Result<Self, SourceError> {
        let reader = zstd::stream::read::Decoder::new(compressed)
            .map_err(|error| SourceError::Archive(format!("{BUILT_IN}: {error}")))?;
        let lines = Lines::of(BUILT_IN, Box::new(BufReader::new(reader)));
        Ok(Self::of(Vec::new(), Some(Reader::Lines(lines))))
    }

    fn of(files: Vec<PathBuf>, current: Option<Reader>) -> Self {
        Self {
            files: files.into_iter(),
            left_out: Vec::new(),
            current,
            wanted: (0, u64::MAX),
            passed_over: 0,
            read: Arc::default(),
        }
    }

    /// Blocks outside of `from` to `to` need not be given out. Whole era files of such blocks, by what their index says, are not
    /// looked into.
    #[must_use]
    pub fn within(self, from: u64, to: u64) -> Self {
        Self { wanted: (from, to), ..self }
    }

    /// Counts the bytes of blocks and receipts as they are given out, unpacked.
    pub fn received(&self) -> Arc<AtomicU64> {
        self.read.clone()
    }

    /// How many blocks were not given out.
    pub fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// The chain that its transactions were signed for: that of the first which says so. Reads until then.
    ///
    /// # Errors
    /// [`SourceError::Archive`] where a block cannot be read.
    pub fn chain_id(&mut self) -> Result<Option<u64>, SourceError> {
        for block in self {
            let (number, raw) = block?;
            let found = match &raw.block {
                RawBlock::Json { block, .. } => lines::chain_id_of(block)
                    .map_err(|error| SourceError::Archive(format!("block {number} cannot be read: {error}")))?,
                RawBlock::Rlp { block, .. } => rlp::chain_id_of(block),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The first block that is not before `since` and the last that is not after `until` (unix seconds), by what the blocks claim.
    /// Reads the whole archive.
    ///
    /// # Errors
    /// [`SourceError::Archive`] where a file cannot be read: which blocks the times pick is then unknown.
    pub fn blocks_of_time(mut self, since: i64, until: i64) -> Result<BlocksOfTime, SourceError> {
        let mut found = BlocksOfTime::default();
        loop {
            let next = match &mut self.current {
                Some(Reader::Lines(lines)) => lines.next_time()?,
                Some(Reader::Era(era)) => era.next_time()?,
                None => None,
            };
            match next {
                Some(block) => found.add(block, since, until),
                None => match self.files.next() {
                    Some(path) => self.current = Some(Reader::open(&path)?),
                    None => return Ok(found),
                },
            }
        }
    }

    fn next_block(&mut self) -> Result<Option<(u64, RawBundle)>, SourceError> {
        loop {
            let found = match &mut self.current {
                Some(Reader::Lines(lines)) => lines.next_line()?,
                Some(Reader::Era(era)) => {
                    self.passed_over += era.pass_over(self.wanted);
                    era.next_block()?
                }
                None => None,
            };
            if found.is_some() {
                return Ok(found);
            }
            let Some(path) = self.files.next() else { return Ok(None) };
            let outside = era::Form::of(&path).and_then(|form| Era::stretch(&path, form)).filter(|(first, count)| {
                let (from, to) = self.wanted;
                *first > to || first.saturating_add(*count) <= from
            });
            match outside {
                Some((_, count)) => self.passed_over += count,
                None => self.current = Some(Reader::open(&path)?),
            }
        }
    }
}

impl Iterator for Archive {
    /// Claimed number of the block, and the block.
    type Item = Result<(u64, RawBundle), SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_block().transpose();
        if let Some(Ok((_, raw))) = &next {
            self.read.fetch_add(raw.block.size() as u64, Ordering::Relaxed);
        }
        next
    }
}

impl Reader {
    fn open(path: &Path) -> Result<Self, SourceError> {
        match era::Form::of(path) {
            Some(form) => Ok(Self::Era(Box::new(Era::open(path, form)?))),
            None => Ok(Self::Lines(Lines::open(path)?)),
        }
    }
}
