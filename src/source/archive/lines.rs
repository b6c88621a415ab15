//! Archives of lines: what JSON-RPC answered, one block a line, and the writing of such.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use alloy::primitives::{U64, U256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::chain::RawBlock;
use crate::source::{BlockTime, RawBundle, SourceError, bytes_of};

/// Bytes of a line, unpacked: several times what the largest block has with its receipts and traces. A few kilobytes unpack to
/// gigabytes without a line's end.
const MAX_LINE: u64 = 128 << 20;

/// What is wrong with a line. The reader counts lines within it, which is always the first.
fn not_a_block(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line 1 column ") {
        Some((what, column)) => format!("is no block: {what}, at its character {column}"),
        None => format!("is no block: {text}"),
    }
}

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

/// What a file that is packed with zstd begins with.
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
/// What other files begin with that are taken for archives.
const UNREADABLE: [(&[u8], &str); 7] = [
    (b"\x1f\x8b", "packed with gzip"),
    (b"\xfd7zXZ\0", "packed with xz"),
    (b"BZh", "packed with bzip2"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"SQLite format 3\0", "a SQLite database"),
];

/// A file of lines that is being read.
pub(super) struct Lines {
    name: String,
    reader: Box<dyn BufRead + Send>,
    line: u64,
}

impl Lines {
    /// What is unpacked already.
    pub(super) fn of(name: &str, reader: Box<dyn BufRead + Send>) -> Self {
        Self { name: name.to_owned(), reader, line: 0 }
    }

    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        let failed = |error: std::io::Error| SourceError::Archive(format!("{}: {error}", path.display()));
        let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
        // By what it begins with: a name may have lost its ending, or got one.
        let head = file.fill_buf().map_err(failed)?;
        if let Some((_, what)) = UNREADABLE.iter().find(|(magic, _)| head.starts_with(magic)) {
            return Err(SourceError::Archive(format!(
                "{}: it is {what}: blocks are read as lines of JSON (.jsonl), plain or packed with zstd, or as era files",
                path.display()
            )));
        }
        let reader: Box<dyn Read + Send> = if head.starts_with(ZSTD) {
            Box::new(zstd::stream::read::Decoder::with_buffer(file).map_err(failed)?)
        } else {
            Box::new(file)
        };
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, reader: Box::new(BufReader::with_capacity(1 << 16, reader)), line: 0 })
    }

    /// Claimed number and time of the next block.
    pub(super) fn next_time(&mut self) -> Result<Option<BlockTime>, SourceError> {
        let Some((number, raw)) = self.next_line()? else { return Ok(None) };
        let RawBlock::Json { block, .. } = &raw.block else { return Ok(None) };
        let timestamp = time_of(block).map_err(|error| {
            SourceError::Archive(format!("{} line {}: {}", self.name, self.line, not_a_block(&error)))
        })?;
        Ok(Some(BlockTime { number, timestamp }))
    }

    pub(super) fn next_line(&mut self) -> Result<Option<(u64, RawBundle)>, SourceError> {
        #[derive(Deserialize)]
        struct Numbered {
            number: U64,
        }
        loop {
            self.line += 1;
            let bad = |detail: String| SourceError::Archive(format!("{} line {}: {detail}", self.name, self.line));
            let mut text = String::new();
            let mut bounded = (&mut self.reader).take(MAX_LINE + 1);
            let read = bounded.read_line(&mut text).map_err(|error| bad(error.to_string()))?;
            if read == 0 {
                return Ok(None);
            }
            if read as u64 > MAX_LINE {
                return Err(bad(format!("is longer than {} MiB, as no block is: refused", MAX_LINE >> 20)));
            }
            if text.trim().is_empty() {
                continue;
            }
            let line: Line = serde_json::from_str(&text).map_err(|error| bad(not_a_block(&error)))?;
            let numbered: Numbered =
                serde_json::from_str(line.block.get()).map_err(|error| bad(not_a_block(&error)))?;
            let Line { block, receipts, traces } = line;
            let block = RawBlock::Json { block: bytes_of(block), receipts: bytes_of(receipts) };
            let bundle = RawBundle::new(block, traces, &self.name);
            return Ok(Some((numbered.number.to(), bundle)));
        }
    }
}

/// The time of a block, as it says itself.
fn time_of(block: &[u8]) -> Result<u64, serde_json::Error> {
    #[derive(Deserialize)]
    struct Timed {
        timestamp: U64,
    }
    serde_json::from_slice(block).map(|Timed { timestamp }| timestamp.to())
}

