"""Forecast of one step: durations from the design, a coupled graph, and its replay."""

from collections.abc import Mapping

from msgspec import Struct

from loadpath.errors import UsageError
from loadpath.forecast.design import Design
from loadpath.forecast.design_checks import check_design
from loadpath.forecast.devices import Device, measured_priors, shipped_devices
from loadpath.forecast.durations import Durations, limitation, replayed_s
from loadpath.forecast.layout import lay_out
from loadpath.forecast.machine import machine_of
from loadpath.forecast.memory import Memory, memory_of
from loadpath.forecast.priors import Prior, assume
from loadpath.forecast.serving import serving_durations
from loadpath.forecast.stencil import stencil_durations, stencil_work
from loadpath.forecast.training import training_durations
from loadpath.forecast.transformer import batch_of, flop_per_token, model_of

__all__ = [
    "StepForecast",
    "refuse_unsound",
    "step_durations",
    "step_seconds",
    "step_time",
    "work_of",
]


class StepForecast(Struct, frozen=True, kw_only=True):
    """One step of a job that need not exist.

    Attributes
    ----------
    step_s : float
        Time of a step.
    tokens_per_s : float
        Tokens (cells of a stencil) that all accelerators together finish in a second.
    mfu_ratio : float
        Useful operations over those that all accelerators could do at the peak.
    limitation : dict of str to float
        Shares of the step, which sum to 1: compute, memory, intra_node, inter_node, latency,
        waiting, bubble, host.
    memory : Memory or None
        What the fullest accelerator holds; None where the design does not say.
    room_bytes : float
        What an accelerator has.
    fits_memory : bool or None
        Whether what it holds is no more than that.
    priors : tuple of Prior
        What the design left open.
    """

    step_s: float
    tokens_per_s: float
    mfu_ratio: float
    limitation: dict[str, float]
    memory: Memory | None
    room_bytes: float
    fits_memory: bool | None
    priors: tuple[Prior, ...]


def step_time(design: Design, *, condensed: bool = False) -> StepForecast:
    """Forecast one step of a design.

    Parameters
    ----------
    design : Design
        A job and its machine.
    condensed : bool
        Whether the repeating middle of a long pipeline is replayed once for all its repetitions:
        the same time within 0.1 %, much sooner, for searches among many designs.

    Returns
    -------
    StepForecast
        By replay of its coupled graph.

    Raises
    ------
    UsageError
        If the design is not sound; all that is wrong is named.

    Examples
    --------
    >>> from loadpath.forecast.design import Batch, Cluster, Parallelism, Transformer
    >>> design = Design(
    ...     name="small",
    ...     model=Transformer(layers=24, hidden=2048, heads=16, sequence=2048, vocabulary=50304),
    ...     cluster=Cluster(device="A100-SXM4-80GB", accelerators=8),
    ...     batch=Batch(sequences=64, microbatch=4),
    ...     parallelism=Parallelism(sharding="optimizer"),
    ... )
    >>> forecast = step_time(design)
    >>> (
    ...     round(sum(forecast.limitation.values()), 9),
    ...     max(forecast.limitation, key=forecast.limitation.get),
    ... )
    (1.0, 'compute')
    """
    device, priors = _assumed(design)
    durations = step_durations(design, device, priors, condensed=condensed)
    step = replayed_s(durations)
    work, flop = work_of(design)
    peak = _peak(design, device) * design.cluster.accelerators
    held = memory_of(design, lay_out(design)) if design.model is not None else None
    room = design.cluster.memory or device.memory_gb * 1e9
    return StepForecast(
        step_s=step,
        tokens_per_s=work / step,
        mfu_ratio=flop / step / peak,
        limitation=limitation(durations, step),
        memory=held,
        room_bytes=room,
        fits_memory=None if held is None else held.total <= room,
        priors=tuple(p for name, p in priors.items() if name not in design.priors),
    )


def step_durations(
    design: Design,
    device: Device,
    priors: dict[str, Prior],
    *,
    condensed: bool = False,
    replicas: int = 1,
) -> Durations:
    """Time every op of a step, and couple them.

    Parameters
    ----------
    design : Design
        A sound design.
    device : Device
        Its accelerator.
    priors : dict of str to Prior
        Result of `assume`.
    condensed : bool
        As of `step_time`.
    replicas : int
        Pipelines that are laid out one by one, for noise that tells them apart; 1 stands for all.

    Returns
    -------
    Durations
        Ready to be replayed, as they are or changed.
    """
    machine = machine_of(design, device, priors)
    if design.stencil is not None:
        return stencil_durations(design, design.stencil, machine, priors)
    layout = lay_out(design)
    if design.serving is not None:
        return serving_durations(design, layout, machine, priors)
    return training_durations(
        design, layout, machine, priors, condensed=condensed, replicas=replicas
    )


def refuse_unsound(design: Design) -> None:
    """Refuse a design that cannot be, with all that is wrong.

    Parameters
    ----------
    design : Design
        Any.

    Raises
    ------
    UsageError
        If `check_design` finds problems.
    """
    problems = check_design(design)
    if problems:
        told = "; ".join(f"{'.'.join(map(str, p.path))} {p.what}" for p in problems)
        raise UsageError(f"Design {design.name!r}: {told}.")


def _assumed(design: Design) -> tuple[Device, dict[str, Prior]]:
    refuse_unsound(design)
    device = shipped_devices()[design.cluster.device]
    return device, assume(design.priors, measured_priors(device))


def step_seconds(design: Design, values: Mapping[str, float]) -> float:
    """Replay a step with other priors, without asking what limits it.

    Parameters
    ----------
    design : Design
        A sound design.
    values : mapping of str to float
        Priors that stand in place of the design's own.

    Returns
    -------
    float
        Seconds, of a condensed pipeline: for ratios of two of them.
    """
    device = shipped_devices()[design.cluster.device]
    priors = assume({**design.priors, **values}, measured_priors(device))
    return replayed_s(step_durations(design, device, priors, condensed=True))


def work_of(design: Design) -> tuple[float, float]:
    """Give the units of work of a step, and the operations they need.

    Parameters
    ----------
    design : Design
        A sound design.

    Returns
    -------
    work, flop : float
        Tokens (cells of a stencil) and operations of the whole job.
    """
    if design.stencil is not None:
        return stencil_work(design, design.stencil)
    model, batch = model_of(design), batch_of(design)
    if design.serving is not None:
        replicas = lay_out(design).data
        tokens = replicas * design.serving.concurrent
        return float(tokens), tokens * flop_per_token(model) / 3
    tokens = batch.sequences * model.sequence
    return float(tokens), tokens * flop_per_token(model)


def _peak(design: Design, device: Device) -> float:
    return 1e12 * device.tflops[design.software.precision]
