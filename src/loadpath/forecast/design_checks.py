"""What no design may be: sizes that do not divide, names that nobody knows, weights too large."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from loadpath.forecast.design import Design, Transformer
from loadpath.forecast.design_lines import Path
from loadpath.forecast.devices import Device, shipped_devices
from loadpath.forecast.layout import lay_out
from loadpath.forecast.memory import memory_of
from loadpath.forecast.priors import shipped_priors
from loadpath.forecast.transformer import feed_forward, kv_heads

__all__ = ["Problem", "check_design"]

CURRENCY = re.compile(r"[A-Z]{3}")
HIGHEST_PRICE = 1_000_000
MOST_NOISE = 100
"""Times its mean that a step varies by, at most: beyond it nothing runs."""

OF_PEAK = ("gemm_ratio", "gemm8_ratio", "attention_ratio", "attention_backward_ratio")
"""Priors that nothing exceeds; caches and reduction in the network let others pass their data sheet."""

MOST_CHUNKS = 4096
"""Chunks of a pipeline that are replayed: beyond any model's layers."""
MOST_REDUCTIONS = 4096
"""All-reduces that are replayed in a step: beyond any solver's iterations."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a design.

    Attributes
    ----------
    path : Path
        Where.
    what : str
        What is wrong and what would be right, after the name of the place.
    """

    path: Path
    what: str


def check_design(design: Design) -> list[Problem]:
    """Find all that is wrong with a design whose values have the right types.

    Parameters
    ----------
    design : Design
        Any.

    Returns
    -------
    list of Problem
        Empty for a sound design.

    Examples
    --------
    >>> from loadpath.forecast.design import Batch, Cluster
    >>> design = Design(
    ...     name="small",
    ...     cluster=Cluster(device="H100-SXM5-80GB", accelerators=8),
    ...     batch=Batch(sequences=12),
    ...     model=Transformer(layers=4, hidden=512, heads=8, sequence=1024, vocabulary=50304),
    ... )
    >>> [problem.what for problem in check_design(design)]
    ['is 12, which 8 replicas with microbatches of 1 do not divide; 8 or 16 would']
    """
    problems = [*_names(design), *_kinds(design), *_tiers(design), *_noise(design)]
    problems += [*_prices(design), *_convergence(design)]
    model = design.model
    if model is None:
        return problems
    problems += [*_dimensions(design, model), *_experts(design, model), *_stages(design, model)]
    layout = list(_replicas(design))
    problems += layout
    if not problems and design.batch is not None:
        problems += _memory(design)
    return problems


def _names(design: Design) -> Iterator[Problem]:
    device = shipped_devices().get(design.cluster.device)
    if device is None:
        yield _unknown(("cluster", "device"), design.cluster.device, list(shipped_devices()))
    elif design.software.precision not in device.tflops:
        known = ", ".join(device.tflops)
        yield Problem(
            ("software", "precision"),
            f"is {design.software.precision}, which {device.name} does not have; it has {known}",
        )
    if design.software.scaling == "delayed" and design.software.precision != "fp8":
        what = f"is 'delayed', which precision {design.software.precision} has none of; fp8 has"
        yield Problem(("software", "scaling"), what)
    for name, value in design.priors.items():
        if name not in shipped_priors():
            yield _unknown(("priors", name), name, list(shipped_priors()))
        elif not (math.isfinite(value) and value >= 0):
            yield Problem(("priors", name), f"is {value}; it must be finite and at least 0")
        elif name in OF_PEAK and value > 1:
            yield Problem(("priors", name), f"is {value}; a share of the peak is at most 1")


def _convergence(design: Design) -> Iterator[Problem]:
    told = design.convergence
    if told is None:
        return
    if len(told.batches) != len(told.steps) or len(set(told.batches)) < 2:
        what = f"has {len(told.batches)} batches and {len(told.steps)} steps; give both of runs with two batches or more"
        yield Problem(("convergence",), what)
    if design.batch is None or design.serving is not None:
        yield Problem(("convergence",), "needs a batch: only training converges")
    if design.startup.steps is not None:
        what = "says how long the job is, and so does convergence; leave one of them out"
        yield Problem(("startup", "steps"), what)


def _unknown(path: Path, value: str, known: list[str]) -> Problem:
    near = [name for name in known if value and value.lower() in name.lower()]
    near = near or get_close_matches(value, known, n=3, cutoff=0.4)
    hint = f"{' or '.join(near)} would do" if near else f"known are {', '.join(known)}"
    return Problem(path, f"is {value!r}, which is unknown; {hint}")


