"""The stability vector of a job: how its structure answers delay, noise and load.

Definitions, formulas and sources: docs/stability.md.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from loadpath.diagnose.components import FEWEST_STEPS
from loadpath.diagnose.delay import Loaded, load_job
from loadpath.diagnose.delay_gain import delay_rows, gain_rows
from loadpath.diagnose.emergence import Losses, emergent_share, measure_losses, step_s
from loadpath.diagnose.footing import Footing
from loadpath.diagnose.labels import compact, joint_code, sum_by
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.load import FACTORS, LOADS, load_base_ns, load_curve, load_delta_ns
from loadpath.diagnose.noise_gain import (
    FEW_STEPS,
    draw_steps_under_noise,
    independent_row,
    noise_doubt,
    noise_rows,
)
from loadpath.diagnose.noise_model import NoiseModel, model_noise
from loadpath.diagnose.places import rank_index
from loadpath.diagnose.resampling import Estimate, mean_estimate, ratio_estimate
from loadpath.diagnose.reserve import find_reserves, work_classes
from loadpath.diagnose.stability_row import NOTHING, Row, row, stability_table, under
from loadpath.diagnose.step_spread import step_spread_rows
from loadpath.replay import node_weights_ns
from loadpath.tables.results import LOAD_CURVE

__all__ = ["Policy", "stability_tables"]

NO_LOSS = "not assessed: the loss is within its own interval, so there is nothing to share"


class Policy(NamedTuple):
    """What the person who audits decides.

    Attributes
    ----------
    bound : float
        By how much a step may grow, as a share, before it breaks its bound.
    gate : float
        Largest error of a model with which it is believed.
    """

    bound: float
    gate: float


def stability_tables(
    footing: Footing,
    measured_s: FloatArray,
    policy: Policy,
    rng: np.random.Generator,
    *,
    loads: bool,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, pl.DataFrame]:
    """Compute the stability vector, and how it moves under load.

    Parameters
    ----------
    footing : Footing
        What the figures stand on.
    measured_s : (n_step,) array of float64
        Measured steps.
    policy : Policy
        Bound and gate.
    rng : numpy.random.Generator
        Source of delays and noise.
    loads : bool
        Whether the vector under load is wanted too; knees and curves always are.
    progress : callable of str
        Told what is being done.

    Returns
    -------
    dict
        Tables ``stability`` and ``load_curve``.
    """
    progress("measuring stability")
    model = model_noise(footing.job, footing.parts, footing.peers, footing.own)
    losses = measure_losses(footing.job, footing.effects, footing.parts)
    steps = draw_steps_under_noise(footing, model, 0.0, rng, progress=progress)
    rows = [
        row("step", mean_estimate(footing.loaded.step_s, footing.weights), unit="s"),
        *delay_rows(footing, footing.loaded, rng),
        *gain_rows(footing, work_classes(footing.job, footing.effects.is_transfer)),
        *noise_rows(footing, losses, model, steps, gate=policy.gate),
        *_loss_rows(footing, losses),
        *_reserve_rows(footing, policy.bound),
        *step_spread_rows(measured_s, footing.weights),
    ]
    doubt = noise_doubt(losses, model, steps[1], gate=policy.gate)
    curves = [LOAD_CURVE.empty()]
    for load in LOADS:
        knee, curve = _knee_and_curve(footing, load)
        rows += knee
        curves.append(curve)
        if loads and curve.height:
            progress(f"measuring stability under load: {load}")
            rows += _under_load(footing, model, load, bound=policy.bound, doubt=doubt, rng=rng)
    return {"stability": stability_table(rows), "load_curve": pl.concat(curves)}


def _loss_rows(footing: Footing, losses: Losses) -> Iterator[Row]:
    """Give what is lost to what, the emergent share, and the Jensen gap of the job as recorded."""
    yield _jensen_gap(footing, losses)
    n_step = losses.recorded_s.size
    if n_step < FEWEST_STEPS:
        yield row("emergent_share_ratio", NOTHING, basis=FEW_STEPS)
        return
    share = emergent_share(losses, footing.weights)
    known = np.isfinite(share.value)
    yield row("emergent_share_ratio", share, basis="replayed" if known else NO_LOSS)
    parts = {
        "common": losses.common_s,
        "component": losses.component_s,
        "workload": losses.workload_s,
        "stages": losses.stage_s,
        "emergent": losses.emergent_s,
    }
    for name, lost in parts.items():
        estimate = mean_estimate(lost, footing.weights)
        yield row("loss", estimate, by="part", key=name, unit="s")


def _jensen_gap(footing: Footing, losses: Losses) -> Row:
    """Mean of replayed steps less the replay of every op's mean over steps, over the former."""
    job, peers = footing.job, footing.peers
    if job.graph.step.size < 2:
        return row("jensen_gap_ratio", NOTHING, basis="not assessed: one step has no spread")
    op_class = job.op["op_class"].to_physical().to_numpy()
    series = compact(joint_code(rank_index(job), op_class, peers.turn))[1]
    n = np.bincount(series)
    mean = sum_by(series, footing.effects.work_ns, n.size) / n
    gap = losses.recorded_s - step_s(job, mean[series])
    return row("jensen_gap_ratio", ratio_estimate(gap, losses.recorded_s, footing.weights))


