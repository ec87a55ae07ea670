r"""Dominant limitation: how much faster the step would be if one kind of work were.

The elasticity of class c is :math:`e_c = \partial \ln T / \partial \ln s_c`, with :math:`s_c` the
scale of all its work, read off replays at 0.9 and 1.1. Step time is homogeneous of degree one in all
work and latency together, and lag counts as what it adds, so :math:`\sum_c e_c = 1` where step time
is differentiable (Euler); as it is convex, slopes to 0.9 sum to at most 1, slopes to 1.1 to at least 1.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob, NodeRole
from loadpath.couple.steps import windows
from loadpath.diagnose.labels import compact
from loadpath.diagnose.phases import PHASES, op_phases
from loadpath.diagnose.resources import RESOURCES, op_resources
from loadpath.diagnose.step_intervals import FEW_STEPS, drawn_sums, with_interval
from loadpath.replay import (
    Scenarios,
    Timeline,
    lay_out_scenarios,
    replay,
    replay_scenarios,
    step_time_ns,
)
from loadpath.tables.results import LIMITATION

__all__ = ["SCALES", "limitations"]

SCALES = (-0.1, 0.1, -0.5, -1.0)
"""Changes of each kind of work: a tenth less and more, half of it, none."""

NAMES = tuple(RESOURCES)
NO_MARGIN = "; no margin: of the resources of a phase alone, where there are several"
"""Added to the basis of spread, of classes, and of a lone resource."""
FloatArray = NDArray[np.float64]
Int32Array = NDArray[np.int32]


class _Changes(NamedTuple):
    """What may be scaled: work of some nodes in each run, less what stays, and the group of all nodes.

    Groups from 1 on have a phase and a kind; nodes of group 0 are never scaled.
    """

    node: Int32Array
    work_ns: NDArray[np.int64]
    stays_ns: FloatArray
    group: Int32Array
    phase: Int32Array
    kind: Int32Array


class _Target(NamedTuple):
    """Groups that are scaled together, and what they are called."""

    phase: str
    resource: str
    limit: str
    member: NDArray[np.bool_]


def limitations(job: CoupledJob, ideal_ns: FloatArray, rng: np.random.Generator) -> pl.DataFrame:
    """Replay a job with each kind of work scaled.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    ideal_ns : (n_op,) array of float64
        Work that each op would need, in ns: what is beyond it is `spread`.
    rng : numpy.random.Generator
        Source of resampled steps.

    Returns
    -------
    polars.DataFrame
        Table `LIMITATION`: resources and their classes, over the whole step and by phase, the
        resource with the largest elasticity first. The base is the step as it was with lag: shares
        are of it.

    References
    ----------
    .. [1] L. Euler, "Institutiones calculi differentialis", 1755, I.225 (homogeneous functions).
    """
    phase = op_phases(job)
    told = _told(phase)
    work, latency, spread = _work(job, phase), _latencies(job, phase), _spread(job, ideal_ns)
    every = np.ones(spread.kind.size, np.bool_)
    scaled = [
        (work, list(_targets(work, told))),
        (latency, list(_targets(latency, told))),
        (spread, [_Target("all", "spread", "all", every)]),
    ]
    targets = [_Target("all", "lag", "all", np.empty(0, np.bool_))]
    targets += [target for _, found in scaled for target in found]
    times = [_step_times_ns(some, scaled, part) for part, some in windows(job)]
    return _table(targets, drawn_sums(np.concatenate(times), rng))


def _step_times_ns(
    job: CoupledJob, scaled: list[tuple[_Changes, list[_Target]]], part: slice
) -> FloatArray:
    """Time steps of some runs as recorded, with lag scaled and with each target scaled."""
    graph, base = job.graph, replay(job.graph, job.work_ns)
    layout = lay_out_scenarios(graph, base)
    step, delay = _step_and_delay(job, base)
    times = [step + delay, step + delay * (1 + np.array(SCALES))]
    for changes, found in scaled:
        delta = np.zeros((part.stop - part.start, changes.group.size))
        delta[:, changes.node] = changes.work_ns[part] - changes.stays_ns
        group, scale = np.tile(changes.group, len(delta)), _scale(found, changes.kind.size)
        scenarios = Scenarios(delta.ravel(), group, scale, by_node=True)
        times.append(delay + replay_scenarios(graph, base, scenarios, layout=layout))
    return np.hstack(times)


def _step_and_delay(job: CoupledJob, base: Timeline) -> tuple[FloatArray, FloatArray]:
    """(n_step, 1) replayed step times, and what lag adds to them.

    Lag hides couplings that are not recorded; replayed beside changed work it would hold the job to
    its old times. So it is what it adds to the step, in proportion.
    """  # noqa: DOC201
    step = step_time_ns(job.graph, base).astype(np.float64)[:, None]
    lagged = replay(job.graph, job.work_ns, lag_ns=job.lag_ns)
    return step, np.maximum(step_time_ns(job.graph, lagged)[:, None] - step, 0.0)


def _told(phase: Int32Array) -> list[int]:
    """List the phases that the record tells apart; none where it names none."""
    present = np.unique(phase).tolist()
    return present if len(present) > 1 else []


def _work(job: CoupledJob, phase: Int32Array) -> _Changes:
    joint = phase * np.int32(len(NAMES)) + op_resources(job)
    return _changes(job, (job.work_ns, np.zeros(1)), joint, job.graph.end_node)


def _latencies(job: CoupledJob, phase: Int32Array) -> _Changes:
    """Latencies of launches and recorded boundaries have nodes of their own."""
    graph = job.graph
    kind = np.full(graph.n_node, NAMES.index("launch"), np.int32)
    kind[graph.role == NodeRole.RELEASE] = NAMES.index("boundary")
    own = np.flatnonzero(graph.fixed_ns).astype(np.int32)
    joint = phase[graph.op[own]] * np.int32(len(NAMES)) + kind[own]
    fixed = np.broadcast_to(graph.fixed_ns[own], (job.n_run, own.size))
    return _changes(job, (fixed, np.zeros(1)), joint, own)


def _spread(job: CoupledJob, ideal_ns: FloatArray) -> _Changes:
    any_kind = np.zeros(job.n_op, np.int32)
    return _changes(job, (job.work_ns, ideal_ns), any_kind, job.graph.end_node)


def _changes(
    job: CoupledJob,
    change_ns: tuple[NDArray[np.int64], FloatArray],
    joint: Int32Array,
    node: Int32Array,
) -> _Changes:
    """Group nodes; what changes in no run, work being what stays, is in no group."""
    work, stays = np.atleast_2d(change_ns[0]), change_ns[1]
    changed = np.flatnonzero((work != stays).any(axis=0))
    found, number = compact(joint[changed])
    group = np.zeros(job.graph.n_node, np.int32)
    group[node[changed]] = number + np.int32(1)
    phase, kind = np.divmod(found.astype(np.int32), np.int32(len(NAMES)))
    return _Changes(node, work, stays, group, phase, kind)


def _targets(changes: _Changes, told: list[int]) -> Iterator[_Target]:
    """List what is scaled: each resource, its classes, and each resource in each phase."""
    resource = np.array(list(RESOURCES.values()))[changes.kind]
    for name in dict.fromkeys(RESOURCES.values()):
        mine = resource == name
        if not mine.any():
            continue
        yield _Target("all", name, "all", mine)
        for kind in np.unique(changes.kind[mine]).tolist():
            if NAMES[kind] != name:
                yield _Target("all", name, NAMES[kind], changes.kind == kind)
        for phase in told:
            if (inside := mine & (changes.phase == phase)).any():
                yield _Target(PHASES[phase], name, "all", inside)


def _scale(targets: list[_Target], n_group: int) -> NDArray[np.float32]:
    """(1 + n_group, n_target * n_scale): each target alone at each scale."""
    scale = np.zeros((1 + n_group, len(targets), len(SCALES)), np.float32)
    for number, target in enumerate(targets):
        scale[1:, number][target.member] = SCALES
    return scale.reshape(1 + n_group, -1)


def _table(targets: list[_Target], sums_ns: FloatArray) -> pl.DataFrame:
    """Turn sums of step times (row 0 as recorded, the base in column 0) into shares."""
    share = (sums_ns[:, 1:] / np.maximum(sums_ns[:, :1], 1.0)).reshape(
        len(sums_ns), -1, len(SCALES)
    )
    less, more, half, none = (share[0, :, k] for k in range(len(SCALES)))
    slope = (share[:, :, 1] - share[:, :, 0]) / (SCALES[1] - SCALES[0])
    columns: dict[str, Any] = {
        name: [getattr(t, name) for t in targets] for name in ("phase", "resource", "limit")
    }
    for name, draws in (("elasticity", slope), ("margin", _margins(targets, slope))):
        value, low, high = with_interval(draws)
        columns |= {f"{name}_ratio": value, f"{name}_low_ratio": low, f"{name}_high_ratio": high}
    gains = {"tenth": 1 - less, "half": 1 - half, "whole": 1 - none, "tenth_more": 1 - more}
    columns |= {f"gain_{name}_ratio": gain for name, gain in gains.items()}
    frame = pl.DataFrame(columns).fill_nan(None)
    few = pl.when(pl.col("elasticity_low_ratio").is_null()).then(pl.lit(FEW_STEPS))
    alone = pl.when(pl.col("margin_ratio").is_null()).then(pl.lit(NO_MARGIN))
    basis = pl.lit("replayed") + few.otherwise(pl.lit("")) + alone.otherwise(pl.lit(""))
    return _ordered(LIMITATION.build(frame.with_columns(basis=basis)))


def _margins(targets: list[_Target], slope: FloatArray) -> FloatArray:
    """Elasticity of a resource less the largest of the others of its phase; NaN for the rest."""
    margin = np.full(slope.shape, np.nan)
    ranked = [t.limit == "all" and t.resource != "spread" for t in targets]
    for phase in {t.phase for t in targets}:
        mine = [k for k, t in enumerate(targets) if ranked[k] and t.phase == phase]
        for k in mine if len(mine) > 1 else ():
            others = [other for other in mine if other != k]
            margin[:, k] = slope[:, k] - slope[:, others].max(axis=1)
    return margin


def _ordered(table: pl.DataFrame) -> pl.DataFrame:
    """Whole step first, then phases; resources by elasticity, spread last, classes below theirs."""
    largest = pl.col("elasticity_ratio").filter(pl.col("limit") == "all").first()
    keys: dict[str, pl.Expr] = {
        "_phase": pl.col("phase").replace_strict(["all", *PHASES], range(len(PHASES) + 1)),
        "_spread": pl.col("resource") == "spread",
        "_resource": -largest.over("phase", "resource"),
        "_class": pl.col("limit") != "all",
    }
    columns = [*keys, "resource", "_slope", "limit"]
    keyed = table.with_columns(**keys, _slope=-pl.col("elasticity_ratio"))
    return keyed.sort(columns).drop([*keys, "_slope"])
