#!/usr/bin/env python3
"""Checks evidence bundles of bolo by docs/evidence.md, and by nothing else: no bolo, no database, no network.

    python check.py DIR|ZIP...

prints for each bundle `DIR: proven: WHAT` or `DIR: REFUSED: REASON`; the exit code is 0 only if all are proven.
The numbers in the comments are those of the page's "How to check it".
"""
import hashlib
import json
import os
import re
import stat
import struct
import sys
import zlib
from datetime import datetime, timedelta, timezone

import rlp
from coincurve import PublicKey
from Crypto.Hash import keccak as _keccak

NATIVE_LOG = bytes.fromhex("fffffffffffffffffffffffffffffffffffffffe")  # EIP-7708
PUNKS = bytes.fromhex("b47e3cd837ddf8e4c57f05d70ab865de6e193bbb")
KITTIES = bytes.fromhex("06012c8cf97bead5deae237070f9587f8e7a266d")
TOP = {"format", "proves", "alert", "first_log_index", "sides", "not_proven", "screening", "made_by"}
TOOLS = {"FORMAT.md", "check.py", "requirements.txt"}
LARGEST = 1 << 28  # bytes of a bundle that are read
STATUSES = {"pending", "safe", "finalized", "orphaned"}
SEVERITIES = {"low", "medium", "high", "severe"}
LIST_KINDS = {"blocking", "issuer-freeze", "advisory", "internal", "own"}
RECORDED = """README.txt alert.endpoint alert.replaces alert.retroactive alert.seen_at alert.severity alert.status alert.triage
    alert.watched.designation alert.watched.entity alert.watched.kind alert.watched.label alert.watched.list alert.watched.programs
    alert.watched.version made_by screening sides.entries alert.asset.symbol""".split()
TRACED = """alert.amount alert.amount_display alert.counterparty alert.from alert.kind alert.to alert.trace_address alert.watched.address
    alert.watched.direction""".split()
# Which kinds a plane has, and (last) the plane's number in the id.
PLANES = {
    "transactions": ({"native_transfer", "transaction", "contract_creation", "fee_recipient"}, 0),
    "logs": ({"erc20_transfer", "erc721_transfer", "erc1155_transfer", "erc6909_transfer", "wrap", "unwrap", "internal_transfer"}, 1),
    "traces": ({"internal_transfer", "self_destruct"}, 2),
    "withdrawals": ({"withdrawal"}, 3),
}
# The coin types of the chains' own currencies: `coin: chain …`.
COINS = """
60: 1 3 4 5 42 17000 560048 11155111 1337 31337 10 69 420 11155420 8453 84531 84532 130 1301 185 255 288 360 424 58008
480 4801 690 17069 919 34443 1135 4202 1868 1946 7560 57073 763373 60808 808813 81457 168587773 747474 7777777 999999999
42161 42170 421611 421613 421614 55244 169 280 300 324 1101 2442 2741 11124 4326 6343 7887 48900 59140 59141 59144
167000 167009 534351 534352 534353 543210 810180 1313161554 1313161555 61: 61 714: 56 97 204 5611 966: 137 80002 966:
80001 9005: 43114 43113 700: 100 10200 1007: 250 4002 10007: 146 14601 57054 394: 25 338 3030: 295 296 297 461: 314
314159 52752: 42220 44787 11142220 195: 728126428 2494104990 3448148188 8217: 8217 1001 474: 42262 42261 23294 23295
1284: 1284 1285: 1285 810: 592 809: 336 1023: 1666600000 1666700000 459: 2222 2221 503: 1030 71 304: 4689 4690 137: 30
31 550: 50 51 5718350: 888 1001: 108 178: 99 77 246: 246 820: 820 108: 8 554: 14 268435779: 143 10143 2457: 999 998
19000118: 1329 1328 977: 40 41 57: 57 5700 641: 321 996: 66 1010: 128 1116: 1116 688: 52 6060: 60 2305: 20 5655640: 106
889: 88 7000: 7000 7001 9797: 39797 1130: 1130 539: 747 545 787: 787 685: 248 989: 168 1012: 81 121: 7332 1348: 11235
"""
# Chains that pay withdrawals in a token, and how many times its Gwei they count.
WITHDRAWAL_TOKENS = {
    100: (bytes.fromhex("9c58bacc331c9aa871afd802db6379a98e80cedb"), 32),
    10200: (bytes.fromhex("19c653da7c37c66208fbfbe8908a5051b57b4c70"), 32),
}
TX_FIELDS = {
    0: "nonce gas_price gas to value data v r s",
    1: "chain_id nonce gas_price gas to value data access_list v r s",
    2: "chain_id nonce max_priority_fee max_fee gas to value data access_list v r s",
    3: "chain_id nonce max_priority_fee max_fee gas to value data access_list max_blob_fee blob_hashes v r s",
    4: "chain_id nonce max_priority_fee max_fee gas to value data access_list authorizations v r s",
}


class Refused(Exception):
    """The evidence does not prove what it claims. The text is one line: `section: reason`."""


def need(holds, reason):
    if not holds:
        raise Refused(reason)


def keccak(data):
    return _keccak.new(digest_bits=256, data=data).digest()


