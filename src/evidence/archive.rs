//! Zip archives of bundles. What is read must be nothing but the files: bytes before, between, behind or within the entries that
//! belong to no file would travel under a seal that does not cover them. docs/evidence.md says how an archive is laid out.

use std::io::{Cursor, Read, Write};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use zip::result::ZipResult;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::files::{Files, too_large};

/// A file of an archive begins with its local header.
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_LENGTH: usize = 30;
/// The central directory has one more header for each file.
const CENTRAL: &[u8] = b"PK\x01\x02";
const CENTRAL_LENGTH: usize = 46;
/// The last record.
const END: &[u8] = b"PK\x05\x06";
const END_LENGTH: usize = 22;

const STORED: usize = 0;
const DEFLATED: usize = 8;

/// An archive of the files, in that order. The same files give the same bytes.
pub(super) fn pack<'a>(files: impl Iterator<Item = (&'a String, &'a Vec<u8>)>) -> ZipResult<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(name.as_str(), SimpleFileOptions::default())?;
        archive.write_all(bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}

/// The files of an archive of at most `most` bytes, unpacked.
///
/// # Errors
/// One line: what of it is no archive, or no part of the files.
pub(super) fn unpack(bytes: &[u8], most: u64) -> Result<Files, String> {
    let end_at = bytes.len().checked_sub(END_LENGTH).ok_or("it is too short for a zip archive")?;
    let end = &bytes[end_at..];
    if !end.starts_with(END) || number(end, 20, 2) != 0 {
        return Err("it does not end with the end record of a zip archive, without a comment".to_owned());
    }
    let (count, directory) = (number(end, 8, 2), number(end, 16, 4));
    if number(end, 4, 4) != 0 || number(end, 10, 2) != count || directory + number(end, 12, 4) != end_at {
        return Err("its end record does not fit the archive, or bytes stand before the archive".to_owned());
    }
    let mut files = Files::new();
    let (mut at, mut left) = (0, most);
    let mut central_at = directory;
    for _ in 0..count {
        let central = record(bytes, central_at, CENTRAL, CENTRAL_LENGTH)?;
        let local = record(bytes, at, LOCAL, LOCAL_LENGTH)?;
        let (method, packed, unpacked) = (number(central, 10, 2), number(central, 20, 4), number(central, 24, 4));
        let name_length = number(central, 28, 2);
        let name = part(bytes, central_at + CENTRAL_LENGTH, name_length)?;
        let shown = name.escape_ascii();
        // Extra fields, a comment, and the number of a disk.
        if number(central, 30, 6) != 0 {
            return Err(format!("{shown} has extra fields or a comment: unpack the archive and check the folder"));
        }
        // All that both headers have. A data descriptor would need zeros in the local one.
        let same_name = name == part(bytes, at + LOCAL_LENGTH, name_length)?;
        if number(central, 42, 4) != at || local[4..] != central[6..32] || !same_name {
            return Err(format!("the two headers of {shown} differ, or bytes stand between the files of the archive"));
        }
        let data_at = at + LOCAL_LENGTH + name_length;
        let data = part(bytes, data_at, packed)?;
        let file = match method {
            STORED if packed == unpacked => data.to_vec(),
            DEFLATED => inflate(data, left).map_err(|reason| format!("{shown}: {reason}"))?,
            _ => return Err(format!("{shown} is not packed by a known method")),
        };
        left = left.checked_sub(file.len() as u64).ok_or_else(too_large)?;
        let mut sum = Crc::new();
        sum.update(&file);
        if file.len() != unpacked || sum.sum() as usize != number(central, 16, 4) {
            return Err(format!("{shown} does not have the length and the checksum that its header says"));
        }
        if files.insert(String::from_utf8_lossy(name).into_owned(), file).is_some() {
            return Err(format!("{shown} is twice in the archive"));
        }
        at = data_at + packed;
        central_at += CENTRAL_LENGTH + name_length;
    }
    if at != directory || central_at != end_at {
        return Err("it has bytes that belong to no file of the archive".to_owned());
    }
    Ok(files)
}

fn inflate(data: &[u8], left: u64) -> Result<Vec<u8>, String> {
    let mut decoder = DeflateDecoder::new(data);
    let mut file = Vec::new();
    decoder.by_ref().take(left + 1).read_to_end(&mut file).map_err(|error| error.to_string())?;
    if file.len() as u64 > left {
        return Err(too_large());
    }
    if decoder.total_in() != data.len() as u64 {
        return Err("bytes stand behind the end of the packed file".to_owned());
    }
    Ok(file)
}

