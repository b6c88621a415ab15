//! What is let run for longer by variables: fixtures mutated at random (`BOLO_FUZZ_SECONDS`), and a list as large as the largest that
//! is published (`BOLO_LIST_MB`), with the memory that the real program takes for it.

use std::collections::BTreeMap;
use std::io::{BufWriter, Cursor, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use bolo::lists::{Format, Source, parse};

use crate::common::{Place, stderr};
use crate::importers::{fixture_files, read};
use crate::mutant::Random;

/// What breaks readers.
const TOKENS: [&str; 24] = [
    "<",
    ">",
    "&",
    "&#0;",
    "&#x110000;",
    "]]>",
    "<![CDATA[",
    "<!--",
    "<!DOCTYPE a [",
    "\0",
    "\u{200b}",
    "а",
    "\"",
    "\n",
    "0x",
    "{",
    "}",
    "[",
    ",,,,",
    ": ",
    "- ",
    "\u{feff}",
    "*a",
    "Digital Currency Address - ETH 0x12;",
];

fn mutated(random: &mut Random, seeds: &[(Format, Vec<u8>)]) -> (Format, Vec<u8>) {
    let (format, mut bytes) = random.pick(seeds).clone();
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len() + 1);
        let length = random.below(40).min(bytes.len() - at);
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..at + length)),
            2 => {
                let piece = bytes[at..at + length].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            3 => drop(bytes.splice(at..at + length, random.pick(&TOKENS).bytes())),
            4 => {
                let other = &random.pick(seeds).1;
                let from = random.below(other.len());
                let piece = other[from..(from + 200).min(other.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            5 if at < bytes.len() => bytes[at] = random.below(256) as u8,
            _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
    (format, bytes)
}

#[test]
fn no_importer_panics_on_mutated_fixtures_and_the_counts_add_up() {
    let seconds = std::env::var("BOLO_FUZZ_SECONDS").ok().map_or(3, |text| text.parse().unwrap());
    let seed = std::env::var("BOLO_FUZZ_SEED").ok().map_or(1, |text| text.parse().unwrap());
    let mut random = Random::new(seed);
    let seeds: Vec<(Format, Vec<u8>)> = fixture_files()
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .map(|bytes| (read(&bytes).unwrap().format, bytes))
        .collect();
    let mut tried: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    let (start, limit) = (Instant::now(), Duration::from_secs(seconds));
    while start.elapsed() < limit {
        let (format, bytes) = mutated(&mut random, &seeds);
        let mut file = Cursor::new(bytes.clone());
        let mut taken = 0;
        let list =
            Source::open(&mut file).and_then(|mut source| parse(&mut source, None, Some(format), &mut |_| taken += 1));
        if let Ok(list) = &list {
            let counts = list.counts;
            assert_eq!(counts.candidates, counts.accepted + counts.derived + counts.rejected);
            assert_eq!(counts.candidates, taken);
        }
        tried.entry(format.name()).or_default()[usize::from(list.is_err())] += 1;
        let _ = read(&bytes);
    }
    eprintln!("tried for {seconds} s, [read, refused] by format: {tried:?}");
    assert!(tried.len() == Format::ALL.len() - 1, "{tried:?}");
    assert!(tried.values().all(|[read, refused]| *read > 0 && read + refused > 5), "{tried:?}");
}

/// A file in the shape of SDN_ADVANCED.XML, of that many bytes; how many parties have an address.
fn advanced(path: &Path, bytes: u64) -> u64 {
    let mut out = BufWriter::new(std::fs::File::create(path).unwrap());
    let mut written = 0u64;
    let mut put = |text: &str| {
        out.write_all(text.as_bytes()).unwrap();
        written += text.len() as u64;
        written
    };
    put("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Sanctions xmlns=\"https://example.org/ADVANCED_XML\">\n");
    put(
        "<DateOfIssue><Year>2026</Year><Month>8</Month><Day>2</Day></DateOfIssue>\n<ReferenceValueSets><FeatureTypeValues>",
    );
    put(
        "<FeatureType ID=\"8\">Birthdate</FeatureType><FeatureType ID=\"345\">Digital Currency Address - ETH</FeatureType>",
    );
    put(
        "</FeatureTypeValues><SanctionsTypeValues><SanctionsType ID=\"1\">Program</SanctionsType></SanctionsTypeValues>",
    );
    put("</ReferenceValueSets>\n<DistinctParties>\n");
    let (mut parties, mut listed) = (0u64, 0u64);
    // Three quarters are parties, the rest their entries.
    while put("") < bytes / 4 * 3 {
        parties += 1;
        put(&format!(
            "  <DistinctParty FixedRef=\"{parties}\">\n    <Comment />\n    <Profile ID=\"{parties}\" PartySubTypeID=\"3\">\n      \
             <Identity ID=\"{parties}\" FixedRef=\"{parties}\" Primary=\"true\" False=\"false\">\n"
        ));
        for alias in 0..5 {
            put(&format!(
                "        <Alias FixedRef=\"{parties}\" AliasTypeID=\"1403\" Primary=\"{}\" LowQuality=\"false\">\n          \
                 <DocumentedName ID=\"{alias}\" FixedRef=\"{parties}\" DocNameStatusID=\"1\">\n            <DocumentedNamePart>\n\
                 <NamePartValue NamePartGroupID=\"{alias}\" ScriptID=\"215\" ScriptStatusID=\"1\" Acronym=\"false\">PARTY {parties} \
                 NAME {alias}</NamePartValue>\n            </DocumentedNamePart>\n          </DocumentedName>\n        </Alias>\n",
                alias == 0
            ));
        }
        put("      </Identity>\n");
        for feature in 0..6 {
            put(&format!(
                "      <Feature ID=\"{feature}\" FeatureTypeID=\"8\">\n        <FeatureVersion ID=\"{feature}\" ReliabilityID=\"1560\">\
                 \n          <Comment />\n          <VersionDetail DetailTypeID=\"1432\">Place and date number {feature} of the \
                 party {parties}, as somebody wrote them down</VersionDetail>\n        </FeatureVersion>\n      </Feature>\n"
            ));
        }
        if parties % 100 == 0 {
            listed += 1;
            put(&format!(
                "      <Feature ID=\"9\" FeatureTypeID=\"345\"><FeatureVersion ID=\"9\"><VersionDetail DetailTypeID=\"1432\">\
                 0x{parties:040x}</VersionDetail></FeatureVersion></Feature>\n"
            ));
        }
        put("    </Profile>\n  </DistinctParty>\n");
    }
    put("</DistinctParties>\n<SanctionsEntries>\n");
    for party in 1..=parties {
        put(&format!(
            "  <SanctionsEntry ID=\"{party}\" ProfileID=\"{party}\" ListID=\"1550\">\n    <EntryEvent ID=\"{party}\" \
             EntryEventTypeID=\"1\" LegalBasisID=\"1\">\n      <Comment />\n      <Date CalendarTypeID=\"1\"><Year>2022</Year>\
             <Month>4</Month><Day>14</Day></Date>\n    </EntryEvent>\n    <SanctionsMeasure ID=\"{party}\" SanctionsTypeID=\"1\">\
             \n      <Comment>DPRK3</Comment>\n    </SanctionsMeasure>\n  </SanctionsEntry>\n"
        ));
    }
    while put("") < bytes {
        put("<!-- filled up to the size that was asked for, as the file would be with its relationships -->\n");
    }
    put("</SanctionsEntries>\n</Sanctions>\n");
    out.flush().unwrap();
    listed
}

/// The most memory that the process ever had, in bytes; none once it is gone.
fn peak(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[test]
fn a_large_list_takes_little_memory() {
    let megabytes: u64 = std::env::var("BOLO_LIST_MB").ok().map_or(12, |text| text.parse().unwrap());
    let place = Place::new();
    let path = place.dir.path().join("sdn_advanced.xml");
    let listed = advanced(&path, megabytes * 1_000_000);
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size >= megabytes * 1_000_000);
    let start = Instant::now();
    let mut child = place
        .command(&["watchlist", "import", "sdn_advanced.xml", "--kind", "blocking"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(peak(child.id()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = start.elapsed();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", stderr(&out));
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains(&format!("{listed} candidates = {listed} accepted")), "{text}");
    eprintln!(
        "{} MB, {listed} entries: {:.1} s, at most {:.1} MB of memory",
        size / 1_000_000,
        took.as_secs_f64(),
        most as f64 / 1e6
    );
    assert!(most > 0 && most < 60_000_000, "{most}");
}