TRANSFER = keccak(b"Transfer(address,address,uint256)")
TRANSFER_SINGLE = keccak(b"TransferSingle(address,address,address,uint256,uint256)")
TRANSFER_BATCH = keccak(b"TransferBatch(address,address,address,uint256[],uint256[])")
DEPOSIT = keccak(b"Deposit(address,uint256)")
WITHDRAWAL = keccak(b"Withdrawal(address,uint256)")
TRANSFER_WITH_DATA = keccak(b"Transfer(address,address,uint256,bytes)")
ERC20_TRANSFER = keccak(b"ERC20Transfer(address,address,uint256)")
ERC721_TRANSFER = keccak(b"ERC721Transfer(address,address,uint256)")
ERC6909_TRANSFER = keccak(b"Transfer(address,address,address,uint256,uint256)")
MINT, BURN = keccak(b"Mint(address,uint256)"), keccak(b"Burn(address,uint256)")
PUNK_TRANSFER = keccak(b"PunkTransfer(address,address,uint256)")
PUNK_BOUGHT = keccak(b"PunkBought(uint256,uint256,address,address)")
PUNK_ASSIGN = keccak(b"Assign(address,uint256)")
EMPTY_TRIE = keccak(b"\x80")


def coin_types():
    coins, coin = {}, None
    for word in COINS.split():
        if word.endswith(":"):
            coin = word[:-1]
        else:
            coins[int(word)] = coin
    return coins


COIN_TYPES = coin_types()


# ---- reading -------------------------------------------------------------------------------------------------------

def parse_json(data):
    """Strict JSON: UTF-8, no name twice in an object, no NaN, no number of absurd length, a line feed at the end."""
    def unique(pairs):
        names = dict(pairs)
        need(len(names) == len(pairs), "json: a name stands twice in an object")
        return names

    def whole(text):
        need(len(text) <= 20 and text != "-0", "json: not a reasonable integer")
        return int(text)

    def constant(text):
        raise Refused("json: NaN and Infinity are no JSON")

    need(data.endswith(b"\n"), "json: evidence.json does not end with a line feed")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_int=whole, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"json: evidence.json cannot be read ({type(error).__name__})") from None


def get(value, *path):
    for name in path:
        need(type(value) is dict and name in value, f"json: {'.'.join(path)} is missing")
        value = value[name]
    return value


def integer(value, bits, name):
    need(type(value) is int and 0 <= value < 1 << bits, f"json: {name} is not an integer of {bits} bits")
    return value


def decimal(value, name):
    """An amount or a token id: a decimal number in a string."""
    need(type(value) is str and re.fullmatch("0|[1-9][0-9]{0,77}", value), f"json: {name} is not a decimal number")
    return int(value)


def address(value, name):
    """20 bytes, or None for null."""
    if value is None:
        return None
    need(type(value) is str and re.fullmatch("0x[0-9a-fA-F]{40}", value), f"json: {name} is not an address")
    return bytes.fromhex(value[2:])


def text(value, name, null=False):
    need(type(value) is str or (null and value is None), f"json: {name} is not a string")
    return value


def texts(value, name):
    need(type(value) is list and all(type(item) is str for item in value), f"json: {name} is not a list of strings")
    return value


