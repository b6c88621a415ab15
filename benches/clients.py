"""The programs that benches/replay.py runs: the load server, bolo, its peers. Each run is a process whose CPU time the kernel counts."""

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRST = 22_000_000


def target_dir():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def build():
    """The two programs, built as they are published."""
    command = ["cargo", "build", "--locked", "--profile", "dist", "--bin", "bolo", "--bench", "load", "--message-format=json"]
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

    def bolo_replay(self, url, blocks, flags, count=1, hits=1, flight=None):
        folder = self.fresh()
        db = self.database(folder, count, hits)
        last = FIRST + blocks - 1
        command = [self.bolo, "--db", db, "replay", "-r", url, "--from-block", FIRST, "--to-block", last, "--traces", "off"]
        run = Run([*command, "--concurrency", flight or self.args.concurrency, *flags], folder)
        taken = f"{blocks} blocks committed"
        if taken not in run.stderr:
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
