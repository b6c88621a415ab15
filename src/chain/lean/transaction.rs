//! Transactions: each object read once, its EIP-2718 bytes written from it.

use alloy::eips::eip1559::calc_effective_gas_price;
use alloy::eips::eip7702::SignedAuthorization;
use alloy::primitives::{Address, B256, U256};
use alloy::rlp::{Encodable, Header as RlpHeader};

use super::arena::{Arena, Place, list_length};
use super::claims::Claims;
use super::keys::{AccessKey, Key as _, Order, TxKey};
use super::scan::{Cursor, Read, check_hex};
use super::{Odd, lacks};

/// Room for the type byte and the header of a transaction's list.
const ROOM: usize = 10;

/// What is kept of a transaction, beside its bytes.
#[derive(Debug, Default)]
pub(super) struct Tx<'a> {
    /// The claimed hash as it is written, to be compared with what logs and receipt say.
    pub(super) hash_text: Option<&'a [u8; 64]>,
    pub(super) hash: B256,
    pub(super) kind: u64,
    pub(super) from: Address,
    pub(super) to: Option<Address>,
    pub(super) nonce: u64,
    pub(super) value: U256,
    gas: u64,
    gas_price: Option<u128>,
    max_fee: Option<u128>,
    tip: Option<u128>,
    pub(super) blob_fee: Option<u128>,
    /// Number of blobs.
    pub(super) blobs: u64,
    input: &'a [u8],
    stated_chain: Option<u64>,
    v: Option<u64>,
    parity: Option<u64>,
    r: U256,
    s: U256,
    pub(super) authorizations: Vec<SignedAuthorization>,
    /// Its bytes in the buffer.
    pub(super) encoded: Place,
}

/// What one transaction after another is read with.
#[derive(Debug, Default)]
pub(super) struct TxReader {
    order: Order<TxKey>,
    access_order: Order<AccessKey>,
    /// Entries of the access list: the address, and how many of the keys are its own.
    access: Vec<(Address, usize)>,
    keys: Vec<[u8; 32]>,
    blobs: Vec<[u8; 32]>,
}

