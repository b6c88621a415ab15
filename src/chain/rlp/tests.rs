//! Encodings that are no block, and headers of later forks.
#![cfg(test)]

use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::Log;
use proptest::prelude::*;

use super::list::MOST_ITEMS;
use super::*;

fn list(items: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    RlpHeader { list: true, payload_length: items.iter().map(|item| item.len()).sum() }.encode(&mut out);
    items.iter().for_each(|item| out.extend_from_slice(item));
    out
}

fn string(bytes: &[u8]) -> Vec<u8> {
    alloy::rlp::encode(bytes)
}

const EMPTY: &[u8] = &[0xc0];
const EXPECTED: Expected = Expected { hash: None, chain_id: 1 };

fn empty(body: &[&[u8]], receipts: &RlpReceipts) -> Result<VerifiedBlock, String> {
    let header = alloy::rlp::encode(Header { number: 7, ..Header::default() });
    let block = RlpBlock::Parts { header: header.into(), body: list(body).into() };
    assert_eq!(number_of(&block), Some(7));
    let bundle = RlpBundle::read(&block, receipts, None).map_err(|error| error.to_string())?;
    bundle.verify(EXPECTED).map_err(|error| error.to_string())
}

fn receipt(tx_type: u8, topics: usize) -> Bytes {
    let topics = vec![B256::ZERO; topics];
    let log = Log::new_unchecked(Default::default(), topics, Bytes::new());
    let mut logs = Vec::new();
    alloy::rlp::encode_list(&[log], &mut logs);
    list(&[&list(&[&alloy::rlp::encode(tx_type), &[1], &[5], &logs])]).into()
}

#[test]
fn what_is_no_body_or_receipt_is_refused_and_said() {
    let none = || RlpReceipts::Slim(EMPTY.to_vec().into());
    assert_eq!(empty(&[EMPTY, EMPTY], &none()).unwrap().number(), 7);
    assert!(empty(&[EMPTY, EMPTY], &RlpReceipts::Each(Vec::new())).is_ok());
    let refused = |body: &[&[u8]], receipts: RlpReceipts, words: &str| {
        let error = empty(body, &receipts).unwrap_err();
        assert!(error.contains(words), "{error} instead of {words}");
    };
    refused(&[EMPTY], none(), "block cannot be read: RLP: input too short");
    refused(&[EMPTY, &[0x80]], none(), "unexpected string");
    refused(&[EMPTY, EMPTY, EMPTY, EMPTY], none(), "more parts");
    refused(&[EMPTY, &list(&[EMPTY])], none(), "ommers hash does not fit");
    refused(&[&list(&[&string(&[5, 0xc0])]), EMPTY], none(), "transaction 0 is of unknown type 0x5");
    let typed = |receipts: RlpReceipts| refused(&[&list(&[&string(&[6, 0xc0])]), EMPTY], receipts, "unknown type 0x6");
    typed(RlpReceipts::Slim(receipt(6, 1)));
    typed(RlpReceipts::Each(vec![Bytes::from_static(&[6, 0xc2, 1, 5])]));
    let one = || RlpReceipts::Each(vec![ReceiptEnvelope::Legacy(Default::default()).encoded_2718().into()]);
    refused(&[&list(&[&string(&[5, 0xc0])]), EMPTY], one(), "transaction 0 is of unknown type 0x5");
    refused(&[&list(&[&string(&[0xc0])]), EMPTY], one(), "starts with no type");
    refused(&[&list(&[&[0x80]]), EMPTY], one(), "starts with no type");
    refused(&[EMPTY, EMPTY], RlpReceipts::Slim(receipt(9, 4)), "receipt 0 is of unknown type 0x9");
    refused(&[EMPTY, EMPTY], RlpReceipts::Slim(receipt(2, 5)), "5 topics");
    refused(&[EMPTY, EMPTY], RlpReceipts::Slim(receipt(2, 4)), "number of receipts");
    refused(&[EMPTY, EMPTY], RlpReceipts::List(vec![0x80].into()), "receipts cannot be read");
    // 262,145 items of a byte each.
    let many = list(&[&vec![1; MOST_ITEMS + 1]]);
    refused(&[&many, EMPTY], none(), "more than 262,144 items");
}

#[test]
fn a_header_with_more_fields_than_are_known_is_refused_and_says_to_update() {
    let amsterdam = Header {
        number: 7,
        base_fee_per_gas: Some(1),
        withdrawals_root: Some(B256::ZERO),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(B256::ZERO),
        block_access_list_hash: Some(B256::ZERO),
        slot_number: Some(9),
        ..Header::default()
    };
    let encoded = alloy::rlp::encode(&amsterdam);
    assert_eq!(fields_of(&encoded), Ok(HEADER_FIELDS), "as many as alloy's header has");
    let fields: Vec<_> = items(payload(&encoded).unwrap()).unwrap().iter().map(|item| item.whole.to_vec()).collect();
    for more in [vec![string(&[1; 32])], vec![string(&[1]), string(&[2; 32])], vec![EMPTY.to_vec(), string(&[])]] {
        let all: Vec<_> = fields.iter().chain(&more).map(Vec::as_slice).collect();
        let block = RlpBlock::Parts { header: list(&all).into(), body: list(&[EMPTY, EMPTY, EMPTY]).into() };
        assert_eq!(number_of(&block), Some(7));
        let read = RlpBundle::read(&block, &RlpReceipts::Each(Vec::new()), None).unwrap();
        let error = read.verify(EXPECTED).unwrap_err();
        assert!(error.is_unknown_fork());
        let said = error.to_string();
        assert!(said.contains(&format!("({} after the 23", more.len())) && said.contains("update bolo"), "{said}");
    }
}

proptest! {
    #[test]
    fn any_bytes_give_a_block_or_an_error(
        block in proptest::collection::vec(any::<u8>(), 0..300),
        lengths in proptest::collection::vec(0xb0u8.., 0..20),
        receipts in proptest::collection::vec(prop_oneof![any::<u8>(), 0xb8u8..], 0..300),
    ) {
        let block: Bytes = [lengths, block].concat().into();
        let header: Bytes = alloy::rlp::encode(Header::default()).into();
        let receipts: Bytes = receipts.into();
        for block in [RlpBlock::Whole(block.clone()), RlpBlock::Parts { header, body: block }] {
            for receipts in [
                RlpReceipts::List(receipts.clone()),
                RlpReceipts::Slim(receipts.clone()),
                RlpReceipts::Each(vec![receipts.clone()]),
            ] {
                if let Ok(bundle) = RlpBundle::read(&block, &receipts, None) {
                    let _ = bundle.verify(EXPECTED);
                }
            }
            let _ = (number_of(&block), chain_id_of(&block));
        }
    }
}
