#!/usr/bin/env python3
"""bolo beside its peers, as whole processes: the same blocks from the same server, one after the other, round by round.

    benches/replay.py                     # five rounds of everything; writes docs/BENCHMARKS.md
    benches/replay.py --only bolo         # lines that begin with bolo, prints only
    benches/replay.py --million           # one watched address against a million
    benches/replay.py --latency 50        # each answer held back by 50 ms
    benches/replay.py --memory            # peak memory over 10,000 blocks, with one address and a million
    benches/replay.py --head              # from the last answer's last byte to the alert's line of JSON

CPU time is user and system time of the client's process alone, as the kernel counts it (wait4). The server runs beside it on the
same machine, so wall times are of both. Peers are installed into target/bench-peers the first time.
"""

import argparse
import csv
import datetime
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRST = 22_000_000
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


def target_dir():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def build():
    """The two programs, built as they are released."""
    command = ["cargo", "build", "--locked", "--release", "--bin", "bolo", "--bench", "load", "--message-format=json"]
    out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    found = {}
    for line in out.splitlines():
        message = json.loads(line)
        if message.get("executable"):
            found[message["target"]["name"]] = message["executable"]
    return found["bolo"], found["load"]


def peers():
    """The peers' own environments: ethereum-etl needs a parser newer than it pins on today's Pythons."""
    base = Path(os.environ.get("BENCH_PEERS", target_dir() / "bench-peers"))
    wanted = {
        "cryo": [["cryo==0.3.2", "pyarrow"]],
        "etl": [["ethereum-etl==2.4.2"], ["parsimonious==0.10.0", "setuptools<81"]],
    }
    for name, steps in wanted.items():
        if not (base / name / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", base / name], check=True)
            for step in steps:
                subprocess.run([base / name / "bin/pip", "install", "-q", *step], check=True)
            (base / name / "ready").touch()
    return base / "cryo/bin/python", base / "etl/bin/ethereumetl"


class Server:
    def __init__(self, load, *flags):
        command = [load, "serve", "--listen", "127.0.0.1:0", *map(str, flags)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[-1]
        if not self.url.startswith("http"):
            sys.exit("the server did not start")

    def call(self, method, *params):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["result"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Run:
    """A process that ended: seconds of CPU and of wall time, its peak memory in MB, what it wrote to stderr."""

    def __init__(self, command, folder):
        with open(folder / "stderr", "w+") as errors, open(folder / "stdout", "w") as out:
            begin = time.monotonic()
            process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=errors, cwd=folder)
            _, status, usage = os.wait4(process.pid, 0)
            self.wall = time.monotonic() - begin
            process.returncode = os.waitstatus_to_exitcode(status)
            errors.seek(0)
            self.stderr = errors.read()
        if process.returncode:
            sys.exit(f"{command} failed with {process.returncode}:\n{self.stderr[-3000:]}")
        self.cpu = usage.ru_utime + usage.ru_stime
        self.peak = usage.ru_maxrss / 1024


class Bench:
    def __init__(self, args):
        self.args = args
        if os.environ.get("BOLO_BIN") and os.environ.get("LOAD_BIN"):
            self.bolo, self.load = os.environ["BOLO_BIN"], os.environ["LOAD_BIN"]
        else:
            self.bolo, self.load = build()
        self.folder = Path(tempfile.mkdtemp(prefix="bolo-bench-"))
        self.has_senders = "--senders" in subprocess.run([self.bolo, "replay", "--help"], stdout=subprocess.PIPE, text=True).stdout

    def fresh(self):
        folder = self.folder / "run"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def database(self, folder, count, hits, from_rank=1000):
        """A database that watches `count` addresses, `hits` of which the chain has. Made apart from what is measured, once."""
        made = self.folder / f"list-{count}-{hits}-{from_rank}.db"
        if not made.exists():
            names = self.folder / "watch.txt"
            with open(names, "w") as out:
                flags = ["--count", count, "--hits", hits, "--from-rank", from_rank]
                subprocess.run([self.load, "watchlist", *map(str, flags)], stdout=out, check=True)
            subprocess.run([self.bolo, "-q", "--db", made, "watchlist", "import", names], check=True, stdout=subprocess.DEVNULL)
        shutil.copy(made, folder / "bolo.db")
        return folder / "bolo.db"

    def bolo_replay(self, url, blocks, flags, count=1, hits=1):
        folder = self.fresh()
        db = self.database(folder, count, hits)
        last = FIRST + blocks - 1
        command = [self.bolo, "--db", db, "replay", "-r", url, "--from-block", FIRST, "--to-block", last, "--traces", "off"]
        run = Run([*command, "--concurrency", self.args.concurrency, *flags], folder)
        taken = f"taken={blocks}"
        if taken not in run.stderr.replace("\x1b[3m", "").replace("\x1b[0m", "").replace("\x1b[2m", ""):
            sys.exit(f"bolo took not every block:\n{run.stderr[-3000:]}")
        query = [self.bolo, "-q", "--db", db, "query", "--limit", "0", "--format", "jsonl", "--status", "all", "--triage", "all"]
        alerts = subprocess.run(query, check=True, stdout=subprocess.PIPE).stdout.count(b"\n")
        run.rows = f"{alerts} alerts"
        run.bytes = sum(file.stat().st_size for file in folder.glob("bolo.db*"))
        run.alerts = alerts
        return run

    def cryo(self, python, url, blocks):
        folder = self.fresh()
        script = (
            "import cryo; cryo.freeze(['transactions','erc20_transfers'], "
            f"blocks=['{FIRST}:{FIRST + blocks}'], rpc='{url}', output_dir='.', no_verbose=True)"
        )
        run = Run([python, "-c", script], folder)
        count = (
            "import glob, json, pyarrow.parquet as p; print(json.dumps([sum(p.ParquetFile(f).metadata.num_rows "
            "for f in glob.glob(f'*__{kind}__*.parquet')) for kind in ('transactions', 'erc20_transfers')]))"
        )
        out = subprocess.run([python, "-c", count], check=True, cwd=folder, stdout=subprocess.PIPE).stdout
        run.counts = json.loads(out)
        run.rows = f"{run.counts[0]} transactions, {run.counts[1]} transfers"
        return run

    def etl(self, program, url, blocks):
        folder = self.fresh()
        span = ["-s", FIRST, "-e", FIRST + blocks - 1, "-p", url, "-w", "2"]
        first = Run([program, "export_blocks_and_transactions", *span, "--transactions-output", "transactions.csv"], folder)
        run = Run([program, "export_token_transfers", *span, "-o", "transfers.csv"], folder)
        run.cpu, run.wall, run.peak = run.cpu + first.cpu, run.wall + first.wall, max(run.peak, first.peak)
        csv.field_size_limit(1 << 30)

        def rows(name):
            with open(folder / name, newline="") as file:
                return sum(1 for _ in csv.reader(file)) - 1

        run.counts = [rows("transactions.csv"), rows("transfers.csv")]
        run.rows = f"{run.counts[0]} transactions, {run.counts[1]} transfers"
        return run


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
    """What a proven block cannot cost less than, in CPU ms: both roots, one pass over the bytes, receiving them; all senders."""
    out = subprocess.run([bench.load, "stages", "--floors", "--blocks", "60"], check=True, stdout=subprocess.PIPE).stdout
    return json.loads(out)


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
    with Server(bench.load, "--blocks", longest, "--distinct", args.distinct, "--latency", args.latency) as server:
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
    print(table)
    print(f"server: {before} ms CPU in all")
    if args.only != "bolo" and args.latency == 0:
        write_document(bench, table)


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


def million(bench):
    """Blocks per CPU second at a million watched addresses against one, the same alerts."""
    args = bench.args
    with Server(bench.load, "--blocks", args.blocks, "--distinct", args.distinct) as server:
        lines = []
        for name, flags in [*modes(bench), ("--trust-rpc", ["--trust-rpc"])]:
            for count in (1, 1_000_000):
                how = lambda f=flags, c=count: bench.bolo_replay(server.url, args.blocks, f, c)
                lines.append((f"bolo {name}, {count}", args.blocks, how))
        # What opening the database and reading the list costs once is no price of a block.
        for count in (1, 1_000_000):
            lines.append((f"one block, {count}", 1, lambda c=count: bench.bolo_replay(server.url, 1, [], c)))
        results = rounds(lines, args.rounds)
    sums = summary(lines, results)
    start = {count: sums[f"one block, {count}"][0] for count in (1, 1_000_000)}
    for name, _ in [*modes(bench), ("--trust-rpc", [])]:
        one, many = (sums[f"bolo {name}, {count}"] for count in (1, 1_000_000))
        whole = one[0] / many[0]
        lasting = (one[0] - start[1] / args.blocks) / (many[0] - start[1_000_000] / args.blocks)
        print(
            f"{name}: a million at {lasting:.1%} of one's blocks per CPU second (with start-up, over {args.blocks} blocks: {whole:.1%})"
        )
    print(f"start-up and one block: {start[1]:.0f} ms CPU with one address, {start[1_000_000]:.0f} ms with a million")


def memory(bench):
    """Peak memory over a short and a long replay, with one address and with a million."""
    long = max(bench.args.blocks, 10_000) if bench.args.blocks != DEFAULT_BLOCKS else 10_000
    flags = ["--senders", "matched"] if bench.has_senders else ["--trust-rpc"]
    with Server(bench.load, "--blocks", long, "--distinct", bench.args.distinct) as server:
        peaks = {}
        for count in (1, 1_000_000):
            for blocks in (long // 10, long):
                run = bench.bolo_replay(server.url, blocks, flags, count)
                peaks[count, blocks] = run.peak
                print(f"{count} watched, {blocks} blocks: peak {run.peak:.1f} MB", flush=True)
        extra = (peaks[1_000_000, long] - peaks[1, long]) * 1024 * 1024 / 999_999
        print(f"{extra:.0f} bytes for each watched address; allowed: 300 MB + 100 bytes for each")


def head(bench):
    """From the last answer's last byte at the server to the alert's JSON line of `bolo watch`, in ms; HTTP polling and WebSocket."""
    blocks = bench.args.head_blocks
    for scheme in ("http", "ws"):
        with Server(bench.load, "--blocks", blocks + 20, "--distinct", 100, "--every", bench.args.every) as server:
            folder = bench.fresh()
            db = bench.database(folder, 40, 40, 0)
            url = server.url.replace("http", scheme)
            command = [bench.bolo, "--db", db, "watch", "-r", url, "--traces", "off", "--json", "--poll-interval", "0.1"]
            errors = open(folder / "stderr", "w")
            process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=errors, text=True)
            first_line = {}

            def read():
                for line in process.stdout:
                    now = time.time() * 1e6
                    first_line.setdefault(json.loads(line)["block"]["number"], now)

            reader = threading.Thread(target=read)
            reader.start()
            while server.call("bench_stats")["head"] < FIRST + blocks + 15:
                time.sleep(0.5)
            time.sleep(1)
            process.send_signal(signal.SIGTERM)
            process.wait()
            reader.join()
            answered = {int(number): at for number, at in server.call("bench_stats")["answered_us"].items()}
        # The first ones pay for start-up.
        delays = sorted((at - answered[n]) / 1000 for n, at in first_line.items() if n in answered and n > FIRST + 10)
        if len(delays) < blocks * 0.8:
            sys.exit(f"only {len(delays)} of {blocks} blocks had an alert:\n{(folder / 'stderr').read_text()[-2000:]}")
        p99 = delays[int(len(delays) * 0.99)]
        print(f"{scheme}: answer to alert over {len(delays)} blocks: median {median(delays):.1f} ms, p99 {p99:.1f} ms, max {delays[-1]:.1f} ms")


def write_document(bench, table):
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    version = lambda *command: subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT).stdout.strip()
    memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    page = ROOT / "docs/BENCHMARKS.md"
    old = page.read_text() if page.exists() else ""
    begin, end = "<!-- replay: written by benches/replay.py -->\n", "<!-- replay: end -->\n"
    args = bench.args
    section = f"""{begin}
{datetime.date.today()}, {cpu}, {os.cpu_count()} cores, {memory_mb} GB, Linux {platform.release()}; bolo {version("git", "describe", "--always", "--dirty")}
({version("rustc", "--version")}), cryo 0.3.2 (Python package), ethereum-etl 2.4.2, {platform.python_implementation()} {platform.python_version()}.

Medians of {args.rounds} rounds; in each round every line ran once, one after the other. `× cryo`: how many times cryo's time this line does with.

{table}

    benches/replay.py --rounds {args.rounds} --blocks {args.blocks} --peer-blocks {args.peer_blocks} --etl-blocks {args.etl_blocks} --concurrency {args.concurrency}
    bolo --db DB replay -r URL --from-block {FIRST} --to-block … --traces off --concurrency {args.concurrency} [--senders all|matched | --trust-rpc]
    cryo.freeze(['transactions', 'erc20_transfers'], blocks=['{FIRST}:…'], rpc=URL)
    ethereumetl export_blocks_and_transactions -s {FIRST} -e … -p URL -w 2 --transactions-output transactions.csv
    ethereumetl export_token_transfers -s {FIRST} -e … -p URL -w 2 -o transfers.csv

{end}"""
    if begin in old:
        section = old[: old.index(begin)] + section + old[old.index(end) + len(end) :]
    elif old:
        section = old.rstrip("\n") + "\n\n" + section
    page.write_text(section)
    print(f"written to {page.relative_to(ROOT)}")


DEFAULT_BLOCKS = 600


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=DEFAULT_BLOCKS, help="blocks for bolo (default %(default)s)")
    parser.add_argument("--peer-blocks", type=int, default=300, help="blocks for cryo (default %(default)s)")
    parser.add_argument("--etl-blocks", type=int, default=60, help="blocks for ethereum-etl (default %(default)s)")
    parser.add_argument("--distinct", type=int, default=200, help="blocks of different contents (default %(default)s)")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--latency", type=int, default=0, help="milliseconds that each answer is held back")
    parser.add_argument("--only", choices=["bolo"])
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--head", action="store_true")
    parser.add_argument("--head-blocks", type=int, default=220)
    parser.add_argument("--every", type=int, default=500, help="milliseconds between heads")
    args = parser.parse_args()
    bench = Bench(args)
    try:
        if args.million:
            million(bench)
        elif args.memory:
            memory(bench)
        elif args.head:
            head(bench)
        else:
            replay(bench)
    finally:
        shutil.rmtree(bench.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
