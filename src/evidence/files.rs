//! The files of a bundle: written to a folder or a zip archive, read back, and sealed by their checksums.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::archive;

pub(super) const JSON: &str = "evidence.json";
pub(super) const HEADER: &str = "header.rlp";
pub(super) const TRANSACTIONS: &str = "transactions.nodes";
pub(super) const RECEIPTS: &str = "receipts.nodes";
pub(super) const WITHDRAWALS: &str = "withdrawals.nodes";
pub(super) const README: &str = "README.txt";
pub(super) const SUMS: &str = "SHA256SUMS";
/// What a reader without bolo needs: the format, a checker and its libraries. The bytes are those of the bolo that made the bundle.
pub(super) const TOOLS: [(&str, &str); 3] = [
    ("FORMAT.md", include_str!("../../docs/evidence.md")),
    ("check.py", include_str!("../../tests/evidence/check.py")),
    ("requirements.txt", include_str!("../../tests/evidence/requirements.txt")),
];
/// No bundle is larger: a whole block at most.
const MAX_BYTES: u64 = 1 << 28;

/// The files of a bundle, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What SHA256SUMS says of the other files.
pub(super) fn sums(files: &Files) -> Vec<u8> {
    let line = |(name, bytes): (&String, &Vec<u8>)| {
        format!("{}  {name}\n", alloy::primitives::hex::encode(Sha256::digest(bytes)))
    };
    files.iter().filter(|(name, _)| *name != SUMS).map(line).collect::<String>().into_bytes()
}

/// The sums come last: a bundle that was not written whole is refused.
fn in_order(files: &Files) -> impl Iterator<Item = (&String, &Vec<u8>)> {
    let (sums, others): (Vec<_>, Vec<_>) = files.iter().partition(|(name, _)| *name == SUMS);
    others.into_iter().chain(sums)
}

/// Writes the files into a folder that is new or empty.
///
/// # Errors
/// One line: the folder holds something, or cannot be written.
pub fn write(dir: &Path, files: &Files) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot write the bundle to {}: {error}", dir.display());
    std::fs::create_dir_all(dir).map_err(failed)?;
    if std::fs::read_dir(dir).map_err(failed)?.next().is_some() {
        return Err(format!("{} is not empty: name a new folder with --out", dir.display()));
    }
    for (name, bytes) in in_order(files) {
        std::fs::write(dir.join(name), bytes).map_err(failed)?;
    }
    Ok(())
}

/// Writes the files into a new zip archive. The same files give the same bytes.
///
/// # Errors
/// One line: the file is there already, or cannot be written.
pub fn write_zip(path: &Path, files: &Files) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot write the bundle to {}: {error}", path.display());
    let bytes = archive::pack(in_order(files)).map_err(|error| failed(&error))?;
    let mut file = File::options().write(true).create_new(true).open(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            format!("{} is there already: name a new file with --out", path.display())
        } else {
            failed(&error)
        }
    })?;
    file.write_all(&bytes).map_err(|error| failed(&error))
}

/// Reads the files of a folder or of a zip archive.
///
/// # Errors
/// One line: it cannot be read, or holds what is no part of a bundle.
pub fn read(path: &Path) -> Result<Files, String> {
    let failed = |error: std::io::Error| format!("cannot read the bundle {}: {error}", path.display());
    let mut files = Files::new();
    if path.is_file() {
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(failed)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(too_large());
        }
        return archive::unpack(&bytes, MAX_BYTES)
            .map_err(|reason| format!("cannot read the bundle {}: {reason}", path.display()));
    }
    let mut left = MAX_BYTES;
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let facts = entry.metadata().map_err(failed)?;
        if !facts.is_file() {
            return Err(format!("{name} is no file of a bundle"));
        }
        left = left.checked_sub(facts.len()).ok_or_else(too_large)?;
        files.insert(name, std::fs::read(entry.path()).map_err(failed)?);
    }
    Ok(files)
}

pub(super) fn too_large() -> String {
    format!("it is larger than {} MiB, as no bundle is", MAX_BYTES >> 20)
}

/// Holds the seal: only the known files, and SHA256SUMS just as they give it.
///
/// # Errors
/// One line: which file is another than it was.
pub fn check_seal(files: &Files) -> Result<(), String> {
    let tools = || TOOLS.iter().map(|(name, _)| *name);
    let known: Vec<&str> =
        [JSON, HEADER, TRANSACTIONS, RECEIPTS, WITHDRAWALS, README, SUMS].into_iter().chain(tools()).collect();
    if let Some(name) = files.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("{name} is no file of a bundle"));
    }
    if let Some(missing) = std::iter::once(README).chain(tools()).find(|name| !files.contains_key(*name)) {
        return Err(format!("{missing} is missing"));
    }
    let stated = files.get(SUMS).ok_or_else(|| format!("{SUMS} is missing"))?;
    let computed = sums(files);
    if *stated == computed {
        return Ok(());
    }
    let text = String::from_utf8_lossy(stated).into_owned();
    let computed = String::from_utf8_lossy(&computed).into_owned();
    let odd = computed.lines().find(|line| !text.lines().any(|stated| stated == *line));
    Err(match odd.and_then(|line| line.split("  ").nth(1)) {
        Some(name) => format!("{name} does not have the SHA-256 that {SUMS} says, or is not in it"),
        None => format!("{SUMS} has more in it than the sums of the files"),
    })
}
