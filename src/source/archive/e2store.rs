//! The container of era files, [e2store](https://github.com/status-im/nimbus-eth2/blob/stable/docs/e2store.md): entries of a type
//! and a length, one after the other. Nothing that a file says of itself is believed before it was compared with the file: a
//! length is bounded by what is there, and what is unpacked by a limit.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// Bytes before an entry's data: type (2), length (4), reserved (2).
const HEADER: u64 = 8;

/// Type of an entry, as the bytes stand in the file.
pub(super) type Kind = [u8; 2];

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// Offset of its header in the file.
    pub(super) at: u64,
    /// Length of its data.
    pub(super) length: u64,
}

/// A file of entries.
#[derive(Debug)]
pub(super) struct Entries {
    file: File,
    length: u64,
    /// Offset of the next entry.
    next: u64,
}

impl Entries {
    pub(super) fn new(file: File) -> std::io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, length, next: 0 })
    }

    /// Length of the file in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The next entry; none at the end of the file. Only its header is read.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, String> {
        let at = self.next;
        let left = self.length - at;
        if left == 0 {
            return Ok(None);
        }
        if left < HEADER {
            return Err(format!("ends within the head of an entry at byte {at}: cut off"));
        }
        let mut head = [0; HEADER as usize];
        self.file.seek(SeekFrom::Start(at)).map_err(|error| error.to_string())?;
        self.file.read_exact(&mut head).map_err(|error| error.to_string())?;
        let [kind @ .., a, b, c, d, x, y] = head;
        if [x, y] != [0, 0] {
            return Err(format!("the entry at byte {at} has reserved bytes that are not 0"));
        }
        let length = u64::from(u32::from_le_bytes([a, b, c, d]));
        let left = left - HEADER;
        if length > left {
            return Err(format!(
                "the entry at byte {at} has {length} bytes by its head, of which {left} are there: cut off"
            ));
        }
        self.next = at + HEADER + length;
        Ok(Some(Entry { kind, at, length }))
    }

    /// The data of an entry as it stands in the file, at most so many bytes.
    pub(super) fn plain(&mut self, entry: Entry, most: u64) -> Result<Vec<u8>, String> {
        if entry.length > most {
            return Err(format!("the entry at byte {} has {} bytes, more than {most}", entry.at, entry.length));
        }
        let mut data = Vec::new();
        self.data(entry)?.read_to_end(&mut data).map_err(|error| format!("at byte {}: {error}", entry.at))?;
        if data.len() as u64 != entry.length {
            return Err(format!("the entry at byte {} was cut off while it was read", entry.at));
        }
        Ok(data)
    }

    /// The data of an entry, unpacked from [snappy frames](https://github.com/google/snappy/blob/main/framing_format.txt), at most
    /// so many bytes of them.
    pub(super) fn unpacked(&mut self, entry: Entry, most: u64) -> Result<Vec<u8>, String> {
        let mut data = Vec::new();
        let frames = snap::read::FrameDecoder::new(self.data(entry)?);
        frames
            .take(most + 1)
            .read_to_end(&mut data)
            .map_err(|error| format!("the entry at byte {} cannot be unpacked: {error}", entry.at))?;
        if data.len() as u64 > most {
            return Err(format!("the entry at byte {} unpacks to more than {most} bytes", entry.at));
        }
        Ok(data)
    }

    fn data(&mut self, entry: Entry) -> Result<impl Read + '_, String> {
        self.file.seek(SeekFrom::Start(entry.at + HEADER)).map_err(|error| error.to_string())?;
        Ok((&self.file).take(entry.length))
    }
}
