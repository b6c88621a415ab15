//! Links between the project's documents: every file and heading that one names exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The project's own Markdown files.
fn documents() -> Vec<PathBuf> {
    let mut all = Vec::new();
    for folder in [root().to_owned(), root().join("docs")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                all.push(path);
            }
        }
    }
    all.sort();
    all
}

/// Lines outside of code blocks, without code spans.
fn prose(text: &str) -> Vec<String> {
    let mut in_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code && !line.starts_with("    ") {
            let outside = line.split('`').step_by(2).collect::<Vec<_>>();
            lines.push(outside.join(""));
        }
    }
    lines
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = BTreeSet::new();
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if in_code || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = title.trim().to_lowercase().replace(|c: char| !(c.is_alphanumeric() || " -_".contains(c)), "");
        let anchor = kept.replace(' ', "-");
        let seen = times.entry(anchor.clone()).or_default();
        found.insert(if *seen == 0 { anchor } else { format!("{anchor}-{seen}") });
        *seen += 1;
    }
    found
}

/// The targets of the links of a line.
fn targets(line: &str) -> Vec<&str> {
    line.match_indices("](").filter_map(|(at, _)| line[at + 2..].split_once(')').map(|(target, _)| target)).collect()
}

#[test]
fn links_between_documents_lead_to_files_and_headings_that_exist() {
    let mut followed = 0;
    let mut broken = Vec::new();
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for line in prose(&text) {
            for target in targets(&line).into_iter().filter(|target| !target.contains("://")) {
                followed += 1;
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                let file = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
                let leads = file.exists()
                    && (anchor.is_empty()
                        || anchors(&std::fs::read_to_string(&file).unwrap_or_default()).contains(anchor));
                if !leads {
                    broken.push(format!("{}: {target}", document.strip_prefix(root()).unwrap().display()));
                }
            }
        }
    }
    assert!(followed > 15, "{followed} links");
    assert!(broken.is_empty(), "{broken:#?}");
}