impl TxReader {
    /// Reads one, and writes its bytes where it is to be proven.
    pub(super) fn read<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        index: u64,
        claims: &mut Claims<'a>,
        arena: Option<&mut Arena>,
    ) -> Read<Tx<'a>> {
        let mut tx = Tx::default();
        let Self { order, access_order, access, keys, blobs } = self;
        access.clear();
        keys.clear();
        blobs.clear();
        let stated = cursor.members(order, |cursor, key| {
            match key {
                TxKey::Hash => {
                    let start = cursor.at();
                    tx.hash = cursor.bytes::<32>()?.into();
                    // The quote and 0x before, the quote after; white space before is passed over from the end.
                    let text = cursor.since(start);
                    tx.hash_text = text.get(text.len() - 65..text.len() - 1).and_then(<[u8]>::as_array);
                }
                TxKey::Type => tx.kind = cursor.u64()?,
                TxKey::BlockHash => claims.hash.hold(cursor.hash_text()?)?,
                TxKey::BlockNumber => claims.number.hold_digits(cursor)?,
                TxKey::BlockTimestamp => claims.timestamp.hold_digits(cursor)?,
                TxKey::TransactionIndex => {
                    if cursor.u64()? != index {
                        return Err(Odd("a transaction at another place"));
                    }
                }
                TxKey::From => tx.from = cursor.bytes::<20>()?.into(),
                TxKey::To => tx.to = Some(cursor.bytes::<20>()?.into()),
                TxKey::Nonce => tx.nonce = cursor.u64()?,
                TxKey::Value => tx.value = cursor.u256()?,
                TxKey::Gas => tx.gas = cursor.u64()?,
                TxKey::GasPrice => tx.gas_price = Some(cursor.u128()?),
                TxKey::MaxFeePerGas => tx.max_fee = Some(cursor.u128()?),
                TxKey::MaxPriorityFeePerGas => tx.tip = Some(cursor.u128()?),
                TxKey::MaxFeePerBlobGas => tx.blob_fee = Some(cursor.u128()?),
                TxKey::Input => tx.input = cursor.digits()?,
                TxKey::ChainId => tx.stated_chain = Some(cursor.u64()?),
                TxKey::V => tx.v = Some(cursor.u64()?),
                TxKey::YParity => tx.parity = Some(cursor.u64()?),
                TxKey::R => tx.r = cursor.u256()?,
                TxKey::S => tx.s = cursor.u256()?,
                TxKey::AccessList => cursor.elements(|cursor| {
                    let (mut address, before) = (Address::ZERO, keys.len());
                    let stated = cursor.members(access_order, |cursor, key| {
                        match key {
                            AccessKey::Address => address = cursor.bytes::<20>()?.into(),
                            AccessKey::StorageKeys => cursor.elements(|cursor| {
                                keys.push(cursor.bytes()?);
                                Ok(())
                            })?,
                        }
                        Ok(())
                    })?;
                    lacks(
                        stated,
                        AccessKey::Address.bit() | AccessKey::StorageKeys.bit(),
                        "an entry of an access list",
                    )?;
                    access.push((address, keys.len() - before));
                    Ok(())
                })?,
                TxKey::BlobVersionedHashes => cursor.elements(|cursor| {
                    blobs.push(cursor.bytes()?);
                    Ok(())
                })?,
                TxKey::AuthorizationList => {
                    cursor.peek();
                    let start = cursor.at();
                    cursor.skip()?;
                    tx.authorizations = serde_json::from_slice(cursor.since(start))
                        .map_err(|_| Odd("authorizations that cannot be read"))?;
                }
                TxKey::GasLimit | TxKey::Data | TxKey::Creates => return Err(Odd("a field of older nodes")),
            }
            Ok(())
        })?;
        tx.blobs = blobs.len() as u64;
        let always = TxKey::Hash.bit() | TxKey::From.bit() | TxKey::Nonce.bit() | TxKey::Value.bit();
        lacks(stated, always, "a transaction's field")?;
        match arena {
            Some(arena) => self.encode(&mut tx, stated, arena)?,
            None => check_hex(tx.input)?,
        }
        Ok(tx)
    }

    fn encode(&self, tx: &mut Tx<'_>, stated: u64, arena: &mut Arena) -> Read<()> {
        let signed = TxKey::R.bit() | TxKey::S.bit();
        let always = signed | TxKey::Gas.bit() | TxKey::Input.bit();
        let typed = TxKey::ChainId.bit() | TxKey::AccessList.bit();
        let fees = TxKey::MaxFeePerGas.bit() | TxKey::MaxPriorityFeePerGas.bit();
        let needs = match tx.kind {
            0 => TxKey::GasPrice.bit() | TxKey::V.bit(),
            1 => typed | TxKey::GasPrice.bit(),
            2 => typed | fees,
            3 => typed | fees | TxKey::To.bit() | TxKey::MaxFeePerBlobGas.bit() | TxKey::BlobVersionedHashes.bit(),
            4 => typed | fees | TxKey::To.bit() | TxKey::AuthorizationList.bit(),
            _ => return Err(Odd("a transaction of another type")),
        };
        lacks(stated, always | needs, "a transaction's field")?;
        let lists = [(TxKey::AccessList, 1), (TxKey::BlobVersionedHashes, 3), (TxKey::AuthorizationList, 4)];
        for (list, since) in lists {
            let belongs = tx.kind == since || (since == 1 && tx.kind > 1);
            if stated & list.bit() != 0 && !belongs {
                return Err(Odd("a list that its type does not have"));
            }
        }
        let payload = arena.open(ROOM);
        if tx.kind > 0 {
            arena.put(&tx.stated_chain.unwrap_or_default());
        }
        arena.put(&tx.nonce);
        if tx.kind < 2 {
            arena.put(&tx.gas_price.unwrap_or_default());
        } else {
            arena.put(&tx.tip.unwrap_or_default());
            arena.put(&tx.max_fee.unwrap_or_default());
        }
        arena.put(&tx.gas);
        match &tx.to {
            Some(to) => arena.short(&to.0.0),
            None => arena.raw(&[0x80]),
        }
        arena.put(&tx.value);
        arena.hex(tx.input)?;
        if tx.kind > 0 {
            self.put_access_list(arena);
        }
        if tx.kind == 3 {
            arena.put(&tx.blob_fee.unwrap_or_default());
            arena.list(33 * self.blobs.len());
            self.blobs.iter().for_each(|hash| arena.short(hash));
        }
        if tx.kind == 4 {
            arena.list(tx.authorizations.iter().map(Encodable::length).sum());
            tx.authorizations.iter().for_each(|authorization| arena.put(authorization));
        }
        match tx.kind {
            0 => arena.put(&tx.v.unwrap_or_default()),
            _ => arena.put(&tx.parity()?),
        }
        arena.put(&tx.r);
        arena.put(&tx.s);
        let mut first = [0; ROOM];
        let header = RlpHeader { list: true, payload_length: arena.len() - payload };
        let typed = usize::from(tx.kind > 0);
        first[0] = tx.kind as u8;
        header.encode(&mut &mut first[typed..]);
        tx.encoded = arena.close(payload, &first[..typed + header.length()]);
        Ok(())
    }

    fn put_access_list(&self, arena: &mut Arena) {
        let entry = |keys: usize| 21 + list_length(33 * keys);
        arena.list(self.access.iter().map(|(_, keys)| list_length(entry(*keys))).sum());
        let mut rest = self.keys.as_slice();
        for (address, count) in &self.access {
            let (own, others) = rest.split_at((*count).min(rest.len()));
            rest = others;
            arena.list(entry(own.len()));
            arena.short(&address.0.0);
            arena.list(33 * own.len());
            own.iter().for_each(|key| arena.short(key));
        }
    }
}