def _kinds(design: Design) -> Iterator[Problem]:
    if (design.model is None) == (design.stencil is None):
        yield Problem(("model",), "or stencil must describe the job, and only one of them")
    reductions = design.stencil.reductions if design.stencil else 0
    if reductions > MOST_REDUCTIONS:
        what = f"is {reductions:,}; more than {MOST_REDUCTIONS:,} in a step are not replayed"
        yield Problem(("stencil", "reductions"), what)
    if design.model is not None and design.batch is None and design.serving is None:
        yield Problem(("batch",), "is missing; training needs its sequences")
    if design.serving is not None and design.model is None:
        yield Problem(("serving",), "needs a model that is served")
    if design.serving is not None and design.parallelism.chunks > 1:
        yield Problem(("parallelism", "chunks"), "is for training; serving has one chunk a stage")


def _tiers(design: Design) -> Iterator[Problem]:
    below = 0
    for place, tier in enumerate(design.cluster.tiers):
        path: Path = ("cluster", "tiers", place)
        if tier.bandwidth == 0:
            yield Problem((*path, "bandwidth"), "is 0; nothing would ever arrive")
        if tier.size <= below:
            yield Problem((*path, "size"), f"is {tier.size}; it must exceed the {below} inside it")
        below = tier.size
    if design.cluster.tiers and below < design.cluster.accelerators:
        yield Problem(
            ("cluster", "tiers"),
            f"join {below} accelerators, but the job has {design.cluster.accelerators}",
        )


def _noise(design: Design) -> Iterator[Problem]:
    if design.noise.tail == "pareto" and (design.noise.tail_shape or 0) <= 1:
        yield Problem(("noise", "tail_shape"), "must exceed 1 for a Pareto tail to have a mean")

    for name in ("variation_ratio", "slow_excess_ratio"):
        value = getattr(design.noise, name)
        if value is not None and value > MOST_NOISE:
            yield Problem(("noise", name), f"is {value:g}; {MOST_NOISE} times a step is the most")
    if design.noise.slow_ratio and design.noise.slow_excess_ratio is None:
        yield Problem(("noise", "slow_ratio"), "needs slow_excess_ratio: by how much they are slow")


def _prices(design: Design) -> Iterator[Problem]:
    prices = design.prices
    if prices is None:
        return
    path, rate = ("prices", "accelerator_hour"), prices.accelerator_hour
    low, high = prices.accelerator_hour_low, prices.accelerator_hour_high
    if not CURRENCY.fullmatch(prices.currency):
        yield Problem(
            ("prices", "currency"), f"is {prices.currency!r}; three capitals would do, such as USD"
        )
    if max(rate, prices.energy_kwh) > HIGHEST_PRICE:
        yield Problem(path, f"or energy_kwh is above {HIGHEST_PRICE:,}")
    if not (low or 0.0) <= rate <= (rate if high is None else high):
        yield Problem(
            path, f"is {rate:g}, which its edges {low} and {high} do not hold between them"
        )


def _divides(path: Path, whole: int, part: int, why: str) -> Iterator[Problem]:
    """Ask that `part` divides `whole`, and name the nearest that it would divide."""
    if whole % part:
        low = whole - whole % part
        near = f"{low} or {low + part}" if low else f"{part}"
        yield Problem(path, f"is {whole}, which {why} not divide; {near} would")


def _dimensions(design: Design, model: Transformer) -> Iterator[Problem]:
    p = design.parallelism
    if model.head_width is None:
        yield from _divides(
            ("model", "hidden"), model.hidden, model.heads, f"{model.heads} heads do"
        )
    tensor = f"tensor parallelism of {p.tensor} does"
    yield from _divides(("model", "heads"), model.heads, p.tensor, tensor)
    keys = kv_heads(model)
    if model.kv_heads is not None and keys % p.tensor and p.tensor % keys:
        yield from _divides(("model", "kv_heads"), keys, p.tensor, tensor)
    if model.heads % keys:
        yield Problem(
            ("model", "kv_heads"), f"is {keys}, which does not divide {model.heads} heads"
        )
    if model.experts is None:
        yield from _divides(("model", "feed_forward"), feed_forward(model), p.tensor, tensor)
    share = p.context * (p.tensor if p.sequence_parallel else 1)
    if design.serving is None:
        why = f"context and sequence parallelism of {share} do"
        yield from _divides(("model", "sequence"), model.sequence, share, why)
    if model.windowed_layers is not None:
        yield from _windowed(model, model.windowed_layers)


