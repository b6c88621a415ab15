//! Every list format: fixtures of our own in the official shape with every defect, with what is to come of them beside; real lists
//! where they are at hand; and what must be refused.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use bolo::lists::{Class, Format, ParsedList, ReadSeek, Source, parse, show_date};
use serde_json::Value;

use crate::common::{Place, shared, stderr};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lists")
}

fn read_with(file: &mut dyn ReadSeek, comments: Option<Vec<u8>>, format: Option<Format>) -> Result<ParsedList, String> {
    let mut comments = comments.map(Cursor::new);
    let mut comments = comments.as_mut().map(|bytes| Source::open(bytes)).transpose()?;
    let mut told = 0;
    let list = parse(&mut Source::open(file)?, comments.as_mut(), format, &mut |_| told += 1)?;
    let counts = list.counts;
    assert_eq!(counts.candidates, counts.accepted + counts.derived + counts.rejected, "the three counts add up");
    assert_eq!(counts.candidates, told, "each candidate is told");
    assert_eq!(list.entries.len() as u64, counts.accepted + counts.derived - counts.repeated - counts.ended);
    assert_eq!(list.rejected.len() as u64, counts.rejected);
    Ok(list)
}

pub(crate) fn read(bytes: &[u8]) -> Result<ParsedList, String> {
    read_with(&mut Cursor::new(bytes.to_vec()), None, None)
}

/// All that a list says, one line for each thing.
fn told(list: &ParsedList) -> String {
    let mut out = String::new();
    let date = |seconds: Option<i64>| seconds.map_or_else(|| "-".to_owned(), show_date);
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let c = list.counts;
    writeln!(out, "format {}, published {}", list.format.name(), date(list.published)).unwrap();
    writeln!(
        out,
        "candidates {} = accepted {} + derived {} + rejected {} (other chains {}); repeated {}, ended {}",
        c.candidates, c.accepted, c.derived, c.rejected, c.other_chain, c.repeated, c.ended
    )
    .unwrap();
    for e in &list.entries {
        writeln!(
            out,
            "{} row {} uid {} entity {} aliases {:?} programs {:?} label {} from {} until {} derived {}",
            e.address,
            e.row.map_or(0, |row| row),
            text(&e.uid),
            text(&e.entity),
            e.aliases,
            e.programs,
            text(&e.label),
            date(e.listed_from),
            date(e.delisted_on),
            text(&e.derived_from),
        )
        .unwrap();
    }
    for r in &list.rejected {
        writeln!(out, "rejected line {} {:?} {}", r.line, r.text, r.reason).unwrap();
    }
    for (address, entity) in list.delta.iter().flat_map(|delta| &delta.ended) {
        writeln!(out, "ends {address} of {}", text(entity)).unwrap();
    }
    for entity in list.delta.iter().flat_map(|delta| &delta.entities) {
        writeln!(out, "ends all of {entity}").unwrap();
    }
    for warning in &list.warnings {
        writeln!(out, "warning: {warning}").unwrap();
    }
    out
}

pub(crate) fn fixture_files() -> Vec<PathBuf> {
    let mut all = Vec::new();
    for dir in [fixtures(), fixtures().join("ofac"), fixtures().join("ofac_alone")] {
        let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        all.extend(files.filter(|path| path.is_file() && path.extension().is_some_and(|e| e != "expected")));
    }
    all.retain(|path| !path.ends_with("sdn_comments.csv"));
    all.sort();
    all
}

