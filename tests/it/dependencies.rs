//! What the program is built of: licences, sources and doubled versions, by `cargo metadata`. What is new has to be looked at once.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences that fit a program under MIT or Apache-2.0. MPL-2.0 binds only changes to its own files.
const LICENCES: [&str; 28] = [
    "(MIT OR Apache-2.0) AND Unicode-3.0",
    "0BSD",
    "0BSD OR Apache-2.0",
    "Apache-2.0",
    "Apache-2.0 AND ISC",
    "Apache-2.0 OR BSL-1.0",
    "Apache-2.0 OR ISC OR MIT",
    "Apache-2.0 OR MIT",
    "Apache-2.0 WITH LLVM-exception",
    "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
    "Apache-2.0/MIT",
    "BSD-2-Clause OR Apache-2.0 OR MIT",
    "BSD-3-Clause",
    "BSD-3-Clause AND BSD-2-Clause",
    "BSD-3-Clause OR MIT OR Apache-2.0",
    "CC0-1.0",
    "CC0-1.0 OR MIT-0 OR Apache-2.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT OR Apache-2.0",
    "MIT/Apache-2.0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense OR MIT",
    "Unlicense/MIT",
    "Zlib",
    "Zlib OR Apache-2.0 OR MIT",
];

/// Crates that come in several versions, and why.
const DOUBLED: [(&str, &str); 30] = [
    ("ark-ff", RUINT),
    ("ark-ff-asm", RUINT),
    ("ark-ff-macros", RUINT),
    ("ark-serialize", RUINT),
    ("ark-std", RUINT),
    ("base64", ALLOY_BASE64),
    ("block-buffer", CRYPTO),
    ("cpufeatures", CRYPTO),
    ("crypto-common", CRYPTO),
    ("darling", DARLING),
    ("darling_core", DARLING),
    ("darling_macro", DARLING),
    ("digest", CRYPTO),
    ("fastrlp", RUINT),
    ("getrandom", RAND),
    ("hashbrown", HASHBROWN),
    ("hex-conservative", SECP),
    ("indexmap", SERDE_WITH),
    ("itertools", ITERTOOLS),
    ("rand", RAND),
    ("rand_chacha", RAND),
    ("rand_core", RAND),
    ("rustc_version", RUINT),
    ("schemars", SERDE_WITH),
    ("secp256k1", SECP),
    ("secp256k1-sys", SECP),
    ("semver", RUINT),
    ("sha2", CRYPTO),
    ("syn", RUINT),
    ("webpki-roots", ROOTS),
];

const RUINT: &str = "optional parts of ruint, the numbers of alloy-primitives: in the lock file, not built";
const SERDE_WITH: &str = "optional parts of serde_with: in the lock file, not built";
const CRYPTO: &str = "k256 and keccak-asm, of alloy, use digest 0.10; ours is the newer one";
const RAND: &str = "k256 and ring use rand_core 0.6 and getrandom 0.2; alloy uses rand 0.9";
const DARLING: &str = "alloy-tx-macros is behind serde_with, at compile time only";
const SECP: &str = "alloy-consensus and alloy-primitives name different versions";
const ALLOY_BASE64: &str = "alloy-transport is behind reqwest";
const HASHBROWN: &str = "dashmap, of alloy-provider, is behind";
const ITERTOOLS: &str = "optional parts of alloy and ruint: in the lock file, not built";
const ROOTS: &str = "tokio-tungstenite is behind; the older one only names the newer";

/// The packages that the program is built of on Linux: its normal and build dependencies, not those of tests.
fn packages() -> Vec<Value> {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: Value = serde_json::from_slice(&out.stdout).unwrap();
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["id"].as_str().unwrap(), node))
        .collect();
    let mut used = BTreeSet::new();
    let mut next: Vec<&str> =
        metadata["workspace_members"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    while let Some(id) = next.pop() {
        if used.insert(id) {
            let is_built = |dep: &&Value| dep["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"] != "dev");
            next.extend(
                nodes[id]["deps"].as_array().unwrap().iter().filter(is_built).map(|dep| dep["pkg"].as_str().unwrap()),
            );
        }
    }
    let all = metadata["packages"].as_array().unwrap();
    all.iter().filter(|package| used.contains(package["id"].as_str().unwrap())).cloned().collect()
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or("none")
}

#[test]
fn dependencies_have_known_licences_and_come_from_the_public_registry() {
    let packages = packages();
    assert!(packages.len() > 200, "{} packages", packages.len());
    let mut found = Vec::new();
    for package in &packages {
        let name = format!("{} {}", text(package, "name"), text(package, "version"));
        let licence = text(package, "license");
        if !LICENCES.contains(&licence) {
            found.push(format!("{name}: licence {licence}"));
        }
        let source = text(package, "source");
        let is_ours = source == "none" && text(package, "manifest_path").starts_with(env!("CARGO_MANIFEST_DIR"));
        if !is_ours && source != "registry+https://github.com/rust-lang/crates.io-index" {
            found.push(format!("{name}: source {source}"));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn dependencies_come_in_one_version_but_for_those_with_a_reason() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        versions.entry(text(&package, "name").to_owned()).or_default().insert(text(&package, "version").to_owned());
    }
    versions.retain(|_, versions| versions.len() > 1);
    let doubled: BTreeSet<&str> = versions.keys().map(String::as_str).collect();
    let allowed: BTreeSet<&str> = DOUBLED.iter().map(|(name, _)| *name).collect();
    let new: Vec<_> = versions.iter().filter(|(name, _)| !allowed.contains(name.as_str())).collect();
    let gone: Vec<_> = allowed.difference(&doubled).collect();
    assert!(new.is_empty() && gone.is_empty(), "new: {new:#?}; gone from the list: {gone:?}");
}