/// The chain that the transactions of a block were signed for: that of the first which says so.
pub(super) fn chain_id_of(block: &[u8]) -> Result<Option<u64>, serde_json::Error> {
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
    let block: Signed = serde_json::from_slice(block)?;
    Ok(block.transactions.iter().find_map(|tx| match tx.tx_type.to::<u64>() {
        // EIP-155 hides it in the signature.
        0 => u64::try_from(tx.v?).ok()?.checked_sub(35).map(|v| v / 2),
        _ => tx.chain_id.map(|id| id.to()),
    }))
}

fn is_there(path: &Path) -> SourceError {
    SourceError::Archive(format!("{} is there already: name another file, or replace it with --force", path.display()))
}

/// Writes an archive. The file appears under its name only when it is whole.
pub struct ArchiveWriter {
    path: PathBuf,
    partial: PathBuf,
    /// A file that has the name already gives way.
    replace: bool,
    out: Option<Out>,
}

impl Drop for ArchiveWriter {
    fn drop(&mut self) {
        // Not finished: nothing is left behind.
        if matches!(self.out, Some(Out::Plain(_) | Out::Zstd(_))) {
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

enum Out {
    /// Somebody else's: a pipe, say.
    Stream(Box<dyn Write + Send>),
    Plain(BufWriter<File>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<File>>),
}

impl std::fmt::Debug for ArchiveWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ArchiveWriter {
    /// Compressed where the name ends in `.zst`. A file that has the name already is replaced only where `replace` says so.
    ///
    /// # Errors
    /// [`SourceError::Archive`] where the file cannot be made, or is there already.
    pub fn create(path: &Path, replace: bool) -> Result<Self, SourceError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let failed = |error: std::io::Error| SourceError::Archive(format!("{}: {error}", path.display()));
        if !replace && path.symlink_metadata().is_ok() {
            return Err(is_there(path));
        }
        // Left by a run that was killed. What it links to, if anything, is left alone.
        match std::fs::remove_file(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = BufWriter::new(File::create_new(&partial).map_err(failed)?);
        let out = if path.extension().is_some_and(|extension| extension == "zst") {
            Out::Zstd(zstd::stream::write::Encoder::new(file, 9).map_err(failed)?)
        } else {
            Out::Plain(file)
        };
        Ok(Self { path: path.to_owned(), partial, replace, out: Some(out) })
    }

    /// Writes lines to a stream, as they come.
    pub fn to_stream(stream: Box<dyn Write + Send>) -> Self {
        let name = PathBuf::from("standard output");
        Self { path: name.clone(), partial: name, replace: true, out: Some(Out::Stream(stream)) }
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
        let length = [&block, &receipts].map(|part| part.get().len()).iter().sum::<usize>();
        if (length + traces.as_ref().map_or(0, |traces| traces.get().len())) as u64 + 64 > MAX_LINE {
            let most = MAX_LINE >> 20;
            return Err(SourceError::Archive(format!("a block is larger than {most} MiB and could not be read again")));
        }
        let line = LineOut { block: &block, receipts: &receipts, traces: traces.as_deref() };
        let write = |out: &mut dyn Write| -> std::io::Result<()> {
            serde_json::to_writer(&mut *out, &line)?;
            out.write_all(b"\n")
        };
        match &mut self.out {
            Some(Out::Stream(out)) => write(out),
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
        if !self.replace && self.path.symlink_metadata().is_ok() {
            return Err(is_there(&self.path));
        }
        let mut finish = || -> std::io::Result<()> {
            let mut buffered = match self.out.take() {
                Some(Out::Stream(mut out)) => return out.flush(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_known_by_what_they_begin_with_whatever_their_name() {
        let dir = tempfile::tempdir().unwrap();
        let packed = include_bytes!("../../cli/demo/chain.jsonl.zst");
        let plain = zstd::decode_all(packed.as_slice()).unwrap();
        let open = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            Lines::open(&path)
        };
        for name in ["a.jsonl", "a.zst", "a.bak", "a"] {
            for bytes in [packed.as_slice(), &plain] {
                assert!(open(name, bytes).unwrap().next_line().unwrap().is_some(), "{name}");
            }
        }
        for (bytes, what) in [
            (b"\x1f\x8b\x08\0".as_slice(), "gzip"),
            (b"PK\x03\x04zip", "a zip archive"),
            (b"\xff\xfe{\0", "UTF-16"),
            (b"SQLite format 3\0", "SQLite"),
        ] {
            let error = open("b.jsonl.zst", bytes).err().unwrap().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
