"""What to do about a verdict: what to check, and where."""

from collections.abc import Mapping
from typing import Any

from loadpath.brief.names import listing, place_name

__all__ = ["REMEDIES", "remedy"]

_OTHERS = ""
"""Mechanism of the remedy for all mechanisms of a kind that have none of their own."""
REMEDIES: Mapping[str, Mapping[str, str]] = {
    "rank": {
        "device": "On {where}, compare clock, temperature and errors of the device (or processor) with "
        "a peer's. Swap it: what moves with the process is not the device.",
        _OTHERS: "On {where}, compare the device's clock and errors, and its host's load, with a "
        "peer's. A trace of the rank tells which of the two is slow.",
    },
    "host": {
        "input": "On {where}: more loader workers, prefetch, nearer or faster storage.",
        "checkpoint": "On {where}: write checkpoints asynchronously, less often or to nearer storage.",
        "storage": "On {where}: find the files that a step reads or writes; nearer or asynchronous "
        "storage.",
        "host": "On {where}, look for other processes, CPU limits, pinning and garbage collection; "
        "drain the host if foreign load stays. A trace with stacks names the call.",
        "all": "On every host: CPU cores of its own for each process, container CPU limits, garbage "
        "collection; CUDA graphs or larger launches ask less of the host.",
        _OTHERS: "On {where}, compare load, power caps, clocks and links with another host's; drain "
        "it and audit again.",
    },
    "stage": {
        "host": "See what {where} alone does between calls (the causal path names the place), and "
        "what else runs on its hosts.",
        _OTHERS: "Move layers out of {where}, or give it fewer. Try it first: loadpath whatif AUDIT "
        "--set stage={stage}:ideal.",
    },
    "link": {
        _OTHERS: "Test {where} with nccl-tests between pairs (loadpath links judges them); see link "
        "errors, cabling and routing; swap the port."
    },
    "data": {
        _OTHERS: "Balance or pack sequences by length over microbatches and replicas. No host is at "
        "fault: drain none."
    },
    "threads": {
        _OTHERS: "Share the loop out otherwise: a dynamic schedule, smaller chunks. No host is at "
        "fault: drain none."
    },
    "jitter": {
        "noise": "Swap nothing. Fewer synchronisations, overlap, larger messages, cores kept free of "
        "other work; or accept it if the gain does not pay.",
        _OTHERS: "Swap nothing. Find what all ranks do then: evaluation, checkpoint, garbage "
        "collection, a shared file system, a power limit.",
    },
    "absorbed": {
        _OTHERS: "Nothing tonight. Note {where}: the slack goes when schedule, size or batch change."
    },
    "none": {
        _OTHERS: "Drain and swap nothing. If the job is still too slow, the reason is common to all "
        "ranks."
    },
    "hang": {
        "missing": "On {where}: is the process alive, where does it stand (its stack), and what do "
        "the host's log and the device's errors say?",
        _OTHERS: "An error of the program, not of a host: compare the call stacks of {where} and of "
        "its peers at that call.",
    },
    "not_assessable": {},
}
"""What to do, by kind of verdict and by mechanism, or what tells more than it; where a recording tells
too little, the reason that the verdict gives says what is missing."""


def remedy(document: Mapping[str, Any]) -> str:
    """Say what to check or change, and where.

    Parameters
    ----------
    document : mapping
        Content of audit.json.

    Returns
    -------
    str
        A few sentences; empty where the verdict itself names what is missing.

    Examples
    --------
    >>> verdict = {
    ...     "kind": "host", "place": "rank", "mechanism": "input", "waits_for": "checkpoint",
    ...     "ranks": [2], "hosts": ["node-b"], "stage": None,
    ... }  # fmt: skip
    >>> remedy({"verdict": verdict, "job": {"ranks": 4, "ranks_represented": 4}})
    'On rank 2 (node-b): write checkpoints asynchronously, less often or to nearer storage.'
    """
    verdict = document["verdict"]
    known = REMEDIES[verdict["kind"]]
    told = next((known[name] for name in _names(verdict) if name in known), "")
    return told.format(where=_where(verdict, document["job"]), stage=verdict["stage"])


def _names(verdict: Mapping[str, Any]) -> tuple[str, ...]:
    """Name what a remedy may depend on, the most telling first."""
    everywhere = "all" if verdict["place"] == "all" else ""
    told = (verdict.get("waits_for"), verdict.get("reason"), everywhere, verdict["mechanism"])
    return (*filter(None, told), _OTHERS)


def _where(verdict: Mapping[str, Any], job: Mapping[str, Any]) -> str:
    """Name the place with its hosts, or how to name them, and for how many ranks it stands."""
    place, hosts = place_name(verdict), listing(verdict["hosts"], limit=3)
    if hosts and verdict["place"] in {"link", "stage"}:
        place += f" ({hosts})"
    if not hosts and verdict["place"] in {"rank", "link", "group"}:
        place += " (--hosts FILE names the host)"
    if verdict["place"] == "rank" and job["ranks_represented"] > job["ranks"]:
        each = " each" if len(verdict["ranks"]) > 1 else ""
        place += f", recorded for {job['ranks_represented'] / job['ranks']:.3g} ranks{each}"
    return place
