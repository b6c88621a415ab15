//! The logs of a block: mostly ERC-20 transfers, and what else routers and exchanges leave behind.

use alloy::primitives::{Address, B256, Bytes, Log, U256, address, hex, keccak256};
use alloy::sol;
use alloy::sol_types::SolEvent;

use bolo::chain::native_logs::NATIVE_LOG_EMITTER;

use crate::draw::Rng;

sol! {
    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);
    event TransferSingle(address indexed operator, address indexed from, address indexed to, uint256 id, uint256 value);
    event Swap(address indexed sender, address indexed to, int256 a, int256 b, uint160 price, uint128 liquidity, int24 tick);
    event Sync(uint112 a, uint112 b);
    event Deposit(address indexed account, uint256 value);
}

const WRAPPED: Address = address!("c02aaa39b223fe8d0a0e5c4f27ead9083c756cc2");

fn log(address: Address, topics: Vec<B256>, data: Vec<u8>) -> Log {
    Log::new(address, topics, data.into()).unwrap()
}

/// A call of `transfer(address,uint256)`: the token, its log and its calldata.
pub(crate) fn token_call(signer: Address, rng: &mut Rng) -> (Address, Log, Bytes) {
    let (token, to, amount) = (rng.token(), rng.holder(), B256::from(rng.amount()));
    let input = [hex!("a9059cbb").as_slice(), to.into_word().as_slice(), amount.as_slice()].concat();
    let topics = vec![Transfer::SIGNATURE_HASH, signer.into_word(), to.into_word()];
    (token, log(token, topics, amount.to_vec()), input.into())
}

/// The log of the chain's own currency that moves (EIP-7708).
pub(crate) fn native_transfer(from: Address, to: Address, value: U256) -> Log {
    let topics = vec![Transfer::SIGNATURE_HASH, from.into_word(), to.into_word()];
    log(NATIVE_LOG_EMITTER, topics, B256::from(value).to_vec())
}

/// One of the logs of a swap.
pub(crate) fn of_a_swap(signer: Address, rng: &mut Rng) -> Log {
    let (token, from, to) = (rng.token(), rng.holder().into_word(), rng.holder().into_word());
    let amount = B256::from(rng.amount()).to_vec();
    match rng.below(100) {
        0..58 => log(token, vec![Transfer::SIGNATURE_HASH, from, to], amount),
        58..66 => log(token, vec![Approval::SIGNATURE_HASH, signer.into_word(), to], amount),
        66..78 => log(token, vec![Swap::SIGNATURE_HASH, from, to], rng.bytes(160)),
        78..86 => log(token, vec![Sync::SIGNATURE_HASH], rng.bytes(64)),
        86..90 => log(WRAPPED, vec![Deposit::SIGNATURE_HASH, to], amount),
        // An NFT: the same event, its id indexed.
        90..93 => log(token, vec![Transfer::SIGNATURE_HASH, from, to, B256::from(rng.amount())], Vec::new()),
        93..95 => log(
            token,
            vec![TransferSingle::SIGNATURE_HASH, signer.into_word(), from, to],
            [amount, vec![0; 32]].concat(),
        ),
        other => {
            let words = usize::try_from(1 + rng.below(8)).unwrap();
            log(token, vec![keccak256([u8::try_from(other).unwrap()]), from], rng.bytes(32 * words))
        }
    }
}