def date(value, name, null=False):
    """Unix seconds of a date as the page writes it, or None for null."""
    if value is None and null:
        return None
    day = re.fullmatch("([0-9]{4})-([0-9]{2})-([0-9]{2})(?:T([0-9]{2}):([0-9]{2}):([0-9]{2})Z)?", text(value, name))
    need(day, f"json: {name} is not a date")
    try:
        moment = datetime(*(int(part or 0) for part in day.groups()), tzinfo=timezone.utc)
    except ValueError:
        raise Refused(f"json: {name} is not a date") from None
    need("T" not in value or moment.hour or moment.minute or moment.second, f"json: {name} is not a date as it is written")
    return int((moment - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds())


def unrlp(data, name):
    """Strict: nothing after the item, only the shortest encodings."""
    try:
        return rlp.decode(data, strict=True)
    except Exception:
        raise Refused(f"{name}: not canonical RLP") from None


def rlp_list(item, name, *lengths):
    need(type(item) is list and (not lengths or len(item) in lengths), f"{name}: not an RLP list of the right length")
    return item


def rlp_bytes(item, name, *lengths):
    need(type(item) is bytes and (not lengths or len(item) in lengths), f"{name}: no byte string of the right length")
    return item


def rlp_uint(item, name):
    need(type(item) is bytes and len(item) <= 32 and item[:1] != b"\0", f"{name}: not a canonical number")
    return int.from_bytes(item, "big")


def file(files, name):
    need(name in files, f"files: {name} is missing")
    return files[name]


# ---- 3. tries ------------------------------------------------------------------------------------------------------

def trie_items(files, name, root):
    """Walks a trie over the nodes that there are. Gives the items by index, and whether no child is missing."""
    nodes = rlp_list(unrlp(file(files, name), name), name)
    hashes = [keccak(rlp_bytes(node, name)) for node in nodes]
    need(len(set(hashes)) == len(hashes), f"{name}: a node stands twice")
    items, reached, missing = {}, 0, 0

    def child(reference, path):
        nonlocal reached, missing
        if type(reference) is list:
            need(len(rlp.encode(reference)) < 32, f"{name}: a long node stands in its parent")
            return node(reference, path)
        rlp_bytes(reference, f"{name}: reference to a node", 32)
        if reached == len(nodes) or hashes[reached] != reference:  # not in the list, or not in its order (seen below)
            missing += 1
            return
        raw = nodes[reached]
        reached += 1
        need(len(raw) >= 32 or path == "", f"{name}: a short node does not stand in its parent")
        node(unrlp(raw, f"{name}: node {reached - 1}"), path)

    def node(item, path):
        rlp_list(item, f"{name}: node", 2, 17)
        if len(item) == 17:
            need(item[16] == b"" and sum(c != b"" for c in item) >= 2, f"{name}: not a branch of an index trie")
            for nibble, reference in enumerate(item[:16]):
                if reference != b"":
                    child(reference, path + f"{nibble:x}")
            return
        prefix = rlp_bytes(item[0], f"{name}: path").hex()
        need(re.match("00|20|1|3", prefix), f"{name}: a path is not hex-prefix encoded")
        path += prefix[1:] if prefix[0] in "13" else prefix[2:]
        need(len(path) <= 18, f"{name}: a path is too long for an index")
        if prefix[0] in "01":
            need(len(prefix) > 2 or prefix[0] == "1", f"{name}: an extension of no length")
            return child(item[1], path)
        need(len(path) % 2 == 0, f"{name}: a key is not whole bytes")
        index = rlp_uint(unrlp(bytes.fromhex(path), f"{name}: key"), f"{name}: key")
        need(rlp_bytes(item[1], f"{name}: item") and index not in items, f"{name}: an item is empty or stands twice")
        items[index] = item[1]

    if nodes or root != EMPTY_TRIE:
        child(root, "")
    need(reached == len(nodes), f"{name}: node {reached} is not reached from the root in the order of the walk")
    return items, missing == 0


def all_items(files, name, root):
    """The items from 0 to n - 1, where every one is there."""
    items, complete = trie_items(files, name, root)
    need(complete, f"{name}: a child is missing where all items must be shown")
    need(set(items) == set(range(len(items))), f"{name}: the items are not those at 0 to n - 1")
    return [items[index] for index in range(len(items))]


# ---- 4. transactions and receipts ----------------------------------------------------------------------------------

def split_type(raw, name):
    """EIP-2718: the type and the list."""
    if raw[0] >= 0xC0:
        return 0, rlp_list(unrlp(raw, name), name)
    need(raw[0] in (1, 2, 3, 4), f"{name}: unknown type {raw[0]}")
    return raw[0], rlp_list(unrlp(raw[1:], name), name)


def parse_transaction(raw, name="transaction"):
    kind, items = split_type(raw, name)
    fields = TX_FIELDS[kind].split()
    tx = dict(zip(fields, rlp_list(items, name, len(fields))), type=kind, items=items)
    for field in set(fields) - {"to", "data", "access_list", "blob_hashes", "authorizations"}:
        tx[field] = rlp_uint(tx[field], f"{name}: {field}")
    tx["to"] = rlp_bytes(tx["to"], f"{name}: to", 0, 20) or None
    return tx


def signs_chain_id(tx):
    return tx["type"] != 0 or tx["v"] >= 35


def signer(tx, chain_id):
    v = tx["v"]
    if tx["type"]:
        signed = bytes([tx["type"]]) + rlp.encode(tx["items"][:-3])
        need(tx["chain_id"] == chain_id, "transaction: signed for another chain id")
    elif v in (27, 28):
        signed, v = rlp.encode(tx["items"][:6]), v - 27
    else:
        need(v >= 35 and (v - 35) // 2 == chain_id, "transaction: signed for another chain id")
        signed, v = rlp.encode(tx["items"][:6] + [chain_id, b"", b""]), (v - 35) % 2
    need(v in (0, 1), "transaction: no valid parity of the signature")
    try:  # libsecp256k1 recovers from a high s too, and refuses r and s that are 0 or not below the curve's order
        signature = tx["r"].to_bytes(32, "big") + tx["s"].to_bytes(32, "big") + bytes([v])
        key = PublicKey.from_signature_and_message(signature, keccak(signed), hasher=None)
    except Exception:
        raise Refused("transaction: no key made this signature") from None
    return keccak(key.format(compressed=False)[1:])[12:]


def parse_receipt(raw, tx_type, name="receipt"):
    """Success (None before Byzantium), cumulative gas, logs."""
    kind, items = split_type(raw, name)
    need(kind == tx_type, f"{name}: of another type than the transaction")
    status, gas, bloom, logs = rlp_list(items, name, 4)
    need(status in (b"", b"\x01") or len(rlp_bytes(status, name)) == 32, f"{name}: neither a status nor a state root")
    rlp_bytes(bloom, f"{name}: bloom", 256)
    return {b"": False, b"\x01": True}.get(status), rlp_uint(gas, f"{name}: gas"), rlp_list(logs, f"{name}: logs")


# ---- 5. movements: each gives (from, to, amount, token id, contract, operator) -------------------------------------

def of_transaction(kind, tx, sender, success):
    creates, value = tx["to"] is None and success is not False, tx["value"]
    transfers = success is not False and value > 0 and tx["to"] is not None
    if kind == "native_transfer":
        need(transfers, "movement: the transaction is no native transfer")
        return sender, tx["to"], value, None, None, None
    if kind == "contract_creation":
        need(creates, "movement: the transaction creates no contract")
        return sender, keccak(rlp.encode([sender, tx["nonce"]]))[12:], value, None, None, None
    need(not transfers and not creates, "movement: the transaction is a transfer or a creation")
    return sender, tx["to"], 0, None, None, None


class Log:
    """A log of a receipt: its parts, and the words that its events are made of."""

    def __init__(self, item):
        contract, topics, data = rlp_list(item, "movement: log", 3)
        self.contract = rlp_bytes(contract, "movement: log address", 20)
        self.data = rlp_bytes(data, "movement: log data")
        topics = rlp_list(topics, "movement: topics", 0, 1, 2, 3, 4)
        self.topics = [rlp_bytes(topic, "movement: topic", 32) for topic in topics]
        self.signature, self.count = (self.topics or [b""])[0], len(topics)

    def word(self, at):  # the word of the data that begins at a byte
        need(at + 32 <= len(self.data), "movement: the log's data is too short")
        return self.data[at:at + 32]

    def number(self, at):
        return int.from_bytes(self.word(at), "big")


def is_account(word):
    return word[:12] == bytes(12)


def account(word):
    need(is_account(word), "movement: a word of the log is no address")
    return word[12:]


def is_large(word):  # an address, and no small number
    return is_account(word) and (word == bytes(32) or word[12:20] != bytes(8))


def words_of(log):
    """Kind, rank, and the words of from, to, and amount or id: of an event that shows one movement."""
    signature, count, topics, word = log.signature, log.count, log.topics, log.word
    zero, none = bytes(32), "movement: the log shows no movement"
    if signature == TRANSFER:
        need(log.contract != NATIVE_LOG, "movement: the log of a native transfer is no token's")
        if count == 4:
            return "erc721_transfer", 0, topics[1], topics[2], topics[3]
        if count == 3:
            return "erc20_transfer", 0, topics[1], topics[2], word(0)
        if count == 1:
            kind = "erc721_transfer" if log.contract == KITTIES else "erc20_transfer"
            return kind, 0, word(0), word(32), word(64)
        of_value = is_large(word(0)) and is_large(word(32))
        of_side = is_large(topics[1]) and is_large(word(0))
        if of_value and not of_side:
            return "erc721_transfer", 0, word(0), word(32), topics[1]
        need(of_side and not of_value and topics[1] == word(0), "movement: the log can be read in two ways")
        return "erc20_transfer", 0, word(0), word(0), word(32)
    if signature == ERC20_TRANSFER and count != 2:
        if count == 1:
            return "erc20_transfer", 1, word(0), word(32), word(64)
        return "erc20_transfer", 1, topics[1], topics[2], topics[3] if count == 4 else word(0)
    if signature == ERC721_TRANSFER and count != 2:
        if count == 1:
            return "erc721_transfer", 1, word(0), word(32), word(64)
        return "erc721_transfer", 1, topics[1], topics[2], topics[3] if count == 4 else word(0)
    if signature == TRANSFER_WITH_DATA:
        if count == 3 or count == 4 and len(log.data) == 32:
            return "erc20_transfer", 2, topics[1], topics[2], word(0)
        if count == 4:
            need(log.number(0) == 32, none)
            return "erc20_transfer", 2, topics[1], topics[2], topics[3]
        need(count == 1 or len(log.data) == 96, none)
        return "erc20_transfer", 2, word(0), word(32), word(64)
    if signature in (MINT, BURN):
        need(count in (1, 2, 3), none)
        guy, value = (word(0), word(32)) if count == 1 else (topics[1], topics[2] if count == 3 else word(0))
        return "erc20_transfer", 3, *((guy, zero) if signature == BURN else (zero, guy)), value
    need(log.contract == PUNKS, none)
    if signature == PUNK_TRANSFER and count == 3:
        return "erc721_transfer", 1, topics[1], topics[2], word(0)
    if signature == PUNK_BOUGHT and count == 4 and topics[3] != zero:
        return "erc721_transfer", 1, topics[2], topics[3], topics[1]
    need(signature == PUNK_ASSIGN and count == 2, none)
    return "erc721_transfer", 1, zero, topics[1], word(0)


def movement_of(log):
    """Kind, rank, contract, from, to, amount or id; None where the log shows no single movement of a token."""
    try:
        kind, rank, source, target, value = words_of(log)
        return kind, rank, log.contract, account(source), account(target), int.from_bytes(value, "big")
    except Refused:
        return None


def is_repetition(logs, at):
    """Whether the log repeats a movement that another log of the receipt shows."""
    moves = [movement_of(Log(item)) for item in logs]
    kind, rank, *what = moves[at]
    alike = [move for move in moves if move and move[0] == kind and list(move[2:]) == what]
    most = max((sum(move[1] == lower for move in alike) for lower in range(rank)), default=0)
    before = sum(move is not None and move[:2] == (kind, rank) and list(move[2:]) == what for move in moves[:at])
    sides = {(move[0], move[1]) for move in moves if move and list(move[2:5]) == what[:3]}
    if kind == "erc721_transfer":
        return before < most or bool(sides & {("erc20_transfer", 0), ("erc20_transfer", 1)})
    return before < most or rank >= 2 and any(other == "erc721_transfer" for other, _ in sides)


def of_log(kind, logs, at, sub_index):
    """What the log shows: from, to, amount, token id, contract, operator."""
    log = Log(logs[at])
    topics, number = log.topics, log.number

    def signed(*signatures):
        need(log.signature in signatures, f"movement: the log is no {kind}")

    if kind in ("erc20_transfer", "erc721_transfer"):
        shown, _, source, target, value = words_of(log)
        need(shown == kind, f"movement: the log is no {kind}")
        source, target, value = account(source), account(target), int.from_bytes(value, "big")
        need(not is_repetition(logs, at), "movement: another log of the receipt shows it")
        of_token = kind == "erc721_transfer"
        return source, target, 1 if of_token else value, value if of_token else None, log.contract, None
    if kind == "erc6909_transfer":
        signed(ERC6909_TRANSFER)
        need(log.count == 4, "movement: the log is no erc6909_transfer")
        source, target, operator = account(topics[1]), account(topics[2]), account(log.word(0))
        return source, target, number(32), int.from_bytes(topics[3], "big"), log.contract, operator
    if kind == "erc1155_transfer":
        signed(TRANSFER_SINGLE, TRANSFER_BATCH)
        need(log.count == 4, "movement: the log is no erc1155_transfer")
        source, target = account(topics[2]), account(topics[3])
        if log.signature == TRANSFER_SINGLE:
            need(sub_index == 0, "place: sub_index of a single transfer is not 0")
            return source, target, number(32), number(0), log.contract, None
        ids, amounts = number(0), number(32)
        need(number(ids) == number(amounts), "movement: the batch's arrays differ in length")
        need(sub_index < number(ids), "movement: sub_index is beyond the batch")
        number(ids + 32 * number(ids)), number(amounts + 32 * number(ids))  # the last items are there
        amount, token = number(amounts + 32 + 32 * sub_index), number(ids + 32 + 32 * sub_index)
        return source, target, amount, token, log.contract, None
    signed(DEPOSIT if kind == "wrap" else WITHDRAWAL)
    need(log.count == 2, f"movement: the log is no {kind}")
    source, target = (bytes(20), account(topics[1])) if kind == "wrap" else (account(topics[1]), bytes(20))
    return source, target, number(0), None, log.contract, None


def native_log(log):
    """From, to and amount of a well-formed log of EIP-7708; None of any other log."""
    contract, topics, data = log
    if contract != NATIVE_LOG or len(topics) != 3 or topics[0] != TRANSFER or len(data) != 32:
        return None
    if topics[1][:12] != bytes(12) or topics[2][:12] != bytes(12):
        return None
    return topics[1][12:], topics[2][12:], int.from_bytes(data, "big")


def of_native_log(logs, place, header, tx, sender, success):
    need(header["native_logs"], "movement: the header does not show EIP-7708")
    for log in logs:
        contract, topics, data = rlp_list(log, "movement: log", 3)
        rlp_bytes(contract, "movement: log address", 20), rlp_bytes(data, "movement: log data")
        for topic in rlp_list(topics, "movement: topics", 0, 1, 2, 3, 4):
            rlp_bytes(topic, "movement: topic", 32)
    found = native_log(logs[place])
    need(found, "movement: the log is no log of a native transfer")
    recipient = tx["to"] or keccak(rlp.encode([sender, tx["nonce"]]))[12:]
    pays = success is not False and tx["value"] > 0 and recipient != sender
    is_first = all(native_log(log) is None for log in logs[:place])
    need(not (pays and is_first and found == (sender, recipient, tx["value"])),
         "movement: the log is that of the transaction's own payment")
    return (*found, None, None, None)


def of_withdrawal(items, sub_index, chain_id):
    need(sub_index < len(items), "movement: the block has no withdrawal at sub_index")
    name = "movement: withdrawal"
    index, validator, target, gwei = rlp_list(unrlp(items[sub_index], name), name, 4)
    rlp_uint(index, name), rlp_uint(validator, name)
    token, divisor = WITHDRAWAL_TOKENS.get(chain_id, (None, 1))
    return None, rlp_bytes(target, name, 20), rlp_uint(gwei, name) * 10**9 // divisor, None, token, None


def of_fees(transactions, receipts, header, chain_id):
    need(len(transactions) == len(receipts), "movement: not as many receipts as transactions")
    base_fee, before, total, signs = header["base_fee"], 0, 0, False
    for index, (raw, receipt) in enumerate(zip(transactions, receipts)):
        tx = parse_transaction(raw, f"movement: transaction {index}")
        signer(tx, chain_id)
        gas = parse_receipt(receipt, tx["type"], f"movement: receipt {index}")[1]
        price = tx["gas_price"] if tx["type"] < 2 else min(tx["max_fee"], base_fee + tx["max_priority_fee"])
        total += (gas - before) * (price - base_fee)
        before = gas
        signs = signs or signs_chain_id(tx)
    return (None, header["beneficiary"], total, None, None, None), signs


# ---- the bundle ----------------------------------------------------------------------------------------------------

def read_header(files, block):  # 2
    raw = file(files, "header.rlp")
    need("0x" + keccak(raw).hex() == get(block, "hash"), "header: its hash is not alert.block.hash")
    items = rlp_list(unrlp(raw, "header"), "header")
    need(len(items) >= 15, "header: too short")
    number, seconds = rlp_uint(items[8], "header: number"), rlp_uint(items[11], "header: timestamp")
    need(integer(get(block, "number"), 64, "block.number") == number, "header: alert.block.number is another")
    need(seconds < 253402300800, "header: the timestamp is beyond the year 9999")
    time = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)
    need(get(block, "timestamp") == time.isoformat()[:19] + "Z", "header: alert.block.timestamp is another")
    return {
        "transactions": rlp_bytes(items[4], "header: transactions root", 32),
        "receipts": rlp_bytes(items[5], "header: receipts root", 32),
        "beneficiary": rlp_bytes(items[2], "header: beneficiary", 20),
        "base_fee": rlp_uint(items[15], "header: base fee") if len(items) > 15 else 0,
        "native_logs": len(items) >= 23,  # EIP-7708
        "withdrawals": rlp_bytes(items[16], "header: withdrawals root", 32) if len(items) > 16 else None,
    }


def read_transaction(files, header, claim, chain_id):  # 4
    index = integer(get(claim, "index"), 32, "tx.index")
    found = []
    for name in ("transactions", "receipts"):
        items, _ = trie_items(files, f"{name}.nodes", header[name])
        need(list(items) == [index], f"{name}.nodes: they do not show the item at alert.tx.index and no other")
        found.append(items[index])
    need("0x" + keccak(found[0]).hex() == get(claim, "hash"), "transaction: its hash is not alert.tx.hash")
    tx = parse_transaction(found[0])
    sender = signer(tx, chain_id)
    need(address(get(claim, "from"), "tx.from") == sender, "transaction: alert.tx.from did not sign it")
    need(address(get(claim, "to"), "tx.to") == tx["to"], "transaction: alert.tx.to is another")
    success, _, logs = parse_receipt(found[1], tx["type"])
    need(get(claim, "success") is success, "receipt: alert.tx.success is not what the receipt says")
    return tx, sender, success, logs


def checksummed(account):  # EIP-55
    digits, marks = account.hex(), keccak(account.hex().encode()).hex()
    return "0x" + "".join(d.upper() if m in "89abcdef" else d for d, m in zip(digits, marks))


def in_units(amount, decimals):  # 8
    digits = str(amount).rjust(decimals + 1, "0")
    whole, fraction = digits[:len(digits) - decimals], digits[len(digits) - decimals:].rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def date_of_block(moment):
    return int(datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp())


def names(value, wanted, name):
    need(type(value) is dict and set(value) == set(wanted.split()), f"sides: {name} does not have the names it must have")
    return value


def check_version(version, name):
    names(version, "published published_given imported_at source format sha256", name)
    date(version["published"], f"{name}.published"), date(version["imported_at"], f"{name}.imported_at")
    need(type(version["published_given"]) is bool, f"sides: {name}.published_given is not true or false")
    text(version["source"], f"{name}.source"), text(version["format"], f"{name}.format")
    sha256 = text(version["sha256"], f"{name}.sha256", null=True)
    need(sha256 is None or re.fullmatch("[0-9a-f]{64}", sha256), f"sides: {name}.sha256 is no SHA-256")


def check_entry(entry, block_time):
    names(entry, "list kind label entity programs matched designation listed_from delisted_on brought_by in_force", "an entry")
    text(entry["list"], "list"), text(entry["label"], "label", null=True), text(entry["entity"], "entity", null=True)
    texts(entry["programs"], "programs")
    need(text(entry["kind"], "kind") in LIST_KINDS, "sides: an entry is of an unknown kind")
    need(type(entry["matched"]) is bool, "sides: matched is not true or false")
    check_version(entry["brought_by"], "brought_by")
    if entry["in_force"] is not None:
        check_version(entry["in_force"], "in_force")
    begin, end = date(entry["listed_from"], "listed_from", null=True), date(entry["delisted_on"], "delisted_on", null=True)
    if begin is not None and block_time < begin:
        fitting = ("before",)
    elif end is not None and block_time >= end:
        fitting = ("after",)
    else:
        fitting = ("listed", "unknown") if begin is None else ("listed",)
    need(text(entry["designation"], "designation") in fitting, "sides: a designation does not fit its dates")


def is_entry(said, entry):
    """Whether an object like alert.watched says what an entry says."""
    brought, version = entry["brought_by"], get(said, "version")
    same = all(get(said, name) == entry[name] for name in ("label", "list", "kind", "entity", "programs", "designation"))
    published = brought["published"] if brought["published_given"] else None
    same &= get(version, "published") == published
    return same and all(get(version, name) == brought[name] for name in ("source", "sha256"))


def check_sides(sides, alert, expected, watched, block_time):  # 11
    expected = [(role, account) for role, account in expected if account is not None]
    need(type(sides) is list and len(sides) == len(expected), "sides: they are not those of the movement")
    for side, (role, account) in zip(sides, expected):
        names(side, "role address entries", "a side")
        need(side["role"] == role and address(side["address"], "address") == account, "sides: another side than the movement's")
        need(type(side["entries"]) is list, "sides: the entries are no list")
        for entry in side["entries"]:
            check_entry(entry, block_time)
        if account != watched:
            continue
        entries, every = side["entries"], alert.get("watched_all")
        need(entries and all(entry["matched"] for entry in entries), "sides: the watched side has no entry, or one that did not match")
        need(is_entry(get(alert, "watched"), entries[0]), "sides: alert.watched says otherwise than the first entry")
        if len(entries) == 1:
            need(every is None, "sides: watched_all is there for one entry")
        else:
            need(type(every) is list and len(every) == len(entries), "sides: watched_all has not as many entries")
            need(all(map(is_entry, every, entries)), "sides: watched_all says otherwise than the entries")


def check_claims(files):
    """2 to 12. Gives the names of the node files that belong to the bundle."""
    evidence = parse_json(file(files, "evidence.json"))
    need(type(evidence) is dict and set(evidence) == TOP, "json: evidence.json does not have the names it must have")
    need(evidence["format"] == "bolo-evidence-1", "format: not bolo-evidence-1")
    alert, first_log = evidence["alert"], evidence["first_log_index"]
    chain_id = integer(get(alert, "chain_id"), 64, "chain_id")
    sub_index = integer(get(alert, "sub_index"), 32, "sub_index")
    kind, plane, claim = get(alert, "kind"), get(alert, "plane"), get(alert, "tx")

    # 6. Place
    need(type(plane) is str and plane in PLANES, "place: unknown plane")
    kinds, plane_number = PLANES[plane]
    need(type(kind) is str and kind in kinds, "place: the kind is not of the plane")
    log_index, trace = get(alert, "log_index"), get(alert, "trace_address")
    need((log_index is not None) == (plane == "logs"), "place: log_index is null but in logs")
    by_native_log = plane == "logs" and kind == "internal_transfer"
    need((trace is not None) == (plane == "traces") or by_native_log, "place: trace_address is null but in traces")
    if trace is not None:
        need(type(trace) is list, "json: trace_address is not a list")
        trace = [integer(word, 32, "trace_address") for word in trace]
    details = ("call", "create", "selfdestruct") if by_native_log and trace is not None else (None,)
    need(get(alert, "detail") in details, "place: detail does not fit")
    need(sub_index == 0 or kind in ("erc1155_transfer", "withdrawal"), "place: sub_index is not 0")
    need((claim is None) == (kind in ("withdrawal", "fee_recipient")), "place: tx does not fit the kind")
    need((first_log is None) == (claim is None), "place: first_log_index is null exactly where tx is")

    # 2 to 5
    header = read_header(files, get(alert, "block"))
    source, target = address(get(alert, "from"), "from"), address(get(alert, "to"), "to")
    amount, token = decimal(get(alert, "amount"), "amount"), get(alert, "token_id")
    token = None if token is None else decimal(token, "token_id")
    contract = address(get(alert, "asset", "contract"), "asset.contract")
    words, signed = [], False
    if claim is not None:
        integer(first_log, 32, "first_log_index")
        need(first_log == 0 or get(alert, "tx", "index") != 0, "place: first_log_index is not 0 at the first transaction")
        tx, sender, success, logs = read_transaction(files, header, claim, chain_id)
        signed = signs_chain_id(tx)
    if plane == "traces":
        words = trace
        need(source == target or not header["native_logs"], "movement: logs show what moved to another account")
        proven = source, target, amount, None, None, None
    elif plane == "logs":
        words = [integer(log_index, 32, "log_index")]
        need(0 <= log_index - first_log < len(logs), "movement: the receipt has no such log")
        place = log_index - first_log
        if by_native_log:
            proven = of_native_log(logs, place, header, tx, sender, success)
        else:
            proven = of_log(kind, logs, place, sub_index)
    elif kind == "withdrawal":
        need(header["withdrawals"] is not None, "header: no withdrawals root")
        proven = of_withdrawal(all_items(files, "withdrawals.nodes", header["withdrawals"]), sub_index, chain_id)
    elif kind == "fee_recipient":
        shown = [all_items(files, f"{name}.nodes", header[name]) for name in ("transactions", "receipts")]
        proven, signed = of_fees(*shown, header, chain_id)
    else:
        proven = of_transaction(kind, tx, sender, success)
    for name, said, is_so in zip(("from", "to", "amount", "token_id", "asset.contract"),
                                 (source, target, amount, token, contract), proven):
        need(said == is_so, f"movement: alert.{name} is not what is proven")
    operator = proven[5]
    parties = [(role, party) for role, party in (("from", source), ("to", target), ("operator", operator)) if party]
    if operator or "parties" in alert:
        listed = get(alert, "parties")
        need(type(listed) is list, "json: parties is not a list")
        for party in listed:
            need(type(party) is dict and set(party) == {"role", "address"}, "json: a party is not a role and an address")
        said = [(party["role"], address(party["address"], "parties.address")) for party in listed]
        need(said == parties, "movement: alert.parties are not the sides and the operator")

    # 7. Watched
    watched = address(get(alert, "watched", "address"), "watched.address")
    sides = (watched == source, watched == target)
    direction = {(True, False): "out", (False, True): "in", (True, True): "self"}.get(sides)
    direction = direction or ("party" if watched == operator else None)
    need(watched is not None and direction, "watched: the watched address is not named by the movement")
    need(get(alert, "watched", "direction") == direction, "watched: the direction is another")
    other = {"out": target, "in": source}.get(direction)
    need(address(get(alert, "counterparty"), "counterparty") == other, "watched: the counterparty is another")

    # 8. Asset
    asset = f"slip44:{COIN_TYPES[chain_id]}" if chain_id in COIN_TYPES else "native:coin"
    if contract is not None:
        asset = f"{kind[:-9] if kind.endswith('_transfer') else 'erc20'}:{checksummed(contract)}"
    need(get(alert, "asset", "id") == f"eip155:{chain_id}/{asset}", "asset: alert.asset.id is another")

    fungible = contract is None or kind in ("erc20_transfer", "wrap", "unwrap", "withdrawal")
    decimals = get(alert, "asset", "decimals")
    native = 6 if COIN_TYPES.get(chain_id) == "195" else 18
    need(contract is not None or decimals == native, "asset: the decimals are not those of the native currency")
    units = None
    if decimals is not None:
        integer(decimals, 8, "asset.decimals")
        units = in_units(amount, decimals) if fungible else None
    need(get(alert, "amount_display") == units, "asset: alert.amount_display is not the amount")
    text(get(alert, "asset", "symbol"), "asset.symbol", null=True)
    for name, words_of in (("status", STATUSES), ("severity", SEVERITIES)):
        need(text(get(alert, name), name) in words_of, f"json: {name} is another word")

    # 9. Id (all is known to fit its width by now)
    index = 0xFFFFFFFF if claim is None else claim["index"]
    identity = chain_id.to_bytes(8, "big") + bytes.fromhex(get(alert, "block", "hash")[2:]) + index.to_bytes(4, "big")
    words = [len(words), *words, sub_index]
    identity += bytes([plane_number]) + b"".join(word.to_bytes(4, "big") for word in words) + watched
    need(get(alert, "id") == "0x" + keccak(identity).hex(), "id: alert.id is not that of this movement")

    # 10
    proves, proof = ("transaction", "unproven") if plane == "traces" else ("movement", "proven")
    need(evidence["proves"] == proves, "proof: `proves` does not fit the plane")
    need(get(alert, "proof") == proof, "proof: alert.proof does not fit the plane")

    # 11, 12
    block_time = date_of_block(get(alert, "block", "timestamp"))
    check_sides(evidence["sides"], alert, [("from", source), ("to", target), ("operator", operator)], watched, block_time)
    limits = set(RECORDED) | ({"alert.chain_id"} if not signed else set())
    limits |= {"alert.amount_display", "alert.asset.decimals"} if contract is not None else set()
    limits |= {"alert.kind"} if kind in ("wrap", "unwrap") else set()
    if claim is not None and claim["index"] > 0:
        limits |= {"first_log_index"} | ({"alert.log_index"} if plane == "logs" else set())
    limits |= set(TRACED) if plane == "traces" else set()
    limits |= {"alert.detail", "alert.trace_address"} if by_native_log else set()
    need(evidence["not_proven"] == sorted(limits), "limits: not_proven is another list")
    nodes = {"withdrawals.nodes"} if plane == "withdrawals" else {"transactions.nodes", "receipts.nodes"}
    return nodes


def check(files, seal=True):
    """Raises Refused unless the bundle {name: bytes} proves its alert. `seal=False`: without its SHA256SUMS."""
    try:
        nodes = check_claims(files)
    except (RecursionError, MemoryError):
        raise Refused("json: nested too deeply, or too large") from None
    if not seal:
        return
    known = {"evidence.json", "header.rlp", "README.txt"} | TOOLS | nodes  # 1
    for name in sorted(known | {"SHA256SUMS"}):
        file(files, name)
    for name in files:
        need(name in known or name == "SHA256SUMS", f"files: {name!a:.80} does not belong to this bundle")
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(known))
    need(files["SHA256SUMS"] == sums.encode(), "sums: SHA256SUMS is not what the files give")


