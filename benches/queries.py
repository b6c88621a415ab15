#!/usr/bin/env python3
"""Measures each documented query on a database of alerts.py: queries.py BOLO FILE [RUNS [WORDS]]

Wall time of whole processes, with what they took of the CPU. In each round every query runs once, in turn, so that a busy minute of the
machine falls on all of them; a round before the first warms up. Beside them the floors: the process alone, and a query of a database
with nothing in it. With WORDS only the queries that have these words in them.
"""
import math
import os
import sqlite3
import subprocess
import sys
import tempfile
import time

address = lambda byte: "0x" + f"{byte:02x}" * 20
EXCHANGE, RARE, OTHER, OFTEN = address(0xE0), address(0xA0), address(0xC0), address(0xCC)


def main() -> None:
    bolo, path = sys.argv[1:3]
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 21
    words = sys.argv[4] if len(sys.argv) > 4 else ""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    one = lambda sql: db.execute(sql).fetchone()[0]
    top = one("SELECT max(number) FROM blocks")
    tx = one("SELECT '0x' || lower(hex(hash)) FROM transactions WHERE id = 123457")
    middle = one("SELECT '0x' || lower(hex(alert_id)) FROM alerts WHERE id = (SELECT max(id) / 2 FROM alerts)")
    severe = one("SELECT '0x' || lower(hex(alert_id)) FROM alerts WHERE severity = 3 ORDER BY block_number LIMIT 1 OFFSET 200")
    queries = [
        [], ["--order", "asc"], ["--limit", "500"], ["--after", middle], ["--after", middle, "--address", EXCHANGE],
        ["--address", EXCHANGE], ["--address", RARE], ["--address", RARE, "--triage", "all", "--status", "all"],
        ["--address", EXCHANGE, "--address", RARE], ["--counterparty", OFTEN], ["--counterparty", OTHER],
        ["--address", EXCHANGE, "--counterparty", OTHER], ["--address", EXCHANGE, "--counterparty", OFTEN],
        ["--asset", "USDC"], ["--asset", "RARE"], ["--asset", address(0xD0)], ["--asset", "native"], ["--asset", "eip155:1/slip44:60"],
        ["--asset", "TOK7"], ["--list", "list1"], ["--list", "list12"], ["--list", "list1", "--list", "list2"],
        ["--list", "list1", "--list", "list12"], ["--label", "exchange"], ["--label", "rare"], ["--label", "wallet"],
        ["--label", "wallet 77"], ["--entity", "entity 12"], ["--entity", "rare entity"], ["--kind", "erc20_transfer"],
        ["--kind", "self_destruct"], ["--kind", "native_transfer,transaction"], ["--kind", "wrap"],
        ["--direction", "in"], ["--direction", "party"], ["--direction", "self"], ["--direction", "in,party"],
        ["--status", "finalized"], ["--status", "orphaned"], ["--status", "pending"], ["--status", "safe", "--order", "asc"],
        ["--status", "all"], ["--severity", "severe"], ["--severity", "high"], ["--severity", "severe,high"],
        ["--triage", "unverified_token"], ["--triage", "zero_value"], ["--triage", "spoofed"], ["--triage", "all"],
        ["--tx", tx], ["--tx", "0x" + "11" * 32], ["--since", "2020-01-01"], ["--since", "2015-08-01", "--until", "2015-08-02"],
        ["--since", "7d"], ["--from-block", str(top // 2), "--to-block", str(top // 2 + 1000)],
        ["--from-block", "0", "--to-block", str(top), "--require-complete"], ["--to-block", "1000", "--address", EXCHANGE],
        ["--min-amount", "1"], ["--min-amount", "9" + "0" * 30], ["--min-amount", "1" + "0" * 70], ["--min-amount", "1.5"],
        ["--min-amount", "900000000000000000.5", "--asset", "RARE"],
        ["--address", EXCHANGE, "--kind", "self_destruct"], ["--address", RARE, "--kind", "erc20_transfer"],
        ["--list", "list1", "--asset", "USDC", "--direction", "in", "--severity", "high"],
        ["--address", EXCHANGE, "--asset", "TOK7", "--order", "asc"],
        ["--list", "list12", "--since", "2015-07-30", "--min-amount", "1"],
        ["--triage", "own"], ["--address", EXCHANGE, "--severity", "severe"], ["--after", severe], ["--explain", middle],
        ["--as-of", "2015-01-01"], ["--as-of", "2016-06-01"], ["--as-of", "2020-01-01"], ["--as-of", "2020-01-01", "--order", "asc"],
        ["--as-of", "2016-06-01", "--address", EXCHANGE], ["--as-of", "2020-01-01", "--list", "list12"],
    ]
    folder = tempfile.TemporaryDirectory()
    empty = os.path.join(folder.name, "empty.db")
    subprocess.run([bolo, "--db", empty, "-q", "watchlist", "add", EXCHANGE, "--list", "list1"], check=True, stdout=subprocess.DEVNULL)
    ask = lambda path, query: [bolo, "--db", path, "-q", "query", "--format", "json" if "--explain" in query else "jsonl", *query]
    shown = lambda query: " ".join(word if len(word) < 24 else word[:8] + "…" for word in query) or "(none)"
    lines = [("--version", [bolo, "--version"]), ("(none), nothing stored", ask(empty, []))]
    lines += [(f"`{shown(query)}`", ask(path, query)) for query in queries if words in shown(query)]
    wall, cpu, found = ({name: [] for name, _ in lines} for _ in range(3))
    for turn in range(runs + 1):
        for name, command in lines:
            began = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            answer = process.stdout.read()
            said = process.stderr.read()
            _, status, used = os.wait4(process.pid, 0)
            took = (time.perf_counter() - began) * 1000
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode not in (0, 3):
                sys.exit(f"{name}: {said.decode().strip()}")
            found[name] = answer.count(b"\n")
            if turn:
                wall[name].append(took)
                cpu[name].append((used.ru_utime + used.ru_stime) * 1000)
    load = os.getloadavg()[0]
    at = lambda times, share: sorted(times)[max(0, math.ceil(len(times) * share) - 1)]
    print(f"{runs} rounds; load at the end {load:.1f}\n")
    print("| query | wall ms: quiet quarter | median | p95 | most | CPU ms median | found |\n|---|--:|--:|--:|--:|--:|--:|")
    for name, _ in lines:
        figures = [at(wall[name], share) for share in (0.25, 0.5, 0.95, 1)] + [at(cpu[name], 0.5)]
        print(f"| {name} | " + " | ".join(f"{figure:.1f}" for figure in figures) + f" | {found[name]} |")
    asked = lines[2:]
    over = [name for name, _ in asked if at(wall[name], 0.95) >= 100]
    print(f"\nworst p95 of {len(asked)} queries: {max(at(wall[name], 0.95) for name, _ in asked):.1f} ms; 100 ms or more: {', '.join(over) or 'none'}")


if __name__ == "__main__":
    main()
