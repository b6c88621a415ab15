//! Which prices of blob gas a block can have. A header says how much blob gas there was too much, not how fast the price follows it.

use alloy::consensus::Header;
use alloy::eips::eip4844::fake_exponential;

use super::fork::is_ethereum;

/// Update fractions of the price on Ethereum: Cancun, Prague and the two forks of blob parameters after Osaka
/// ([EIP-7892](https://eips.ethereum.org/EIPS/eip-7892)).
const ETHEREUM: [u128; 4] = [3_338_477, 5_007_716, 8_346_193, 11_684_671];
/// The same on Gnosis.
const GNOSIS: [u128; 1] = [1_112_826];

/// Whether blob gas can have that price in the block, by any schedule of its chain. On a chain whose schedules this build does not know,
/// any price can be right. Nothing else depends on the price. Nodes state it for blob transactions only, or as 0 for others.
pub(super) fn is_blob_price(header: &Header, chain_id: u64, has_blobs: bool, price: u128) -> bool {
    let fractions: &[u128] = match chain_id {
        _ if is_ethereum(chain_id) => &ETHEREUM,
        // Gnosis and Chiado.
        100 | 10_200 => &GNOSIS,
        _ => return true,
    };
    let excess = u128::from(header.excess_blob_gas.unwrap_or_default());
    (!has_blobs && price == 0) || fractions.iter().any(|fraction| fake_exponential(1, excess, *fraction) == price)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_of_blobs_is_held_against_the_schedules_of_its_own_chain_only() {
        let header = Header { excess_blob_gas: Some(50_000_000), ..Header::default() };
        let price = |fraction| fake_exponential(1, 50_000_000, fraction);
        for chain in [1, 11_155_111, 17_000, 560_048, 1337, 31_337] {
            assert!(ETHEREUM.iter().all(|fraction| is_blob_price(&header, chain, true, price(*fraction))), "{chain}");
            assert!(!is_blob_price(&header, chain, true, price(GNOSIS[0])), "{chain}");
            assert!(!is_blob_price(&header, chain, true, 0) && is_blob_price(&header, chain, false, 0), "{chain}");
        }
        for chain in [100, 10_200] {
            assert!(is_blob_price(&header, chain, true, price(GNOSIS[0])), "{chain}");
            assert!(!is_blob_price(&header, chain, true, price(ETHEREUM[0])), "{chain}");
        }
        // OP stack, BSC, Polygon and one that nobody knows.
        for (chain, stated) in [(10, 1), (8453, 0), (56, 7), (137, price(9_999_999)), (987_654_321, u128::MAX)] {
            assert!(is_blob_price(&header, chain, true, stated), "{chain}");
        }
    }
}
