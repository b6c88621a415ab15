#!/usr/bin/env python3
"""Makes a database of many alerts, skewed as real ones are, to measure queries on: alerts.py FILE [ALERTS]

A third of the alerts is one exchange's, a third falls to twenty addresses, the rest to some five thousand on twelve lists. Twenty
alerts a block, 5 % of the blocks orphaned, a fifth noise. Of each thing that can be asked for there is a rare value, whose few
alerts are among the oldest: the worst case of a query for the newest. The indexes are made when four fifths of the rows are there and
take up the rest row by row: made at the end, every page would be full, and every commit would have to split what it touches. Prints the size of each table and index.
"""
import os
import sqlite3
import sys
import time

PER_BLOCK = 20
ADDRESSES = 400_000
WATCHED = 5_000
SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "schema.sql")
GENESIS = 1_438_269_973
# When the lists were published: 2016-01-01 the one with the rare address, 2017-07-14 all others.
LAST_LIST, OTHER_LISTS = 1_451_606_400, 1_500_000_000

# Stands in for chance: the same for the same row.
MIX = "((({id} * 2654435761) >> 7) & 0xfffffff)"


def location(place: int) -> bytes:
    log = place % 3
    words = [place * 7] if log else []
    return (
        place.to_bytes(4, "big")
        + bytes([1 if log else 0])
        + len(words).to_bytes(4, "big")
        + b"".join(word.to_bytes(4, "big") for word in words)
        + bytes(4)
    )


