"""Simulate a schedule: the file, the model and the noise that the user names, and what came of them."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.audit.settings import Progress, Settings
from loadpath.couple import CoupledJob
from loadpath.couple.loggops import LogGOPS, read_loggops
from loadpath.couple.simulated import couple_simulated
from loadpath.decode import file_digest
from loadpath.diagnose.judgement import Judgement
from loadpath.errors import InputError, StructureError, UsageError
from loadpath.ingest.goal import read_goal
from loadpath.ingest.noise_trace import read_noise
from loadpath.replay import op_end_ns, replay
from loadpath.replay.simulation import (
    Noise,
    Simulation,
    changed_schedule,
    drawn_noise,
    simulate_schedule,
    trace_noise,
)
from loadpath.replay.simulation.stall import stalled_chain
from loadpath.tables import Recording, caveat_table
from loadpath.tables.schedule import SEND, Schedule
from loadpath.units import format_seconds

__all__ = ["couple_schedule", "make_noise", "noise_inputs", "simulate", "simulated_without"]

NOISE_FORMS = "exponential:PERIOD,LENGTH, lengths:FILE,PERIOD, trace:FILE or together:FILE"
Draw = Callable[[Schedule, LogGOPS, np.random.Generator], Noise]
"""Draws what each event of a schedule meets."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def simulate(
    source: str | Path,
    model: LogGOPS | None = None,
    *,
    noise: str = "",
    seed: int = 0,
    replicas: int = 1,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Run the schedule of a file.

    Parameters
    ----------
    source : str or Path
        GOAL schedule, text or binary.
    model : LogGOPS, optional
        Costs of messages.
    noise : str
        ``exponential:PERIOD,LENGTH``, ``lengths:FILE,PERIOD``, ``trace:FILE`` or ``together:FILE``;
        empty for none. Times in ns.
    seed : int
        Seed of the noise.
    replicas : int
        How often to run it, each with other draws.
    progress : callable of str
        Told what begins.

    Returns
    -------
    dict
        Plain values, see docs/formats/simulate.md; those of the first replica, and quantiles over all.

    Raises
    ------
    UsageError
        If the noise or the number of replicas cannot be used.
    InputError
        If a file cannot be read.
    """
    if not 1 <= replicas <= 100_000 or seed < 0:
        raise UsageError("replicas are 1 to 100000, and a seed is not negative.")
    if replicas > 1 and not noise:
        raise UsageError("replicas differ by their noise alone, and none is given. Add --noise.")
    model, draw = model or LogGOPS(), make_noise(noise)
    progress(f"reading {Path(source).name}")
    schedule = read_goal(Path(source))
    progress("running the schedule")
    quiet = simulate_schedule(schedule, model)
    first = _run(schedule, model, draw, (seed, 0)) if noise else quiet
    inputs = [*schedule.inputs, *noise_inputs(noise)]
    told: dict[str, Any] = {
        "basis": "modelled",
        "inputs": [{"path_name": n, "sha256": h, "bytes": b} for n, h, b in inputs],
        "noise": noise or None,
        "seed": seed,
        "loggops": asdict(model),
        **_result(schedule, first),
    }
    if noise:
        told["quiet_makespan_ns"] = quiet.makespan_ns
    if replicas > 1:
        makespan_ns = [first.makespan_ns]
        for k in range(1, replicas):
            progress(f"run {k + 1:,} of {replicas:,} under noise")
            makespan_ns.append(_run(schedule, model, draw, (seed, k)).makespan_ns)
        told["replicas"] = _quantiles(makespan_ns)
    return told


def couple_schedule(recording: Recording, settings: Settings) -> CoupledJob:
    """Simulate the schedule of a recording, and couple what came of it.

    Parameters
    ----------
    recording : Recording
        Recording of a schedule.
    settings : Settings
        Costs of messages, noise and its seed.

    Returns
    -------
    CoupledJob
        The job; all its times are modelled.

    Raises
    ------
    StructureError
        If some ops would never run, naming what waits for what.
    InputError
        If the schedule holds no op.
    UsageError
        If the recording is none of a schedule, or the costs or the noise cannot be read.
    """
    model, schedule = read_loggops(settings.loggops), recording.schedule
    if schedule is None:
        raise UsageError("the recording holds no schedule. Read one with load_recording.")
    run = _run(schedule, model, make_noise(settings.noise), (settings.seed, 0))
    chain = stalled_chain(schedule, run.served)
    if chain:
        what = f"{int((~run.served.done).sum())} ops would never run: {'; '.join(chain)}"
        raise StructureError(schedule.name, what, "Correct the schedule.")
    if not run.served.done.size:
        raise InputError(schedule.name, "holds no op", "Give a schedule with calc, send or recv.")
    inputs = (*recording.inputs, *noise_inputs(settings.noise))
    told = replace(recording, inputs=inputs)
    return couple_simulated(told, schedule, run.served, model)


def simulated_without(
    recording: Recording, settings: Settings, job: CoupledJob, judgement: Judgement | None
) -> pl.DataFrame:
    """Simulate the schedule anew without the cause, with the order of service left free.

    Parameters
    ----------
    recording : Recording
        Recording of a schedule.
    settings : Settings
        Costs of messages.
    job : CoupledJob
        Result of `couple_schedule`.
    judgement : Judgement or None
        What was decided.

    Returns
    -------
    polars.DataFrame
        Table `CAVEAT` of one row that says what the job takes, beside what the replay says; none
        without a cause.
    """
    schedule = recording.schedule
    if schedule is None or judgement is None or judgement.cause is None:
        return caveat_table([])
    model = read_loggops(settings.loggops)
    work = np.rint(judgement.without_ns).astype(np.int64)
    changed, noise = changed_schedule(schedule, model, job.op["name"].cast(pl.String), work)
    anew_s = simulate_schedule(changed, model, noise).makespan_ns / 1e9
    replayed_s = float(op_end_ns(job.graph, replay(job.graph, judgement.without_ns)).max()) / 1e9
    text = (
        f"simulated anew without the cause, in whatever order of service comes of it, the job takes "
        f"{format_seconds(anew_s)}; the replay, which keeps the order of the job with the cause, says "
        f"{format_seconds(replayed_s)}"
    )
    return caveat_table([("simulated_without", text, 1)])


def make_noise(spec: str) -> Draw:
    """Read the noise that a text asks for.

    Parameters
    ----------
    spec : str
        As `simulate` takes it.

    Returns
    -------
    callable of (Schedule, LogGOPS, numpy.random.Generator) to Noise
        Draws what each event of a schedule meets.

    Raises
    ------
    UsageError
        If the text is of no known form.
    InputError
        If its file cannot be read.
    """
    form, _, rest = spec.partition(":")
    if not spec:
        return lambda _schedule, _model, _rng: Noise()
    if form in {"trace", "together"} and rest:
        start, length = np.rint(read_noise(Path(rest), 2).T).astype(np.int64)
        return lambda schedule, _, rng: trace_noise(
            start, length, schedule.n_rank, rng=rng, together=form == "together"
        )
    first, _, last = rest.rpartition(",")
    lengths: float | NDArray[np.float64]
    if form == "exponential" and first:
        period, lengths = _positive(first, spec), _positive(last, spec)
    elif form == "lengths" and first:
        lengths, period = read_noise(Path(first), 1)[:, 0], _positive(last, spec)
    else:
        raise UsageError(f"noise {spec!r} is none of {NOISE_FORMS}.")
    return lambda schedule, model, rng: drawn_noise(
        schedule, model, lengths, period_ns=period, rng=rng
    )


def noise_inputs(spec: str) -> list[tuple[str, str, int]]:
    """Name the file that a noise is read from.

    Parameters
    ----------
    spec : str
        As `simulate` takes it.

    Returns
    -------
    list of (str, str, int)
        Name, SHA-256 and bytes; empty where there is no file.
    """
    form, _, rest = spec.partition(":")
    if form == "lengths":
        rest = rest.rpartition(",")[0]
    return [file_digest(Path(rest))] if form in {"trace", "together", "lengths"} else []


def _run(schedule: Schedule, model: LogGOPS, draw: Draw, seed: tuple[int, int]) -> Simulation:
    return simulate_schedule(schedule, model, draw(schedule, model, np.random.default_rng(seed)))


def _result(schedule: Schedule, run: Simulation) -> Mapping[str, Any]:
    done = run.served.done
    taken = np.zeros(schedule.n_op, np.bool_)
    taken[run.served.match[run.served.match >= 0]] = True
    sent = (schedule.kind == SEND) & (run.served.start_ns[: schedule.n_op] >= 0)
    return {
        "events": run.n_event,
        "finish_ns": run.finish_ns.tolist(),
        "makespan_ns": run.makespan_ns,
        "messages_not_received": int((sent & ~taken).sum()),
        "ops_never_run": int((~done).sum()),
        "ops_run": int(done.sum()),
        "stalled": stalled_chain(schedule, run.served),
    }


def _quantiles(makespan_ns: list[int]) -> dict[str, Any]:
    values = np.quantile(makespan_ns, QUANTILES, method="inverted_cdf")
    found = {f"p{100 * q:02.0f}": int(v) for q, v in zip(QUANTILES, values, strict=True)}
    return {"n": len(makespan_ns), "makespan_ns": found | {"mean": float(np.mean(makespan_ns))}}


def _positive(word: str, spec: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e15:
        raise UsageError(f"noise {spec!r}: {word!r} is no time in ns. Use one of {NOISE_FORMS}.")
    return value
