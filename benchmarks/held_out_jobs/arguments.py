"""What a profiler writes about a communication, in the age that the plan names."""

from typing import Any, NamedTuple

from held_out_jobs.plan import Plan

__all__ = ["Part", "arguments"]

KINDS = ("world", "tp", "dp", "pp")
MOST_SHOWN = 30
"""Longer lists of ranks are cut short."""


class Part(NamedTuple):
    """A rank's part in a communication; ``peer`` is -1 where it is none of two."""

    kind: str
    label: str
    number: int
    members: tuple[int, ...]
    elements: int
    peer: int


def arguments(plan: Plan, rank: int, part: Part) -> dict[str, Any]:
    """Write the arguments; ``plan.ids`` is full (2026), no_seq (2024), inputs (2023) or names."""
    if plan.ids == "inputs":
        return _inputs(rank, part)
    shown = ", ".join(map(str, part.members[:MOST_SHOWN]))
    facts: dict[str, Any] = {
        "Collective name": part.label,
        "In msg nelems": part.elements,
        "Out msg nelems": part.elements,
        "Group size": len(part.members),
        "dtype": "BFloat16",
        "In split size": "[]",
        "Out split size": "[]",
        "Process Group Name": f"{KINDS.index(part.kind)}{part.members[0]:03d}",
        "Process Group Description": {"world": "default_pg"}.get(part.kind, f"{part.kind}_group"),
        "Process Group Ranks": f"[{shown}{', ...' * (len(part.members) > MOST_SHOWN)}]",
    }
    if plan.ids == "full":
        facts["Seq"] = part.number
    if part.peer >= 0:
        facts["Dst Rank" if part.label == "send" else "Src Rank"] = part.peer
    return facts


def _inputs(rank: int, part: Part) -> dict[str, Any]:
    """Groups are pointers of the process: no two ranks name one alike."""
    pointer = 93_000_000_000_000 + 1_216 * (1_009 * rank + KINDS.index(part.kind))
    other = part.peer if part.peer >= 0 else part.members.index(rank)
    numbers = (part.number, pointer, other)
    lists = ["[]", "[]"]
    return {
        "Concrete Inputs": ["", *map(str, numbers), part.label, *lists, str(len(part.members))],
        "Input type": ["TensorList", *["Scalar"] * 3, "", *["ScalarList"] * 2, "Scalar"],
        "Input Dims": [[[part.elements]], *[[]] * 7],
    }