/// `BOLO_BLESS=1` writes the expected files anew: look at what changed.
#[test]
fn every_format_gives_what_stands_beside_its_fixture() {
    let files = fixture_files();
    let mut formats = BTreeSet::new();
    for path in &files {
        let comments =
            path.ends_with("ofac/sdn.csv").then(|| std::fs::read(path.with_file_name("sdn_comments.csv")).unwrap());
        let list = read_with(&mut std::fs::File::open(path).unwrap(), comments, None).unwrap();
        formats.insert(list.format.name());
        let expected = path.with_file_name(format!("{}.expected", path.file_name().unwrap().to_str().unwrap()));
        if std::env::var_os("BOLO_BLESS").is_some() {
            std::fs::write(&expected, told(&list)).unwrap();
        }
        assert_eq!(told(&list), std::fs::read_to_string(&expected).unwrap(), "{}", path.display());
    }
    assert_eq!(formats.len(), Format::ALL.len() - 1, "all formats but the comments: {formats:?}");
    let addresses = |name: &str| -> BTreeSet<_> {
        let list = read(&std::fs::read(fixtures().join(name)).unwrap()).unwrap();
        list.entries.into_iter().map(|entry| entry.address).collect()
    };
    assert_eq!(addresses("sdn_enhanced.xml"), addresses("sdn_enhanced_prefixed.xml"), "any namespace");
    assert_eq!(addresses("sdn_advanced.xml"), addresses("sdn_advanced_old.xml"), "any ids");
    assert_eq!(addresses("sdn.xml"), addresses("sdn_old.xml"));
}

fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn a_zipped_list_is_the_list() {
    for path in fixture_files().iter().filter(|path| path.is_file()) {
        let bytes = std::fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let (plain, packed) = (read(&bytes).unwrap(), read(&zipped(&[(name, &bytes)])).unwrap());
        assert_eq!(plain, packed, "{name}");
    }
    let (sdn, comments) = (fixtures().join("ofac/sdn.csv"), fixtures().join("ofac/sdn_comments.csv"));
    let (sdn, comments) = (std::fs::read(sdn).unwrap(), std::fs::read(comments).unwrap());
    let both = read(&zipped(&[("ofac/SDN.CSV", &sdn), ("ofac/sdn_comments.csv", &comments), ("add.csv", b"1,2")]));
    let joined = read_with(&mut Cursor::new(sdn), Some(comments), None).unwrap();
    assert_eq!(both.unwrap(), joined);
}

#[test]
fn what_would_unfold_or_look_outside_is_refused() {
    let bomb = zipped(&[("list.txt", &vec![b'\n'; 64 << 20])]);
    assert!(bomb.len() < 100_000);
    assert!(read(&bomb).unwrap_err().contains("zip bomb"));
    let laughs = r#"<?xml version="1.0"?><!DOCTYPE sdnList [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
        <sdnList><sdnEntry><uid>&b;</uid></sdnEntry></sdnList>"#;
    assert!(read(laughs.as_bytes()).unwrap_err().contains("DOCTYPE"));
    let outside =
        r#"<!DOCTYPE Sanctions [<!ENTITY x SYSTEM "file:///etc/hostname">]><Sanctions><Date>&x;</Date></Sanctions>"#;
    assert!(read(outside.as_bytes()).unwrap_err().contains("DOCTYPE"));
    let yaml = "title: &a [x, x]\ntags:\n- address: *a\n";
    assert!(read(yaml.as_bytes()).unwrap_err().contains("aliases"));
    let comments = std::fs::read(fixtures().join("ofac/sdn_comments.csv")).unwrap();
    assert!(read(&comments).unwrap_err().contains("together"));
    assert!(read(b"<html><body>404</body></html>").unwrap_err().contains("web page"));
    for name in ["sdn.xml", "sdn_enhanced.xml", "sdn_advanced.xml", "uk.xml", "eu.xml", "delta.xml", "bundle.stix.json"]
    {
        let bytes = std::fs::read(fixtures().join(name)).unwrap();
        assert!(read(&bytes[..bytes.len() - 20]).is_err(), "{name}: half a list would end what it does not have");
    }
    let sdn = std::fs::read(fixtures().join("ofac/sdn.csv")).unwrap();

    let first = sdn.iter().position(|byte| *byte == b'\n').unwrap();
    assert!(read(&sdn[..first + 30]).unwrap_err().contains("cut off"));
    assert!(read(&sdn[..sdn.len() - 1]).unwrap().warnings.iter().any(|warning| warning.contains("0x1a")));
}

