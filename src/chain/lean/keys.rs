//! The keys of the objects that are read leanly, found by guessing: a node writes all objects of a kind in one order.

use std::marker::PhantomData;

use super::scan::{Cursor, Read};

/// Most members of an object whose places are remembered.
const PLACES: usize = 40;

/// A set of keys.
pub(super) trait Key: Copy + 'static {
    /// Each key with its text: quotes and colon.
    const ALL: &'static [(Self, &'static [u8])];

    /// Its bit in a set of keys.
    fn bit(self) -> u64;
}

/// In which order the keys came the last times: transactions of two types often alternate.
#[derive(Debug)]
pub(super) struct Order<K> {
    guesses: [[u8; 2]; PLACES],
    keys: PhantomData<K>,
}

impl<K> Default for Order<K> {
    fn default() -> Self {
        Self { guesses: [[0; 2]; PLACES], keys: PhantomData }
    }
}

impl<K: Key> Order<K> {
    /// The next key, with its colon; none for one that is not known.
    #[inline]
    pub(super) fn next(&mut self, cursor: &mut Cursor<'_>, place: usize) -> Read<Option<K>> {
        for guess in self.guesses.get(place).into_iter().flatten() {
            if let Some((key, text)) = K::ALL.get(usize::from(*guess))
                && cursor.take_text(text)
            {
                return Ok(Some(*key));
            }
        }
        self.look_up(cursor, place)
    }

    #[cold]
    fn look_up(&mut self, cursor: &mut Cursor<'_>, place: usize) -> Read<Option<K>> {
        let name = cursor.plain_string()?;
        cursor.demand(b':')?;
        let known = |(_, text): &(K, &[u8])| text.len() == name.len() + 3 && text[1..].starts_with(name);
        let Some(found) = K::ALL.iter().position(known) else { return Ok(None) };
        if let (Some(guesses), Ok(found)) = (self.guesses.get_mut(place), u8::try_from(found)) {
            *guesses = [found, guesses[0]];
        }
        Ok(Some(K::ALL[found].0))
    }
}

macro_rules! keys {
    ($(#[$doc:meta])* $name:ident { $($key:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum $name { $($key),* }

        impl Key for $name {
            const ALL: &'static [(Self, &'static [u8])] =
                &[$((Self::$key, concat!("\"", $text, "\":").as_bytes())),*];

            fn bit(self) -> u64 {
                1 << self as u8
            }
        }
    };
}

keys! {
    /// Of a transaction: all that the typed path reads.
    TxKey {
        Hash = "hash",
        Type = "type",
        BlockHash = "blockHash",
        BlockNumber = "blockNumber",
        TransactionIndex = "transactionIndex",
        BlockTimestamp = "blockTimestamp",
        From = "from",
        To = "to",
        Nonce = "nonce",
        Value = "value",
        Gas = "gas",
        GasLimit = "gasLimit",
        GasPrice = "gasPrice",
        MaxFeePerGas = "maxFeePerGas",
        MaxPriorityFeePerGas = "maxPriorityFeePerGas",
        MaxFeePerBlobGas = "maxFeePerBlobGas",
        Input = "input",
        Data = "data",
        ChainId = "chainId",
        AccessList = "accessList",
        BlobVersionedHashes = "blobVersionedHashes",
        AuthorizationList = "authorizationList",
        Creates = "creates",
        V = "v",
        YParity = "yParity",
        R = "r",
        S = "s",
    }
}

keys! {
    /// Of an entry of an access list.
    AccessKey {
        Address = "address",
        StorageKeys = "storageKeys",
    }
}

keys! {
    /// Of a receipt: all that the typed path reads.
    ReceiptKey {
        TransactionHash = "transactionHash",
        TransactionIndex = "transactionIndex",
        BlockHash = "blockHash",
        BlockNumber = "blockNumber",
        BlockTimestamp = "blockTimestamp",
        From = "from",
        To = "to",
        Type = "type",
        CumulativeGasUsed = "cumulativeGasUsed",
        GasUsed = "gasUsed",
        EffectiveGasPrice = "effectiveGasPrice",
        BlobGasUsed = "blobGasUsed",
        BlobGasPrice = "blobGasPrice",
        ContractAddress = "contractAddress",
        Status = "status",
        Root = "root",
        LogsBloom = "logsBloom",
        Logs = "logs",
    }
}

keys! {
    /// Of a log: all that the typed path reads.
    LogKey {
        Address = "address",
        Topics = "topics",
        Data = "data",
        BlockHash = "blockHash",
        BlockNumber = "blockNumber",
        BlockTimestamp = "blockTimestamp",
        TransactionHash = "transactionHash",
        TransactionIndex = "transactionIndex",
        LogIndex = "logIndex",
        Removed = "removed",
    }
}
