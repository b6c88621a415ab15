//! Who may know whom: the rooms of src/ by their `use` lines and paths.

use std::path::{Path, PathBuf};

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
    all
}

/// Code without its comments and tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    if text.contains("\n#![cfg(test)]\n") {
        return String::new();
    }
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// No file of a room (or of all but one) has any of these words.
fn never(found: &mut Vec<String>, rooms: impl Fn(&str) -> bool, words: &[&str]) {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in files(&src) {
        let relative = file.strip_prefix(&src).unwrap();
        let room =
            relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if !rooms(&room) {
            continue;
        }
        let code = code(&file);
        found.extend(
            words.iter().filter(|word| code.contains(**word)).map(|word| format!("{}: {word}", relative.display())),
        );
    }
}

#[test]
fn no_room_knows_what_it_may_not_know() {
    let pure = |room: &str| ["chain", "decode", "screen", "lists"].contains(&room);
    let mut found = Vec::new();
    let io = [
        "async ",
        "tokio",
        "std::fs",
        "std::env",
        "std::net",
        "SystemTime",
        "Instant::now",
        "Timestamp::now",
        "tracing::",
        "rusqlite",
    ];
    never(&mut found, pure, &io);
    never(
        &mut found,
        pure,
        &["crate::store", "crate::source", "crate::pipeline", "crate::cli", "crate::ops", "crate::config"],
    );
    never(&mut found, |room| room == "chain", &["crate::decode", "crate::screen", "crate::lists"]);
    never(&mut found, |room| room == "decode", &["crate::screen", "crate::lists"]);
    never(&mut found, |room| room != "store", &["rusqlite"]);
    never(&mut found, |room| room != "source", &["alloy::providers", "alloy::transports", "alloy::rpc::client"]);
    never(&mut found, |room| room == "source", &["crate::store", "crate::pipeline", "crate::cli"]);
    never(&mut found, |room| room == "store", &["crate::source", "crate::pipeline", "crate::cli"]);
    never(&mut found, |room| !["cli", "pipeline", "lib", "main"].contains(&room), &["crate::pipeline"]);
    // It reads what was decoded, and decodes nothing.
    never(&mut found, |room| room == "evidence", &["decode::decode", "crate::source", "crate::pipeline", "crate::cli"]);
    never(&mut found, |room| room != "cli", &["println!"]);
    // ops asks whether it is a terminal.
    never(&mut found, |room| !["cli", "ops"].contains(&room), &["stdout()"]);
    never(&mut found, |_| true, &[".unwrap()", ".expect(", "todo!(", "unimplemented!("]);
    assert!(found.is_empty(), "{found:#?}");
}