fn shown(place: &Place, list: &str) -> BTreeSet<String> {
    let text = place.ok(&["-q", "watchlist", "show", "--list", list, "--format", "jsonl"]);
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries.map(|entry| entry["address"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_program_joins_comments_and_says_when_they_are_missing() {
    let place = Place::new();
    let dir = fixtures().join("ofac");
    let sdn = dir.join("sdn.csv").display().to_string();
    let out = place.run(&["watchlist", "import", &sdn, "--kind", "blocking", "--report", "report.jsonl"]);
    let (said, text) = (stderr(&out), String::from_utf8_lossy(&out.stdout).into_owned());
    assert!(out.status.success() && !said.contains("INCOMPLETE"), "{said}");
    let report = std::fs::read_to_string(place.dir.path().join("report.jsonl")).unwrap();
    let outcomes: Vec<String> = report
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["outcome"].as_str().unwrap().to_owned())
        .collect();
    let count = |word: &str| outcomes.iter().filter(|outcome| *outcome == word).count();
    let (taken, rejected) = (count("accepted") + count("repeated"), count("rejected"));
    // A repeated Tron twin would be a derived one; the fixture has none.
    let line = format!(
        "{} candidates = {taken} accepted + {} derived + {rejected} rejected",
        outcomes.len(),
        count("derived")
    );
    assert!(text.contains(&line), "{text} {line}");
    let alone = fixtures().join("ofac_alone/sdn_only.csv").display().to_string();
    let said = stderr(&place.run(&["watchlist", "import", &alone]));
    assert!(said.contains("INCOMPLETE: the remarks of 1 entries are cut off"), "{said}");
    assert!(shown(&place, "sdn").len() > shown(&place, "sdn_only").len());
}

#[test]
fn a_file_of_changes_changes_the_list_that_it_is_for() {
    let place = Place::new();
    let delta = fixtures().join("delta.xml").display().to_string();
    let list = read(&std::fs::read(&delta).unwrap()).unwrap();
    let ended: Vec<String> = list.delta.unwrap().ended.iter().map(|(address, _)| address.to_string()).collect();
    assert_eq!(
        place.run(&["watchlist", "import", &delta, "--list", "sdn"]).status.code(),
        Some(1),
        "there is none yet"
    );
    let kept = "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f";
    let of_old = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720";
    let rows: String =
        ended.iter().filter(|address| *address != &ended[2]).take(3).map(|address| format!("{address},\n")).collect();
    let other = &ended[2];
    let text = format!("address,entity\n{rows}{other},Somebody else\n{kept},Kept\n{of_old},OLD FINCH\n");
    std::fs::write(place.dir.path().join("sdn.csv"), text).unwrap();
    place.ok(&["watchlist", "import", "sdn.csv", "--published", "2026-08-01"]);
    let out = place.run(&["watchlist", "import", &delta, "--list", "sdn"]);
    let (text, said) = (String::from_utf8_lossy(&out.stdout).into_owned(), stderr(&out));
    assert!(text.contains("3 added, 0 changed, 4 ended, 2 unchanged"), "{text} {said}");
    assert!(said.contains("on the list for another entity: kept"), "{said}");
    let mut wanted: BTreeSet<String> = list.entries.iter().map(|entry| entry.address.to_string()).collect();
    wanted.extend([kept.to_owned(), other.clone()]);
    assert_eq!(shown(&place, "sdn"), wanted);
    let then = place.ok(&["-q", "watchlist", "show", "--as-of", "2026-08-10", "--format", "jsonl"]);
    assert_eq!(then.lines().count(), ended.len() + 2);
}

#[test]
fn of_a_directory_the_newest_by_its_date_and_from_standard_input_any_format() {
    let place = Place::new();
    let dir = place.dir.path().join("downloads");
    std::fs::create_dir(&dir).unwrap();
    for name in ["sdn_enhanced.xml", "sdn_enhanced_prefixed.xml"] {
        std::fs::copy(fixtures().join(name), dir.join(name)).unwrap();
    }
    std::fs::write(dir.join("readme.html"), "<html/>").unwrap();
    let out = place.run(&["watchlist", "import", "downloads", "--kind", "blocking"]);
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(stderr(&out).contains("sdn_enhanced.xml: the newest, of 2026-07-27"), "{}", stderr(&out));
    assert!(place.status()["lists"][0]["published"].as_str().unwrap().starts_with("2026-07-27"), "{}", place.status());
    assert_eq!(place.status()["lists"][0]["name"], "downloads");
    let mut child = place
        .command(&["watchlist", "import", "-", "--list", "piped"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let bytes = std::fs::read(fixtures().join("entities.ftm.json")).unwrap();
    child.stdin.take().unwrap().write_all(&zipped(&[("entities.ftm.json", &bytes)])).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(shown(&place, "piped").len() > 5);
}

#[test]
fn of_a_directory_of_files_without_dates_the_only_list_is_taken_and_of_two_none() {
    let place = Place::new();
    let dir = place.dir.path().join("ofac");
    std::fs::create_dir(&dir).unwrap();
    for name in ["sdn.csv", "sdn_comments.csv"] {
        std::fs::copy(fixtures().join("ofac").join(name), dir.join(name)).unwrap();
    }
    let out = place.run(&["watchlist", "import", "ofac", "--kind", "blocking"]);
    assert!(out.status.success() && !stderr(&out).contains("INCOMPLETE"), "{}", stderr(&out));
    let both = place.dir.path().join("ofac");
    let both = [both.join("sdn.csv"), both.join("sdn_comments.csv")].map(|path| path.to_str().unwrap().to_owned());
    place.ok(&["watchlist", "import", &both[0], &both[1], "--list", "named"]);
    assert_eq!(shown(&place, "ofac").len(), shown(&place, "named").len());
    std::fs::write(dir.join("own.txt"), "0x098B716B8Aaf21512996dC57EB0615e2383E2f96\n").unwrap();
    let out = place.run(&["watchlist", "import", "ofac"]);
    assert_eq!(out.status.code(), Some(1), "which of two, nothing says");
}

#[test]
fn real_tag_packs_and_the_advisory_of_the_fbi_are_read() {
    let wanted = [("lazarus", 0), ("lazarus2", 0), ("ofac", 0), ("ronin_bridge", 6), ("tornado_cash", 38)];
    for (name, least) in wanted {
        let Some(text) = shared(&format!("lists/tagpacks/graphsense_{name}.yaml")) else { return };
        let list = read(text.as_bytes()).unwrap();
        let tags = text.lines().filter(|line| line.trim_start().starts_with("- address:")).count() as u64;
        assert_eq!((list.format, list.counts.candidates), (Format::TagPack, tags), "{name}");
        assert!(list.counts.accepted >= least && list.published.is_some(), "{name} {:?}", list.counts);
        let broken: Vec<_> = list.rejected.iter().filter(|rejected| rejected.class == Class::Broken).collect();
        // One identifier on OFAC's list is no address at all.
        assert_eq!(broken.len(), usize::from(name == "ofac"), "{name}: {broken:#?}");
        assert!(broken.iter().all(|rejected| rejected.reason.contains("64 hex digits")), "{broken:#?}");
    }
    let Some(text) = shared("lists/fbi_bybit.csv") else { return };
    let list = read(text.as_bytes()).unwrap();
    assert_eq!((list.counts.accepted, list.counts.rejected), (51, 0));
    assert!(list.entries.iter().all(|entry| entry.listed_from.map(show_date).as_deref() == Some("2025-02-26")));
}

/// OFAC's real overflow, behind entries of our own whose remarks are cut where OFAC cuts: its addresses must all come out.
#[test]
fn the_real_overflow_of_remarks_gives_the_addresses_that_the_timeline_has() {
    let (Some(comments), Some(timeline)) = (shared("lists/ofac/sdn_lines.csv"), shared("lists/ofac/timeline.csv"))
    else {
        return;
    };
    let mut rows = csv::ReaderBuilder::new().has_headers(false).from_reader(comments.as_bytes());
    let uids: Vec<String> = rows.records().map(|row| row.unwrap()[0].to_owned()).collect();
    let cut = format!("{}; Digital Currency Addres", "x".repeat(975));
    let sdn: String = uids
        .iter()
        .map(|uid| format!("{uid},\"ENTITY {uid}\",-0- ,\"CYBER2\",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,\"{cut}\"\r\n"))
        .collect();
    let list = read_with(&mut Cursor::new(sdn.into_bytes()), Some(comments.clone().into_bytes()), None).unwrap();
    assert!(list.warnings.iter().all(|warning| warning.contains("0x1a")), "{:?}", list.warnings);
    let found: BTreeSet<String> = list.entries.iter().map(|e| e.address.to_string().to_lowercase()).collect();
    // What the overflow has in plain words, by a reading of its own.
    let text = comments.to_lowercase();
    let wanted: BTreeSet<String> = text
        .match_indices("0x")
        .map(|(at, _)| text[at..].chars().take(42).collect::<String>())
        .filter(|word| word.len() == 42 && word[2..].bytes().all(|b| b.is_ascii_hexdigit()))
        .collect();
    assert!(wanted.len() > 5 && wanted.is_subset(&found), "{:?}", wanted.difference(&found));
    let mut rows = csv::Reader::from_reader(timeline.as_bytes());
    let known: BTreeSet<String> = rows.records().map(|row| row.unwrap()[1].to_owned()).collect();
    let strange: Vec<_> = list.entries.iter().filter(|e| e.derived_from.is_none()).collect();
    let strange: Vec<_> = strange.iter().filter(|e| !known.contains(&e.address.to_string().to_lowercase())).collect();
    assert!(strange.is_empty(), "{strange:#?}");
}

#[test]
fn a_report_overwrites_neither_the_file_that_it_is_of_nor_the_database() {
    let place = Place::new();
    let list = place.dir.path().join("l.txt");
    std::fs::write(&list, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8\n").unwrap();
    place.ok(&["watchlist", "import", "l.txt"]);
    let before = place.ok(&["status", "--digest", "--lists"]);
    std::fs::hard_link(&place.db, place.dir.path().join("hard.db")).unwrap();
    for (report, why) in [
        ("l.txt", "it would overwrite what it reports on"),
        ("./l.txt", "it would overwrite what it reports on"),
        (place.db.to_str().unwrap(), "is of the database"),
        ("hard.db", "is of the database"),
        ("bolo.db-wal", "is of the database"),
        ("./bolo.db.lock", "is of the database"),
        ("bolo.db.lists.lock", "is of the database"),
    ] {
        let out = place.run(&["watchlist", "import", "l.txt", "--report", report]);
        assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
        assert!(stderr(&out).contains(why), "{}", stderr(&out));
    }
    assert_eq!(std::fs::read_to_string(&list).unwrap().len(), 43);
    assert_eq!(place.ok(&["status", "--digest", "--lists"]), before);
    // Nor is anything read without an end.
    let out = place.run(&["watchlist", "import", "/dev/zero", "--list", "x"]);
    assert!(out.status.code() == Some(1) && stderr(&out).contains("no regular file"), "{}", stderr(&out));
    let out = place.run(&["watchlist", "import", "l.txt", "--list", "a\nb"]);
    assert!(out.status.code() == Some(1) && stderr(&out).contains("no name for a list"), "{}", stderr(&out));
}