def read_zip(path):
    """Strictly by the layout of docs/evidence.md: zipfile takes archives with other bytes around and between the files."""
    with open(path, "rb") as stream:
        data = stream.read(LARGEST + 1)
    need(len(data) <= LARGEST, "files: larger than any bundle")

    def part(at, length, starts=b""):
        need(at + length <= len(data) and data.startswith(starts, at), f"zip: no archive that can be read, at byte {at}")
        return data[at : at + length]

    end = len(data) - 22
    need(end >= 0, "zip: too short")
    disks, count, entries, size, directory, comment = struct.unpack("<4xLHHLLH", part(end, 22, b"PK\x05\x06"))
    need(disks == 0 and count == entries and directory + size == end and comment == 0, "zip: the end record does not fit")
    files, at, central, left = {}, 0, directory, LARGEST
    for _ in range(count):
        header, local = part(central, 46, b"PK\x01\x02"), part(at, 30, b"PK\x03\x04")
        method, crc, packed, unpacked, length, extras, offset = struct.unpack("<10xH4xLLLH6s6xL", header)
        name = part(central + 46, length)
        need(extras == bytes(6), f"zip: {name!a:.80} has extra fields or a comment")
        same = local[4:] == header[6:32] and part(at + 30, length) == name
        need(offset == at and same, f"zip: the two headers of {name!a:.80} differ, or bytes are between the files")
        content = part(at + 30 + length, packed)
        if method == 8:
            decoder = zlib.decompressobj(-15)
            content = decoder.decompress(content, left + 1)
            need(len(content) <= left, "files: larger than any bundle")
            need(decoder.eof and not decoder.unused_data, f"zip: bytes are behind the end of {name!a:.80}, or it is cut off")
        else:
            need(method == 0 and packed == unpacked, f"zip: {name!a:.80} is not packed by a known method")
        need(len(content) == unpacked and zlib.crc32(content) == crc, f"zip: {name!a:.80} is damaged")
        left -= len(content)
        need(left >= 0, "files: larger than any bundle")
        name = name.decode("utf-8", "backslashreplace")
        need(name not in files, f"files: {name!a:.80} is twice in the archive")
        files[name] = content
        at, central = at + 30 + length + packed, central + 46 + length
    need(at == directory and central == end, "zip: bytes belong to no file of the archive")
    return files


