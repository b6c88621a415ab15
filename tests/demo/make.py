#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Makes the recorded chain that `bolo demo` replays, and the table of what it must find there.

    npm ci --prefix tests
    python3 tests/demo/make.py                # writes into src/cli/demo and tests/demo/expected.json
    python3 tests/demo/make.py --out DIR      # writes all of it into DIR instead, to compare two runs

A real node (anvil, pinned in tests/package.json) executes and signs everything; this script only tells the story and
writes down what the node answered, untouched. Accounts, nonces, fees and timestamps are fixed, so every run gives the
same bytes. The expected movements come from what the story says, never from bolo: each step below names the logs and
internal payments that it causes. Python 3.10 and its standard library are enough.
"""

import argparse
import csv
import http.client
import io
import json
import pathlib
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from decimal import Decimal

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTRACTS = json.loads((ROOT / "tests/contracts/contracts.json").read_text())
ANVIL_VERSION = "1.7.1"
GENESIS = 1740146400  # 2025-02-21T14:00:00Z
SLOT = 12
GWEI = 10**9
ETHER = 10**18
USDM = 10**6
ZERO = "0x" + "00" * 20


# --- the node ---------------------------------------------------------------------------------------------------------


class Node:
    """An anvil of our own on a free port; `node("method", …)` is one JSON-RPC call."""

    def __init__(self):
        local = ROOT / "tests/node_modules/.bin/anvil"
        program = str(local) if local.exists() else shutil.which("anvil")
        if program is None:
            raise SystemExit("no anvil: run `npm ci --prefix tests` first")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        flags = "--quiet --no-mining --order fifo --hardfork osaka --chain-id 31337 --accounts 30".split()
        self.process = subprocess.Popen([program, *flags, "--port", str(self.port), "--timestamp", str(GENESIS)])
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        for _ in range(200):
            try:
                found = self("web3_clientVersion")
                break
            except OSError:
                self.connection.close()
                time.sleep(0.05)
        else:
            raise SystemExit("anvil does not answer")
        if found != f"anvil/v{ANVIL_VERSION}":
            raise SystemExit(f"this is {found}; the recording is made with anvil {ANVIL_VERSION}")

    def __call__(self, method, *params):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        self.connection.request("POST", "/", body, {"content-type": "application/json"})
        answer = json.loads(self.connection.getresponse().read())
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def stop(self):
        self.connection.close()
        self.process.terminate()
        self.process.wait(timeout=10)


# --- the little of the ABI that is needed ----------------------------------------------------------------------------


def word(value):
    """An integer or an address as 32 bytes of hex."""
    return f"{value if isinstance(value, int) else int(value, 16):064x}"


def text(value):
    raw = value.encode()
    return word(len(raw)) + raw.ljust(-(-len(raw) // 32) * 32, b"\0").hex()


def numbers(values):
    return word(len(values)) + "".join(map(word, values))


def call(contract, signature, *words):
    return "0x" + CONTRACTS[contract]["abi-signatures"][signature] + "".join(words)


def erc20(name, symbol, decimals):
    head, tail = 96, text(name)
    return word(head) + word(head + len(tail) // 2) + word(decimals) + tail + text(symbol)


# --- what is told, and what it must be found as ----------------------------------------------------------------------


@dataclass
class Move:
    """One expected movement. `asset` is None for ether, else the contract; `amount` is in base units."""

    kind: str
    source: str
    target: str | None
    amount: int
    asset: str | None = None
    token_id: int | None = None
    note: str = ""


@dataclass
class Step:
    """One transaction: what was sent, and all that it moves, in the order transaction, logs, traces."""

    request: dict
    succeeds: bool
    moves: list
    creates: str | None = None
    hash: str = ""


@dataclass
class Row:
    block: dict
    index: int
    tx: str
    move: Move
    orphaned: bool = False


@dataclass
class Chain:
    """Sends, mines and writes down. One block a slot of 12 seconds, for a lost block just as for a kept one."""

    node: Node
    slot: int = 0
    steps: list = field(default_factory=list)
    lines: list = field(default_factory=list)
    rows: list = field(default_factory=list)
    names: dict = field(default_factory=dict)

    def __post_init__(self):
        self.accounts = [a.lower() for a in self.node("eth_accounts")]
        self.nonces = dict.fromkeys(self.accounts, 0)
        self.checksums = {}

    def send(self, who, to, value=0, data="0x", moves=(), succeeds=True, creates=None, note="", fee="1559"):
        request = {"from": who, "value": hex(value), "data": data, "nonce": hex(self.nonces[who])}
        request["gas"] = hex(21000 if data == "0x" and to in self.accounts else 2_500_000 if to is None else 600_000)
        if to is not None:
            request["to"] = to
        if fee == "1559":
            request |= {"maxFeePerGas": hex(4 * GWEI), "maxPriorityFeePerGas": hex(GWEI)}
        else:
            request |= {"gasPrice": hex(3 * GWEI)}
            if fee == "2930":
                request["accessList"] = []
        self.nonces[who] += 1
        if not succeeds:
            own = Move("transaction", who, to, 0, note=note)
        elif to is None:
            own = Move("contract_creation", who, None, value, note=note)
        elif value > 0:
            own = Move("native_transfer", who, to, value, note=note)
        else:
            own = Move("transaction", who, to, 0, note=note)
        self.steps.append(Step(request, succeeds, [own, *moves], creates))

    def create(self, who, name, contract, args="", value=0, note=""):
        self.send(who, None, value, CONTRACTS[contract]["creation"] + args, creates=name, note=note)

    def mine(self):
        """Puts what was sent into the next block and records that block, asked for by its hash."""
        for step in self.steps:
            step.hash = self.node("eth_sendTransaction", step.request)
        self.slot += 1
        self.node("evm_setNextBlockTimestamp", GENESIS + SLOT * self.slot)
        self.node("evm_mine")
        tip = self.node("eth_getBlockByNumber", "latest", False)["hash"]
        block = self.node("eth_getBlockByHash", tip, True)
        receipts = self.node("eth_getBlockReceipts", tip)
        traces = self.node("debug_traceBlockByHash", tip, {"tracer": "callTracer"})
        assert [t["hash"] for t in block["transactions"]] == [s.hash for s in self.steps], "not mined as sent"
        self.lines.append({"block": block, "receipts": receipts, "traces": traces})
        made = {}
        for index, (step, receipt) in enumerate(zip(self.steps, receipts)):
            assert (receipt["status"] == "0x1") == step.succeeds, (step, receipt)
            if step.creates:
                address = receipt["contractAddress"].lower()
                made[step.creates] = step.moves[0].target = address
                self.names[address] = step.creates
            self.rows += [Row(block, index, step.hash, move) for move in step.moves]
        self.steps = []
        return made

    def read(self, to, data):
        return self.node("eth_call", {"to": to, "data": data}, "latest")

    def checksum(self, address):
        """EIP-55; the node does the hashing."""
        if address not in self.checksums:
            digest = self.node("web3_sha3", "0x" + address[2:].encode().hex())[2:]
            cased = (c.upper() if int(d, 16) > 7 else c for c, d in zip(address[2:], digest))
            self.checksums[address] = "0x" + "".join(cased)
        return self.checksums[address]


# --- the story --------------------------------------------------------------------------------------------------------


def tell(chain):
    """Plays the story; gives back the list (address, label, entity, programs, listed_from) and the tokens."""
    who, name, send, mine = chain.accounts, chain.names, chain.send, chain.mine
    exchange, thief, splits = who[0], who[1], who[2:10]
    deployer, consolidation, collector, courier = who[10:14]
    broker, stranger, users, builder, duster = who[14], who[15], who[16:20], who[20], who[21]
    proposer = who[29]
    lookalike = broker[:6] + chain.node("web3_sha3", "0x" + b"look-alike".hex())[2:34] + broker[-4:]
    name.update({
        ZERO: "nobody (zero address)", exchange: "Meridian operations", thief: "Theft wallet", deployer: "Deployer",
        consolidation: "Consolidation", collector: "Collector", courier: "Courier", broker: "OTC broker",
        stranger: "Stranger", builder: "Market maker", duster: "Duster", proposer: "Block proposer",
        lookalike: "Look-alike of the OTC broker",
    })
    name.update({a: f"Split {i}" for i, a in enumerate(splits, 1)})
    name.update({a: f"Customer {i}" for i, a in enumerate(users, 1)})

    # The node gives every account 10,000 ETH at the start; the group's wallets begin empty instead.
    for account in (thief, *splits, consolidation, collector):
        chain.node("anvil_setBalance", account, "0x0")
    chain.node("anvil_setBalance", courier, hex(20 * ETHER))
    chain.node("anvil_setBalance", deployer, hex(5 * ETHER))
    chain.node("anvil_setCoinbase", proposer)

    # Blocks 1-5: a market and an exchange. Of interest only: the mixer, which is listed, is created.
    chain.create(builder, "Wrapped Ether", "Weth9")
    chain.create(builder, "USDM", "Erc20", erc20("Meridian Dollar", "USDM", 6))
    chain.create(builder, "Pool", "Pool")
    at = mine()
    weth, usdm, pool = at["Wrapped Ether"], at["USDM"], at["Pool"]
    chain.create(builder, "Splitter", "Splitter")
    chain.create(exchange, "Meridian cold wallet", "Vault")
    chain.create(builder, "Cyclone mixer", "Mixer", word(100 * ETHER), note="the mixer itself is listed")
    chain.create(builder, "Reverter", "Reverter")
    at = mine()
    splitter, vault, mixer, reverter = at.values()
    chain.create(builder, "Birds", "Erc721", word(32) + text("BIRD"))
    chain.create(builder, "Trinkets", "Erc1155")
    chain.create(stranger, "Counterfeit USDM", "Erc20", erc20("Meridian Dollar", "USD\u041c", 6))  # Cyrillic Em
    chain.create(stranger, "False Wrapped Ether", "FakeWeth")
    birds, trinkets, counterfeit, false_weth = mine().values()

    def usdm_moves(source, target, amount, **more):
        return Move("erc20_transfer", source, target, amount, usdm, **more)

    def mint(to, amount):
        send(builder, usdm, data=call("Erc20", "mint(address,uint256)", word(to), word(amount)),
             moves=[usdm_moves(ZERO, to, amount)])

    send(exchange, vault, 300 * ETHER)
    send(exchange, vault, 101_347 * ETHER // 1000)
    mint(exchange, 250_000 * USDM)
    mint(pool, 500_000 * USDM)
    for user in users:
        mint(user, 20_000 * USDM)
    mine()
    send(builder, pool, 300 * ETHER)
    send(builder, weth, 50 * ETHER, call("Weth9", "deposit()"), moves=[Move("wrap", ZERO, builder, 50 * ETHER, weth)])
    send(builder, weth, data=call("Weth9", "transfer(address,uint256)", word(pool), word(50 * ETHER)),
         moves=[Move("erc20_transfer", builder, pool, 50 * ETHER, weth)])
    # 1 ETH costs 2,500 USDM: 4 * 10^8 wei for each millionth of a dollar.
    send(builder, pool, data=call("Pool", "setPrice(address,uint256)", word(usdm), word(4 * 10**8)))
    send(builder, pool, data=call("Pool", "setPrice(address,uint256)", word(weth), word(1)))
    mine()

    # What goes on anyway: customers pay each other, in ether and in USDM, with all the older kinds of transaction.
    beat = 0

    def traffic(count=2):
        nonlocal beat
        for _ in range(count):
            beat += 1
            source, target = users[beat % 4], users[(beat + 1 + beat // 4 % 3) % 4]
            fee = ("1559", "legacy", "2930")[beat % 3]
            if beat % 2:
                send(source, target, (beat * 37 % 50 + 1) * ETHER // 100, fee=fee)
            else:
                amount = (beat * 53 % 90 + 5) * USDM
                send(source, usdm, data=call("Erc20", "transfer(address,uint256)", word(target), word(amount)),
                     moves=[usdm_moves(source, target, amount)], fee=fee)

    def usdm_transfer(source, target, amount, note=""):
        send(source, usdm, data=call("Erc20", "transfer(address,uint256)", word(target), word(amount)),
             moves=[usdm_moves(source, target, amount, note=note)])

    # Blocks 6-9: an ordinary day. In block 9 a signer at the exchange is tricked into an approval.
    traffic(3)
    mine()
    traffic(2)
    mine()
    send(exchange, users[0], 3 * ETHER)
    traffic(1)
    mine()
    send(exchange, usdm, data=call("Erc20", "approve(address,uint256)", word(thief), word(90_000 * USDM)),
         moves=[Move("approval", exchange, thief, 90_000 * USDM, usdm, note="the exchange is tricked into it")])
    traffic(1)
    mine()

    # Blocks 10-12: the theft.
    send(courier, thief, ETHER // 4, note="gas money")
    traffic(1)
    mine()
    loot = 401_347 * ETHER // 1000
    send(thief, vault, data=call("Vault", "sweep(address)", word(thief)), note="the theft: value 0 at the top, no log",
         moves=[Move("internal_transfer", vault, thief, loot, note="the cold wallet is emptied: only a trace shows it")])
    traffic(1)
    mine()
    send(thief, usdm, note="draws on the approval",
         data=call("Erc20", "transferFrom(address,address,uint256)", word(exchange), word(thief), word(90_000 * USDM)),
         moves=[usdm_moves(exchange, thief, 90_000 * USDM, note="the second theft")])
    traffic(1)
    mine()
    traffic(2)
    mine()

    # Blocks 14-15: the loot is spread over eight wallets, first in one call, then by plain sends.
    send(thief, splitter, 320 * ETHER,
         call("Splitter", "split(address[])", word(32), numbers([int(a, 16) for a in splits])),
         moves=[Move("internal_transfer", splitter, a, 40 * ETHER) for a in splits])
    mine()
    for a in splits[:3]:
        send(thief, a, 10 * ETHER)
    traffic(1)
    mine()

    # Blocks 16-22: the dollars are swapped; some ether is wrapped and some of that unwrapped.
    send(thief, usdm, data=call("Erc20", "approve(address,uint256)", word(pool), word(60_000 * USDM)),
         moves=[Move("approval", thief, pool, 60_000 * USDM, usdm)])
    traffic(1)
    mine()
    send(thief, pool, data=call("Pool", "swapTokenForEth(address,uint256)", word(usdm), word(50_000 * USDM)),
         moves=[usdm_moves(thief, pool, 50_000 * USDM),
                Move("internal_transfer", pool, thief, 20 * ETHER, note="50,000 USDM at 2,500 for 1 ETH")])
    mine()
    send(thief, pool,
         data=call("Pool", "swapTokens(address,address,uint256)", word(usdm), word(weth), word(10_000 * USDM)),
         moves=[usdm_moves(thief, pool, 10_000 * USDM), Move("erc20_transfer", pool, thief, 4 * ETHER, weth)])
    traffic(2)
    mine()
    send(thief, weth, 20 * ETHER, call("Weth9", "deposit()"), moves=[Move("wrap", ZERO, thief, 20 * ETHER, weth)])
    mine()
    send(thief, weth, data=call("Weth9", "transfer(address,uint256)", word(splits[0]), word(10 * ETHER)),
         moves=[Move("erc20_transfer", thief, splits[0], 10 * ETHER, weth)])
    traffic(1)
    mine()
    send(thief, weth, data=call("Weth9", "withdraw(uint256)", word(8 * ETHER)),
         moves=[Move("unwrap", thief, ZERO, 8 * ETHER, weth), Move("internal_transfer", weth, thief, 8 * ETHER)])
    mine()
    usdm_transfer(thief, broker, 5_000 * USDM)
    traffic(1)
    mine()

    # Block 23: address poisoning. The thief signs nothing; the log says otherwise.
    send(stranger, usdm,
         data=call("Erc20", "transferFrom(address,address,uint256)", word(thief), word(lookalike), word(0)),
         moves=[usdm_moves(thief, lookalike, 0, note="address poisoning: the thief signed nothing")])
    traffic(1)
    mine()

    # Block 24: a customer gives the collector a bird and some trinkets; gas money for it comes from the courier.
    def bird(source, target, token_id):
        return Move("erc721_transfer", source, target, 1, birds, token_id)

    def trinket(source, target, token_id, amount):
        return Move("erc1155_transfer", source, target, amount, trinkets, token_id)

    send(users[0], birds, data=call("Erc721", "mint(address,uint256)", word(collector), word(7)),
         moves=[bird(ZERO, collector, 7)])
    for token_id, amount in ((1, 25), (2, 4)):
        send(users[0], trinkets,
             data=call("Erc1155", "mint(address,uint256,uint256)", word(collector), word(token_id), word(amount)),
             moves=[trinket(ZERO, collector, token_id, amount)])
    send(courier, collector, ETHER // 5, note="gas money")
    mine()

    # Blocks 25-29: three wallets are drawn together and 100 ETH go into the mixer. A customer mixes too.
    for i in (2, 3, 4):
        send(splits[i], consolidation, 399 * ETHER // 10)
        traffic(1)
        mine()
    send(users[3], mixer, 99 * ETHER, call("Mixer", "deposit(bytes32)", word(0xBAD)), succeeds=False,
         note="failed: not 100 ETH")
    send(users[3], mixer, 100 * ETHER, call("Mixer", "deposit(bytes32)", word(0x600D)), note="a customer, not listed")
    mine()
    commitment = chain.node("web3_sha3", "0x" + b"sparrow".hex())
    send(consolidation, mixer, 100 * ETHER, call("Mixer", "deposit(bytes32)", word(commitment)),
         note="exactly 100 ETH, with calldata")
    traffic(1)
    mine()

    # Blocks 30-33: the collector passes its things on. A stranger's batch contradicts itself: no movement.
    send(collector, birds,
         data=call("Erc721", "transferFrom(address,address,uint256)", word(collector), word(splits[7]), word(7)),
         moves=[bird(collector, splits[7], 7)])
    mine()
    send(collector, trinkets,
         data=call("Erc1155", "safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)", word(collector),
                   word(splits[6]), word(160), word(256), word(352), numbers([1, 2]), numbers([10, 4]), numbers([])),
         moves=[trinket(collector, splits[6], 1, 10), trinket(collector, splits[6], 2, 4)])
    traffic(1)
    mine()
    send(stranger, trinkets, data=call("Erc1155", "emitBroken(address,address)", word(collector), word(splits[6])))
    mine()
    traffic(2)
    mine()

    # Blocks 34-38: a send that reverts, one to oneself, a contract made, ended and not made, a frame undone.
    send(courier, reverter, ETHER, succeeds=False, note="reverted: 1 ETH did not move")
    traffic(1)
    mine()
    send(courier, courier, ETHER // 2, note="to itself")
    mine()
    chain.create(deployer, "Deployer's contract", "SelfDestructor", value=ETHER, note="made with 1 ETH in it")
    traffic(1)
    child = mine()["Deployer's contract"]
    send(deployer, child, data=call("SelfDestructor", "kill(address)", word(splits[5])),
         moves=[Move("self_destruct", child, splits[5], ETHER)])
    send(deployer, None, data="0xfe", succeeds=False, note="a creation that failed")
    mine()
    send(courier, splitter, 2 * ETHER, call("Splitter", "forwardThenRevert(address)", word(splits[4])),
         note="the payment on to Split 5 was undone: the 2 ETH stay in the Splitter")
    traffic(1)
    mine()

    # Block 39: noise. A counterfeit token, a false Deposit (no movement at all), a grain of dust.
    send(stranger, counterfeit, data=call("Erc20", "mint(address,uint256)", word(thief), word(1_000_000 * USDM)),
         moves=[Move("erc20_transfer", ZERO, thief, 1_000_000 * USDM, counterfeit, note="a counterfeit token")])
    send(stranger, false_weth, data=call("FakeWeth", "pretendDeposit(address,uint256)", word(thief), word(1000 * ETHER)))
    send(duster, thief, 10**12, note="dust")
    mine()
    traffic(3)
    mine()
    traffic(2)
    mine()

    # Blocks 42 and 43, twice. First as they were before the reorganisation …
    def pay_the_broker():
        send(splits[7], broker, 12 * ETHER, note="the same transaction in both forks")

    fork, nonces, first = chain.node("evm_snapshot"), dict(chain.nonces), len(chain.rows)
    pay_the_broker()
    traffic(1)
    mine()
    traffic(1)
    mine()
    lost = [row.tx for row in chain.rows[first:] if row.move.target == broker]
    for row in chain.rows[first:]:
        row.orphaned = True
    # … then as they are: the payment is in block 43 now.
    assert chain.node("evm_revert", fork)
    chain.nonces, first = nonces, len(chain.rows)
    chain.steps = []
    traffic(2)
    mine()
    traffic(1)
    pay_the_broker()
    mine()
    assert lost == [row.tx for row in chain.rows[first:] if row.move.target == broker], "not the same transaction"

    # Blocks 44-58: the rest of the day, after the second part of the list is published.
    traffic(1)
    mine()
    send(splits[0], weth, data=call("Weth9", "transfer(address,uint256)", word(consolidation), word(5 * ETHER)),
         moves=[Move("erc20_transfer", splits[0], consolidation, 5 * ETHER, weth)])
    mine()
    traffic(2)
    mine()
    send(splits[6], broker, 25 * ETHER)
    usdm_transfer(thief, consolidation, 20_000 * USDM)
    mine()
    mine()  # an empty block
    send(splits[7], broker, 7 * ETHER)
    send(splits[7], birds,
         data=call("Erc721", "transferFrom(address,address,uint256)", word(splits[7]), word(users[1]), word(7)),
         moves=[bird(splits[7], users[1], 7)])
    traffic(1)
    mine()
    for count in (1, 0, 2, 1, 2, 0, 1, 2, 1):
        traffic(count)
        mine()

    sparrow, early, late = ("Sparrow Group (demo)", "DPRK3;CYBER2"), "2025-02-21T14:05:00Z", "2025-02-21T14:09:30Z"
    watchlist = [(thief, "Theft wallet", *sparrow, early)]
    watchlist += [(a, name[a], *sparrow, early if i < 6 else late) for i, a in enumerate(splits)]
    watchlist += [(deployer, "Deployer", *sparrow, early), (courier, "Courier", *sparrow, early),
                  (consolidation, "Consolidation", *sparrow, late), (collector, "Collector", *sparrow, late),
                  (mixer, "Cyclone mixer, 100 ETH", "Cyclone (demo)", "CYBER2", early)]
    return watchlist, weth, [usdm, weth, counterfeit, birds, trinkets]


# --- what is written --------------------------------------------------------------------------------------------------


def metadata(chain, address):
    """Symbol and decimals as the contract answers them; None where the call reverts."""

    def ask(signature):
        try:
            return bytes.fromhex(chain.read(address, call("Erc20", signature))[2:])
        except RuntimeError:
            return None

    symbol, decimals = ask("symbol()"), ask("decimals()")
    if symbol:
        symbol = symbol[64 : 64 + int.from_bytes(symbol[32:64], "big")].decode()
    return {
        "address": chain.checksum(address),
        "symbol": symbol or None,
        "decimals": int.from_bytes(decimals, "big") if decimals else None,
    }


def shown(move, tokens):
    token = tokens.get(move.asset)
    if move.asset is None:
        symbol, decimals = "ETH", 18
    else:
        symbol, decimals = token["symbol"] or "", token["decimals"]
    if move.kind == "erc721_transfer":
        return f"{symbol} #{move.token_id}"
    if move.kind == "erc1155_transfer":
        return f"{move.amount} × Trinket #{move.token_id}"
    return f"{Decimal(move.amount).scaleb(-(decimals or 0)).normalize():,f} {symbol}"


def clock(block):
    return time.strftime("%H:%M:%S", time.gmtime(int(block["timestamp"], 16)))


def count_kinds(rows, listed):
    counts = {}
    for row in rows:
        counted = counts.setdefault(row.move.kind, [0, 0])
        counted[0] += 1
        counted[1] += len({row.move.source, row.move.target} & listed.keys())
    return dict(sorted(counts.items()))


def readme(chain, watchlist, weth, rows, tokens):
    listed = {entry[0]: entry for entry in watchlist}
    kept, lost = [r for r in rows if not r.orphaned], [r for r in rows if r.orphaned]
    mined = [line["block"] for line in chain.lines]
    out = io.StringIO()

    def say(*lines):
        print(*lines, sep="\n", file=out)

    def named(address):
        if address is None:
            return "–"
        mark = "**" if address in listed else ""
        return f"{mark}{chain.names[address]}{mark}"

    say("# The recorded chain of `bolo demo`", "",
        "Made by `tests/demo/make.py`, this page too; change the script, not the files. To make them again:", "",
        "    npm ci --prefix tests", "    python3 tests/demo/make.py", "",
        f"Two runs give the same bytes. A real node (anvil {ANVIL_VERSION}, chain id 31337) made every block; the",
        "accounts are that node's public test keys, and every name and event is invented.", "",
        "| file | what |", "|---|---|",
        "| `chain.jsonl` | one block a line, in the order a watcher saw them: "
        "`{\"block\", \"receipts\", \"traces\"}` as the node answered; shipped "
        "compressed (`zstd -19`) |",
        f"| `watchlist.csv` | {len(watchlist)} listed addresses |",
        "| `tokens.json` | symbol and decimals as the contracts answer them (null: they do not) |",
        "| `tests/demo/expected.json` | the table below, for a test to read |", "",
        f"Wrapped native contract (for `--wrapped-native`): `{chain.checksum(weth)}`", "",
        f"{len(mined)} blocks are recorded, {int(mined[0]['number'], 16)} to {int(mined[-1]['number'], 16)}, from "
        f"{clock(mined[0])} to {clock(mined[-1])} UTC on 2025-02-21.",
        "Blocks 42 and 43 are there twice: a reorganisation replaced them. In the lost fork Split 8 paid the OTC broker",
        "in block 42, in the winning one the same transaction is in block 43. The first addresses are listed from 14:05:00,",
        "the very second of block 25; all that was before is a touch from before the listing.", "",
        "## What must be found", "",
        "Every movement that touches a listed address, in the order of the chain; listed names are **bold**. A movement",
        "between two listed addresses is two alerts, one for each. Times are UTC.", "",
        "| block | time | tx | kind | from | to | amount | remark |", "|--:|---|---|---|---|---|--:|---|")
    for row in rows:
        move = row.move
        note = "; ".join(filter(None, ["*orphaned*" if row.orphaned else "", move.note]))
        amount = "" if move.kind == "transaction" else shown(move, tokens)
        say(f"| {int(row.block['number'], 16)} | {clock(row.block)} | `{row.tx[:6]}…{row.tx[-4:]}` | {move.kind} | "
            f"{named(move.source)} | {named(move.target)} | {amount} | {note} |")
    say("", "`transaction` is a transaction that a listed address signed or that called it, and that moved no ether at the",
        "top. The same in numbers:", "", "| kind | movements | alerts |", "|---|--:|--:|")
    counts = count_kinds(kept, listed)
    for kind, (movements, alerts) in counts.items():
        say(f"| {kind} | {movements} | {alerts} |")
    say(f"| together | {sum(m for m, _ in counts.values())} | {sum(a for _, a in counts.values())} |")
    for kind, (movements, alerts) in count_kinds(lost, listed).items():
        say(f"| orphaned: {kind} | {movements} | {alerts} |")
    say("", "What must *not* be found: the payment to Split 5 inside the call that was undone (block 38), the false Deposit of",
        "1,000 wrapped ether (block 39), the batch whose ids and values differ in number (block 32: undecodable, counted),",
        "the 1 ETH that came back (block 34) and the 99 ETH that the mixer refused (block 28).", "",
        "## Who is who", "", "| name | address | listed from |", "|---|---|---|")
    for address, name in chain.names.items():
        since = listed[address][4] if address in listed else ""
        say(f"| {named(address)} | `{chain.checksum(address)}` | {since} |")
    return out.getvalue()


def expected(chain, rows, listed):
    """The table once more, for a test to read."""

    def cased(address):
        return address and chain.checksum(address)

    return [{
        "block": int(row.block["number"], 16), "block_hash": row.block["hash"], "tx_index": row.index, "tx": row.tx,
        "orphaned": row.orphaned, "kind": row.move.kind, "from": cased(row.move.source), "to": cased(row.move.target),
        "contract": cased(row.move.asset), "amount": str(row.move.amount),
        "token_id": None if row.move.token_id is None else str(row.move.token_id),
        "listed": [cased(a) for a in dict.fromkeys((row.move.source, row.move.target)) if a in listed],
    } for row in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, help="write everything into this directory instead")
    out = parser.parse_args().out
    data, beside = out or ROOT / "src/cli/demo", out or ROOT / "tests/demo"
    data.mkdir(parents=True, exist_ok=True)
    node = Node()
    try:
        chain = Chain(node)
        watchlist, weth, contracts = tell(chain)
        listed = {entry[0] for entry in watchlist}
        rows = [row for row in chain.rows if {row.move.source, row.move.target} & listed]
        tokens = {address: metadata(chain, address) for address in contracts}

        with open(data / "chain.jsonl", "w", newline="\n") as file:
            for line in chain.lines:
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
        with open(data / "watchlist.csv", "w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(("address", "label", "entity", "programs", "listed_from"))
            table.writerows((chain.checksum(address), *rest) for address, *rest in watchlist)
        lines = ",\n".join("  " + json.dumps(token, ensure_ascii=False) for token in tokens.values())
        (data / "tokens.json").write_text(f"[\n{lines}\n]\n")
        (data / "README.md").write_text(readme(chain, watchlist, weth, rows, tokens))
        lines = ",\n".join("  " + json.dumps(row) for row in expected(chain, rows, listed))
        (beside / "expected.json").write_text(f"[\n{lines}\n]\n")
        print(f"{len(chain.lines)} blocks, {len(rows)} movements of listed addresses, "
              f"wrapped native {chain.checksum(weth)}")
    finally:
        node.stop()


if __name__ == "__main__":
    main()