def main() -> None:
    path, alerts = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10_000_000
    blocks = alerts // PER_BLOCK
    head = blocks - blocks // 20
    began = time.time()
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(
        "PRAGMA application_id = 0x626f6c6f; PRAGMA user_version = 1; PRAGMA journal_mode = off; PRAGMA synchronous = off;"
        "PRAGMA cache_size = -6000000; PRAGMA temp_store = memory;"
    )
    schema = open(SCHEMA, encoding="utf-8").read()
    # Indexes come last: made at once, they take a tenth of the time.
    statements, kept = [], ""
    for line in schema.splitlines(keepends=True):
        kept += line
        if sqlite3.complete_statement(kept):
            statements.append(kept)
            kept = ""
    code = lambda statement: "\n".join(x for x in statement.splitlines() if not x.startswith("--")).strip()
    later = [s for s in statements if code(s).startswith("CREATE INDEX")]
    for statement in statements:
        if statement not in later:
            db.execute(statement)
    db.execute("BEGIN")
    db.executemany("INSERT INTO meta VALUES (?, ?)", [
        ("chain_id", "1"), ("finality_rule", "tags safe/finalized"), ("watch_next", str(head + 1)), ("finalized", str(head - 64)),
        ("head", str(head)), ("watch_revision", "1"),
    ])
    db.execute("INSERT INTO endpoints (id, host) VALUES (1, 'node.example')")
    db.execute(f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ADDRESSES}) "
               "INSERT INTO addresses SELECT i, randomblob(20) FROM n")
    db.executemany("UPDATE addresses SET address = ? WHERE id = ?", [
        # The exchange, a rare watched address, a rare counterparty, a rare token, a usual token.
        (bytes([0xe0] * 20), 1), (bytes([0xa0] * 20), WATCHED), (bytes([0xc0] * 20), ADDRESSES), (bytes([0xd0] * 20), ADDRESSES - 1),
        (bytes([0xdd] * 20), 300_001), (bytes([0xcc] * 20), 10_001),
    ])
    for number in range(12):
        db.execute("INSERT INTO lists VALUES (?, ?, ?)", (number + 1, f"list{number + 1}", number % 5))
        published = LAST_LIST if number == 11 else OTHER_LISTS
        db.execute("INSERT INTO list_versions VALUES (?, ?, ?, 1, 1, 'file', 'plain', NULL, 1, 0, NULL)", (number + 1, number + 1, published))
        db.execute("INSERT INTO revisions VALUES (1, ?)", (number + 1,))
    # The last list has the rare address only.
    db.execute(f"INSERT INTO watch_entries SELECT id, iif(id = {WATCHED}, 12, 1 + id % 11), id, "
               f"CASE id WHEN 1 THEN 'Exchange' WHEN {WATCHED} THEN 'Rare wallet' ELSE 'Wallet ' || id END, "
               f"iif(id = {WATCHED}, 'Rare entity', 'Entity ' || (id % 300)), '[\"SDN\"]', NULL, NULL, NULL, NULL, "
               f"iif(id = {WATCHED}, 12, 1 + id % 11), NULL, 0, '[]', NULL, NULL FROM addresses WHERE id <= {WATCHED}")
    db.execute("INSERT INTO watch_spans SELECT e.address_id, 1, 9223372036854775807, e.id || '/' || l.kind || '//' FROM watch_entries e JOIN lists l ON l.id = e.list_id")
    db.execute("INSERT INTO tokens SELECT id, 'TOK' || (id - 300000), 6 + 12 * (id % 2), 0 FROM addresses "
               f"WHERE id BETWEEN 300001 AND 302000 OR id = {ADDRESSES - 1}")
    db.execute("UPDATE tokens SET symbol = 'USDC' WHERE address_id = 300001")
    db.execute(f"UPDATE tokens SET symbol = 'RARE' WHERE address_id = {ADDRESSES - 1}")
    # An orphaned block shares its number with the one before it.
    mix = MIX.format(id="i")
    db.execute(f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {blocks}) "
               "INSERT INTO blocks SELECT i, i - i / 20, randomblob(32), randomblob(32), "
               f"{GENESIS} + 12 * (i - i / 20), CASE WHEN i % 20 = 0 THEN 3 WHEN i > {blocks} - 32 THEN 0 "
               f"WHEN i > {blocks} - 64 THEN 1 ELSE 2 END, 1, 43, 1, 1, 1, 1000 FROM n")
    db.execute("INSERT INTO coverage SELECT min(number), max(number), 1, 43, 1, 1 FROM (SELECT number, number - row_number() "
               "OVER (ORDER BY number) AS run FROM blocks WHERE status <> 3) GROUP BY run")
    db.execute("CREATE TEMP TABLE places (i INTEGER PRIMARY KEY, location BLOB)")
    db.executemany("INSERT INTO places VALUES (?, ?)", [(i, location(i)) for i in range(PER_BLOCK)])
    db.execute("COMMIT")
    row = f"((b.id - 1) * {PER_BLOCK} + p.i + 1)"
    rare = f"{row} BETWEEN 1000 AND 1004"
    mix = MIX.format(id=row)
    other = f"({WATCHED} + 1 + {mix} % {290_000})"
    watched = f"CASE WHEN {rare} THEN {WATCHED} WHEN {row} % 3 = 0 THEN 1 WHEN {row} % 3 = 1 THEN 2 + {mix} % 20 " \
              f"ELSE 22 + {mix} % ({WATCHED} - 22) END"
    side = f"CASE WHEN {rare} THEN {ADDRESSES} WHEN {mix} % 17 = 0 THEN 10001 ELSE {other} END"
    out = f"{mix} % 2"
    # One in a thousand is severe; what touches the own wallets of two lists is no alert.
    severity = f"CASE WHEN {rare} OR {mix} % 1000 = 7 THEN 3 ELSE {mix} % 3 END"
    triage = f"CASE WHEN {rare} AND p.i % 2 THEN 4 WHEN ({watched}) % 11 IN (4, 9) THEN 5 ELSE ({mix} % 5 = 0) END"
    log = "(p.i % 3 > 0)"
    # The other side, as the store works it out.
    other_side = f"CASE WHEN {rare} THEN NULL ELSE {side} END"
    for first, last in ((0, blocks * 4 // 5), (blocks * 4 // 5, blocks)):
        each = f"FROM blocks b CROSS JOIN places p WHERE b.id > {first} AND b.id <= {last}"
        db.execute("BEGIN")
        db.execute(f"INSERT INTO transactions SELECT {row}, b.id, p.i, randomblob(32), {other}, {other}, 1, p.i * 7 {each}")
        db.execute(f"INSERT INTO activities SELECT {row}, b.id, p.location, {row}, CASE WHEN {rare} THEN 4 WHEN {log} THEN 5 ELSE {mix} % 2 END, "
                   f"iif({out}, {side}, {watched}), iif({out}, {watched}, {side}), {log}, "
                   f"CASE WHEN NOT {log} THEN NULL WHEN {rare} THEN {ADDRESSES - 1} WHEN {mix} % 3 THEN 300001 ELSE 300002 + {mix} % 1999 END, "
                   f"CASE WHEN {rare} THEN '9' || printf('%.*c', 30, '0') ELSE ({mix} * 7919) || substr('000000000000', 1, {mix} % 12) END, NULL, b.number {each}")
        db.execute(f"INSERT INTO alerts SELECT {row}, randomblob(32), b.number, b.id, p.location, CASE WHEN {rare} THEN 3 ELSE {out} END, {row}, "
                   f"{watched}, {severity}, {triage}, '[]', 1000, NULL, {other_side}, 0 {each}")
        db.execute("INSERT INTO alert_entries SELECT a.id, 0, a.watched_id, 1, a.block_number, e.list_id, 1 FROM alerts a "
                   f"CROSS JOIN watch_entries e ON e.id = a.watched_id WHERE a.id > {first * PER_BLOCK} AND a.id <= {last * PER_BLOCK}")
        db.execute("COMMIT")
        print(f"rows of {last} blocks after {time.time() - began:.0f} s", flush=True)
        if last < blocks:
            for statement in later:
                db.execute(statement)
            print(f"indexes after {time.time() - began:.0f} s", flush=True)
    db.execute("PRAGMA journal_mode = wal")
    print(f"{os.path.getsize(path) / alerts:.1f} bytes an alert in all")


if __name__ == "__main__":
    main()