def _reserve_rows(footing: Footing, bound: float) -> Iterator[Row]:
    """Reserve of each class of work, and of all own work and all transfers."""
    code, names = work_classes(footing.job, footing.effects.is_transfer)
    found = find_reserves(
        footing.loaded, footing.effects.work_ns, code, bound=bound, weights=footing.weights
    )
    total = np.bincount(code, footing.effects.work_ns, len(names))
    for name, estimate, work in zip(names, found, total, strict=True):
        yield _reserve_row("op_class", name, estimate, work)
    yield from _broad_reserves(footing, footing.loaded, bound)


def _broad_reserves(footing: Footing, loaded: Loaded, bound: float) -> Iterator[Row]:
    code = footing.effects.is_transfer.astype(np.int64)
    delta = np.where(footing.own | footing.effects.is_transfer, footing.effects.work_ns, 0.0)
    names = ("own work", "transfers")[: int(code.max(initial=0)) + 1]
    found = find_reserves(loaded, delta, code, bound=bound, weights=footing.weights)
    total = np.bincount(code, delta, len(names))
    for name, estimate, work in zip(names, found, total, strict=True):
        yield _reserve_row("work", name, estimate, work)


def _reserve_row(by: str, name: str, estimate: Estimate, work_ns: float) -> Row:
    unbroken = "replayed: 100 times as much breaks no bound"
    basis = "replayed" if np.isfinite(estimate.value) or work_ns <= 0 else unbroken
    return row("reserve", estimate, by=by, key=name, basis=basis)


def _knee_and_curve(footing: Footing, load: str) -> tuple[list[Row], pl.DataFrame]:
    """Knee and curve of a load; no curve where the recording has nothing to make heavier."""
    delta = load_delta_ns(footing.job, load, footing.effects.is_transfer)
    if delta.sum() <= 0:
        return under(load, 1.0, [row("knee", NOTHING)]), LOAD_CURVE.empty()
    base, loaded = load_base_ns(footing.job, load), footing.loaded
    if base.any():
        heavier = node_weights_ns(footing.job.graph, footing.effects.work_ns).astype(np.float64)
        heavier[1:] += base
        loaded = load_job(footing.job, heavier)
    curve = load_curve(loaded, delta, footing.weights)
    knee = row("knee", curve.knee, basis=_knee_basis(curve.knee, curve.exhausted))
    table = {"factor": curve.factor, "step_s": curve.step_s, "gain_ratio": curve.gain}
    named = pl.DataFrame({"load": [load] * curve.factor.size, **table})
    return under(load, 1.0, [knee]), LOAD_CURVE.build(named)


def _under_load(
    footing: Footing,
    model: NoiseModel,
    load: str,
    *,
    bound: float,
    doubt: str,
    rng: np.random.Generator,
) -> list[Row]:
    """Give the vector under each factor of a load; no gain of noise whose model is in doubt."""
    job = footing.job
    delta = load_delta_ns(job, load, footing.effects.is_transfer)
    weight = node_weights_ns(job.graph, footing.effects.work_ns).astype(np.float64)
    base = load_base_ns(job, load)
    rows: list[Row] = []
    for factor in FACTORS:
        heavier = weight.copy()
        heavier[1:] += base + (factor - 1) * delta
        loaded = load_job(job, heavier)
        more = [
            row("step", mean_estimate(loaded.step_s, footing.weights), unit="s"),
            *delay_rows(footing, loaded, rng),
            *_broad_reserves(footing, loaded, bound),
            _noise_row(footing, model, base + (factor - 1) * delta, doubt=doubt, rng=rng),
        ]
        rows += under(load, factor, more)
    return rows


def _knee_basis(knee: Estimate, exhausted: bool) -> str:  # noqa: FBT001
    if np.isfinite(knee.value):
        return "replayed"
    if exhausted:
        return "replayed: no knee, slack is exhausted as recorded"
    return "replayed: no knee up to 100 times the load"


def _noise_row(
    footing: Footing,
    model: NoiseModel,
    delta_ns: FloatArray,
    *,
    doubt: str,
    rng: np.random.Generator,
) -> Row:
    if doubt:
        return row("noise_gain_independent", NOTHING, basis=doubt)
    return independent_row(model, draw_steps_under_noise(footing, model, delta_ns, rng))
