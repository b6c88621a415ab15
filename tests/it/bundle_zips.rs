//! Zip archives of bundles: what belongs to no file of the bundle has no place in one. Both checkers refuse it.

use std::process::Command;

use crate::common::{Place, stderr};
use crate::evidence::{python, script};

#[test]
fn a_zip_with_bytes_that_belong_to_no_file_of_the_bundle_is_refused_by_both_checkers() {
    let place = Place::new();
    place.ok(&["-q", "demo", "--dir", "d"]);
    let place = Place { db: place.dir.path().join("d/demo.db"), ..place };
    let id = place.alerts(&["--kind", "erc20_transfer"])[0]["id"].as_str().unwrap().to_owned();
    place.ok(&["evidence", &id, "--zip", "--out", "one.zip"]);
    let folder = place.dir.path().join("zips");
    std::fs::create_dir(&folder).unwrap();
    let run = |name: &str, arguments: &[&std::path::Path]| {
        let out = Command::new(python()).arg(script(name)).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1").output();
        out.unwrap()
    };
    let made = run("zips.py", &[&place.dir.path().join("one.zip"), &folder]);
    assert!(made.status.success(), "{}", stderr(&made));
    let mut archives: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    archives.sort();
    let good = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().starts_with("good-");
    assert_eq!((archives.len(), archives.iter().filter(|path| good(path)).count()), (24, 3));
    for archive in archives {
        let bolo = place.run(&["verify", "--bundle", archive.to_str().unwrap()]);
        let python = run("check.py", &[&archive]);
        let said = [&bolo, &python].map(|out| format!("{}{}", String::from_utf8_lossy(&out.stdout), stderr(out)));
        for said in &said {
            assert!(!said.contains("Traceback") && !said.contains("panicked"), "{}: {said}", archive.display());
            assert_eq!(said.contains(": proven: "), good(&archive), "{}: {said}", archive.display());
        }
        let code = if good(&archive) { (Some(0), Some(0)) } else { (Some(4), Some(1)) };
        assert_eq!((bolo.status.code(), python.status.code()), code, "{}: {said:?}", archive.display());
    }
}
