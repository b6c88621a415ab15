#!/usr/bin/env -S python3 -B
"""bolo beside its peers, as whole processes: the same blocks from the same server, one after the other, round by round.

    benches/replay.py                     # bolo and its peers, five rounds
    benches/replay.py --only bolo         # without the peers
    benches/replay.py --million           # one watched address against a million
    benches/replay.py --latency 50        # each answer held back by 50 ms
    benches/replay.py --memory            # peak memory over 10,000 blocks, with one address and a million
    benches/replay.py --database          # bytes of the database for each alert
    benches/replay.py --head              # from the last answer's last byte to the alert's line of JSON

Each prints what it measures; with --write it also puts it into docs/BENCHMARKS.md, under a heading of its own.
CPU time is user and system time of the client's process alone, as the kernel counts it (wait4). The server runs beside it on the
same machine, so wall times are of both. Peers are installed into target/bench-peers the first time.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

from clients import FIRST, ROOT, Bench, Server, peers

TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


def expected(server, blocks):
    """Transactions and ERC-20 transfers that are there, and transfers with those of NFTs, which ethereum-etl takes too."""
    transactions = erc20 = nfts = 0
    for number in range(FIRST, FIRST + blocks):
        transactions += len(server.call("eth_getBlockByNumber", hex(number), False)["transactions"])
        for log in server.call("eth_getLogs", {"fromBlock": hex(number), "toBlock": hex(number), "topics": [TRANSFER]}):
            erc20 += len(log["topics"]) == 3
            nfts += len(log["topics"]) == 4
    return transactions, erc20, nfts


def median(values):
    return statistics.median(values)


def measure_floors(bench):
    """What a proven block cannot cost less than, in CPU ms: both roots, one pass over the bytes, receiving them; all senders. On all
    cores at once, as a replay runs: they share caches and the memory."""
    command = [bench.load, "floors"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(os.cpu_count())]
    found = [json.loads(process.communicate()[0]) for process in running]
    return {name: statistics.fmean(one[name] for one in found) for name in found[0]}


def rounds(lines, count, before_each=lambda: None):
    """Every line once a round, in turn; (name, blocks, how)."""
    results = {name: [] for name, _, _ in lines}
    for number in range(1, count + 1):
        before_each()
        for name, blocks, how in lines:
            run = how()
            results[name].append(run)
            print(
                f"round {number}  {name:34} {run.cpu / blocks * 1000:8.2f} ms CPU/block  {blocks / run.wall:8.1f} blocks/s"
                f"  {run.peak:6.0f} MB  {run.rows}",
                flush=True,
            )
    return results


def summary(lines, results):
    """Medians: CPU ms a block, wall ms a block, MB."""
    return {
        name: (
            median([run.cpu for run in results[name]]) / blocks * 1000,
            median([run.wall for run in results[name]]) / blocks * 1000,
            max(run.peak for run in results[name]),
            results[name][0].rows,
            blocks,
        )
        for name, blocks, _ in lines
    }


def modes(bench):
    if bench.has_senders:
        return [("proven, --senders all", ["--senders", "all"]), ("proven, --senders matched", ["--senders", "matched"])]
    return [("proven", [])]


def replay(bench):
    args = bench.args
    longest = max(args.blocks, args.peer_blocks, args.etl_blocks)
    with Server(bench.load, "--blocks", longest, "--distinct", args.distinct) as server:
        lines = []
        for name, flags in [*modes(bench), ("--trust-rpc", ["--trust-rpc"])]:
            lines.append((f"bolo {name}", args.blocks, lambda f=flags: bench.bolo_replay(server.url, args.blocks, f)))
        if args.only != "bolo":
            python, etl = peers()
            lines.append(("cryo", args.peer_blocks, lambda: bench.cryo(python, server.url, args.peer_blocks)))
            lines.append(("ethereum-etl", args.etl_blocks, lambda: bench.etl(etl, server.url, args.etl_blocks)))
        floors = []
        results = rounds(lines, args.rounds, lambda: floors.append(measure_floors(bench)))
        if args.only != "bolo":
            check_rows(server, results, args)
        before = server.call("bench_stats")["cpu_ms"]
    floor = {name: median([one[name] for one in floors]) for name in floors[0]}
    table = report(lines, results) + "\n\n" + verdicts(summary(lines, results), floor)
    print(f"server: {before} ms CPU in all")
    if args.only == "bolo":
        return table
    python = f"{platform.python_implementation()} {platform.python_version()}"
    note = PEERS_NOTE.format(rounds=args.rounds, python=python, first=FIRST, concurrency=args.concurrency)
    return note + "\n" + table


def check_rows(server, results, args):
    transactions, erc20, _ = expected(server, args.peer_blocks)
    for run in results["cryo"]:
        if run.counts != [transactions, erc20]:
            sys.exit(f"cryo has {run.counts} rows, not {[transactions, erc20]}: nothing to compare with")
    transactions, erc20, nfts = expected(server, args.etl_blocks)
    for run in results["ethereum-etl"]:
        if run.counts[0] != transactions or run.counts[1] not in (erc20, erc20 + nfts):
            sys.exit(f"ethereum-etl has {run.counts} rows, not {[transactions, erc20, nfts]}: nothing to compare with")


def report(lines, results):
    sums = summary(lines, results)
    cryo, etl = sums.get("cryo"), sums.get("ethereum-etl")
    rows = [
        "| | blocks | CPU ms/block | blocks/CPU-s | CPU × cryo | CPU × ethereum-etl | wall ms/block | wall × cryo | peak MB | rows |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for name, (cpu, wall, peak, what, blocks) in sums.items():
        ratio = lambda other, mine, place: f"{other[place] / mine:.2f}" if other else ""
        rows.append(
            f"| {name} | {blocks} | {cpu:.2f} | {1000 / cpu:.1f} | {ratio(cryo, cpu, 0)} | {ratio(etl, cpu, 0)} "
            f"| {wall:.2f} | {ratio(cryo, wall, 1)} | {peak:.0f} | {what} |"
        )
    return "\n".join(rows)


def verdicts(sums, floor):
    """The ratios that are to be met, each beside what it is to be."""
    parts = ("transactions_root", "receipts_root", "pass", "receiving")
    shown = ", ".join(f"{name.replace('_', ' ')} {floor[name]:.2f}" for name in parts)
    out = [f"- Floors, CPU ms per block: {shown}; together {floor['sum']:.2f}; recovery of all senders {floor['senders']:.2f}."]
    cpu = {name: values[0] for name, values in sums.items()}
    trust, every, matched = cpu["bolo --trust-rpc"], cpu.get("bolo proven, --senders all"), cpu.get("bolo proven, --senders matched")
    if "cryo" in cpu:
        out.append(f"- `--trust-rpc`: {cpu['cryo'] / trust:.1f}× cryo's blocks per CPU second (wanted: 8), {cpu['ethereum-etl'] / trust:.0f}× ethereum-etl's (60).")
    if matched:
        if "cryo" in cpu:
            out.append(f"- `--senders matched`: {cpu['cryo'] / matched:.1f}× cryo's blocks per CPU second (wanted: 5).")
        out.append(f"- `--senders matched`: {matched / floor['sum']:.2f}× the sum of its floors (at most 1.5).")
        out.append(f"- `--senders all`: {every / (matched + floor['senders']):.2f}× `matched` and the recoveries' floor (at most 1.15).")
    else:
        proven = cpu["bolo proven"]
        out.append(f"- Proven: {proven / (floor['sum'] + floor['senders']):.2f}× the sum of all floors with the recoveries.")
    return "\n".join(out)


def latency(bench):
    """The same replay with and without answers held back, in turn: where CPU is the bound, wall time stays what it is.

    At so many blocks in flight as `--concurrency` says, and at four times as many: the cheaper a block, the more hide the wait.
    """
    args = bench.args
    span = ["--blocks", args.blocks, "--distinct", args.distinct]
    modes_asked = [*modes(bench), ("--trust-rpc", ["--trust-rpc"])]
    kinds = [(name, flags, flight) for name, flags in modes_asked for flight in (args.concurrency, 4 * args.concurrency)]
    with Server(bench.load, *span) as near, Server(bench.load, *span, "--latency", args.latency) as far:
        lines = []
        for name, flags, flight in kinds:
            for place, server in (("at once", near), (f"after {args.latency} ms", far)):
                how = lambda f=flags, u=server.url, c=flight: bench.bolo_replay(u, args.blocks, f, flight=c)
                lines.append((f"bolo {name}, {flight} in flight, {place}", args.blocks, how))
        sums = summary(lines, rounds(lines, args.rounds))
    out = []
    for name, _, flight in kinds:
        near, far = (sums[f"bolo {name}, {flight} in flight, {place}"] for place in ("at once", f"after {args.latency} ms"))
        out.append(
            f"- {name}, concurrency {flight}: {far[1]:.2f} ms of wall time per block with {args.latency} ms of latency, {near[1]:.2f} "
            f"without ({far[1] / near[1]:.2f}×); {far[0] / far[1]:.2f} cores busy with bolo, {near[0] / near[1]:.2f} without; "
            f"peak {far[2]:.0f} MB."
        )
    return "\n".join(out)


def million(bench):
    """Blocks per CPU second at a million watched addresses against one, the same alerts."""
    args = bench.args
    kinds = [*modes(bench), ("--trust-rpc", ["--trust-rpc"])]
    with Server(bench.load, "--blocks", args.blocks, "--distinct", args.distinct) as server:
        lines = []
        for name, flags in kinds:
            for count in (1, 1_000_000):
                how = lambda f=flags, c=count: bench.bolo_replay(server.url, args.blocks, f, c)
                lines.append((f"bolo {name}, {count}", args.blocks, how))
        # What opening the database and reading the list costs once is no price of a block.
        for count in (1, 1_000_000):
            lines.append((f"one block, {count}", 1, lambda c=count: bench.bolo_replay(server.url, 1, [], c)))
        sums = summary(lines, rounds(lines, args.rounds))
    start = {count: sums[f"one block, {count}"] for count in (1, 1_000_000)}
    out = []
    for name, _ in kinds:
        one, many = (sums[f"bolo {name}, {count}"][0] for count in (1, 1_000_000))
        lasting = (one - start[1][0] / args.blocks) / (many - start[1_000_000][0] / args.blocks)
        out.append(
            f"- {name}: at a million watched addresses {lasting:.1%} of the blocks per CPU second at one (wanted: 90 %); with "
            f"start-up, over {args.blocks} blocks, {one / many:.1%}."
        )
    times = (f"{start[c][0]:.0f} ms CPU, {start[c][1]:.0f} ms in all with {c:,} watched" for c in (1, 1_000_000))
    out.append(f"- Start-up and one block: {'; '.join(times)}.")
    return "\n".join(out)


def memory(bench):
    """Peak memory over a short and a long replay, with one address and with a million."""
    args = bench.args
    flags = ["--senders", "matched"] if bench.has_senders else ["--trust-rpc"]
    out, peaks = [], {}
    with Server(bench.load, "--blocks", args.long, "--distinct", args.distinct) as server:
        for count in (1, 1_000_000):
            for blocks in (args.long // 10, args.long):
                peaks[count, blocks] = bench.bolo_replay(server.url, blocks, flags, count).peak
                allowed = 300 + 100 * count / (1 << 20)
                out.append(f"- {count:,} watched, {blocks:,} blocks: peak {peaks[count, blocks]:.0f} MB (allowed: {allowed:.0f}).")
                print(out[-1], flush=True)
    extra = (peaks[1_000_000, args.long] - peaks[1, args.long]) * (1 << 20) / 999_999
    out.append(f"- {extra:.0f} bytes for each watched address (`{' '.join(flags)}`, concurrency {args.concurrency}).")
    return "\n".join(out)


def database(bench):
    """Bytes of the database for each alert: what many alerts need more than none, in the same blocks, proven."""
    args = bench.args
    with Server(bench.load, "--blocks", args.blocks, "--distinct", args.distinct) as server:
        none = bench.bolo_replay(server.url, args.blocks, [], 200, 0)
        many = bench.bolo_replay(server.url, args.blocks, [], 200, 200)
    alerts = many.alerts - none.alerts
    return (
        f"- {alerts / args.blocks:.1f} alerts a block: {(many.bytes - none.bytes) / alerts:.0f} bytes of database for each, with what proves "
        f"it; {none.bytes / args.blocks:.0f} bytes for a block without.\n"
        f"- The same alerts cost {(many.cpu - none.cpu) / alerts * 1e6:.0f} µs of CPU each."
    )


def head(bench):
    """From the last answer's last byte at the server to the alert's JSON line of `bolo watch`, in ms; HTTP polling and WebSocket."""
    out = []
    for scheme in ("http", "ws"):
        delays, whole = head_over(bench, scheme)
        at = lambda values, share: values[int(len(values) * share)]
        out.append(
            f"- {scheme}, {len(delays)} blocks: from the endpoint's last byte to the alert's line, which is written after the commit: median "
            f"{median(delays):.1f} ms (under 25), p99 {at(delays, 0.99):.1f} ms (under 80), most {delays[-1]:.1f} ms. From the "
            f"block's appearance: median {median(whole):.1f} ms, p99 {at(whole, 0.99):.1f} ms."
        )
        print(out[-1], flush=True)
    return "\n".join(out)


def head_over(bench, scheme):
    blocks = bench.args.head_blocks
    with Server(bench.load, "--blocks", blocks + 20, "--distinct", 100, "--every", bench.args.every) as server:
        folder = bench.fresh()
        # So many of the busiest that nearly every block has an alert.
        db = bench.database(folder, 40, 40, 0)
        url = server.url.replace("http", scheme)
        command = [bench.bolo, "--db", db, "watch", "-r", url, "--traces", "off", "--json", "--poll-interval", "0.1"]
        with open(folder / "stderr", "w") as errors:
            process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=errors, text=True)
        seen = {}

        def read():
            for line in process.stdout:
                now = time.time() * 1e6
                seen.setdefault(json.loads(line)["block"]["number"], now)

        reader = threading.Thread(target=read)
        reader.start()
        while server.call("bench_stats")["head"] < FIRST + blocks + 15:
            time.sleep(0.5)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        process.wait()
        reader.join()
        stats = server.call("bench_stats")
    answered, appeared = ({int(number): at for number, at in stats[key].items()} for key in ("answered_us", "appeared_us"))
    # The first ones pay for start-up.
    taken = [number for number in seen if number in answered and number > FIRST + 10]
    if len(taken) < blocks * 0.8:
        sys.exit(f"only {len(taken)} of {blocks} blocks had an alert:\n{(folder / 'stderr').read_text()[-2000:]}")
    return tuple(sorted((seen[number] - since[number]) / 1000 for number in taken) for since in (answered, appeared))


def machine(busy):
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    out = lambda *command: subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT).stdout.strip()
    gigabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    return (
        f"{datetime.date.today()}, {cpu}, {os.cpu_count()} cores, {gigabytes} GB, Linux {platform.release()}; "
        f"bolo {out('git', 'describe', '--always', '--dirty')}, {out('rustc', '--version')}. Load before the run: {busy:.1f}."
    )


INTRODUCTION = """# Benchmarks

