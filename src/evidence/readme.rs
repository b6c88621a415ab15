//! The page in a bundle for a reader who is no programmer.

use std::fmt::Write;

use super::{Contents, Side, not_proven};
use crate::lists::show_date;
use crate::text::visible;

pub(super) fn text<A>(contents: &Contents<'_, A>, alert: &serde_json::Value) -> String {
    let Contents { claim, orphaned, sides, .. } = contents;
    let mut out = String::new();
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    let side = |address: Option<alloy::primitives::Address>| {
        address.map_or_else(|| "nobody (the chain itself)".to_owned(), |address| address.to_checksum(None))
    };
    line("EVIDENCE OF A MOVEMENT ON AN ETHEREUM CHAIN".to_owned());
    line(String::new());
    let chain = if contents.chain_id_signed {
        "by its chain id, which the signer signed"
    } else {
        "by its chain id, WHICH NOTHING IN THIS FOLDER PROVES: nothing here was signed for it"
    };
    line(format!("Chain        {} ({chain})", claim.chain_id));
    line(format!("Block        {}, {}", claim.block_number, show_date(claim.timestamp)));
    line(format!("             {}", claim.block_hash));
    if let Some(tx) = &claim.tx {
        line(format!("Transaction  {}", tx.hash));
        line(format!("             signed by {}", tx.signer.to_checksum(None)));
    }
    line(format!("What         {}", claim.kind.name()));
    line(format!("From         {}", side(claim.from)));
    listed(&mut line, "from", sides);
    line(format!("To           {}", side(claim.to)));
    listed(&mut line, "to", sides);
    if let Some(operator) = claim.operator {
        line(format!("Moved by     {}", side(Some(operator))));
        listed(&mut line, "operator", sides);
    }
    let token = claim.contract.map_or_else(|| "the chain's own currency".to_owned(), |c| c.to_checksum(None));
    let symbol = alert["asset"]["symbol"].as_str().map(|symbol| format!(" {}", visible(symbol))).unwrap_or_default();
    match alert["amount_display"].as_str() {
        Some(units) => {
            line(format!("Amount       {units}{symbol}"));
            line(format!("             {} base units of {token}", claim.amount));
            if claim.contract.is_some() {
                line("             (units and symbol by what the token says of itself)".to_owned());
            }
        }
        None => line(format!("Amount       {} base units of {token}", claim.amount)),
    }
    if let Some(id) = claim.token_id {
        line(format!("Token id     {id}"));
    }
    line(format!("Watched      {} (direction: {})", claim.watched.to_checksum(None), claim.direction.name()));
    line(String::new());
    let movement = [
        "The files in this folder prove that this movement is part of the block named above: the block's header hashes",
        "to the block's hash, and the transaction and its receipt (or the withdrawal, or the fees) are tied to that header",
        "by Merkle-Patricia proofs. Nobody has to be trusted for it, neither the program that made this folder nor the",
        "server it asked.",
    ];
    let transaction = [
        "The files in this folder prove that the transaction is part of the block named above, who signed it and whether",
        "it succeeded. The movement happened inside the transaction, in a call between contracts, and no hash in a block",
        "covers that: for the movement itself this is the word of the server that was asked. Any archive node can re-run",
        "the transaction and show it.",
    ];
    let proven: &[&str] = if claim.proven { &movement } else { &transaction };
    proven.iter().for_each(|text| line((*text).to_owned()));
    line(String::new());
    if *orphaned {
        line("THE BLOCK WAS REPLACED: when this folder was made, another block of that number had taken its place (a reorg). What is".to_owned());
        line(
            "proven of the block stays true of it, but the movement is not part of the chain that went on without it."
                .to_owned(),
        );
        line(String::new());
    }
    line(
        "That the block is on the chain that everybody means is as true as its hash: compare it with a source that you"
            .to_owned(),
    );
    line("trust.".to_owned());
    line(String::new());
    line(
        "Not proven, but the record of the program that made this folder (the names are those in evidence.json):"
            .to_owned(),
    );
    for name in not_proven(claim, contents.chain_id_signed) {
        line(format!("  {name}"));
    }
    line(String::new());
    line("How to check it".to_owned());
    line("  with bolo       bolo verify --bundle THIS_FOLDER".to_owned());
    line("  without bolo    pip install --require-hashes -r requirements.txt; python check.py THIS_FOLDER".to_owned());
    line("  by yourself     FORMAT.md describes every byte and what to check".to_owned());
    line(
        "Whoever changes this folder can change check.py too. Use a copy that you trust where that matters.".to_owned(),
    );
    line(String::new());
    line("evidence.json holds the claims, header.rlp the block's header, the .nodes files the Merkle-Patricia proofs, and".to_owned());
    line("SHA256SUMS the checksum of every file.".to_owned());
    out
}

/// What the lists say of a side.
fn listed(line: &mut impl FnMut(String), role: &str, sides: &[Side]) {
    for entry in sides.iter().filter(|side| side.role == role).flat_map(|side| &side.entries) {
        let name = entry.entity.as_ref().or(entry.label.as_ref());
        let name = name.map(|name| format!(": {}", visible(name))).unwrap_or_default();
        let programs = match entry.programs.as_slice() {
            [] => String::new(),
            programs => format!("; programs {}", visible(&programs.join(", "))),
        };
        let late = if entry.matched { "" } else { "; listed here after the block was screened" };
        line(format!(
            "             on the list {} ({}, {}){name}{programs}{late}",
            visible(&entry.list),
            entry.kind.name(),
            entry.designation.name()
        ));
    }
}