def read_bundle(path):
    files = {}
    try:
        if stat.S_ISREG(os.stat(path).st_mode):
            return read_zip(path)
        for name in os.listdir(path):
            inner = os.path.join(path, name)
            need(stat.S_ISREG(os.lstat(inner).st_mode), f"files: {name!a:.80} is not a plain file")
            with open(inner, "rb") as stream:
                files[name] = stream.read()
    except OSError as error:
        raise Refused(f"files: cannot be read ({error.strerror})") from None
    except zlib.error as error:
        raise Refused(f"zip: cannot be unpacked ({error})") from None
    return files


def describe(files):
    """What a bundle that holds proves, in one line."""
    alert = json.loads(files["evidence.json"])["alert"]
    where = f"block {alert['block']['number']} {alert['block']['hash']}"
    if "alert.chain_id" in json.loads(files["evidence.json"])["not_proven"]:
        where += f" (nothing proves that the chain is {alert['chain_id']})"
    if alert["plane"] == "traces":
        return f"transaction {alert['tx']['hash']} in {where} (not the {alert['kind']} in it, which no root covers)"
    item = alert["asset"]["id"] + (f"/{alert['token_id']}" if alert["token_id"] else "")
    return f"{alert['kind']} of {alert['amount']} {item} from {alert['from']} to {alert['to']} in {where}"


def main(folders):
    sys.stdout.reconfigure(errors="backslashreplace")
    good = bool(folders)
    for folder in folders:
        try:
            files = read_bundle(folder)
            check(files)
            print(f"{folder}: proven: {describe(files)}")
        except Refused as reason:
            good = False
            print(f"{folder}: REFUSED: {reason}")
    return 0 if good else 1


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