Measured by `benches/replay.py --write`, on generated blocks that bolo proves: 300 signed transactions, about 900 logs, 1.3 MB of JSON
(benches/load). The server runs on the same machine; CPU time is that of the client's process alone. Ratios travel to other
machines, milliseconds do not. `cargo bench` prints what the single stages cost.
"""


def write_section(title, text, busy):
    """Puts it under its heading, in the place of what stood there."""
    page = ROOT / "docs/BENCHMARKS.md"
    parts = (page.read_text() if page.exists() else INTRODUCTION).split("\n## ")
    section = f"{title}\n\n{machine(busy)}\n\n`{' '.join(['benches/replay.py', *sys.argv[1:]])}`\n\n{text}\n"
    kept = [part.rstrip("\n") + "\n" for part in parts[1:]]
    at = next((index for index, part in enumerate(kept) if part.splitlines()[0] == title), len(kept))
    kept[at : at + 1] = [section]
    page.write_text("\n## ".join([parts[0].rstrip("\n") + "\n", *kept]))
    print(f"written to {page.relative_to(ROOT)}")


PEERS_NOTE = """Medians of {rounds} rounds; in each round every line ran once, one after the other. `× cryo`: how many times as long cryo takes.
bolo screens the blocks for one address and keeps its alerts, with their proofs where it proves; the peers write every transaction and
every transfer. cryo 0.3.2 is the Python package, ethereum-etl 2.4.2 runs on {python}. Rows were counted: each had them all.

    bolo --db DB replay -r URL --from-block {first} --to-block … --traces off --concurrency {concurrency} [--senders all|matched | --trust-rpc]
    cryo.freeze(['transactions', 'erc20_transfers'], blocks=['{first}:…'], rpc=URL)
    ethereumetl export_blocks_and_transactions -s {first} -e … -p URL -w 2 --transactions-output transactions.csv
    ethereumetl export_token_transfers -s {first} -e … -p URL -w 2 -o transfers.csv
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=600, help="blocks for bolo (default %(default)s)")
    parser.add_argument("--peer-blocks", type=int, default=600, help="blocks for cryo (default %(default)s)")
    parser.add_argument("--etl-blocks", type=int, default=100, help="blocks for ethereum-etl (default %(default)s)")
    parser.add_argument("--distinct", type=int, default=200, help="blocks of different contents (default %(default)s)")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--latency", type=int, default=0, help="milliseconds that each answer is held back")
    parser.add_argument("--long", type=int, default=10_000, help="blocks of the long replay of --memory (default %(default)s)")
    parser.add_argument("--head-blocks", type=int, default=220, help="blocks that --head looks at (default %(default)s)")
    parser.add_argument("--every", type=int, default=500, help="milliseconds between heads (default %(default)s)")
    parser.add_argument("--only", choices=["bolo"])
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--database", action="store_true")
    parser.add_argument("--head", action="store_true")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/BENCHMARKS.md")
    args = parser.parse_args()
    # Wall times of a machine that does something else as well are worth little: it is said.
    busy = os.getloadavg()[0]
    bench = Bench(args)
    measures = [
        (args.million, "A million watched addresses", million),
        (args.memory, "Memory", memory),
        (args.database, "Database", database),
        (args.head, "At the head", head),
        (args.latency, f"With {args.latency} ms of latency", latency),
        (True, "Beside its peers" if args.only is None else "Replay", replay),
    ]
    _, title, measure = next(entry for entry in measures if entry[0])
    try:
        text = measure(bench)
        print(f"\n{text}")
        if args.write:
            write_section(title, text, busy)
    finally:
        shutil.rmtree(bench.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
