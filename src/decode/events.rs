//! The events that are decoded or counted. Topic 0 is computed from the signatures: public tables of hashes have errors.

use alloy::primitives::B256;
use alloy::sol;
use alloy::sol_types::SolEvent;

/// Topic 0 of an event by its signature.
macro_rules! topic0 {
    ($($(#[$doc:meta])* $seen:vis $name:ident = $event:ident $arguments:tt;)+) => {
        $($(#[$doc])* $seen const $name: B256 = {
            sol! { event $event $arguments; }
            $event::SIGNATURE_HASH
        };)+
    };
}

topic0! {
    /// `Transfer`: [ERC-20](https://eips.ethereum.org/EIPS/eip-20) with three topics,
    /// [ERC-721](https://eips.ethereum.org/EIPS/eip-721) with four; contracts older than the standards index less.
    pub TRANSFER = Transfer(address indexed from, address indexed to, uint256 value);
    /// [ERC-1155](https://eips.ethereum.org/EIPS/eip-1155) `TransferSingle`.
    pub TRANSFER_SINGLE = TransferSingle(address indexed operator, address indexed from, address indexed to, uint256 id, uint256 value);
    /// [ERC-1155](https://eips.ethereum.org/EIPS/eip-1155) `TransferBatch`.
    pub TRANSFER_BATCH = TransferBatch(address indexed operator, address indexed from, address indexed to, uint256[] ids, uint256[] values);
    /// WETH9 `Deposit`.
    pub WRAP = Deposit(address indexed dst, uint256 wad);
    /// WETH9 `Withdrawal`.
    pub UNWRAP = Withdrawal(address indexed src, uint256 wad);
    /// `Transfer` with four arguments: [ERC-223](https://eips.ethereum.org/EIPS/eip-223) in its first form, and ERC-677.
    pub(super) TRANSFER_WITH_DATA = Transfer(address indexed from, address indexed to, uint256 value, bytes data);
    /// ERC-404's movement in units of the fungible side.
    pub(super) ERC20_TRANSFER = ERC20Transfer(address indexed from, address indexed to, uint256 amount);
    /// ERC-404's movement of one token.
    pub(super) ERC721_TRANSFER = ERC721Transfer(address indexed from, address indexed to, uint256 indexed id);
    /// [ERC-6909](https://eips.ethereum.org/EIPS/eip-6909) `Transfer`.
    pub(super) ERC6909_TRANSFER = Transfer(address caller, address indexed sender, address indexed receiver, uint256 indexed id, uint256 amount);
    /// DSToken `Mint`.
    pub(super) MINT = Mint(address indexed guy, uint256 wad);
    /// DSToken `Burn`.
    pub(super) BURN = Burn(address indexed guy, uint256 wad);
    /// CryptoPunks: given away.
    pub(super) PUNK_TRANSFER = PunkTransfer(address indexed from, address indexed to, uint256 punkIndex);
    /// CryptoPunks: sold.
    pub(super) PUNK_BOUGHT = PunkBought(uint256 indexed punkIndex, uint256 value, address indexed fromAddress, address indexed toAddress);
    /// CryptoPunks: claimed.
    pub(super) PUNK_ASSIGN = Assign(address indexed to, uint256 punkIndex);
    /// [ERC-777](https://eips.ethereum.org/EIPS/eip-777).
    pub(super) SENT = Sent(address indexed operator, address indexed from, address indexed to, uint256 amount, bytes data, bytes operatorData);
    /// [ERC-777](https://eips.ethereum.org/EIPS/eip-777).
    pub(super) MINTED = Minted(address indexed operator, address indexed to, uint256 amount, bytes data, bytes operatorData);
    /// [ERC-777](https://eips.ethereum.org/EIPS/eip-777).
    pub(super) BURNED = Burned(address indexed operator, address indexed from, uint256 amount, bytes data, bytes operatorData);
    /// ERC-1410.
    pub(super) TRANSFER_BY_PARTITION = TransferByPartition(bytes32 indexed fromPartition, address operator, address indexed from, address indexed to, uint256 value, bytes data, bytes operatorData);
    /// [ERC-2309](https://eips.ethereum.org/EIPS/eip-2309): any number of tokens at once.
    pub(super) CONSECUTIVE_TRANSFER = ConsecutiveTransfer(uint256 indexed fromTokenId, uint256 toTokenId, address indexed fromAddress, address indexed toAddress);
    /// [ERC-3525](https://eips.ethereum.org/EIPS/eip-3525): value between token ids.
    pub(super) TRANSFER_VALUE = TransferValue(uint256 indexed fromTokenId, uint256 indexed toTokenId, uint256 value);
    /// LSP7.
    pub(super) LSP7_TRANSFER = Transfer(address indexed operator, address indexed from, address indexed to, uint256 amount, bool force, bytes data);
    /// LSP8.
    pub(super) LSP8_TRANSFER = Transfer(address operator, address indexed from, address indexed to, bytes32 indexed tokenId, bool force, bytes data);
}

/// `Transfer` in forms that no standard known to bolo has.
pub(super) const UNKNOWN_TRANSFERS: [B256; 8] = {
    topic0! {
        A = Transfer(address from, address to, uint256 value, uint256 other);
        B = Transfer(address from, address to, uint256 value, string memo);
        C = Transfer(address from, address to, uint256 value, bytes32 memo);
        D = Transfer(address operator, address from, address to, uint256 value);
        E = Transfer(address operator, address from, address to, uint256 value, bytes data);
        F = Transfer(address from, address to, uint128 value);
        G = Transfer(address from, address to, bytes32 id);
        H = Transfer(address to, uint256 value);
    }
    [A, B, C, D, E, F, G, H]
};

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::b256;

    #[test]
    fn topic_hashes_are_those_of_the_standards() {
        assert_eq!(TRANSFER, b256!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"));
        assert_eq!(WRAP, b256!("e1fffcc4923d04b559f4d29a8bfc6cda04eb5b0d3c460751c2402c5c5cc9109c"));
        assert_eq!(UNWRAP, b256!("7fcf532c15f0a6db0bd6d0e038bea71d30d808c7d98cb3bf7268a95bf5081b65"));
        assert_eq!(TRANSFER_WITH_DATA, b256!("e19260aff97b920c7df27010903aeb9c8d2be5d310a2c67824cf3f15396e4c16"));
        assert_eq!(MINT, b256!("0f6798a560793a54c3bcfe86a93cde1e73087d944c0ea20544137d4121396885"));
        assert_eq!(BURN, b256!("cc16f5dbb4873280815c1ee09dbd06736cffcc184412cf7a71a0fdb75d397ca5"));
        assert_eq!(ERC6909_TRANSFER, b256!("1b3d7edb2e9c0b0e7c525b20aaaef0f5940d2ed71663c7d39266ecafac728859"));
        assert_eq!(PUNK_TRANSFER, b256!("05af636b70da6819000c49f85b21fa82081c632069bb626f30932034099107d8"));
    }
}
