"""The audit of flight-recorder dumps alone: who never came, and what stands still because of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from loadpath.audit.document import LIBRARIES
from loadpath.audit.dumps import FLIGHT_SOURCE
from loadpath.audit.settings import Settings
from loadpath.audit.store import SCHEMA
from loadpath.brief.names import counted, listing
from loadpath.compiled.versions import versions
from loadpath.couple.graph import Coupling
from loadpath.couple.job import COUPLED_OP, CoupledJob, assemble_job
from loadpath.diagnose.hang import OpenCall, find_hangs, open_calls, ranks_behind
from loadpath.diagnose.standstill import ordinary_silence
from loadpath.diagnose.verdict import POLICY_RATIO
from loadpath.ingest.flight_recorder import Flights
from loadpath.tables import (
    INSTANCE,
    MEMBERSHIP,
    Recording,
)
from loadpath.tables.results import RESULT_TABLES

__all__ = ["diagnose_dumps", "hang_sentence"]

NO_HANG = "No rank hangs in what was recorded: all that was asked for had ended."
OPEN = "Nobody is missing from what its peers wait for."
UNDER_WAY = (
    " But {} of group {} had not ended{} when the dumps were made. If the job stood still then, {}."
)
UNKNOWN_HANG = (
    "Whether a rank hangs is not assessable: no whole dump of rank {} was read, and what the others asked for "
    "shows nothing amiss. A process that died writes none: see what it said last."
)
UNTIMED = (
    " How long anything took is not assessable: no communication has duration_ms on all its members (TORCH_NCCL_ENABLE_TIMING=1 "
    "records it; traces of all ranks tell more)."
)
RUNNING = (
    "Not stopped as far as the dumps tell. {} But the dump of rank {rank} was written {silent:.3g} s after its "
    "last call, and it had gone without one for {usual:.3g} s before: it may have been at work. Dump again after "
    "a while, and audit those dumps."
)
STOPPED = "the job is taken to have stood still when the dumps were made; a dump holds no such time"


def diagnose_dumps(
    flights: Flights, recording: Recording, settings: Settings, sources: Sequence[str]
) -> tuple[dict[str, Any], dict[str, pl.DataFrame], CoupledJob]:
    """Say where the job hangs.

    Parameters
    ----------
    flights : Flights
        Dumps of a job.
    recording : Recording
        The same as a recording, with hosts where they are known.
    settings : Settings
        Options of the audit.
    sources : sequence of str
        Names of what was audited, without folders.

    Returns
    -------
    tuple
        Document (schema ``loadpath.audit/1``; nothing timed is assessed), tables, and a job
        without ops.
    """
    hang = find_hangs(flights.flight, flights.group, flights.unreadable)
    running = _running(hang, flights)
    if running:
        hang = hang.clear()
    job = assemble_job(
        recording,
        COUPLED_OP.empty(),
        _uncoupled(),
        instance=INSTANCE.empty(),
        membership=MEMBERSHIP.empty(),
    )
    document = {
        "as_of": settings.as_of or None,
        "command": " ".join(["loadpath", "audit", *sources, *settings.as_arguments()]),
        "job": _job(flights, recording),
        "verdict": _verdict(hang, flights, recording, running),
        **_untimed(recording, settings.gate),
    }
    empty = {schema.name: schema.empty() for schema in RESULT_TABLES}
    told = {"hang": hang, "flight": flights.flight, "flight_group": flights.group}
    tables = empty | told | {"rank": recording.rank, "caveat": recording.caveat}
    return document, tables | {"communicator": recording.communicator}, job


def _running(hang: pl.DataFrame, flights: Flights) -> str:
    """Say that the job may have run on while it was dumped; empty where it stood still, or may have."""
    first = hang.row(0, named=True) if hang.height else None
    if first is None or first["reason"] != "missing":
        return ""
    silence = ordinary_silence(flights.flight, first["missing_ranks"], flights.written_ns)
    if silence is None:
        return ""
    found = silence._asdict() | {"silent": silence.silent_ns / 1e9, "usual": silence.usual_ns / 1e9}
    return RUNNING.format(hang_sentence(first, hang, flights), **found)


def _untimed(recording: Recording, gate: float) -> dict[str, Any]:
    """Fields of the document that do not depend on what hangs; what needs times is not assessed."""
    return {
        "schema": SCHEMA,
        "record": {"source": FLIGHT_SOURCE, "layout": {}},
        "inputs": [{"path_name": n, "sha256": h, "bytes": b} for n, h, b in recording.inputs],
        "versions": versions(LIBRARIES),
        "replay": dict.fromkeys(
            ("error_ratio_median", "error_ratio_max", "unexplained_ratio", "negative_lag_s")
        )
        | {"gate": gate},
        "slowdown": dict.fromkeys(
            ("ratio", "waste_ratio", "launch_ratio", "baseline", "by_baseline")
        ),
        "waits": {"exposed_s": None, "by_sink": {}},
        "attribution": [],
        "blindness": [],
        "caveats": [
            {"code": code, "text": text, "count": n}
            for code, text, n in sorted(recording.caveat.iter_rows())
        ],
        "stake": None,
        **dict.fromkeys(
            ("frontier", "limitation", "efficiency", "failure_envelope", "coupling", "stability")
        ),
    }


def _uncoupled() -> Coupling:
    node, time, flag = np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.bool_)
    return Coupling(
        n_op=0,
        edge_source=node,
        edge_target=node,
        edge_kind=np.zeros(0, np.uint8),
        member_op=node,
        member_instance=node,
        member_contributes=flag,
        member_waits=flag,
        begin_op=node,
        begin_step=time,
        end_op=node,
        end_step=time,
    )


def _job(flights: Flights, recording: Recording) -> dict[str, Any]:
    timed = ("clock_residual_s", "duration_s", "compute_s", "transfer_s", "wait_s")
    n_call = flights.flight.select("group", "sequence", "is_p2p").unique().height
    return {
        **dict.fromkeys(timed),
        "ranks": recording.rank.height,
        "ranks_represented": recording.rank.height,
        "ranks_dumped": len(flights.ranks),
        "communicators": recording.communicator.height,
        "entries": flights.flight.height,
        "instances": n_call,
        "instances_matched": n_call,
        "steps": 0,
        "ops": 0,
        "rank_time_s": {},
        "bound_steps": {},
    }


def _verdict(
    hang: pl.DataFrame, flights: Flights, recording: Recording, running: str
) -> dict[str, Any]:
    nothing = ("waits_for", "within", "stage", "link", "link_name", "share_removal_ratio",
               "share_addition_ratio", "step_s", "step_s_without", "gain_s", "n_resamples",
               "confidence", "gain_by_baseline", "runner_up", "distance")  # fmt: skip
    first = hang.row(0, named=True) if hang.height else None
    ranks = first["missing_ranks"] if first else []
    hosts = recording.rank.filter(pl.col("rank").is_in(ranks) & (pl.col("host") != ""))["host"]
    undumped = sorted(set(recording.rank["rank"]) - set(flights.ranks))
    unknown = sorted({*undumped, *flights.unreadable})
    return {
        **dict.fromkeys(nothing),
        "kind": "hang" if first else "not_assessable",
        "place": "rank" if first else "nobody",
        "mechanism": "unknown",
        "ranks": ranks,
        "culprit_ranks": ranks,
        "hosts": hosts.unique(maintain_order=True).to_list(),
        "reason": first["reason"] if first else None,
        "undumped_ranks": undumped,
        "indistinguishable_from": _both_sides(first),
        "victims": sorted({r for row in hang["waiting_ranks"] for r in row} - set(ranks)),
        "causes": [],
        "communicators": [_communicator(row) for row in hang.iter_rows(named=True)],
        "confidence_method": f"order of calls; {STOPPED}",
        "policy_ratio": POLICY_RATIO,
        "intermittent": False,
        "summary": hang_sentence(first, hang, flights)
        if first
        else (running + UNTIMED if running else _no_hang(unknown, flights)),
    }


def _no_hang(unknown: Sequence[int], flights: Flights) -> str:
    """Say that nobody hangs, or that who wrote nothing may, or what had not ended."""
    if unknown:
        return UNKNOWN_HANG.format(", ".join(map(str, unknown))) + UNTIMED
    held = open_calls(flights.flight)
    if not held:
        return NO_HANG + UNTIMED
    first = next((call for call in held if call.waiting), held[0])
    more = f" (and others in {counted(len(held) - 1, 'group')})" if len(held) > 1 else ""
    where = f"{first.group}, {first.description}" if first.description else first.group
    look = _where_to_look(first, ranks_behind(flights.flight, flights.group))
    return (
        OPEN + UNDER_WAY.format(f"{first.collective} {first.sequence}", where, more, look) + UNTIMED
    )


def _where_to_look(call: OpenCall, behind: Sequence[int]) -> str:
    """Say whose device had not begun a call, or who asked for less, and may be why it did not end."""
    if call.waiting:
        ranks = _lower(_ranks(call.waiting))
        return f"see what the device of {ranks} does: its peers ran this call, it had not begun it"
    if behind:
        return f"see {_lower(_ranks(behind))} first: nobody asked for less, though its peers do not wait for it yet"
    return (
        "a device or a link does, or a rank that no dump lists (TORCH_NCCL_ENABLE_TIMING=1 records whose "
        "device had begun it)"
    )


def _both_sides(first: Mapping[str, Any] | None) -> list[str]:
    """Where no side has most members, either may be the one that asks for the wrong thing."""
    if first is None or first["reason"] == "missing" or first["waiting_ranks"]:
        return []
    return [f"rank {rank}" for rank in first["missing_ranks"]]


def _communicator(row: Mapping[str, Any]) -> dict[str, Any]:
    told = ("description", "collective", "sequence", "size", "data_type", "reason",
            "missing_ranks", "waiting_ranks", "causes")  # fmt: skip
    return {"id": row["group"], **{name: row[name] for name in told}}


def hang_sentence(first: Mapping[str, Any], hang: pl.DataFrame, flights: Flights) -> str:
    """Say who never came, or asked for something else.

    Parameters
    ----------
    first : mapping
        First row of table `HANG`.
    hang : polars.DataFrame
        Table `HANG`.
    flights : Flights
        Dumps that it was made of.

    Returns
    -------
    str
        A sentence, and one on what follows.
    """
    what = " ".join(filter(None, (first["size"].split("->")[0], first["data_type"])))
    call = f"{first['collective']} {first['sequence']}{f' ({what})' if what else ''}"
    group = f"group {first['group']}" + (
        f", {first['description']}" if first["description"] else ""
    )
    n_wait = len(first["waiting_ranks"])
    ranks = _ranks(first["missing_ranks"])
    text = {
        "missing": f"{ranks} never asked for {call} of {group}, in which "
        f"{counted(n_wait, 'rank')} {'waits' if n_wait == 1 else 'wait'}",
        "different_collective": f"{ranks} asked for another collective than its peers at number "
        f"{first['sequence']} of {group}: most asked for {call}",
        "different_size": f"{ranks} gave another size than its peers to {call} of {group}",
        "different_data_type": f"{ranks} gave another type than its peers to {call} of {group}",
    }[first["reason"]]
    silent = sorted(set(first["missing_ranks"]) - set(flights.ranks))
    unread = sorted(flights.unreadable)
    if silent:
        text += f"; no dump of {_lower(_ranks(silent))} was read"
    if unread:
        text += f"; how far {_lower(_ranks(unread))} came cannot be read"
    more = hang.height - 1
    then = f" {counted(more, 'further communication')} cannot end either." if more else ""
    return f"{text}.{then}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _ranks(ranks: Sequence[int]) -> str:
    return f"Rank{'s' if len(ranks) > 1 else ''} {listing(ranks, limit=12)}"
