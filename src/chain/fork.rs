//! Forks that this build does not know: known by what a block has that this build cannot account for. Such a block is not a false
//! answer, and it cannot be proven: the error names what is unknown.

use std::collections::BTreeSet;

use alloy::consensus::TxType;
use alloy::primitives::U64;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::{Part, VerifyError};

/// Members of a block object that this build knows: the header's fields, and what nodes add.
const KNOWN_MEMBERS: [&str; 33] = [
    "parentHash",
    "sha3Uncles",
    "ommersHash",
    "miner",
    "beneficiary",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
    "difficulty",
    "number",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "extraData",
    "mixHash",
    "nonce",
    "baseFeePerGas",
    "withdrawalsRoot",
    "blobGasUsed",
    "excessBlobGas",
    "parentBeaconBlockRoot",
    "requestsHash",
    "blockAccessListHash",
    "slotNumber",
    // In no header.
    "hash",
    "size",
    "totalDifficulty",
    "uncles",
    "transactions",
    "withdrawals",
    "author",
    "blockAccessList",
];
/// Fields of a header up to Amsterdam, of which each fork has the first so many.
pub(super) const HEADER_FIELDS: usize = 23;
/// Mainnet, Sepolia, Holesky, Hoodi, and chains of developers.
const ETHEREUM_CHAINS: [u64; 6] = [1, 11_155_111, 17_000, 560_048, 1337, 31_337];
/// Members that an error names.
const NAMED_MEMBERS: usize = 8;
/// Characters of a member's name in an error.
const NAME_LENGTH: usize = 40;

/// Whether a chain follows Ethereum's rules to the letter: a block that breaks them is false there. Elsewhere it may be true.
pub fn is_ethereum(chain_id: u64) -> bool {
    ETHEREUM_CHAINS.contains(&chain_id)
}

/// Members of a block's JSON object that this build does not know, in their order, as far as they are named.
pub fn unknown_members(block: &[u8]) -> Vec<String> {
    struct Members(Vec<String>);
    impl<'de> Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Members;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a block object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                    let mut names = Vec::new();
                    while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                        names.push(name);
                    }
                    Ok(Members(names))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }
    let known: BTreeSet<&str> = KNOWN_MEMBERS.into_iter().collect();
    let members = serde_json::from_slice::<Members>(block).map_or_else(|_| Vec::new(), |members| members.0);
    let unknown = members.into_iter().filter(|name| !known.contains(name.as_str()));
    unknown
        .take(NAMED_MEMBERS)
        .map(|name| name.chars().take(NAME_LENGTH).flat_map(char::escape_default).collect())
        .collect()
}

/// The same error, unless it is that the header hashes to another hash and has members that explain why: then it names them.
pub fn name_unknown_members(error: VerifyError, unknown: &[String]) -> VerifyError {
    match error {
        VerifyError::Mismatch { part: Part::HeaderHash, .. } if !unknown.is_empty() => {
            VerifyError::UnknownHeaderFields { fields: unknown.join(", ") }
        }
        other => other,
    }
}

/// The first transaction of an unknown type in a block's JSON object, be it read or not: such a transaction may lack any field.
pub fn unknown_transaction_type(block: &[u8]) -> Option<VerifyError> {
    #[derive(Deserialize)]
    struct Block {
        transactions: Vec<Transaction>,
    }
    #[derive(Deserialize)]
    struct Transaction {
        #[serde(rename = "type", default)]
        tx_type: Option<U64>,
    }
    let block: Block = serde_json::from_slice(block).ok()?;
    let types = (0..).zip(block.transactions).filter_map(|(index, tx)| Some((index, tx.tx_type?.to::<u64>())));
    types
        .into_iter()
        .find(|(_, tx_type)| TxType::try_from(*tx_type).is_err())
        .map(|(index, tx_type)| VerifyError::UnknownTransactionType { index, tx_type })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_that_nobody_knows_are_named_and_no_name_is_trusted() {
        let named = |text: &str| unknown_members(text.as_bytes());
        assert_eq!(named(r#"{"hash":"0x1","slotNumber":"0x1","size":"0x2"}"#), Vec::<String>::new());
        assert_eq!(named(r#"{"futureRoot":"0x1","hash":[{}],"l1Fee":null}"#), ["futureRoot", "l1Fee"]);
        assert_eq!(named("{\"\\u001b[31m\":1}"), ["\\u{1b}[31m"]);
        assert_eq!(named(&format!("{{\"{}\":1}}", "x".repeat(100)))[0].len(), NAME_LENGTH);
        let many: Vec<_> = (0..20).map(|n| format!("\"f{n}\":{n}")).collect();
        assert_eq!(named(&format!("{{{}}}", many.join(","))).len(), NAMED_MEMBERS);
        assert_eq!(named("[]"), Vec::<String>::new());
    }

    #[test]
    fn unknown_members_are_blamed_only_where_the_header_hashes_otherwise() {
        let mismatch = |part| VerifyError::Mismatch { part, index: None, found: "a".into(), expected: "b".into() };
        let unknown = ["futureRoot".to_owned(), "nextHash".to_owned()];
        let said = name_unknown_members(mismatch(Part::HeaderHash), &unknown).to_string();
        assert!(said.contains("futureRoot, nextHash") && said.contains("update bolo"), "{said}");
        for (part, unknown) in
            [(Part::HeaderHash, &[][..]), (Part::BlockHash, &unknown), (Part::ReceiptsRoot, &unknown)]
        {
            assert_eq!(name_unknown_members(mismatch(part), unknown), mismatch(part));
        }
    }

    #[test]
    fn a_transaction_of_an_unknown_type_that_lacks_fields_is_named() {
        let block = |tx_type: &str| format!(r#"{{"transactions":[{{"type":"0x2"}},{{"type":"{tx_type}"}},{{}}]}}"#);
        for (tx_type, known) in [("0x6", false), ("0x7e", false), ("0x1ff", false), ("0x4", true), ("0x0", true)] {
            let found = unknown_transaction_type(block(tx_type).as_bytes());
            assert_eq!(found.is_none(), known, "{tx_type}: {found:?}");
        }
        assert_eq!(unknown_transaction_type(b"{"), None);
    }
}
