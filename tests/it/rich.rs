//! A chain of more than a thousand blocks in which much moves, on a real node, with what a clean run finds in it. Built once for
//! the tests that run at the same time and only read it.

use std::sync::{Arc, Mutex, Weak};

use alloy::primitives::{Address, U256};
use serde_json::{Value, json};

use crate::common::{Node, Place, call, n, timeless_all, word};

/// Blocks of the chain, beside those that set it up.
const BLOCKS: u64 = 1_000;

pub(crate) struct Chain {
    pub node: Node,
    pub watched: Vec<(Address, &'static str)>,
    /// The alerts of a clean run, oldest first.
    pub truth: Vec<Value>,
    pub head: u64,
    /// From here on a stretch of blocks which all have something of everything.
    pub rich: u64,
}

impl Chain {
    /// The one of all tests that are running now.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Chain>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let chain = Arc::new(Self::build());
            *shared = Arc::downgrade(&chain);
            chain
        })
    }

    fn build() -> Self {
        let node = Node::start(&[]);
        let mover = Mover::deploy(&node);
        let rich = node.head() + 1;
        for round in 0..BLOCKS {
            mover.block(&node, round);
        }
        let watched = mover.watched();
        let head = node.head();
        let place = Place::watching(&watched);
        place.ok(&["replay", "-r", &node.url, "--from-block", "0", "--to-block", "latest", "--traces", "require"]);
        let truth = timeless_all(&place.alerts(&["--triage", "all"]));
        Self { node, watched, truth, head, rich }
    }

    pub(crate) fn place(&self) -> Place {
        Place::watching(&self.watched)
    }

    /// What a clean run finds in these blocks.
    pub(crate) fn truth(&self, blocks: std::ops::RangeInclusive<u64>) -> Vec<Value> {
        let within = |alert: &&Value| blocks.contains(&alert["block"]["number"].as_u64().unwrap());
        self.truth.iter().filter(within).cloned().collect()
    }
}

/// Who moves what.
pub(crate) struct Mover {
    people: [Address; 4],
    token: Address,
    second: Address,
    splitter: Address,
    pool: Address,
    reverter: Address,
    batches: Address,
}

impl Mover {
    /// Contracts, one a block; from then on blocks come when they are asked for.
    pub(crate) fn deploy(node: &Node) -> Self {
        let people = [node.accounts[1], node.accounts[2], node.accounts[3], node.accounts[4]];
        let [_, _, swapper, deployer] = people;
        // Tokens that have no symbol: what they say of themselves is nobody's proof.
        let [token, second] = [(); 2].map(|()| node.deploy(deployer, "NoMetadataToken", ""));
        let [splitter, pool, reverter, batches] =
            ["Splitter", "Pool", "Reverter", "Erc1155"].map(|name| node.deploy(deployer, name, ""));
        let mint = |token, to| {
            let data = call("NoMetadataToken", "mint(address,uint256)", &[word(to), n(1 << 60)]);
            node.send(deployer, Some(token), 0, &data);
        };
        mint(token, swapper);
        mint(second, pool);
        let approve = call("NoMetadataToken", "approve(address,uint256)", &[word(pool), U256::MAX]);
        node.send(swapper, Some(token), 0, &approve);
        for token in [token, second] {
            node.send(deployer, Some(pool), 0, &call("Pool", "setPrice(address,uint256)", &[word(token), n(1)]));
        }
        node.rpc("evm_setAutomine", json!([false]));
        Self { people, token, second, splitter, pool, reverter, batches }
    }

    pub(crate) fn watched(&self) -> Vec<(Address, &'static str)> {
        vec![(self.people[0], "a"), (self.people[1], "b"), (self.people[2], "c")]
    }

    /// Mines a block. The first 40 rounds have something of everything, later ones this or that, every eighth nothing.
    pub(crate) fn block(&self, node: &Node, round: u64) {
        let [a, b, swapper, deployer] = self.people;
        let (rich, pick) = (round < 40, round % 8);
        if rich || pick == 1 || pick == 4 {
            let swap = [word(self.token), word(self.second), n(round + 1)];
            put(node, swapper, Some(self.pool), 0, &call("Pool", "swapTokens(address,address,uint256)", &swap));
        }
        if rich || pick == 2 || pick == 4 {
            let mint = call("NoMetadataToken", "mint(address,uint256)", &[word(a), n(round)]);
            put(node, deployer, Some(self.token), 0, &mint);
        }
        if rich || pick == 3 || pick == 5 {
            let split = call("Splitter", "split(address[])", &[n(32), n(2), word(a), word(b)]);
            put(node, deployer, Some(self.splitter), 2 * u128::from(round + 1), &split);
        }
        if rich || pick != 0 {
            put(node, a, Some(b), u128::from(round + 1), "0x");
        }
        if rich || round % 50 == 6 {
            put(node, a, None, 0, "0x600a600c600039600a6000f3602a60005260206000f3");
        }
        if round % 50 == 7 {
            put(node, b, Some(self.reverter), 5, "0x");
        }
        if pick == 6 {
            let mint = call("Erc1155", "mint(address,uint256,uint256)", &[word(b), n(round), n(3)]);
            put(node, deployer, Some(self.batches), 0, &mint);
        }
        node.mine(1);
    }
}

/// Leaves a transaction for the next block.
fn put(node: &Node, from: Address, to: Option<Address>, value: u128, data: &str) {
    let mut tx = json!({"from": from, "value": format!("{value:#x}"), "data": data, "gas": "0x493e0"});
    if let Some(to) = to {
        tx["to"] = json!(to);
    }
    node.rpc("eth_sendTransaction", json!([tx]));
}
