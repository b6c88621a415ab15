//! Changes to a text of JSON, from a single bit to a key that comes twice.

/// A small generator of numbers that are the same for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Values that somebody may write where another one belongs.
const VALUES: [&str; 24] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "1e3",
    "[]",
    "{}",
    "\"\"",
    "\"0x\"",
    "\"0x0\"",
    "\"0x00\"",
    "\"0x1\"",
    "\"1\"",
    "\"0X1\"",
    "\"0x0x12\"",
    "\"0x7f\"",
    "\"0x80\"",
    "\"0xffffffffffffffff\"",
    "\"0x10000000000000000\"",
    "\"\\u0030x1\"",
    "[null]",
    "\"é\"",
];

/// Changes something, if only to what means the same.
pub(crate) fn mutate(text: &mut String, random: &mut Random) {
    let mut bytes = text.clone().into_bytes();
    let at = random.below(bytes.len());
    match random.below(16) {
        0 => bytes[at] ^= 1 << random.below(7),
        1 => bytes[at] = random.next() as u8 & 0x7f,
        2 => drop(bytes.remove(at)),
        3 => bytes.insert(at, b"\"{}[],:0x \n\\"[random.below(12)]),
        4 => bytes.truncate(at),
        5 => {
            let end = (at + random.below(80)).min(bytes.len());
            bytes.drain(at..end);
        }
        6 => {
            let end = (at + random.below(80)).min(bytes.len());
            let copy = bytes[at..end].to_vec();
            bytes.splice(end..end, copy);
        }
        7 | 8 => around(&mut bytes, at, b"\"", Upper::make_ascii_uppercase_one, random),
        9 | 10 => value(&mut bytes, at, |_, random| random.pick(&VALUES).as_bytes().to_vec(), random),
        11 => value(&mut bytes, at, |old, _| zeroed(&old), random),
        12 => white(&mut bytes, at, random),
        13 => member(&mut bytes, at, |member, _| [member, b",", member].concat(), random),
        14 => member(&mut bytes, at, |_, _| b"\"unknown\":\"some value\"".to_vec(), random),
        _ => member(&mut bytes, at, escaped, random),
    }
    if let Ok(changed) = String::from_utf8(bytes)
        && !changed.is_empty()
    {
        *text = changed;
    }
}

trait Upper {
    fn make_ascii_uppercase_one(&mut self, random: &mut Random);
}

impl Upper for Vec<u8> {
    fn make_ascii_uppercase_one(&mut self, random: &mut Random) {
        let letters: Vec<_> = (0..self.len()).filter(|at| matches!(self[*at], b'a'..=b'f')).collect();
        if !letters.is_empty() {
            let at = *random.pick(&letters);
            self[at].make_ascii_uppercase();
        }
    }
}

/// Applies a change to what is between the marks around that place.
fn around(
    bytes: &mut Vec<u8>,
    at: usize,
    mark: &[u8],
    change: impl FnOnce(&mut Vec<u8>, &mut Random),
    random: &mut Random,
) {
    let start = bytes[..at].iter().rposition(|byte| mark.contains(byte)).map_or(0, |found| found + 1);
    let end = bytes[at..].iter().position(|byte| mark.contains(byte)).map_or(bytes.len(), |found| at + found);
    let mut part = bytes[start..end].to_vec();
    change(&mut part, random);
    bytes.splice(start..end, part);
}

/// The range of the next simple member from there on: `"key":value`.
fn next_member(bytes: &[u8], at: usize) -> Option<(usize, usize, usize)> {
    let colon = at + bytes[at..].windows(2).position(|two| two == b"\":")? + 1;
    let start = bytes[..colon - 1].iter().rposition(|byte| *byte == b'"')?;
    let end = colon + 1 + bytes[colon + 1..].iter().position(|byte| matches!(byte, b',' | b'}' | b'[' | b'{'))?;
    (end > colon + 1).then_some((start, colon, end))
}

fn value(bytes: &mut Vec<u8>, at: usize, change: impl FnOnce(Vec<u8>, &mut Random) -> Vec<u8>, random: &mut Random) {
    if let Some((_, colon, end)) = next_member(bytes, at) {
        let new = change(bytes[colon + 1..end].to_vec(), random);
        bytes.splice(colon + 1..end, new);
    }
}

fn member(bytes: &mut Vec<u8>, at: usize, change: impl FnOnce(&[u8], &mut Random) -> Vec<u8>, random: &mut Random) {
    if let Some((start, _, end)) = next_member(bytes, at) {
        let new = change(&bytes[start..end], random);
        bytes.splice(start..end, new);
    }
}

/// With a zero more at the front.
fn zeroed(value: &[u8]) -> Vec<u8> {
    let mut new = value.to_vec();
    if new.starts_with(b"\"0x") {
        new.insert(3, b'0');
    }
    new
}

fn white(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let tokens = |byte: &u8| matches!(byte, b',' | b':' | b'{' | b'[' | b'}' | b']');
    if let Some(found) = bytes[at..].iter().position(tokens) {
        let place = at + found + random.below(2);
        bytes.insert(place, *random.pick(b" \n\t\r"));
    }
}

/// One character written as an escape: the same string to whoever unescapes.
fn escaped(member: &[u8], random: &mut Random) -> Vec<u8> {
    let letters: Vec<_> = (0..member.len()).filter(|at| member[*at].is_ascii_alphanumeric()).collect();
    if letters.is_empty() {
        return member.to_vec();
    }
    let at = *random.pick(&letters);
    let mut new = member.to_vec();
    new.splice(at..=at, format!("\\u{:04x}", member[at]).into_bytes());
    new
}
