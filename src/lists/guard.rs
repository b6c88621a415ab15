//! Limits on what a list may make its readers hold at once. A few kilobytes unpack to gigabytes, and a reader that waits for the end of
//! a quote or a text would hold all of them.

use std::io::{self, Read};

use super::source::LONGEST;

/// Values within one item of a JSON list, or one member of its object. A value takes 32 bytes and its text: 3,000,000 addresses under
/// one name are within it.
const MAX_VALUES: u64 = 8 << 20;
/// An object counts as so many: that is the room that its map takes.
const VALUES_OF_OBJECT: u64 = 16;
/// JSON is nested no deeper in any list.
const MAX_DEPTH: u32 = 64;

fn too_long(what: &str) -> io::Error {
    io::Error::other(format!("{what} is longer than {} MiB, as no list has it: refused", LONGEST >> 20))
}

/// Passes on the bytes of a JSON text as long as no string, number or item is larger than a list can have it.
pub(super) struct JsonGuard<R> {
    inner: R,
    in_text: bool,
    escaped: bool,
    /// Bytes of the text or other token at hand.
    token: usize,
    depth: u32,
    /// Values since the item at hand began.
    values: u64,
}

impl<R: Read> JsonGuard<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, in_text: false, escaped: false, token: 0, depth: 0, values: 0 }
    }

    fn look(&mut self, bytes: &[u8]) -> io::Result<()> {
        for byte in bytes {
            self.token += 1;
            if self.token > LONGEST {
                return Err(too_long("a text in it"));
            }
            if self.in_text {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => (self.in_text, self.token) = (true, 0),
                b'[' | b'{' => {
                    self.depth += 1;
                    self.values += if *byte == b'{' { VALUES_OF_OBJECT } else { 1 };
                    if self.depth > MAX_DEPTH {
                        return Err(io::Error::other(format!("it is nested more than {MAX_DEPTH} deep: refused")));
                    }
                }
                b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                b',' => self.values += 1,
                b' ' | b'\n' | b'\r' | b'\t' => {}
                _ => continue,
            }
            self.token = 0;
            // The next item of the list, or member of its object.
            if *byte == b',' && self.depth <= 1 {
                self.values = 0;
            }
            if self.values > MAX_VALUES {
                return Err(io::Error::other(format!(
                    "an item of it has more than {MAX_VALUES} values: refused; put the addresses into an array of their own"
                )));
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for JsonGuard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let found = self.inner.read(buffer)?;
        self.look(&buffer[..found])?;
        Ok(found)
    }
}

/// Where a CSV reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Csv {
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote within a quoted field: its end, or half of a doubled one.
    QuoteInQuoted,
}

/// Passes on the bytes of a CSV file as long as no record is longer than a list can have it.
pub(super) struct CsvGuard<R> {
    inner: R,
    at: Csv,
    /// Bytes of the record at hand.
    record: usize,
}

impl<R: Read> CsvGuard<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, at: Csv::FieldStart, record: 0 }
    }

    fn look(&mut self, bytes: &[u8]) -> io::Result<()> {
        for byte in bytes {
            self.record += 1;
            if self.record > LONGEST {
                return Err(too_long("a record in it, or a quoted field that does not end,"));
            }
            self.at = match (self.at, byte) {
                (Csv::Quoted, b'"') => Csv::QuoteInQuoted,
                (Csv::Quoted, _) | (Csv::FieldStart | Csv::QuoteInQuoted, b'"') => Csv::Quoted,
                (_, b'\n' | b'\r') => {
                    self.record = 0;
                    Csv::FieldStart
                }
                (_, b',' | b';' | b'\t') => Csv::FieldStart,
                _ => Csv::Plain,
            };
        }
        Ok(())
    }
}

impl<R: Read> Read for CsvGuard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let found = self.inner.read(buffer)?;
        self.look(&buffer[..found])?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(parts: &[(&str, usize)]) -> Result<u64, String> {
        let text: String = parts.iter().map(|(part, times)| part.repeat(*times)).collect();
        io::copy(&mut JsonGuard::new(text.as_bytes()), &mut io::sink()).map_err(|error| error.to_string())
    }

    fn csv(parts: &[(&str, usize)]) -> Result<u64, String> {
        let text: String = parts.iter().map(|(part, times)| part.repeat(*times)).collect();
        io::copy(&mut CsvGuard::new(text.as_bytes()), &mut io::sink()).map_err(|error| error.to_string())
    }

    #[test]
    fn json_that_a_reader_would_hold_whole_is_refused() {
        let too_long = LONGEST + 2;
        for (parts, why) in [
            (&[("[\"", 1), ("a", too_long)][..], "a text in it is longer than 16 MiB"),
            (&[("[\"", 1), ("\\\"", too_long / 2)], "a text in it is longer than 16 MiB"),
            (&[("{\"", 1), ("k", too_long)], "a text in it is longer than 16 MiB"),
            (&[("[1", 1), ("0", too_long)], "a text in it is longer than 16 MiB"),
            (&[("[", 70)], "more than 64 deep"),
            (&[("{\"a\":[", 1), ("0,", 9 << 20)], "more than 8388608 values"),
            (&[("[[", 1), ("{\"a\":0},", 600_000)], "more than 8388608 values"),
        ] {
            let error = json(parts).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        for fine in [
            &[("[", 1), ("\"0x098B716B8Aaf21512996dC57EB0615e2383E2f96\",", 300_000), ("1]", 1)][..],
            &[("{\"ETH\":[", 1), ("\"0x098B716B8Aaf21512996dC57EB0615e2383E2f96\",", 300_000), ("1]}", 1)],
            &[("[", 1), ("{\"address\":\"0x0\",\"a\":[1,2]},", 600_000), ("1]", 1)],
            &[("[\"", 1), ("a", LONGEST - 2), ("\", \"\\\"\\\\\"]", 1)],
        ] {
            assert!(json(fine).is_ok());
        }
    }

    #[test]
    fn a_csv_record_that_a_reader_would_hold_whole_is_refused() {
        let many = LONGEST + 2;
        for parts in [
            &[("address\n\"", 1), ("a", many)][..],
            &[("address\n\"", 1), ("a\n", many / 2)],
            &[("address\n\"", 1), ("\"\"\n", many / 3 + 1)],
            &[("address;b\nx;\"", 1), (",\n", many / 2)],
            &[("a,", many / 2 + 1)],
        ] {
            assert!(csv(parts).unwrap_err().contains("longer than 16 MiB"));
        }
        for fine in [
            &[("0x098B716B8Aaf21512996dC57EB0615e2383E2f96,\"a\n\"\"b\"\"\",5\" pipe\n", 400_000)][..],
            &[("a\r\n\"b\"\r\n", 3_000_000)],
            &[("\"", 1), ("a", LONGEST - 4), ("\"\n", 1)],
        ] {
            assert!(csv(fine).is_ok());
        }
    }
}
