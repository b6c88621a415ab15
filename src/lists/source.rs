//! The bytes of a list file, zipped or not, read as often as a format needs it. What unpacks to far more than it should is refused.

use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};

use zip::ZipArchive;

use super::Format;
use super::guard::CsvGuard;

/// A file is looked at this far to see what it is.
const HEAD: usize = 64 << 10;
/// What a member of a zip archive may unpack to, in all and for each packed byte. The largest list has 130 MB, and lists pack to a
/// fifteenth.
const MOST: u64 = 1 << 30;
const RATIO: u64 = 100;
/// Below this a ratio says nothing.
const SMALL: u64 = 8 << 20;
/// What is packed in ways that are not read here, and documents that are no lists, by their first bytes.
const PACKED: [(&[u8], &str); 13] = [
    (b"\x1f\x8b", "packed (gzip)"),
    (b"\xfd7zXZ\0", "packed (xz)"),
    (b"\x28\xb5\x2f\xfd", "packed (zstd)"),
    (b"BZh", "packed (bzip2)"),
    (b"7z\xbc\xaf\x27\x1c", "packed (7z)"),
    (b"PK\x03\x04", "an archive within an archive"),
    (b"%PDF-", "a PDF document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word document: save it as CSV"),
    (b"{\\rtf", "a rich text document"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"SQLite format 3\0", "a SQLite database"),
    (b"PAR1", "a Parquet file"),
];
/// No line or text of a list is that long.
pub(super) const LONGEST: usize = 16 << 20;
/// A line may be one JSON value, which takes a hundred times as much memory as its text.
const LONGEST_LINE: usize = 4 << 20;

/// What can be read from any place in it: a file, or bytes in memory.
pub trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

/// A list file.
pub struct Source<'a> {
    file: &'a mut dyn ReadSeek,
    /// Members of the archive, where it is one: place, name, packed size.
    members: Option<Vec<(usize, String, u64)>>,
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("members", &self.members).finish_non_exhaustive()
    }
}

impl<'a> Source<'a> {
    /// Looks whether it is a zip archive.
    ///
    /// # Errors
    /// One line: it cannot be read, or is an archive with nothing in it that can be.
    pub fn open(file: &'a mut dyn ReadSeek) -> Result<Self, String> {
        let mut magic = [0; 4];
        let found = fill(file, &mut magic).map_err(|error| format!("cannot be read: {error}"))?;
        let mut source = Self { file, members: None };
        if found == 4 && magic == *b"PK\x03\x04" {
            source.members = Some(source.list()?);
        } else if found == 4 && magic == *b"PK\x05\x06" {
            return Err("the archive is empty".to_owned());
        }
        Ok(source)
    }

    fn list(&mut self) -> Result<Vec<(usize, String, u64)>, String> {
        let mut archive = ZipArchive::new(&mut *self.file).map_err(bad_zip)?;
        let mut members = Vec::new();
        for place in 0..archive.len() {
            let member = archive.by_index_raw(place).map_err(bad_zip)?;
            if member.is_dir() {
                continue;
            }
            if member.encrypted() {
                return Err("the archive is encrypted".to_owned());
            }
            let name = member.name().map_err(bad_zip)?.rsplit(['/', '\\']).next().unwrap_or_default().to_lowercase();
            members.push((place, name, member.compressed_size()));
        }
        Ok(members)
    }

    /// Which format it is, by what it begins with.
    ///
    /// # Errors
    /// One line: it is none that bolo reads.
    pub fn recognise(&mut self) -> Result<Format, String> {
        self.read(|bytes| {
            let head = bytes.fill_buf().map_err(|error| error.to_string())?;
            Format::recognise(head)
        })
    }

