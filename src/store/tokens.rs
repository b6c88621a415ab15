//! What tokens say of themselves, asked once and kept.

use alloy::primitives::{Address, address};
use rusqlite::{Connection, OptionalExtension, params};

use super::addresses::{address_id, find_address};
use super::{Result, Store, bytes, chain_int, sql_int};
use crate::redact::redacted;

/// Symbol and decimals as the contract gave them, cleaned; none where it has no such method or answered nonsense.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenFacts {
    /// Cleaned of control characters and cut.
    pub symbol: Option<String>,
    /// Places of the decimal point.
    pub decimals: Option<u8>,
}

/// Tokens of mainnet whose symbol and decimals are built in, so that they have a name without an endpoint: WETH and the ten largest others
/// by market value (etherscan.io/tokens, November 2026), as their contracts answer `symbol()` and `decimals()`.
const BUILT_IN: [(Address, &str, u8); 11] = [
    (address!("C02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"), "WETH", 18),
    (address!("dAC17F958D2ee523a2206206994597C13D831ec7"), "USDT", 6),
    (address!("A0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"), "USDC", 6),
    (address!("B8c77482e45F1F44dE1745F52C74426C631bDD52"), "BNB", 18),
    (address!("ae7ab96520DE3A18E5e111B5EaAb095312D7fE84"), "stETH", 18),
    (address!("7f39C581F595B53c5cb19bD0b3f8dA6c935E2Ca0"), "wstETH", 18),
    (address!("2260FAC5E5542a773Aa44fBCfeDf7C193bc2C599"), "WBTC", 8),
    (address!("514910771AF9Ca656af840dff83E8264EcF986CA"), "LINK", 18),
    (address!("6B175474E89094C44Da98b954EedeAC495271d0F"), "DAI", 18),
    (address!("95aD61b0a150d79219dCF64E1E6Cc01f0B64C4cE"), "SHIB", 18),
    (address!("4c9EDD5852cd905f086C759E8383e09bff1E68B3"), "USDe", 18),
];

/// Tokens of which an answer by symbol, or by amount in units, says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownTokens {
    /// Tokens that were never asked for their symbol.
    pub symbol: u64,
    /// ERC-20 tokens without known decimals.
    pub decimals: u64,
}

/// Names the tokens that are built in for a chain, in a file that is new to it. They count as asked at no time.
pub(super) fn put_built_in(conn: &Connection, chain_id: u64) -> Result<()> {
    let tokens = if chain_id == 1 { &BUILT_IN[..] } else { &[] };
    for (token, symbol, decimals) in tokens {
        let id = address_id(conn, *token)?;
        conn.prepare_cached(
            "INSERT INTO tokens (address_id, symbol, decimals, asked_at) VALUES (?1, ?2, ?3, 0) ON CONFLICT (address_id) DO NOTHING",
        )?
        .execute(params![id, symbol, decimals])?;
    }
    Ok(())
}