impl Tx<'_> {
    /// The parity of a typed transaction's signature.
    fn parity(&self) -> Read<u64> {
        match (self.v.or(self.parity), self.parity) {
            (Some(v @ (0 | 1)), stated) if stated.is_none_or(|stated| stated == v) => Ok(v),
            _ => Err(Odd("a signature's parity")),
        }
    }

    /// The chain it was signed for; none for those of before EIP-155, which are for any.
    fn signed_chain(&self) -> Read<Option<u64>> {
        if self.kind > 0 {
            return Ok(self.stated_chain);
        }
        let (parity, chain) = match self.v {
            Some(v @ (27 | 28)) => (v - 27, None),
            Some(v) if v >= 35 => ((v - 35) % 2, Some((v - 35) / 2)),
            _ => return Err(Odd("a legacy signature's v")),
        };
        if self.parity.is_some_and(|stated| stated != parity) {
            return Err(Odd("a signature's parity"));
        }
        Ok(chain)
    }

    /// Wei per gas that it paid, as it was signed.
    pub(super) fn paid(&self, base_fee: Option<u64>) -> u128 {
        if self.kind < 2 {
            return self.gas_price.unwrap_or_default();
        }
        calc_effective_gas_price(self.max_fee.unwrap_or_default(), self.tip.unwrap_or_default(), base_fee)
    }

    /// Wei per gas that it paid, where only what is said of it is known.
    pub(super) fn paid_as_said(&self, base_fee: Option<u64>) -> u128 {
        let max_fee = self.max_fee.or(self.gas_price).unwrap_or_default();
        match (base_fee, self.tip) {
            (Some(base), Some(tip)) => max_fee.min(u128::from(base).saturating_add(tip)),
            _ => self.gas_price.unwrap_or(max_fee),
        }
    }

    /// What the typed path checks of a transaction by itself, but for its hash.
    pub(super) fn check(&self, chain_id: u64, base_fee: Option<u64>) -> Read<()> {
        let chain_fits = match self.signed_chain()? {
            Some(signed) => signed == chain_id && self.stated_chain.is_none_or(|stated| stated == signed),
            None => self.stated_chain.is_none_or(|stated| stated == 0 || stated == chain_id),
        };
        if !chain_fits {
            return Err(Odd("a transaction of another chain"));
        }
        if self.kind >= 2
            && self.gas_price.is_some_and(|stated| stated != self.paid(base_fee) && Some(stated) != self.max_fee)
        {
            return Err(Odd("a price that was not paid"));
        }
        Ok(())
    }

    /// Length of its RLP within the block: a typed transaction is a string there.
    pub(super) fn length_in_block(&self) -> usize {
        let length = self.encoded.len();
        if self.kind == 0 { length } else { RlpHeader { list: false, payload_length: length }.length() + length }
    }
}
