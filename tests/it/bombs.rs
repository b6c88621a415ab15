//! Files of a few kilobytes that unpack to gigabytes: refused with one line, in bounded memory.

use std::fs::File;
use std::io::{Cursor, Write};
use std::path::Path;
use std::process::Stdio;

use crate::common::Place;

/// What each bomb would unpack to, in whole pieces of a MiB.
const MIBS: usize = 384;
/// What the program may take at most. Limits of its own: 128 MiB a line of an archive, 16 MiB a text of a list, 8,388,608 values an item
/// of JSON.
const MOST_KIB: u64 = 450 << 10;

/// Writes `begin`, then the pattern again and again.
fn bomb(out: &mut dyn Write, begin: &str, pattern: &str) {
    out.write_all(begin.as_bytes()).unwrap();
    let piece = pattern.repeat((1 << 20) / pattern.len());
    for _ in 0..MIBS {
        out.write_all(piece.as_bytes()).unwrap();
    }
}

fn zst(path: &Path, begin: &str, pattern: &str) {
    let mut out = zstd::stream::write::Encoder::new(File::create(path).unwrap(), 1).unwrap();
    bomb(&mut out, begin, pattern);
    out.finish().unwrap();
}

fn zip(path: &Path, name: &str, begin: &str, pattern: &str) {
    let mut out = zip::ZipWriter::new(File::create(path).unwrap());
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    out.start_file(name, options).unwrap();
    bomb(&mut out, begin, pattern);
    out.finish().unwrap();
}

/// An era file whose first entry after the version unpacks to that.
fn era(path: &Path, kind: [u8; 2], pattern: &str) {
    let mut packed = snap::write::FrameEncoder::new(Cursor::new(Vec::new()));
    bomb(&mut packed, "", pattern);
    let packed = packed.into_inner().unwrap().into_inner();
    let mut out = b"e2\0\0\0\0\0\0".to_vec();
    out.extend(kind);
    out.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
    out.extend([0, 0]);
    out.extend(packed);
    std::fs::write(path, out).unwrap();
}

/// Runs the program; its exit code, the peak of its memory in KiB, and what it says.
fn run(place: &Place, args: &[&str]) -> (Option<i32>, u64, String) {
    let log = place.dir.path().join("log");
    let mut child = place.command(args).stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let code = loop {
        // The peak only grows: the last look is short of it by what a millisecond adds.
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
        peak = peak.max(line.trim().trim_end_matches(" kB").parse().unwrap());
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    };
    assert!(peak > 1000, "the peak was seen");
    (code, peak, std::fs::read_to_string(&log).unwrap())
}

#[test]
fn what_unpacks_to_gigabytes_is_refused_in_bounded_memory() {
    let place = Place::new();
    let at = |name: &str| place.dir.path().join(name);
    let address = "0x098B716B8Aaf21512996dC57EB0615e2383E2f96";
    let archives: [(&str, &str, &str); 3] = [
        ("text.jsonl.zst", "{\"block\":\"", "a"),
        ("values.jsonl.zst", "{\"block\":[", "0,"),
        ("blanks.jsonl.zst", "", " "),
    ];
    for (name, begin, pattern) in archives {
        zst(&at(name), begin, pattern);
    }
    era(&at("header.era1"), [3, 0], "\0");
    let csv = format!("address,label\n{address},\"");
    let xml = format!("<sdnList><sdnEntry><uid>{address}</uid><remarks>");
    let lists = [
        ("field.csv", csv.as_str(), "a"),
        ("lines.csv", csv.as_str(), "a\n"),
        ("doubled.csv", csv.as_str(), "\"\"\n"),
        ("text.json", "[\"", "a"),
        ("values.json", "{\"ETH\":[", "0,"),
        ("objects.json", "{\"ETH\":[", "{\"a\":0},"),
        ("depth.json", "[", "["),
        ("name.json", "{\"", "k"),
        ("text.xml", &xml, "a"),
        ("attribute.xml", "<sdnList a=\"", "a"),
        ("references.xml", &xml, "&amp;"),
        ("line.txt", "", "a"),
        ("stix.json", "{\"type\":\"bundle\",\"id\":\"bundle--1\",\"objects\":[", "{\"a\":0},"),
    ];
    for (name, begin, pattern) in lists {
        zip(&at(&format!("{name}.zip")), name, begin, pattern);
    }
    let mut names: Vec<String> = archives.iter().map(|(name, ..)| (*name).to_owned()).collect();
    names.push("header.era1".to_owned());
    names.extend(lists.iter().map(|(name, ..)| format!("{name}.zip")));
    for name in &names {
        assert!(std::fs::metadata(at(name)).unwrap().len() < 60 << 20, "{name} is small");
        let args: &[&str] = match name.ends_with(".zip") {
            true => &["watchlist", "import", name, "--list", "x"],
            false => &["replay", "--archive", name, "--chain", "1"],
        };
        let (code, peak, log) = run(&place, args);
        let errors: Vec<_> = log.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!((code, errors.len()), (Some(1), 1), "{name}: {log}");
        let limits = ["MiB", "more than", "zip bomb", "unpacks to more"];
        assert!(limits.iter().any(|limit| errors[0].contains(limit)), "{name}: {log}");
        assert!(peak < MOST_KIB, "{name}: {peak} KiB");
        eprintln!("{name}: {} KiB; {}", peak, errors[0]);
    }
}

#[test]
fn aliases_and_entities_that_multiply_are_refused_in_bounded_memory() {
    let place = Place::new();
    let address = "0x098B716B8Aaf21512996dC57EB0615e2383E2f96";
    let mut yaml = format!("title: x\ncreator: y\na0: &a0 [{address}]\n");
    let mut xml = String::from("<!DOCTYPE sdnList [<!ENTITY e0 \"aaaaaaaaaa\">");
    for level in 1..12 {
        let below = level - 1;
        yaml += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{below}"); 10].join(","));
        xml += &format!("<!ENTITY e{level} \"{}\">", format!("&e{below};").repeat(10));
    }
    yaml += &format!("tags:\n  - address: {address}\n    label: *a11\n    currency: ETH\n");
    xml += "]><sdnList><sdnEntry><remarks>&e11;</remarks></sdnEntry></sdnList>";
    for (name, text) in [("aliases.yaml", yaml), ("entities.xml", xml)] {
        std::fs::write(place.dir.path().join(name), text).unwrap();
        let (code, peak, log) = run(&place, &["watchlist", "import", name, "--list", "x"]);
        assert_eq!(code, Some(1), "{name}: {log}");
        assert!(peak < 200 << 10, "{name}: {peak} KiB");
    }
}

#[test]
fn a_cut_archive_names_one_line() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/demo/chain.jsonl.zst");
    let text = zstd::stream::decode_all(File::open(demo).unwrap()).unwrap();
    let ends: Vec<usize> = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    let place = Place::new();
    for (line, cut) in [(1, ends[0] / 2), (3, ends[1] + 10), (3, ends[2] - 1), (5, ends[4] - 40)] {
        std::fs::write(place.dir.path().join("cut.jsonl"), &text[..cut]).unwrap();
        let (code, _, log) = run(&place, &["replay", "--archive", "cut.jsonl", "--chain", "31337"]);
        let error = log.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{log}"));
        assert_eq!(code, Some(1));
        assert_eq!(error.matches("line ").count(), 1, "{error}");
        assert!(error.contains(&format!("cut.jsonl line {line}: is no block")), "{error}");
    }
}
