#!/usr/bin/env python3
"""Damages evidence bundles in every small way and demands that check.py refuses each.

    python mutate.py --all [--up-to BYTES] DIR...        every byte of every file that proves or claims (--up-to: of bundles up to that size)
    python mutate.py --sample N [--seed S] DIR...        N random bytes over the bundles

Changes of a byte: the lowest bit, the highest bit, another value, gone, one more before it. And of each bundle: a file
missing, empty, or too many, and of each list of nodes: one missing, twice, too many, or in the wrong place (--sample:
of ten nodes of each list). Every change is checked twice: as it is, where all must be refused; and with SHA256SUMS made
anew ("resealed"), where what is still accepted must lie in what the page says is not proven. Exit code 1 if anything
was accepted that must not be, or if the checker failed otherwise than by refusing.
"""
import argparse
import collections
import hashlib
import json
import random
import re
import sys
import time

import rlp

from check import TOOLS, Refused, check, read_bundle

# What docs/evidence.md, "What it proves and what not", leaves to SHA256SUMS; each with all that is within it.
UNPROVEN = """alert.triage alert.asset.symbol alert.endpoint alert.seen_at alert.retroactive alert.replaces first_log_index
    screening made_by""".split()
UNPROVEN_LOGS = ["alert.trace_address", "alert.detail"]  # the call frame of what a log proves
UNPROVEN_TRACES = ["alert.amount", "alert.from", "alert.to", "alert.counterparty"]  # the movement within a transaction is the endpoint's word
# Of these a wrong word is refused, and another right one is not: the record only has to agree with itself.
RECORD = ["alert.status", "alert.severity", "sides[].entries[]"]
TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s"\[\]{}:,]+)')
EXTRA = ["extra.txt", "header.rlp~", "transactions.nodes", "withdrawals.nodes"]


def leaves(text):
    """The values of a JSON text in their order: [(path, the value's own text)]. Of a text that check() has accepted."""
    found, at = [], 0

    def token():
        nonlocal at
        match = TOKEN.match(text, at)
        at = match.end()
        return match[1]

    def value(path, first):
        nonlocal at
        if first not in "{[":
            return found.append((path, first))
        closing, before = "}]"["{[".index(first)], len(found)
        following = token()
        while following != closing:
            if following == ",":
                following = token()
            if first == "{":
                token()  # the colon
                value(f"{path}.{json.loads(following)}".lstrip("."), token())
            else:
                value(path + "[]", following)
            following = token()
        if len(found) == before:
            found.append((path, first + closing))

    value("", token())
    return found


def unproven(path, plane):
    """The unproven field that a path is in, or None."""
    known = UNPROVEN + RECORD + UNPROVEN_TRACES * (plane == "traces") + UNPROVEN_LOGS * (plane == "logs")
    return next((name for name in known if path == name or path.startswith((name + ".", name + "["))), None)


def explain(before, after):
    """Where an accepted change of evidence.json lies: (the fields, whether the page allows it)."""
    old, new = leaves(before.decode()), leaves(after.decode())
    plane = json.loads(before)["alert"]["plane"]
    start, end = 0, 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    old_part, new_part = old[start:len(old) - end], new[start:len(new) - end]
    if not old_part and not new_part:
        return "white space", True
    if [path for path, _ in old_part] == [path for path, _ in new_part]:
        values = [(json.loads(a), json.loads(b)) for (_, a), (_, b) in zip(old_part, new_part)]
        if all(a == b and type(a) is type(b) for a, b in values):
            return "another spelling of the same string", True
        if all(re.fullmatch("0x[0-9a-fA-F]{40}", str(a)) and a.lower() == str(b).lower() for a, b in values):
            return "letter case of an address", True
    paths = {path for path, _ in old}
    allowed = all(unproven(path, plane) for path, _ in old_part)
    allowed &= all(unproven(path, plane) or path not in paths for path, _ in new_part)  # a renamed unproven field
    return " ".join(sorted({unproven(path, plane) or path for path, _ in old_part or new_part})), allowed


def reseal(files):
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files) if name != "SHA256SUMS")
    return {**files, "SHA256SUMS": "".join(lines).encode()}


def byte_changes(data, at, rng):
    """All small changes at one place of a file: (what, the changed file). At the end only one: a byte more."""
    if at < len(data):
        byte = data[at]
        other = rng.choice([n for n in range(256) if n not in (byte, byte ^ 1, byte ^ 0x80)])
        for what, value in (("^01", byte ^ 1), ("^80", byte ^ 0x80), (f"={other:02x}", other)):
            yield what, data[:at] + bytes([value]) + data[at + 1:]
        yield "gone", data[:at] + data[at + 1:]
    new = rng.randrange(256)
    yield f"+{new:02x}", data[:at] + bytes([new]) + data[at:]


