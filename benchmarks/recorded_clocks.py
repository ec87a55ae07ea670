"""Clocks that err, written into real recordings: does the verdict stay, and are they recovered?

    python benchmarks/recorded_clocks.py [FOLDER ...] [--seeds 6]

Prints the table of docs/benchmarks.md, section Clocks. Each recording (all of `examples/` if none is
given) is audited with its own clocks, and with the clocks of one, half or all of its ranks up to 5 ms
and 50 ppm off, in three ways: each rank on a host of its own, with its flight-recorder dump; all under the host
names that were recorded, though their clocks differ; and the latter with dumps on the true clock.
Ends with 1 if kind, place or mechanism of a verdict changes.
"""

import argparse
import copy
import gzip
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadpath.audit import Audit, run_audit

EXAMPLES = Path(__file__).parents[1] / "examples"
WAYS = ("own hosts", "recorded hosts", "dumps apart")
NAMED = ("kind", "place", "mechanism", "ranks", "stage", "link")
MOST_OFF_NS, MOST_DRIFT = 5e6, 5e-5
Files = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an audit said of a recording with other clocks.

    Attributes
    ----------
    recording, way : str
        Which recording, and one of `WAYS`.
    is_same : bool
        Kind, place and mechanism are as they were.
    error_ns, residual_ns : int
        What clocks disagree by after they were set, and what the audit says they do.
    text : str
        Verdicts before and after.
    """

    recording: str
    way: str
    is_same: bool
    error_ns: int
    residual_ns: int
    text: str


@dataclass(frozen=True, slots=True)
class Clocks:
    """Offset and drift of each rank's clock from the first event of its trace on."""

    offset_ns: np.ndarray
    drift: np.ndarray

    @classmethod
    def draw(cls, n: int, seed: int) -> "Clocks":
        """Draw errors of one, half or all of the clocks."""
        rng = np.random.default_rng([seed, n])
        off = rng.permutation(n) < (1, max(1, n // 2), n)[seed % 3]
        offset = np.where(off, rng.uniform(-MOST_OFF_NS, MOST_OFF_NS, n), 0)
        return cls(
            offset.astype(np.int64), np.where(off, rng.uniform(-MOST_DRIFT, MOST_DRIFT, n), 0)
        )


def run(folders: list[Path], seeds: range, ways: tuple[str, ...] = WAYS) -> Iterator[Outcome]:
    """Audit recordings with clocks that err."""
    for folder in folders:
        files = read(folder)
        ranks = sorted({rank_of(name) for name, file in files.items() if "traceEvents" in file})
        for way in ways:
            true = Clocks(np.zeros(len(ranks), np.int64), np.zeros(len(ranks)))
            before = _told(files, ranks, true, way)
            for seed in seeds:
                clocks = Clocks.draw(len(ranks), seed)
                after = _told(files, ranks, clocks, way)
                yield outcome((folder.name, way), (before, after), clocks, span_s(files))


def _told(files: Files, ranks: list[int], clocks: Clocks, way: str) -> Audit:
    """Audit files as these clocks would have recorded them."""
    return audited({
        name: shown(file, ranks.index(rank_of(name)), clocks, way) for name, file in files.items()
    })  # fmt: skip


def outcome(
    planted: tuple[str, str], audits: tuple[Audit, Audit], clocks: Clocks, length_s: float
) -> Outcome:
    """Compare an audit with that of the recording as it is."""
    before, after = ([audit.verdict[key] for key in NAMED] for audit in audits)
    rank = audits[1].table("rank")
    half = length_s * 1e9 / 2
    growth = (clocks.drift - rank["clock_drift_ppb"].to_numpy() * 1e-9) * half
    middle = clocks.offset_ns - rank["clock_offset_ns"].to_numpy() + clocks.drift * half
    return Outcome(
        recording=planted[0],
        way=planted[1],
        is_same=before == after,
        error_ns=max(int(np.ptp(middle + sign * growth)) for sign in (-1, 1)),
        residual_ns=int(rank["clock_residual_ns"].max()),  # type: ignore[arg-type]
        text=f"{before} -> {after}",
    )


def read(folder: Path) -> Files:
    """Traces and dumps of a recording, by name."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name.endswith((".json", ".json.gz")):
            raw = path.read_bytes()
            file = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
            if isinstance(file, dict) and ({"traceEvents", "entries"} & file.keys()):
                found[path.name] = file
    return found


def rank_of(name: str) -> int:
    """Rank in a file's name."""
    return int(re.findall(r"\d+", name.split(".json", maxsplit=1)[0])[-1])


def span_s(files: Files) -> float:
    """Length of the traces."""
    events = [e for file in files.values() for e in file.get("traceEvents", ()) if e["ph"] == "X"]
    last = max(float(e["ts"]) + float(e["dur"]) for e in events)
    return (last - min(float(e["ts"]) for e in events)) / 1e6


def shown(file: dict[str, Any], place: int, clocks: Clocks, way: str) -> dict[str, Any]:
    """Write a file as the clock of its rank would have recorded it."""
    offset, drift = int(clocks.offset_ns[place]), float(clocks.drift[place])
    file = copy.deepcopy(file)
    if "traceEvents" in file:
        events = [event for event in file["traceEvents"] if event["ph"] == "X"]
        lead_us = 0.0 if "baseTimeNanoseconds" in file else offset / 1e3
        _shift(events, "ts", lead_us, drift)
        for event in events:
            event["dur"] = round(float(event["dur"]) * (1 + drift), 3)
        file["baseTimeNanoseconds"] = file.get("baseTimeNanoseconds", 0) + offset * (not lead_us)
        if way == "own hosts":
            file["host_name"] = f"host{place}"
    elif way != "dumps apart":
        _shift(file["entries"], "time_created_ns", offset, drift)
    return file


def _shift(events: list[dict[str, Any]], key: str, lead: float, drift: float) -> None:
    """Let a clock run ahead, and gain from the first event on."""
    kind = type(events[0][key]) if events else float
    first = min((float(event[key]) for event in events), default=0.0)
    for event in events:
        gained = lead + drift * (float(event[key]) - first)
        event[key] += int(gained) if kind is int else round(gained, 3)


def audited(files: Files) -> Audit:
    """Audit files from a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        for name, file in files.items():
            path = Path(folder) / name.removesuffix(".gz")
            path.write_text(json.dumps(file), encoding="utf-8")
        return run_audit(folder, brief=False, cache=False)


def main() -> int:
    """Run the recordings and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--seeds", type=int, default=6)
    given = parser.parse_args()
    folders = given.folders or sorted(path for path in EXAMPLES.iterdir() if path.is_dir())
    outcomes = list(run(folders, range(given.seeds)))
    print(
        "| recording | audits | same verdict | error left, median | worst | residual said, largest |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for folder in folders:
        mine = [o for o in outcomes if o.recording == folder.name]
        errors = [o.error_ns / 1e3 for o in mine]
        print(
            f"| {folder.name} | {len(mine)} | {sum(o.is_same for o in mine)} "
            f"| {np.median(errors):.0f} us | {max(errors):.0f} us "
            f"| {max(o.residual_ns for o in mine) / 1e3:.0f} us |"
        )
    for wrong in (o for o in outcomes if not o.is_same):
        print(f"{wrong.recording}, {wrong.way}: {wrong.text}", file=sys.stderr)
    return int(not all(o.is_same for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
