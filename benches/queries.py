#!/usr/bin/env python3
"""Measures each documented query on a database of alerts.py: queries.py BOLO FILE [RUNS]

Wall time of whole processes, after one run to warm up. Prints a table with the median, the 95th percentile and what was found.
"""
import sqlite3
import subprocess
import sys
import time

address = lambda byte: "0x" + f"{byte:02x}" * 20
EXCHANGE, RARE, OTHER, OFTEN = address(0xE0), address(0xA0), address(0xC0), address(0xCC)


def main() -> None:
    bolo, path = sys.argv[1:3]
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    one = lambda sql: db.execute(sql).fetchone()[0]
    top = one("SELECT max(number) FROM blocks")
    tx = one("SELECT '0x' || lower(hex(hash)) FROM transactions WHERE id = 123457")
    middle = one("SELECT '0x' || lower(hex(alert_id)) FROM alerts WHERE id = (SELECT max(id) / 2 FROM alerts)")
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
    ]
    print(f"| query | median ms | p95 ms | found |\n|---|---|---|---|")
    worst = 0.0
    for query in queries:
        command = [bolo, "--db", path, "-q", "query", "--format", "jsonl", *query]
        times, found = [], 0
        for run in range(runs + 1):
            began = time.perf_counter()
            done = subprocess.run(command, capture_output=True, check=False)
            if run:
                times.append((time.perf_counter() - began) * 1000)
            if run == 0 and times == [] and time.perf_counter() - began > 20:
                times = [(time.perf_counter() - began) * 1000]
                break
            found = done.stdout.count(b"\n")
            if done.returncode not in (0, 3):
                found = done.stderr.decode().strip()
        times.sort()
        p95 = times[min(len(times) - 1, int(len(times) * 0.95))]
        worst = max(worst, p95)
        words = " ".join(word if len(word) < 24 else word[:8] + "…" for word in query) or "(none)"
        print(f"| `{words}` | {times[len(times) // 2]:.1f} | {p95:.1f} | {found} |", flush=True)
    print(f"\nworst p95: {worst:.1f} ms")


if __name__ == "__main__":
    main()