class Run:
    def __init__(self):
        self.refused = {"as it is": collections.Counter(), "resealed": collections.Counter()}
        self.accepted = collections.Counter()
        self.wrong = []

    def verdict(self, files, mode, label):
        """The reason of the refusal, or None."""
        try:
            check(files)
            return None
        except Refused as refused:
            reason = str(refused)
            if "\n" in reason or ": " not in reason:
                self.wrong.append(f"{label} ({mode}): a reason that is not one line of `section: text`: {reason!a}")
            self.refused[mode][reason.split(":")[0]] += 1
            return reason
        except BaseException as error:  # whatever it is, it must not happen
            if isinstance(error, KeyboardInterrupt):
                raise
            self.wrong.append(f"{label} ({mode}): raised {type(error).__name__}: {error}")
            return "raised"

    def change(self, good, bad, name, label):
        if bad == good:
            raise AssertionError(f"{label}: not a change")
        if self.verdict(bad, "as it is", label) is None:
            self.wrong.append(f"{label}: ACCEPTED")
        if name == "SHA256SUMS" or self.verdict(sealed := reseal(bad), "resealed", label) is not None:
            return
        field, allowed = name, name in {"README.txt"} | TOOLS
        if name == "evidence.json" and name in sealed:
            field, allowed = explain(good[name], bad[name])
        self.accepted[field] += 1
        if not allowed:
            self.wrong.append(f"{label}: ACCEPTED when resealed; it changes {field}")

    def byte(self, folder, good, name, at, rng, only=None):
        changes = list(byte_changes(good[name], at, rng))
        for what, data in changes if only is None else [changes[only % len(changes)]]:
            self.change(good, {**good, name: data}, name, f"{folder}/{name} byte {at} {what}")

    def whole_files(self, folder, good):
        for name in good:
            rest = {other: data for other, data in good.items() if other != name}
            self.change(good, rest, name if name == "SHA256SUMS" else f"{name} missing", f"{folder}: without {name}")
            if good[name]:
                self.change(good, {**good, name: b""}, name, f"{folder}: {name} empty")
        for name in EXTRA:
            if name not in good:
                self.change(good, {**good, name: good["header.rlp"]}, f"{name} added", f"{folder}: with {name}")

    def node_lists(self, folder, good, rng, most):
        for name in [name for name in good if name.endswith(".nodes")]:
            nodes = rlp.decode(good[name])
            lists = {"one more": nodes + [b"\xc2\x20\x01"]}
            for at in sorted(rng.sample(range(len(nodes)), min(most, len(nodes)))):
                before, node, after = nodes[:at], nodes[at:at + 1], nodes[at + 1:]
                lists[f"without node {at}"] = before + after
                lists[f"node {at} twice"] = before + node + node + after
                lists[f"node {at} again at the end"] = nodes + node
                if after:
                    lists[f"node {at} after the next"] = before + after[:1] + node + after[1:]
            for what, changed in lists.items():
                self.change(good, {**good, name: rlp.encode(changed)}, name, f"{folder}/{name}: {what}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--all", action="store_true")
    how.add_argument("--sample", type=int, metavar="N")
    parser.add_argument("--up-to", type=int, metavar="BYTES", default=sys.maxsize)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("folders", nargs="+", metavar="DIR")
    options = parser.parse_args()

    run, bundles, begin = Run(), {}, time.time()
    for folder in options.folders:
        files = read_bundle(folder)
        if options.all and sum(map(len, files.values())) > options.up_to:
            continue
        check(files)  # a bundle that is refused as it is would make all that follows worthless
        if reseal(files) != files:
            raise AssertionError(f"{folder}: resealing an unchanged bundle changes it")
        bundles[folder] = files
    if not bundles:
        sys.exit("no bundles")

    for folder, files in bundles.items():
        rng = random.Random(f"{options.seed}/{files['SHA256SUMS'].decode()}")
        run.whole_files(folder, files)
        run.node_lists(folder, files, rng, sys.maxsize if options.all else 10)
        if options.all:
            for name in sorted(files):
                # Only the checksums hold the format's page and the checker: a few of their bytes will do.
                for at in range(0, len(files[name]) + 1, 997 if name in TOOLS else 1):
                    run.byte(folder, files, name, at, rng)
    if options.sample:
        rng, folders = random.Random(options.seed), sorted(bundles)
        for _ in range(options.sample):
            folder = rng.choice(folders)
            files = bundles[folder]
            name = rng.choice(sorted(files))
            run.byte(folder, files, name, rng.randrange(len(files[name]) + 1), rng, rng.randrange(5))

    for mode, counts in run.refused.items():
        reasons = ", ".join(f"{name} {n}" for name, n in counts.most_common())
        print(f"{mode}: {sum(counts.values())} refused: {reasons}")
    print(f"resealed: {sum(run.accepted.values())} accepted, in what is not proven: "
          + ", ".join(f"{name} {n}" for name, n in run.accepted.most_common()))
    for line in run.wrong:
        print(f"WRONG: {line}")
    outcome = f"{len(run.wrong)} WRONG" if run.wrong else "all as it must be"
    print(f"{len(bundles)} bundles, {time.time() - begin:.0f} s: {outcome}")
    return 1 if run.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
