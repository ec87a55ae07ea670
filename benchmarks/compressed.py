"""Verdicts of compressed recordings beside those of the whole ones, on jobs with planted causes.

    python benchmarks/compressed.py [--seed 1] [--sizes 0.05 0.1 0.3] [--nulls 16]

Prints the table of docs/benchmarks.md, section Compressed recordings; with ``--misses FILE`` it also
writes one line for every job whose verdicts differ. Jobs are those of detection.py: each is recorded,
audited, compressed at each level of merging, and audited again from the compressed file. Verdicts agree
if kind and place (ranks, stage, link or hosts) do.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import detection
import numpy as np

from loadpath.audit import run_audit
from loadpath.audit.compression import BUDGET_BYTES, compress_job
from loadpath.audit.pipeline import couple_sources
from loadpath.audit.settings import Settings
from loadpath.couple.condensed import LEVELS
from loadpath.couple.steps import as_runs, lay_out
from loadpath.testing import write_kineto, write_op_table

TOLD = ("kind", "place", "ranks", "hosts", "stage", "link")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two audits of one job.

    Attributes
    ----------
    case : detection.Case
        The job.
    level : str
        How much was merged; "chosen" for what ``loadpath compress`` takes by itself.
    agrees, right, was_right, accuses_falsely : bool
        The verdicts agree; each is that of the truth; the compressed one names somebody wrongly.
    bytes_per_rank_step, n_op_ratio : float
        Size of the file, and ops in it for each of the job.
    words : str
        Both verdicts.
    """

    case: detection.Case
    level: str
    agrees: bool
    right: bool
    was_right: bool
    accuses_falsely: bool
    bytes_per_rank_step: float
    n_op_ratio: float
    words: str


def examine(case: detection.Case) -> Iterator[Pair]:
    """Audit one job whole and compressed."""
    job = detection.make(case)
    with tempfile.TemporaryDirectory() as folder:
        hosts = Path(folder) / "hosts.csv"
        if case.form == detection.TABLE:
            source = write_op_table(job, folder)
            next(Path(folder).glob("hosts-*.csv")).rename(hosts)
        else:
            source = write_kineto(job, folder)
        settings = Settings(hosts=hosts)
        whole = run_audit(source, hosts=hosts).verdict
        coupled = lay_out(as_runs(couple_sources([source], settings, lambda _: None)))
        for level in ("chosen", *LEVELS[1:]):
            levels = LEVELS if level == "chosen" else (level,)
            budget = BUDGET_BYTES if level == "chosen" else 1 << 30
            packed, report = compress_job(coupled, budget, levels)
            file = Path(folder) / f"{level}.lpz"
            file.write_bytes(packed.content)
            told = run_audit(file).verdict
            right = detection.is_right(job.truth, told)
            yield Pair(
                case=case,
                level=level,
                agrees=alike(whole, told),
                right=right,
                was_right=detection.is_right(job.truth, whole),
                accuses_falsely=told["kind"] not in detection.ACQUITTED
                and not right
                and not alike(whole, told),
                bytes_per_rank_step=report.bytes_per_rank_step,
                n_op_ratio=report.n_op / report.n_recorded,
                words=f"{words(whole)} | {words(told)}",
            )


def alike(one: Any, other: Any) -> bool:
    """Compare kind and place."""
    return all(one[name] == other[name] for name in TOLD)


def words(verdict: Any) -> str:
    """Write what `alike` compares, and the gain or the reason."""
    parts = [str(verdict[name]) for name in TOLD if verdict[name] not in (None, [], -1)]
    return " ".join(parts) + f" {verdict['summary'][:90]!r}"


def report(pairs: Sequence[Pair]) -> Iterator[str]:
    """Write the table."""
    yield "| merged | ops kept | bytes a rank and step, median / most | verdicts agree | right, whole | right, compressed | new false accusations |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for level in ("chosen", *LEVELS[1:]):
        mine = [pair for pair in pairs if pair.level == level]
        size = np.array([pair.bytes_per_rank_step for pair in mine])
        kept = np.median([pair.n_op_ratio for pair in mine])
        agree, was, right, falsely = (
            sum(getattr(pair, name) for pair in mine)
            for name in ("agrees", "was_right", "right", "accuses_falsely")
        )
        yield (
            f"| {level} | {100 * kept:.0f} % | {np.median(size):.0f} / {size.max():.0f} | {agree}/{len(mine)} | "
            f"{was}/{len(mine)} | {right}/{len(mine)} | {falsely} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.05, 0.1, 0.3])
    parser.add_argument("--nulls", type=int, default=16)
    parser.add_argument("--misses", type=Path)
    args = parser.parse_args()
    drawn = detection.cases(np.random.default_rng(args.seed), repeats=1, nulls=args.nulls)
    chosen = [case for case in drawn if case.size in {0.0, *args.sizes}]
    pairs = []
    for case in chosen:
        pairs += examine(case)
    print(f"{len(chosen)} jobs\n")
    print("\n".join(report(pairs)))
    if args.misses:
        lines = [
            f"{p.level} {p.case.name} {p.case.form} {p.case.size} {p.case.seed} {p.case.shape}: {p.words}\n"
            for p in pairs
            if not p.agrees
        ]
        args.misses.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
