//! Archives: recorded answers, one block a line, from which everything can be replayed and proven with no network.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use alloy::primitives::{U64, U256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{RawBundle, SourceError, bytes_of};
use crate::chain::{RawBlock, rlp};

/// The recorded chain that comes with the crate has this as its name.
pub const BUILT_IN: &str = "built-in demo";

/// One line as it is read.
#[derive(Deserialize)]
struct Line {
    block: Box<RawValue>,
    receipts: Box<RawValue>,
    #[serde(default)]
    traces: Option<Box<RawValue>>,
}

/// One line as it is written.
#[derive(Serialize)]
struct LineOut<'a> {
    block: &'a RawValue,
    receipts: &'a RawValue,
    traces: Option<&'a RawValue>,
}

/// The blocks of one or more archive files, in the order of the files and lines.
pub struct Archive {
    files: std::vec::IntoIter<PathBuf>,
    current: Option<Lines>,
}

struct Lines {
    name: String,
    reader: Box<dyn BufRead + Send>,
    line: u64,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Archive {
    /// A file, or all `.jsonl` and `.jsonl.zst` files of a folder in the order of their names.
    ///
    /// # Errors
    /// [`SourceError::Archive`] where there is none.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let failed = |error: std::io::Error| SourceError::Archive(format!("{}: {error}", path.display()));
        let files = if path.is_dir() {
            let mut files = Vec::new();
            for entry in std::fs::read_dir(path).map_err(failed)? {
                let file = entry.map_err(failed)?.path();
                let name = file.to_string_lossy();
                if name.ends_with(".jsonl") || name.ends_with(".jsonl.zst") {
                    files.push(file);
                }
            }
            if files.is_empty() {
                return Err(SourceError::Archive(format!("{}: no .jsonl or .jsonl.zst file in it", path.display())));
            }
            files.sort();
            files
        } else {
            File::open(path).map_err(failed)?;
            vec![path.to_owned()]
        };
        Ok(Self { files: files.into_iter(), current: None })
    }

    /// An archive in memory, compressed.
    ///
    /// # Errors
    /// [`SourceError::Archive`] where it is no zstd.
    pub fn from_bytes(compressed: &'static [u8]) -> Result<Self, SourceError> {
        let reader = zstd::stream::read::Decoder::new(compressed)
            .map_err(|error| SourceError::Archive(format!("{BUILT_IN}: {error}")))?;
        let reader = Box::new(BufReader::new(reader));
        let lines = Lines { name: BUILT_IN.to_owned(), reader, line: 0 };
        Ok(Self { files: Vec::new().into_iter(), current: Some(lines) })
    }

    /// The chain that its transactions were signed for: that of the first which says so. Reads until then.
    ///
    /// # Errors
    /// [`SourceError::Archive`] where a line is no block.
    pub fn chain_id(&mut self) -> Result<Option<u64>, SourceError> {
        #[derive(Deserialize)]
        struct Signed {
            transactions: Vec<Signature>,
        }
        #[derive(Deserialize)]
        struct Signature {
            #[serde(rename = "type", default)]
            tx_type: U64,
            #[serde(rename = "chainId", default)]
            chain_id: Option<U64>,
            #[serde(default)]
            v: Option<U256>,
        }
        for block in self {
            let (number, raw) = block?;
            let block = match &raw.block {
                RawBlock::Json { block, .. } => block,
                RawBlock::Rlp { block, .. } => match rlp::chain_id_of(block) {
                    Some(found) => return Ok(Some(found)),
                    None => continue,
                },
            };
            let block: Signed = serde_json::from_slice(block)
                .map_err(|error| SourceError::Archive(format!("block {number} cannot be read: {error}")))?;
            let found = block.transactions.iter().find_map(|tx| match tx.tx_type.to::<u64>() {
                // EIP-155 hides it in the signature.
                0 => u64::try_from(tx.v?).ok()?.checked_sub(35).map(|v| v / 2),
                _ => tx.chain_id.map(|id| id.to()),
            });
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn next_block(&mut self) -> Result<Option<(u64, RawBundle)>, SourceError> {
        loop {
            if self.current.is_none() {
                let Some(path) = self.files.next() else { return Ok(None) };
                self.current = Some(Lines::open(&path)?);
            }
            let Some(lines) = &mut self.current else { return Ok(None) };
            match lines.next_line()? {
                Some(found) => return Ok(Some(found)),
                None => self.current = None,
            }
        }
    }
}

impl Iterator for Archive {
    /// Claimed number of the block, and the block.
    type Item = Result<(u64, RawBundle), SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_block().transpose()
    }
}

impl Lines {
    fn open(path: &Path) -> Result<Self, SourceError> {
        let failed = |error: std::io::Error| SourceError::Archive(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(failed)?;
        let reader: Box<dyn Read + Send> = if path.extension().is_some_and(|extension| extension == "zst") {
            Box::new(zstd::stream::read::Decoder::new(file).map_err(failed)?)
        } else {
            Box::new(file)
        };
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, reader: Box::new(BufReader::with_capacity(1 << 16, reader)), line: 0 })
    }