    /// Reads it from its beginning, without a byte order mark. The first look into the buffer gives all that is needed to see what
    /// it is.
    pub(super) fn read<T>(&mut self, then: impl FnOnce(&mut dyn BufRead) -> Result<T, String>) -> Result<T, String> {
        let member = match &self.members {
            None => None,
            Some(members) => {
                let main = match members.as_slice() {
                    [] => None,
                    [only] => Some(only),
                    several => several.iter().find(|(_, name, _)| name == "sdn.csv"),
                };
                if let Some(what) = document(members) {
                    return Err(format!("it is {what}"));
                }
                let main = main.ok_or_else(|| format!("the archive holds {} files: unpack it", members.len()))?;
                Some((main.0, main.2))
            }
        };
        self.read_member(member, then)
    }

    /// Reads another member of the archive, where it is one and has it.
    pub(super) fn read_named<T>(
        &mut self,
        name: &str,
        then: impl FnOnce(&mut dyn BufRead) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let found = self.members.iter().flatten().find(|member| member.1 == name).map(|member| (member.0, member.2));
        found.map(|member| self.read_member(Some(member), then)).transpose()
    }

    fn read_member<T>(
        &mut self,
        member: Option<(usize, u64)>,
        then: impl FnOnce(&mut dyn BufRead) -> Result<T, String>,
    ) -> Result<T, String> {
        self.file.seek(SeekFrom::Start(0)).map_err(|error| format!("cannot be read: {error}"))?;
        let Some((place, packed)) = member else { return whole(&mut *self.file, then) };
        let mut archive = ZipArchive::new(&mut *self.file).map_err(bad_zip)?;
        let unpacked = archive.by_index(place).map_err(bad_zip)?;
        let most = MOST.min(packed.saturating_mul(RATIO).max(SMALL));
        whole(Bounded { inner: unpacked, left: most }, then)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn bad_zip(error: zip::result::ZipError) -> String {
    format!("it is no zip archive that can be read: {error}")
}

fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut found = 0;
    while found < buffer.len() {
        match from.read(&mut buffer[found..]) {
            Ok(0) => break,
            Ok(more) => found += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn whole<T>(mut from: impl Read, then: impl FnOnce(&mut dyn BufRead) -> Result<T, String>) -> Result<T, String> {
    let mut head = vec![0; HEAD];
    let found = fill(&mut from, &mut head).map_err(|error| format!("cannot be read: {error}"))?;
    head.truncate(found);
    if let Some((_, what)) = PACKED.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(format!("it is {what}: a list is needed as text"));
    }
    if let Some(encoding) = other_encoding(&head) {
        return Err(format!("it is {encoding}: save it as UTF-8"));
    }
    let mut head = Cursor::new(head);
    if head.get_ref().starts_with(b"\xef\xbb\xbf") {
        head.set_position(3);
    }
    then(&mut head.chain(BufReader::with_capacity(HEAD, from)))
}

/// The encoding of what is not UTF-8, by its first bytes. XML says itself what it is, and its reader goes by that.
fn other_encoding(head: &[u8]) -> Option<String> {
    if head.starts_with(&[0xff, 0xfe, 0, 0]) || head.starts_with(&[0, 0, 0xfe, 0xff]) {
        return Some("UTF-32".to_owned());
    }
    let every_other_is_nul = |first: usize| {
        let mut bytes = head.iter().skip(first).step_by(2).take(32).peekable();
        bytes.peek().is_some() && bytes.all(|byte| *byte == 0)
    };
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        return Some("UTF-16".to_owned());
    }
    if head.len() >= 4 && (every_other_is_nul(0) || every_other_is_nul(1)) {
        return Some("UTF-16 without a mark".to_owned());
    }
    if head.trim_ascii_start().starts_with(b"<") {
        return None;
    }
    let error = std::str::from_utf8(head).err()?;
    let at = error.valid_up_to();
    // A character that is cut by the end of what was read is none that is wrong.
    error.error_len()?;
    let byte = head[at];
    if head[..at].contains(&0) || byte < 0x80 {
        return Some(format!("no text (byte {at})"));
    }
    let line = 1 + memchr::memchr_iter(b'\n', &head[..at]).count();
    Some(format!("not UTF-8 but rather Latin-1 or Windows-1252 (line {line} has the byte {byte:#04x})"))
}

/// What an archive is that is no list: office documents are archives of XML.
fn document(members: &[(usize, String, u64)]) -> Option<&'static str> {
    let has = |wanted: &str| members.iter().any(|(_, name, _)| name == wanted);
    if has("workbook.xml") || has("workbook.bin") {
        Some("an Excel workbook: save the sheet as CSV")
    } else if has("[content_types].xml") {
        Some("an Office document: save the list as CSV or plain text")
    } else if has("mimetype") && has("content.xml") {
        Some("an OpenDocument file: save the sheet as CSV")
    } else {
        None
    }
}

/// A reader that ends in an error, not at the end, where there is more than there should be.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let found = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(found as u64).ok_or_else(|| {
            io::Error::other("the archive unpacks to far more than a list of its size would: refused as a zip bomb")
        })?;
        Ok(found)
    }
}

