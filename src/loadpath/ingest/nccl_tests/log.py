"""Logs of nccl-tests: runs, their ranks and rows, whichever process each line came from."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["COLLECTIVE_BY_TEST", "LONGEST_US", "TEST", "Row", "agrees", "parse_log"]

COLLECTIVE_BY_TEST = {
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "broadcast": "broadcast",
    "reduce": "reduce",
    "alltoall": "all_to_all",
    "sendrecv": "send_recv",
    "gather": "gather",
    "scatter": "scatter",
    "hypercube": "hypercube",
}
BUS_SHARE = {
    "all_reduce": 2,
    "all_gather": 1,
    "reduce_scatter": 1,
    "all_to_all": 1,
    "gather": 1,
    "scatter": 1,
    "hypercube": 1,
}
"""Times (n - 1) / n: bus bandwidth over algorithm bandwidth; they are the same where not named."""

TAG = re.compile(r"^\s*(\[[^\]]*\]<std(?:out|err)>:|\d+:(?=\s))")
TEST = re.compile(r"\b(" + "|".join(COLLECTIVE_BY_TEST) + r")_perf\b")
RANK = re.compile(r"#\s+Rank\s+(\d{1,9})\s+(?:Group\s+(\d+)\s+)?Pid\s+\d+\s+on\s+(\S+)\s+device")
NUMBER = r"\d{1,18}(?:\.\d+)?(?:e[+-]?\d{1,2})?"
TIMING = rf"({NUMBER}|N/A)\s+({NUMBER}|N/A|-?nan|inf)\s+({NUMBER}|N/A|-?nan|inf)\s+({NUMBER}|N/A)"
TYPES = (
    r"(?:u?int(?:8|16|32|64)?|half|float|double|bfloat16|f8e4m3|f8e5m2|fp8_e4m3|fp8_e5m2|u?char)"
)
WHAT = rf"(?<!\d)(\d{{1,18}})\s+(\d+)\s+{TYPES}\s+(?:[a-z]\w*\s+)?(?:-?\d+\s+)?"
ITERATIONS = rf"(?:\s+{NUMBER}){{4}}"
WHEN = r"(?:\s+\d{4}-\d\d-\d\d\s\d\d:\d\d:\d\d)?\s*$"
ROW = re.compile(rf"{WHAT}{TIMING}(?:\s+{TIMING})?{WHEN}")
ITERATED_ROW = re.compile(rf"{WHAT}{TIMING}{ITERATIONS}\s+{TIMING}{ITERATIONS}{WHEN}")
"""With least, most, 99th percentile and spread of the iterations behind each time (``-I``)."""
ROW_BEGINS = re.compile(rf"^\s*\d+\s+\d+\s+({TYPES}\b|$)")
ROUNDING = 0.006
"""Half a unit in the last printed digit of a bandwidth, GB/s, and a little."""
MOST_WRONG = 1 << 62
LONGEST_US = 1e12
"""Eleven days: no collective takes longer."""
TIME_ROUNDING_RATIO = 6e-3
"""Times are printed with at least three digits."""


class Row(NamedTuple):
    """One time of a run, as printed."""

    collective: str
    bytes: int
    n_rank: int
    n_node: int
    duration_ns: int
    in_place: bool
    n_wrong: int | None


@dataclass(slots=True)
class _Run:
    """What is known of the run that a process prints: its collective, and group and host of each rank."""

    collective: str | None = None
    ranks: dict[int, tuple[str, str]] = field(default_factory=dict)
    is_listing: bool = False

    def hosts(self) -> list[str]:
        """Hosts of the ranks that run a collective together, none where the list has gaps.

        Where ranks are split (``NCCL_TESTS_SPLIT``) groups run it beside each other; rank 0 prints.
        """  # noqa: DOC201
        if set(self.ranks) != set(range(len(self.ranks))):
            return []
        return [host for group, host in self.ranks.values() if group == self.ranks[0][0]]


def parse_log(lines: Iterable[str]) -> tuple[list[Row], Counter[str]]:
    """Read the rows of all runs of a log; lines of several processes may be mixed.

    Parameters
    ----------
    lines : iterable of str
        The log.

    Returns
    -------
    list of Row
        Times in the order of the log.
    Counter
        Lines that were dropped, by caveat code.
    """
    rows: list[Row] = []
    dropped: Counter[str] = Counter()
    runs: dict[str, _Run] = {}
    for line in lines:
        tag = TAG.match(line)
        run = runs.setdefault(tag[1] if tag else "", _Run())
        text = line[tag.end() :] if tag else line
        if not _note(run, text):
            _take(run, text, rows, dropped)
    return rows, dropped


def _note(run: _Run, text: str) -> bool:
    """Take what a comment says of its run; say whether the line was one."""
    if rank := RANK.search(text):
        if not run.is_listing:
            run.ranks, run.is_listing = {}, True
        run.ranks[int(rank[1])] = rank[2] or "", rank[3]
        return True
    if test := TEST.search(text):
        run.collective = COLLECTIVE_BY_TEST[test[1]]
    if text.lstrip().startswith("# nThread"):
        run.is_listing = False
    return text.lstrip().startswith("#")


def _take(run: _Run, text: str, rows: list[Row], dropped: Counter[str]) -> None:
    """Take a row of the table; count what began as one and is not."""
    found = ITERATED_ROW.search(text) or ROW.search(text)
    if found is None:
        dropped["damaged_row"] += bool(ROW_BEGINS.match(text))
        return
    run.is_listing = False
    hosts = run.hosts()
    n_rank, n_node = len(hosts), len(set(hosts))
    if not n_rank or run.collective is None:
        dropped["run_unknown"] += 1
        return
    groups = found.groups()
    for place in range(2):
        timing = groups[2 + 4 * place : 6 + 4 * place]
        if timing[0] in {None, "N/A"}:
            continue
        if not agrees(int(groups[0]), _numbers(timing), run.collective, n_rank):
            dropped["contradicted_row"] += 1
            continue
        wrong = None if timing[3] == "N/A" else min(round(float(timing[3])), MOST_WRONG)
        dropped["wrong_results"] += bool(wrong)
        ns = round(float(timing[0]) * 1000)
        rows.append(Row(run.collective, int(groups[0]), n_rank, n_node, ns, place == 1, wrong))


def _numbers(timing: tuple[str, ...]) -> tuple[float, float, float] | None:
    """Time and bandwidths as printed; None where one is no number."""
    if not all(re.fullmatch(NUMBER, value) for value in timing[:3]):
        return None
    return float(timing[0]), float(timing[1]), float(timing[2])


def agrees(
    size: int, timing: tuple[float, float, float] | None, collective: str, n_rank: int
) -> bool:
    """Say whether time, bandwidths and ranks of a row belong together.

    Parameters
    ----------
    size : int
        Bytes.
    timing : (float, float, float) or None
        Time in us, algorithm and bus bandwidth in GB/s; None if they are no numbers.
    collective : str
        What was measured.
    n_rank : int
        Ranks that took part.

    Returns
    -------
    bool
        False too where the time cannot be meant.
    """
    if timing is None or not 0 < timing[0] < LONGEST_US:
        return False
    time_us, algorithm, bus = timing
    share = BUS_SHARE.get(collective)
    factor = 1.0 if share is None else share * (n_rank - 1) / n_rank
    return all(
        abs(told - value) <= ROUNDING * (1 + factor) + TIME_ROUNDING_RATIO * value
        for told, value in ((algorithm, size / time_us / 1000), (bus, algorithm * factor))
    )
