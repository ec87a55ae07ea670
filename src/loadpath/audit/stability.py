"""Stability in an audit: its tables, and its section of audit.json."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from loadpath.audit.settings import Progress, Settings
from loadpath.couple.steps import lay_out
from loadpath.diagnose.delay import DELAY_RATIO
from loadpath.diagnose.effects import Effects
from loadpath.diagnose.emergence import measure_losses
from loadpath.diagnose.fidelity import Fidelity
from loadpath.diagnose.footing import Footing, lay_footing
from loadpath.diagnose.interaction import interaction_table
from loadpath.diagnose.judgement import Judgement
from loadpath.diagnose.policies import policy_table
from loadpath.diagnose.resampling import LEVEL, draw_steps
from loadpath.diagnose.stability import Policy, stability_tables
from loadpath.diagnose.stability_row import NOTHING, row, stability_table
from loadpath.diagnose.step_sample import StepSample, effects_of
from loadpath.diagnose.step_spread import step_spread_rows
from loadpath.diagnose.variance import variance_table
from loadpath.tables.results import INTERACTION, LOAD_CURVE, POLICY, VARIANCE

__all__ = [
    "Stability",
    "measure_stability",
    "stability_section",
    "weigh_interaction",
    "weigh_policies",
    "without_stability",
]

VECTOR = (
    "one_off_gain",
    "waiting_gain",
    "absorption_ratio",
    "noise_gain",
    "emergent_share_ratio",
    "step_cv_ratio",
    "step_p99_over_p50_ratio",
)
BESIDE = ("jensen_gap_ratio", "noise_gain_independent", "noise_model_error_ratio")
REFUSED = "not assessed: no conclusion is drawn from this recording"


class Stability(NamedTuple):
    """What was measured, and what it stands on.

    Attributes
    ----------
    tables : dict
        Tables ``stability``, ``load_curve`` and ``variance``.
    footing : Footing or None
        What policies can be weighed on; None where they are not wanted.
    """

    tables: dict[str, pl.DataFrame]
    footing: Footing | None


def measure_stability(
    sample: StepSample,
    effects: Effects,
    known: tuple[Fidelity, str, Settings],
    *,
    progress: Progress,
    drawn: bool,
) -> Stability:
    """Measure how stable the structure of a job is.

    Of a large job it is measured on some steps (`sample_steps`).

    Parameters
    ----------
    sample : StepSample
        Steps that it is measured on.
    effects : Effects
        Nested effects of all steps.
    known : (Fidelity, str, Settings)
        Measured steps; why no conclusion is drawn, empty if one may be; bound, gate and seed.
    progress : callable of str
        Told what is being done.
    drawn : bool
        Whether the vector under load, the split of variance and the policies are wanted too: they
        take twice the time of the vector, and only the audit folder and its briefing show them.

    Returns
    -------
    Stability
        Tables, and what policies are weighed on.
    """
    fidelity, refusal, settings = known
    if refusal:
        return Stability(without_stability(fidelity, settings), None)
    measured_s = fidelity.measured_s[sample.kept]
    effects, job = effects_of(effects, sample), lay_out(sample.job)
    rng = np.random.default_rng(settings.seed)
    footing = lay_footing(job, effects, rng)
    policy = Policy(settings.bound, settings.gate)
    tables = stability_tables(footing, measured_s, policy, rng, loads=drawn, progress=progress)
    if not drawn:
        return Stability(tables | {"variance": VARIANCE.empty()}, None)
    progress("splitting variance")
    losses = measure_losses(job, effects, footing.parts)
    variance = variance_table(footing, losses, measured_s)
    return Stability(tables | {"variance": variance}, footing)


def weigh_policies(footing: Footing | None, culprits: Sequence[int]) -> pl.DataFrame:
    """Say what each policy would return.

    Parameters
    ----------
    footing : Footing or None
        What the figures of stability stand on.
    culprits : sequence of int
        Ranks that the verdict names.

    Returns
    -------
    polars.DataFrame
        Table `POLICY`; empty where there is nothing to stand on.
    """
    return POLICY.empty() if footing is None else policy_table(footing, culprits)


def weigh_interaction(
    sample: StepSample, judgement: Judgement | None, settings: Settings
) -> pl.DataFrame:
    """Share out what the top causes return, where they interact.

    Parameters
    ----------
    sample : StepSample
        Steps that are replayed.
    judgement : Judgement or None
        What was decided.
    settings : Settings
        Seed of sampled orders.

    Returns
    -------
    polars.DataFrame
        Table `INTERACTION`.
    """
    return interaction_table(sample, judgement, np.random.default_rng(settings.seed))


def without_stability(fidelity: Fidelity, settings: Settings) -> dict[str, pl.DataFrame]:
    """Give what stands where no conclusion is drawn: the spread of measured steps alone.

    Parameters
    ----------
    fidelity : Fidelity
        Measured steps.
    settings : Settings
        Seed of the resamples.

    Returns
    -------
    dict
        The tables of `measure_stability` and `weigh_interaction`.
    """
    weights = draw_steps(fidelity.measured_s.size, np.random.default_rng(settings.seed))
    rows = [row(name, NOTHING, basis=REFUSED) for name in VECTOR if not name.startswith("step")]
    rows += step_spread_rows(fidelity.measured_s, weights)
    empty = {t.name: t.empty() for t in (LOAD_CURVE, VARIANCE, POLICY, INTERACTION)}
    return empty | {"stability": stability_table(rows)}


def stability_section(tables: Mapping[str, pl.DataFrame], settings: Settings) -> dict[str, Any]:
    """Give the section ``stability`` of audit.json.

    Parameters
    ----------
    tables : mapping of str to polars.DataFrame
        Result tables, ``stability`` among them.
    settings : Settings
        Bound of the reserve.

    Returns
    -------
    dict
        Each figure as ``{value, low, high, unit, basis}``; of slack and reserve value, low and high
        are by quantile and by class of work.
    """
    table = tables["stability"]
    recorded = table.filter((pl.col("load") == "recorded") & (pl.col("by") == "job"))
    single = {r["quantity"]: _entry(r) for r in recorded.iter_rows(named=True)}
    unknown = {"value": None, "low": None, "high": None, "unit": "ratio", "basis": REFUSED}
    slack = _several(table, "slack", ("quantile",), "s")
    reserve = _several(table, "reserve", ("op_class", "work"), "ratio")
    return {
        **{name: single.get(name, unknown) for name in (*VECTOR, *BESIDE)},
        "slack_quantiles": slack,
        "reserve": reserve | {"bound_ratio": settings.bound},
        "loss": _entries(table, "loss", "part"),
        "step_under_noise": _entries(table, "step_under_noise", "quantile"),
        "knee": {
            r["load"]: _entry(r)
            for r in table.filter(pl.col("quantity") == "knee").iter_rows(named=True)
        },
        "n_steps": int(single["n_steps"]["value"]),
        "delay_ratio": DELAY_RATIO,
        "level": LEVEL,
    }


def _entry(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in ("value", "low", "high", "unit", "basis")}


def _rows(table: pl.DataFrame, quantity: str, by: tuple[str, ...]) -> pl.DataFrame:
    mine = (pl.col("quantity") == quantity) & pl.col("by").is_in(by)
    return table.filter(mine & (pl.col("load") == "recorded"))


def _entries(table: pl.DataFrame, quantity: str, by: str) -> dict[str, Any]:
    return {r["key"]: _entry(r) for r in _rows(table, quantity, (by,)).iter_rows(named=True)}


def _several(table: pl.DataFrame, quantity: str, by: tuple[str, ...], unit: str) -> dict[str, Any]:
    """Several figures of one kind in one entry."""
    found = _rows(table, quantity, by)
    columns = {
        name: dict(found.select("key", name).iter_rows()) for name in ("value", "low", "high")
    }
    known = found.drop_nulls("value")["basis"]
    reason = dict(found.filter(pl.col("value").is_null()).select("key", "basis").iter_rows())
    basis = " | ".join(sorted(set(known))) or " | ".join(sorted(set(reason.values()))) or REFUSED
    return {**columns, "unit": unit, "basis": basis, "reason": reason}
