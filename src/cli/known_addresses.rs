//! Addresses that take part in so many transactions that watching them drowns everything else.

use alloy::primitives::{Address, address};

/// Warnings that are shown; the rest is counted.
const MAX_SHOWN: usize = 10;

/// Busy addresses of Ethereum's mainnet, each as its project documents it (tokens: their entries on Etherscan; routers: the
/// deployment pages of Uniswap, 1inch, 0x, CoW Protocol, SushiSwap and OpenSea; EntryPoint: eth-infinitism/account-abstraction).
const BUSY: [(Address, &str); 26] = [
    (Address::ZERO, "the zero address, which every mint and burn of a token names"),
    (address!("0x000000000000000000000000000000000000dEaD"), "the burn address, which many tokens are sent to"),
    (address!("0xdAC17F958D2ee523a2206206994597C13D831ec7"), "the token USDT"),
    (address!("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"), "the token USDC"),
    (address!("0x6B175474E89094C44Da98b954EedeAC495271d0F"), "the token DAI"),
    (address!("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"), "WETH, which most trades wrap and unwrap"),
    (address!("0x2260FAC5E5542a773Aa44fBCfeDf7C193bc2C599"), "the token WBTC"),
    (address!("0xae7ab96520DE3A18E5e111B5EaAb095312D7fE84"), "the token stETH"),
    (address!("0x7f39C581F595B53c5cb19bD0b3f8dA6c935E2Ca0"), "the token wstETH"),
    (address!("0x514910771AF9Ca656af840dff83E8264EcF986CA"), "the token LINK"),
    (address!("0x95aD61b0a150d79219dCF64E1E6Cc01f0B64C4cE"), "the token SHIB"),
    (address!("0x6982508145454Ce325dDbE47a25d4ec3d2311933"), "the token PEPE"),
    (address!("0x7a250d5630B4cF539739dF2C5dAcb4c659F2488D"), "the router of Uniswap v2"),
    (address!("0xE592427A0AEce92De3Edee1F18E0157C05861564"), "the router of Uniswap v3"),
    (address!("0x68b3465833fb72A70ecDF485E0e4C7bD8665Fc45"), "Uniswap's SwapRouter02"),
    (address!("0x3fC91A3afd70395Cd496C647d5a6CC9D4B2b7FAD"), "Uniswap's Universal Router"),
    (address!("0x66a9893cC07D91D95644AEDD05D03f95e1dBA8Af"), "Uniswap's Universal Router"),
    (address!("0x000000000022D473030F116dDEE9F6B43aC78BA3"), "Uniswap's Permit2"),
    (address!("0x1111111254EEB25477B68fb85Ed929f73A960582"), "the router of 1inch"),
    (address!("0x111111125421cA6dc452d289314280a0f8842A65"), "the router of 1inch"),
    (address!("0xDef1C0ded9bec7F1a1670819833240f027b25EfF"), "the exchange proxy of 0x"),
    (address!("0x9008D19f58AAbD9eD0D60971565AA8510560ab41"), "the settlement contract of CoW Protocol"),
    (address!("0xd9e1cE17f2641f24aE83637ab66a2cca9C378B9F"), "the router of SushiSwap"),
    (address!("0x00000000000000ADc04C56Bf30aC9d3c0aAF14dC"), "OpenSea's Seaport"),
    (address!("0x5FF137D4b0FDCD49DcA30c7CF57E578a026d2789"), "the EntryPoint of ERC-4337"),
    (address!("0x0000000071727De22E5E9d8BAf0edAc6f37da032"), "the EntryPoint of ERC-4337"),
];

/// Warns of each address that will alert all the time.
pub(super) fn warn_of_busy(addresses: impl Iterator<Item = Address>) {
    let busy: Vec<_> = addresses.filter_map(|address| BUSY.iter().find(|(known, _)| *known == address)).collect();
    for (address, what) in busy.iter().take(MAX_SHOWN) {
        tracing::warn!(
            "{address} is {what}: expect thousands of alerts a day (`bolo watchlist remove {address}` ends them)"
        );
    }
    if busy.len() > MAX_SHOWN {
        tracing::warn!("{} more addresses of the list are as busy", busy.len() - MAX_SHOWN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_busy_address_is_there_once_and_has_its_checksum() {
        let text = include_str!("known_addresses.rs");
        let all: HashSet<_> = BUSY.iter().map(|(address, _)| *address).collect();
        assert_eq!(all.len(), BUSY.len());
        for (address, what) in BUSY.iter().skip(1) {
            assert!(text.contains(&address.to_checksum(None)), "{what} is {}", address.to_checksum(None));
        }
    }
}
