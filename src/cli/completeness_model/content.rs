//! The chain that histories are about, and how its blocks are read.
#![cfg(test)]

use alloy::primitives::{Address, B256, U256, keccak256};

use super::{DAY, FORK, NATIVE_LOGS_FROM};
use crate::chain::Proof;
use crate::decode::{Activity, ActivityKind, Asset, CallFrame, CallType, DecodeOptions, Location, Plane, Position};

pub(super) fn address(number: u8) -> Address {
    Address::repeat_byte(0xa0 + number)
}

/// What has to be known of a block to see an activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Always,
    /// The endpoint names another sender.
    BySenders,
    /// Internal ETH: by traces, or by logs from [`NATIVE_LOGS_FROM`] on.
    ByTraces,
    /// Only [`Decoder::Current`] decodes it.
    ByDecoder,
}

/// How a payment that is not internal is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Native,
    Token,
    /// Of an ERC-6909 token, by that operator.
    Operated(u8),
    Withdrawal,
}

/// Who pays whom, and how it shows. Numbers from [`ADDRESSES`](super::ADDRESSES) on are strangers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payment {
    pub(super) from: u8,
    pub(super) to: u8,
    pub(super) form: Form,
    pub(super) shown: Shown,
}

impl Payment {
    pub(super) fn touches(&self, who: u8) -> bool {
        // What is internal has no other form.
        let form = if self.shown == Shown::ByTraces { Form::Native } else { self.form };
        let from = self.from == who && form != Form::Withdrawal;
        from || self.to == who || matches!(form, Form::Operated(operator) if operator == who)
    }

    /// Whether no root of its block proves it.
    pub(super) fn is_unproven(&self, number: u64) -> bool {
        self.shown == Shown::ByTraces && number < NATIVE_LOGS_FROM
    }

    pub(super) fn activity(&self, index: u32, number: u64, traces: bool) -> Activity {
        let at = |plane, position| Location { tx_index: Some(index), plane, position, sub_index: 0 };
        let log = || at(Plane::Logs, Position::Log(index));
        let (location, kind, asset, operator) = match (self.shown, self.form) {
            (Shown::ByTraces, _) if number >= NATIVE_LOGS_FROM => {
                (log(), ActivityKind::InternalTransfer, Asset::Native, None)
            }
            (Shown::ByTraces, _) => {
                let location = at(Plane::Traces, Position::Trace(vec![0]));
                (location, ActivityKind::InternalTransfer, Asset::Native, None)
            }
            (_, Form::Native) => {
                (at(Plane::Transactions, Position::Whole), ActivityKind::NativeTransfer, Asset::Native, None)
            }
            (_, Form::Token) => (log(), ActivityKind::Erc20Transfer, Asset::Erc20(address(30)), None),
            (_, Form::Operated(operator)) => {
                (log(), ActivityKind::Erc6909Transfer, Asset::Erc6909(address(31)), Some(address(operator)))
            }
            (_, Form::Withdrawal) => {
                let location =
                    Location { tx_index: None, plane: Plane::Withdrawals, position: Position::Whole, sub_index: index };
                (location, ActivityKind::Withdrawal, Asset::Native, None)
            }
        };
        let frame = (location.plane == Plane::Logs && asset == Asset::Native && traces)
            .then(|| CallFrame { trace_address: vec![0], call_type: CallType::Call });
        Activity {
            kind,
            from: (kind != ActivityKind::Withdrawal).then(|| address(self.from)),
            to: Some(address(self.to)),
            asset,
            amount: U256::from(1),
            token_id: operator.map(|_| U256::from(7)),
            frame,
            operator,
            location,
        }
    }
}

/// A log or a frame that no decoder knows, and whom it names.
#[derive(Debug, Clone)]
pub(super) struct Unknown {
    pub(super) names: Vec<u8>,
    pub(super) frame: bool,
    /// It names more addresses than are kept.
    pub(super) anybody: bool,
}

/// What is in a block.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) payments: Vec<Payment>,
    pub(super) unknown: Vec<Unknown>,
    pub(super) beneficiary: u8,
}

/// Each block of both versions of the chain.
pub(super) type Chain = [Vec<Content>; 2];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoder {
    Current,
    /// Of the same version, with other options: what it does not decode it counts.
    Other,
    /// Of an older version: what it does not decode it does not count either.
    Older,
}

impl Decoder {
    pub(super) fn fingerprint(self) -> i64 {
        let current = DecodeOptions::of_chain(1, Vec::new()).fingerprint();
        match self {
            Self::Current => current,
            Self::Other => DecodeOptions::of_chain(1, vec![address(31)]).fingerprint(),
            Self::Older => current - (1 << 48),
        }
    }

    pub(super) fn of(fingerprint: i64) -> Self {
        let all = [Self::Current, Self::Other, Self::Older];
        all.into_iter().find(|decoder| decoder.fingerprint() == fingerprint).unwrap()
    }
}

/// How blocks are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) index: bool,
    pub(super) traces: bool,
    pub(super) senders: bool,
    pub(super) trust: bool,
    pub(super) decoder: Decoder,
}

impl Reading {
    /// All there is.
    pub(super) const FULL: Self =
        Self { index: true, traces: true, senders: true, trust: false, decoder: Decoder::Current };

    pub(super) fn proof(self) -> Proof {
        if self.trust { Proof::Unproven } else { Proof::Proven }
    }

    pub(super) fn shows(self, payment: &Payment, number: u64) -> bool {
        match payment.shown {
            Shown::Always => true,
            Shown::BySenders => self.senders && !self.trust,
            Shown::ByTraces => self.traces || number >= NATIVE_LOGS_FROM,
            Shown::ByDecoder => self.decoder == Decoder::Current,
        }
    }
}

pub(super) fn time(number: u64) -> u64 {
    number * 10 * DAY as u64
}

pub(super) fn hash(number: u64, fork: usize) -> B256 {
    let fork = if number > FORK { fork } else { 0 };
    keccak256([number.to_be_bytes(), (fork as u64).to_be_bytes()].concat())
}