/// A whole text that is no larger than it may be.
pub(super) fn text(bytes: &mut dyn BufRead, most: u64) -> Result<String, String> {
    let mut text = String::new();
    let found = bytes.take(most).read_to_string(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
    if found as u64 == most { Err(format!("it is larger than {} MiB", most >> 20)) } else { Ok(text) }
}

/// What follows the last line of a CSV file: a quote that does not end would swallow it.
const CSV_END: &[u8] = b"\n\x1f\n";

/// A CSV file whose end shows; to be read with rows of any length up to [`LONGEST`].
pub(super) fn with_csv_end(bytes: &mut dyn BufRead) -> impl Read {
    CsvGuard::new(bytes.chain(CSV_END))
}

/// Whether a row is that end.
pub(super) fn is_csv_end<'r>(row: impl IntoIterator<Item = &'r [u8]>) -> bool {
    row.into_iter().eq([&CSV_END[1..2]])
}

/// The file ended before its end showed.
pub(super) fn open_quote(line: u64) -> String {
    format!("line {line} begins a quoted field that does not end: a quote is missing, or the file is cut off")
}

/// Line of a CSV record. The reader counts a record from the end of the line before, which is one too few where lines end in two
/// characters.
pub(super) fn csv_line(position: Option<&csv::Position>, two: bool) -> u64 {
    position.map_or(0, |position| position.line() + u64::from(two && position.byte() > 0))
}

/// Whether lines end in two characters, as far as the buffer shows.
pub(super) fn ends_in_two(bytes: &mut dyn BufRead) -> Result<bool, String> {
    let head = bytes.fill_buf().map_err(|error| format!("cannot be read: {error}"))?;
    Ok(memchr::memmem::find(head, b"\r\n").is_some())
}

/// Gives out the lines of a text with their numbers. A line that is too long, or no UTF-8, is an error.
pub(super) fn lines(
    bytes: &mut dyn BufRead,
    each: &mut dyn FnMut(u64, &str) -> Result<(), String>,
) -> Result<(), String> {
    let (mut buffer, mut offset) = (Vec::new(), 0);
    for line in 1u64.. {
        buffer.clear();
        let mut bounded = (&mut *bytes).take(LONGEST_LINE as u64);
        let found = bounded.read_until(b'\n', &mut buffer).map_err(|error| format!("cannot be read: {error}"))?;
        if found == 0 {
            break;
        }
        if found == LONGEST_LINE {
            return Err(format!("line {line} is longer than {} MiB", LONGEST_LINE >> 20));
        }
        let text = std::str::from_utf8(&buffer)
            .map_err(|error| format!("is not UTF-8 text (byte {})", offset + error.valid_up_to()))?;
        offset += found;
        each(line, text.trim_end_matches(['\n', '\r']))?;
    }
    Ok(())
}
