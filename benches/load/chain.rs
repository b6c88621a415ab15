//! The templates put one after the other under new headers: a chain of any length, hash-linked and provable.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy::consensus::{Block, EthereumTxEnvelope, Header, TxEip4844};
use alloy::primitives::{B256, keccak256};
use alloy::rlp::{Decodable, Encodable};
use bolo::chain::{BlockBundle, Expected, VerifiedBlock, verify::verify};

use crate::draw::Signers;
use crate::template::{Shape, Template};
use crate::text::{Place, Text};

/// Number of the first block: all numbers have seven hex digits, all times eight.
pub(crate) const FIRST: u64 = 22_000_000;
const FIRST_TIME: u64 = 0x6800_0000;
/// Seconds from block to block.
const SLOT: u64 = 12;

/// Templates and the places that they are served at.
pub(crate) struct Chain {
    templates: Vec<Template>,
    places: Vec<Place>,
    hashes: Vec<B256>,
    by_hash: HashMap<B256, u64>,
}

/// One block of it.
#[derive(Clone, Copy)]
pub(crate) struct Placed<'a> {
    pub(crate) template: &'a Template,
    pub(crate) place: &'a Place,
}

impl Chain {
    /// `blocks` blocks of `distinct` different contents. One of them is proven, so that nothing is measured on what nobody
    /// would take.
    pub(crate) fn new(blocks: u64, distinct: u64, seed: u64) -> Self {
        Self::shaped(Shape::Modern, blocks, distinct, seed)
    }

    /// The same of blocks of that shape.
    pub(crate) fn shaped(shape: Shape, blocks: u64, distinct: u64, seed: u64) -> Self {
        let distinct = distinct.clamp(1, blocks);
        let signers = Signers::new();
        let next = AtomicU64::new(0);
        let mut made: Vec<(u64, Template)> = std::thread::scope(|scope| {
            let cores = std::thread::available_parallelism().map_or(2, usize::from);
            let work = || {
                let mut mine = Vec::new();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= distinct {
                        return mine;
                    }
                    let own = keccak256([seed.to_be_bytes(), index.to_be_bytes()].concat());
                    mine.push((
                        index,
                        Template::new(u64::from_be_bytes(own[..8].try_into().unwrap()), &signers, shape),
                    ));
                }
            };
            let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        made.sort_by_key(|(index, _)| *index);
        let templates = made.into_iter().map(|(_, template)| template).collect();
        let mut chain = Self { templates, places: Vec::new(), hashes: Vec::new(), by_hash: HashMap::new() };
        let mut parent = keccak256("before the first");
        for number in FIRST..FIRST + blocks {
            let header = chain.header_under(number, parent);
            let hash = header.hash_slow();
            chain.places.push(Place::new(hash, parent, number, header.timestamp));
            chain.hashes.push(hash);
            chain.by_hash.insert(hash, number);
            parent = hash;
        }
        let last = chain.last();
        let proven = chain.verified(last);
        assert_eq!(Some(proven.hash()), chain.hash(last));
        let raw = Block::<EthereumTxEnvelope<TxEip4844>>::decode(&mut chain.raw_block(last).as_slice()).unwrap();
        assert_eq!(
            (Some(raw.header.hash_slow()), raw.body.transactions.len()),
            (chain.hash(last), proven.transactions().len())
        );
        chain
    }

    /// Number of the last block.
    pub(crate) fn last(&self) -> u64 {
        FIRST + self.hashes.len() as u64 - 1
    }

    pub(crate) fn hash(&self, number: u64) -> Option<B256> {
        self.hashes.get(usize::try_from(number.checked_sub(FIRST)?).ok()?).copied()
    }

    pub(crate) fn number(&self, hash: &B256) -> Option<u64> {
        self.by_hash.get(hash).copied()
    }

    fn template(&self, number: u64) -> &Template {
        let count = self.templates.len() as u64;
        &self.templates[usize::try_from((number - FIRST) % count).unwrap()]
    }

    fn header_under(&self, number: u64, parent_hash: B256) -> Header {
        let timestamp = FIRST_TIME + SLOT * (number - FIRST);
        Header { number, parent_hash, timestamp, ..self.template(number).header.clone() }
    }

    pub(crate) fn header(&self, number: u64) -> Header {
        let parent = self.hash(number - 1).unwrap_or_else(|| keccak256("before the first"));
        self.header_under(number, parent)
    }

    pub(crate) fn block(&self, number: u64) -> Option<Placed<'_>> {
        let place = self.places.get(usize::try_from(number.checked_sub(FIRST)?).ok()?)?;
        Some(Placed { template: self.template(number), place })
    }

    /// The block's RLP.
    pub(crate) fn raw_block(&self, number: u64) -> Vec<u8> {
        let (header, body) = (self.header(number), &self.template(number).body);
        let mut bytes = Vec::with_capacity(body.len() + 1_024);
        alloy::rlp::Header { list: true, payload_length: header.length() + body.len() }.encode(&mut bytes);
        header.encode(&mut bytes);
        bytes.extend_from_slice(body);
        bytes
    }

    /// The block and its receipts as JSON.
    pub(crate) fn answers(&self, number: u64) -> (Vec<u8>, Vec<u8>) {
        let block = self.block(number).unwrap();
        let whole = |text: &Text| {
            let mut out = Vec::new();
            text.render(0..text.len(), block.place, &mut out);
            out
        };
        (whole(&block.template.full), whole(&block.template.receipts))
    }

    /// The block as bolo proves it.
    pub(crate) fn verified(&self, number: u64) -> VerifiedBlock {
        let (block, receipts) = self.answers(number);
        let bundle = BlockBundle::parse(&block, &receipts, None).unwrap();
        verify(bundle, Expected { hash: self.hash(number), chain_id: 1 }).unwrap()
    }
}