impl Store {
    /// Whether the token was asked before.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn knows_token(&self, token: Address) -> Result<bool> {
        Ok(self
            .conn
            .prepare_cached("SELECT 1 FROM tokens t JOIN addresses a ON a.id = t.address_id WHERE a.address = ?1")?
            .query_row([token.as_slice()], |_| Ok(()))
            .optional()?
            .is_some())
    }

    /// Whether some token calls itself so, in any case.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn knows_symbol(&self, symbol: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM tokens WHERE symbol IS NOT NULL AND symbol = ?1 COLLATE NOCASE";
        Ok(self.conn.prepare_cached(sql)?.exists([symbol])?)
    }

    /// The most places of the decimal point that a token has which calls itself so, in any case; none where none is known.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn decimals_of_symbol(&self, symbol: &str) -> Result<Option<u8>> {
        let sql = "SELECT max(decimals) FROM tokens WHERE symbol IS NOT NULL AND symbol = ?1 COLLATE NOCASE";
        Ok(self.conn.prepare_cached(sql)?.query_row([symbol], |row| row.get(0))?)
    }

    /// Places of the decimal point of a token; none where they are not known.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn decimals_of_token(&self, token: Address) -> Result<Option<u8>> {
        let sql = "SELECT t.decimals FROM tokens t JOIN addresses a ON a.id = t.address_id WHERE a.address = ?1";
        Ok(self.conn.prepare_cached(sql)?.query_row([token.as_slice()], |row| row.get(0)).optional()?.flatten())
    }

    /// The tokens that call themselves so, in any case, and whose decimals are not known.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn tokens_without_decimals(&self, symbol: &str) -> Result<Vec<Address>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT a.address FROM tokens t JOIN addresses a ON a.id = t.address_id \
             WHERE t.symbol IS NOT NULL AND t.symbol = ?1 COLLATE NOCASE AND t.decimals IS NULL",
        )?;
        let rows = statement.query_map([symbol], |row| Ok(Address::from(bytes(row, 0)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Keeps what a token said.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn put_token(&mut self, token: Address, facts: &TokenFacts, now: i64) -> Result<()> {
        self.write(|tx| {
            let id = address_id(tx, token)?;
            tx.prepare_cached(
                "INSERT INTO tokens (address_id, symbol, decimals, asked_at) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (address_id) DO NOTHING",
            )?
            .execute(params![id, facts.symbol.as_deref().map(redacted), facts.decimals, now])?;
            Ok(())
        })
    }

    /// How many tokens of alerts in a range of blocks have no known symbol (they were never asked), and how many ERC-20 tokens no known
    /// decimals; of these contracts, or of all where none is given.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn unknown_tokens(&self, from: u64, to: u64, contracts: &[Address]) -> Result<UnknownTokens> {
        let ids: Vec<_> =
            contracts.iter().map(|contract| find_address(&self.conn, *contract)).collect::<Result<_>>()?;
        let ids: Vec<_> = ids.into_iter().flatten().collect();
        let counts = self
            .conn
            .prepare_cached(
                "SELECT count(DISTINCT m.token_address_id) FILTER (WHERE t.address_id IS NULL), \
                        count(DISTINCT m.token_address_id) FILTER (WHERE m.asset = 1 AND t.decimals IS NULL) \
                 FROM alerts a JOIN blocks b ON b.id = a.block_id AND b.status <> 3 JOIN activities m ON m.id = a.activity_id \
                 LEFT JOIN tokens t ON t.address_id = m.token_address_id \
                 WHERE m.token_address_id IS NOT NULL AND a.block_number BETWEEN ?1 AND ?2 \
                   AND (?3 OR m.token_address_id IN (SELECT value FROM json_each(?4)))",
            )?
            .query_row(params![sql_int(from), sql_int(to), contracts.is_empty(), serde_json::json!(ids).to_string()], |row| {
                Ok(UnknownTokens { symbol: row.get(0).map(chain_int)?, decimals: row.get(1).map(chain_int)? })
            })?;
        Ok(counts)
    }

    /// Some tokens of alerts that could not be asked yet.
    ///
    /// # Errors
    /// Of SQLite.
    pub fn unasked_tokens(&self, limit: u32) -> Result<Vec<Address>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT DISTINCT a.address FROM activities m JOIN addresses a ON a.id = m.token_address_id \
             WHERE m.token_address_id IS NOT NULL \
               AND NOT EXISTS (SELECT 1 FROM tokens t WHERE t.address_id = m.token_address_id) LIMIT ?1",
        )?;
        let rows = statement.query_map([limit], |row| bytes::<20>(row, 0).map(Address::from))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{open, record};
    use super::*;
    use crate::decode::Asset;

    #[test]
    fn tokens_of_alerts_that_nobody_asked_are_counted_by_range() {
        let (_place, mut store) = open();
        let token = |byte| Asset::Erc20(Address::repeat_byte(byte));
        let assets = [Asset::Native, token(1), token(2), Asset::Erc721(Address::repeat_byte(3)), token(1)];
        let records: Vec<_> = (0u64..)
            .zip(assets)
            .map(|(number, asset)| {
                let mut block = record(&store, number, true);
                block.alerts.iter_mut().for_each(|alert| alert.activity.asset = asset);
                block
            })
            .collect();
        store.append_all(&records).unwrap();
        let unknown = |store: &Store, from, to| {
            let UnknownTokens { symbol, decimals } = store.unknown_tokens(from, to, &[]).unwrap();
            (symbol, decimals)
        };
        assert_eq!((unknown(&store, 0, 0), unknown(&store, 0, 1), unknown(&store, 0, 9)), ((0, 0), (1, 1), (3, 2)));
        let named = TokenFacts { symbol: Some("A".to_owned()), decimals: Some(6) };
        store.put_token(Address::repeat_byte(1), &named, 0).unwrap();
        assert_eq!((unknown(&store, 0, 1), unknown(&store, 0, 9)), ((0, 0), (2, 1)));
        let of = |store: &Store, byte| store.unknown_tokens(0, 9, &[Address::repeat_byte(byte)]).unwrap().symbol;
        assert_eq!([1, 2, 3, 4].map(|byte| of(&store, byte)), [0, 1, 1, 0]);
        // Asked, and it has none.
        store.put_token(Address::repeat_byte(2), &TokenFacts::default(), 0).unwrap();
        assert_eq!(unknown(&store, 0, 9), (1, 1));
        store.revert(2, crate::store::Progress::Replay).unwrap();
        assert_eq!(unknown(&store, 0, 9), (0, 1));
    }

    #[test]
    fn weth_and_the_largest_tokens_of_mainnet_have_a_name_without_an_endpoint() {
        let (_place, mut store) = open();
        store.append(&record(&store, 0, true)).unwrap();
        for (token, symbol, _) in BUILT_IN {
            assert!(
                store.knows_token(token).unwrap() && store.knows_symbol(&symbol.to_lowercase()).unwrap(),
                "{symbol}"
            );
        }
        assert!(!store.knows_symbol("USDX").unwrap());
        let weth: Address = "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2".parse().unwrap();
        assert_eq!(BUILT_IN[0].0, weth);
        // Typed as their checksums have them: a wrong digit would show.
        let source = include_str!("tokens.rs");
        for (token, symbol, _) in BUILT_IN {
            assert!(source.contains(&token.to_checksum(None)[2..]), "{symbol}");
        }
    }
}
