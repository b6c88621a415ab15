//! A generated block in all the shapes that a stage begins with.

use alloy::consensus::{EthereumTxEnvelope, TxEip4844};
use alloy::eips::eip2718::Decodable2718;
use bolo::chain::verify::verify;
use bolo::chain::{BlockBundle, Expected, VerifiedBlock};

use crate::chain::{Chain, FIRST};

pub(crate) const EXPECTED: Expected = Expected { hash: None, chain_id: 1 };

pub(crate) struct Subject {
    pub(crate) number: u64,
    pub(crate) block: Vec<u8>,
    pub(crate) receipts: Vec<u8>,
    pub(crate) transactions: Vec<Vec<u8>>,
    pub(crate) receipts_encoded: Vec<Vec<u8>>,
    pub(crate) envelopes: Vec<EthereumTxEnvelope<TxEip4844>>,
    pub(crate) logs: usize,
}

impl Subject {
    pub(crate) fn all(chain: &Chain) -> Vec<Self> {
        (FIRST..=chain.last()).map(|number| Self::new(chain, number)).collect()
    }

    fn new(chain: &Chain, number: u64) -> Self {
        let (block, receipts) = chain.answers(number);
        let template = chain.block(number).unwrap().template;
        let transactions = template.encoded_transactions.clone();
        let decoded = |bytes: &Vec<u8>| EthereumTxEnvelope::decode_2718(&mut bytes.as_slice()).unwrap();
        let envelopes = transactions.iter().map(decoded).collect();
        let receipts_encoded = template.encoded_receipts.clone();
        Self { number, block, receipts, transactions, receipts_encoded, envelopes, logs: template.logs.len() }
    }

    pub(crate) fn texts(&self) -> [&[u8]; 2] {
        [&self.block, &self.receipts]
    }

    pub(crate) fn parsed(&self) -> BlockBundle {
        BlockBundle::parse(&self.block, &self.receipts, None).unwrap()
    }

    pub(crate) fn verified(&self) -> VerifiedBlock {
        verify(self.parsed(), EXPECTED).unwrap()
    }
}