    fn next_line(&mut self) -> Result<Option<(u64, RawBundle)>, SourceError> {
        #[derive(Deserialize)]
        struct Numbered {
            number: U64,
        }
        loop {
            self.line += 1;
            let bad = |detail: String| SourceError::Archive(format!("{} line {}: {detail}", self.name, self.line));
            let mut text = String::new();
            let read = self.reader.read_line(&mut text).map_err(|error| bad(error.to_string()))?;
            if read == 0 {
                return Ok(None);
            }
            if text.trim().is_empty() {
                continue;
            }
            let line: Line = serde_json::from_str(&text).map_err(|error| bad(format!("is no block: {error}")))?;
            let numbered: Numbered =
                serde_json::from_str(line.block.get()).map_err(|error| bad(format!("is no block: {error}")))?;
            let Line { block, receipts, traces } = line;
            let block = RawBlock::Json { block: bytes_of(block), receipts: bytes_of(receipts) };
            let bundle = RawBundle { block, traces, endpoint: self.name.clone() };
            return Ok(Some((numbered.number.to(), bundle)));
        }
    }
}

/// Writes an archive. The file appears under its name only when it is whole.
pub struct ArchiveWriter {
    path: PathBuf,
    partial: PathBuf,
    out: Option<Out>,
}

impl Drop for ArchiveWriter {
    fn drop(&mut self) {
        // Not finished: nothing is left behind.
        if self.out.is_some() {
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

enum Out {
    Plain(BufWriter<File>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<File>>),
}

impl std::fmt::Debug for ArchiveWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ArchiveWriter {
    /// Compressed where the name ends in `.zst`.
    ///
    /// # Errors
    /// [`SourceError::Archive`] where the file cannot be made.
    pub fn create(path: &Path) -> Result<Self, SourceError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let failed = |error: std::io::Error| SourceError::Archive(format!("{}: {error}", path.display()));
        let file = BufWriter::new(File::create(&partial).map_err(failed)?);
        let out = if path.extension().is_some_and(|extension| extension == "zst") {
            Out::Zstd(zstd::stream::write::Encoder::new(file, 9).map_err(failed)?)
        } else {
            Out::Plain(file)
        };
        Ok(Self { path: path.to_owned(), partial, out: Some(out) })
    }

    /// Adds a block.
    ///
    /// # Errors
    /// [`SourceError::Archive`] where it cannot be written.
    pub fn write(&mut self, raw: &RawBundle) -> Result<(), SourceError> {
        let one_line = |json: &[u8]| -> Result<Box<RawValue>, SourceError> {
            let json = std::str::from_utf8(json).map_err(|error| SourceError::Archive(error.to_string()))?;
            // A line break in JSON is white space between tokens: a node that prints prettily still makes one line.
            RawValue::from_string(json.replace(['\n', '\r'], " "))
                .map_err(|error| SourceError::Archive(error.to_string()))
        };
        let RawBlock::Json { block, receipts } = &raw.block else {
            return Err(SourceError::Archive("only what JSON-RPC answered can be recorded, not RLP".to_owned()));
        };
        let (block, receipts) = (one_line(block)?, one_line(receipts)?);
        let traces = raw.traces.as_deref().map(|traces| one_line(traces.get().as_bytes())).transpose()?;
        let line = LineOut { block: &block, receipts: &receipts, traces: traces.as_deref() };
        let write = |out: &mut dyn Write| -> std::io::Result<()> {
            serde_json::to_writer(&mut *out, &line)?;
            out.write_all(b"\n")
        };
        match &mut self.out {
            Some(Out::Plain(out)) => write(out),
            Some(Out::Zstd(out)) => write(out),
            None => Ok(()),
        }
        .map_err(|error| SourceError::Archive(format!("{}: {error}", self.partial.display())))
    }

    /// Makes it whole and gives it its name.
    ///
    /// # Errors
    /// [`SourceError::Archive`] where it cannot be written.
    pub fn finish(mut self) -> Result<(), SourceError> {
        let mut finish = || -> std::io::Result<()> {
            let mut buffered = match self.out.take() {
                Some(Out::Plain(out)) => out,
                Some(Out::Zstd(out)) => out.finish()?,
                None => return Ok(()),
            };
            buffered.flush()?;
            buffered.get_ref().sync_all()?;
            std::fs::rename(&self.partial, &self.path)
        };
        let path = self.path.clone();
        finish().map_err(|error| SourceError::Archive(format!("{}: {error}", path.display())))
    }
}