fn part(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], String> {
    bytes.get(at..at.saturating_add(length)).ok_or_else(|| format!("it is cut off at byte {at}"))
}

fn record<'a>(bytes: &'a [u8], at: usize, signature: &[u8], length: usize) -> Result<&'a [u8], String> {
    let record = part(bytes, at, length)?;
    if record.starts_with(signature) { Ok(record) } else { Err(format!("no file of the archive begins at byte {at}")) }
}

/// A number of a record, little-endian. Records are of known lengths.
fn number(record: &[u8], at: usize, length: usize) -> usize {
    record[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: u64 = 1 << 20;

    fn some_files() -> Files {
        [("a.txt", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), ("b", ""), ("SUMS", "xyz")]
            .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
            .into()
    }

    fn with(bytes: &[u8], at: usize, more: &[u8]) -> Vec<u8> {
        [&bytes[..at], more, &bytes[at..]].concat()
    }

    #[test]
    fn what_was_packed_is_unpacked_within_its_limit() {
        let files = some_files();
        let bytes = pack(files.iter()).unwrap();
        assert_eq!(unpack(&bytes, MOST), Ok(files.clone()));
        let size: usize = files.values().map(Vec::len).sum();
        assert_eq!(unpack(&bytes, size as u64), Ok(files));
        for most in [0, 1, 30, size as u64 - 1] {
            assert!(unpack(&bytes, most).unwrap_err().contains("larger"), "{most}");
        }
    }

    #[test]
    fn an_archive_with_bytes_that_belong_to_no_file_is_refused() {
        let bytes = pack(some_files().iter()).unwrap();
        for at in 0..=bytes.len() {
            for more in [b"x".as_slice(), b"\0", b"PK\x05\x06", LOCAL, &[0; 64]] {
                unpack(&with(&bytes, at, more), MOST).unwrap_err();
            }
        }
        // With the offsets brought up to date, as a program that mends archives does.
        let end = bytes.len() - END_LENGTH;
        let directory = number(&bytes, end + 16, 4);
        let moved = |mut bytes: Vec<u8>, by: usize| {
            let end = bytes.len() - END_LENGTH;
            bytes[end + 16..end + 20].copy_from_slice(&u32::try_from(directory + by).unwrap().to_le_bytes());
            bytes
        };
        for length in [1, 4, 30, 100] {
            let more = vec![7; length];
            assert!(unpack(&moved(with(&bytes, directory, &more), length), MOST).is_err(), "before the directory");
            assert!(unpack(&moved(with(&bytes, 0, &more), length), MOST).is_err(), "before the first file");
            assert!(unpack(&with(&bytes, end, &more), MOST).is_err(), "behind the directory");
            let mut commented = [bytes.as_slice(), &more].concat();
            commented[end + 20] = u8::try_from(length).unwrap();
            assert!(unpack(&commented, MOST).is_err(), "a comment");
        }
    }

    #[test]
    fn bytes_behind_the_end_of_a_packed_file_are_refused() {
        for more in [b"x".as_slice(), b"\0\0", b"PK\x01\x02", &[255; 40]] {
            let bytes = pack(some_files().iter()).unwrap();
            let at = number(&bytes, bytes.len() - END_LENGTH + 16, 4);
            // The last file, in order of names.
            let (mut from, mut central) = (0, at);
            for _ in 0..2 {
                from += LOCAL_LENGTH + number(&bytes, central + 28, 2) + number(&bytes, central + 20, 4);
                central += CENTRAL_LENGTH + number(&bytes, central + 28, 2);
            }
            let packed = number(&bytes, central + 20, 4);
            let mut grown = with(&bytes, at, more);
            let length = u32::try_from(packed + more.len()).unwrap().to_le_bytes();
            grown[from + 18..from + 22].copy_from_slice(&length);
            let central = central + more.len();
            grown[central + 20..central + 24].copy_from_slice(&length);
            let end = grown.len() - END_LENGTH;
            grown[end + 16..end + 20].copy_from_slice(&u32::try_from(at + more.len()).unwrap().to_le_bytes());
            assert!(unpack(&grown, MOST).unwrap_err().contains("behind the end"), "{more:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_it_fail_otherwise(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..300, cut in 0usize..300) {
            let _ = unpack(&bytes, MOST);
            let mut archive = pack(some_files().iter()).unwrap();
            let at = at.min(archive.len());
            let end = (at + bytes.len() % 8).min(archive.len());
            archive[at..end].copy_from_slice(&bytes[..end - at]);
            let _ = unpack(&archive, MOST);
            archive.truncate(cut);
            let _ = unpack(&archive, MOST);
        }
    }
}
