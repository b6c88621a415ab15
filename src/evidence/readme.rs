//! The page in a bundle for a reader who is no programmer.

use std::fmt::Write;

use super::Claim;
use crate::lists::show_date;
use crate::store::EntryVersions;

pub(super) fn text(claim: &Claim, orphaned: bool, entries: &[EntryVersions]) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    let side = |address: Option<alloy::primitives::Address>| {
        address.map_or_else(|| "nobody (the chain itself)".to_owned(), |address| address.to_checksum(None))
    };
    line("EVIDENCE OF A MOVEMENT ON AN ETHEREUM CHAIN".to_owned());
    line(String::new());
    line(format!("Chain        {} (by its chain id)", claim.chain_id));
    line(format!("Block        {}, {}", claim.block_number, show_date(claim.timestamp)));
    line(format!("             {}", claim.block_hash));
    if let Some(tx) = &claim.tx {
        line(format!("Transaction  {}", tx.hash));
        line(format!("             signed by {}", tx.signer.to_checksum(None)));
    }
    line(format!("What         {}", claim.kind.name()));
    line(format!("From         {}", side(claim.from)));
    line(format!("To           {}", side(claim.to)));
    let token = claim.contract.map_or_else(|| "the chain's own currency".to_owned(), |c| c.to_checksum(None));
    line(format!("Amount       {} base units of {token}", claim.amount));
    if let Some(id) = claim.token_id {
        line(format!("Token id     {id}"));
    }
    line(format!("Watched      {} (direction: {})", claim.watched.to_checksum(None), claim.direction.name()));
    for entry in entries {
        let name = entry.entity.as_ref().or(entry.label.as_ref());
        let name = name.map(|name| format!(": {}", name.replace(char::is_control, " "))).unwrap_or_default();
        line(format!("On the list  {} ({}){name}", entry.list, entry.kind.name()));
    }
    line(String::new());
    if claim.proven {
        line("The files in this folder prove that this movement is part of the block named above: the block's header hashes".to_owned());
        line("to the block's hash, and the transaction and its receipt (or the withdrawal, or the fees) are tied to that header".to_owned());
        line("by Merkle-Patricia proofs. Nobody has to be trusted for it, neither the program that made this folder nor the".to_owned());
        line("server it asked.".to_owned());
    } else {
        line("The files in this folder prove that the transaction is part of the block named above, who signed it and whether".to_owned());
        line("it succeeded. The movement happened inside the transaction, in a call between contracts, and no hash in a block".to_owned());
        line("covers that: for the movement itself this is the word of the server that was asked. Any archive node can re-run".to_owned());
        line("the transaction and show it.".to_owned());
    }
    line(String::new());
    if orphaned {
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
    line(
        "trust. Names, lists, severity and what a token calls itself are the record of the program, not a proof."
            .to_owned(),
    );
    line(String::new());
    line("How to check it".to_owned());
    line("  with bolo       bolo verify --bundle THIS_FOLDER".to_owned());
    line("  without bolo    docs/evidence.md of the project describes every byte; tests/evidence/check.py does it in Python".to_owned());
    line(String::new());
    line("evidence.json holds the claims, header.rlp the block's header, the .nodes files the Merkle-Patricia proofs, and".to_owned());
    line("SHA256SUMS the checksum of every file.".to_owned());
    out
}