def _windowed(model: Transformer, layers: int) -> Iterator[Problem]:
    path: Path = ("model", "windowed_layers")
    if model.window is None:
        yield Problem(path, "needs window: how far these layers look back")
    if layers > model.layers:
        yield Problem(path, f"is {layers}, but the model has {model.layers} layers")


def _experts(design: Design, model: Transformer) -> Iterator[Problem]:
    expert = design.parallelism.expert
    if model.experts is None:
        if expert > 1:
            yield Problem(("parallelism", "expert"), f"is {expert}, but the model has no experts")
        return
    why = f"expert parallelism of {expert} does"
    yield from _divides(("model", "experts", "count"), model.experts.count, expert, why)
    if model.experts.chosen > model.experts.count:
        yield Problem(
            ("model", "experts", "chosen"),
            f"is {model.experts.chosen}, but there are {model.experts.count}",
        )
    if model.experts.dense_layers > model.layers:
        yield Problem(
            ("model", "experts", "dense_layers"),
            f"is {model.experts.dense_layers}, but the model has {model.layers} layers",
        )


def _stages(design: Design, model: Transformer) -> Iterator[Problem]:
    p = design.parallelism
    chunks = p.pipeline * p.chunks
    added = 2 if p.embedding_apart else 0
    if (model.layers + added) % chunks:
        low = (model.layers + added) // chunks * chunks
        fits = [n - added for n in (low, low + chunks) if n > added]
        near = " or ".join(str(n) for n in fits)
        yield Problem(
            ("model", "layers"),
            f"is {model.layers}, which {p.pipeline} stages of {p.chunks} chunks do not divide; "
            f"{near} would",
        )
    if chunks > MOST_CHUNKS:
        yield Problem(
            ("parallelism", "pipeline"),
            f"and chunks make {chunks} chunks; more than {MOST_CHUNKS} are not replayed",
        )
    if p.chunks > 1 and p.pipeline == 1:
        yield Problem(
            ("parallelism", "chunks"), f"is {p.chunks}, but there is one stage; 1 would do"
        )


def _replicas(design: Design) -> Iterator[Problem]:
    p, n = design.parallelism, design.cluster.accelerators
    model = p.tensor * p.pipeline * p.context
    whole = list(
        _divides(
            ("cluster", "accelerators"),
            n,
            model,
            f"replicas of {model} (tensor {p.tensor} x pipeline {p.pipeline} x context {p.context}) do",
        )
    )
    yield from whole
    if whole:
        return
    data = n // model
    inner = data * p.tensor * p.context
    if inner % p.expert:
        yield Problem(
            ("parallelism", "expert"),
            f"is {p.expert}, which does not divide the {inner} of a stage",
        )
    if p.shard_group is not None and (data * p.context) % p.shard_group:
        yield Problem(
            ("parallelism", "shard_group"),
            f"is {p.shard_group}, which does not divide the {data * p.context} that hold the same",
        )
    if design.batch is not None and design.serving is None:
        yield from _microbatches(design, data)


def _microbatches(design: Design, data: int) -> Iterator[Problem]:
    p, batch = design.parallelism, design.batch
    if batch is None:
        return
    each = data * batch.microbatch
    path: Path = ("batch", "sequences")
    why = f"{data} replicas with microbatches of {batch.microbatch} do"
    uneven = list(_divides(path, batch.sequences, each, why))
    yield from uneven
    count = batch.sequences // each
    if not uneven and p.chunks > 1 and count % p.pipeline:
        wanted = " or ".join(str(n * each) for n in _near(count, p.pipeline))
        yield Problem(
            path,
            f"is {batch.sequences}: {count} microbatches of a replica, which an interleaved "
            f"pipeline of {p.pipeline} stages does not divide; {wanted} would",
        )


def _near(value: int, part: int) -> list[int]:
    low = value // part * part
    return [n for n in (low, low + part) if n]


def _memory(design: Design) -> Iterator[Problem]:
    """Refuse what cannot fit even without activations: that part is known exactly."""
    device: Device = shipped_devices()[design.cluster.device]
    room = design.cluster.memory or device.memory_gb * 1e9
    held = memory_of(design, lay_out(design))
    least = held.total - held.activations
    if least > room:
        yield Problem(
            ("parallelism",),
            f"leaves {least / 1e9:.1f} GB of weights, gradients and optimiser on an accelerator of "
            f"{room / 1e9:.1f} GB: {(least - room) / 1e9:.1f} GB too many; raise tensor or pipeline "
            "parallelism, or shard more",
        )
