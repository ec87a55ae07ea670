"""Roofline: how long a kernel takes on a device, and whether operations or bytes set it."""

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadpath.forecast.design import Design
from loadpath.forecast.devices import Device
from loadpath.forecast.fabric import Fabric
from loadpath.forecast.layer_work import Kernel, KernelKind
from loadpath.forecast.layout import fast_domain
from loadpath.forecast.priors import Prior

__all__ = ["COMPONENTS", "FloatArray", "Rates", "fabric_of", "kernel_times_s", "rates_of"]

FloatArray = NDArray[np.float64]

COMPONENTS = ("compute", "memory", "intra_node", "inter_node", "latency", "host", "waiting")
"""What a duration consists of, in the order of the last axis of all arrays of durations."""

_LOW = frozenset({"fp8", "mxfp8", "int8", "fp4"})


class Rates(Struct, frozen=True, kw_only=True):
    """What a device reaches.

    Attributes
    ----------
    flop_per_s : tuple of float
        By `KernelKind`; that of element-wise kernels is infinite.
    ramp_s : tuple of float
        Time beyond the operations, by `KernelKind`.
    processors, wave_ratio : float
        Processors of the device that each compute one tile at a time, and the share of their idle
        time in the last round that a matrix product loses.
    memory : float
        Bytes per second of memory.
    launch_s : float
        Time of the host for one kernel; 0 where graphs are recorded.
    contention : float
        By how much transfers slow the computation beside them.
    pass_variance_s : float
        Variance of the time of equal passes, per second of that time.
    """

    flop_per_s: tuple[float, ...]
    ramp_s: tuple[float, ...]
    processors: float
    wave_ratio: float
    memory: float
    launch_s: float
    contention: float
    pass_variance_s: float


def rates_of(design: Design, device: Device, priors: dict[str, Prior]) -> Rates:
    """Derive what a device reaches from its data sheet and the priors.

    Parameters
    ----------
    design : Design
        Its precision and launches.
    device : Device
        Its peaks.
    priors : dict of str to Prior
        Result of `assume`.

    Returns
    -------
    Rates
        In SI units.
    """
    precision = design.software.precision
    wide = device.tflops.get("bf16") or device.tflops.get("fp16") or max(device.tflops.values())
    own = device.tflops[precision]
    ratio = priors["gemm8_ratio" if precision in _LOW else "gemm_ratio"].value
    wide_ratio = priors["gemm_ratio"].value
    if precision not in _LOW:
        wide = own
    if precision == "fp4":
        wider = priors["wide_layers"].value
        own = 1 / ((1 - wider) / own + wider * ratio / (wide * wide_ratio))
    ramp = priors["gemm_ramp"].value
    scale = 1e12 * priors["sustained_ratio"].value
    scale *= _capped(design, device, priors["power_exponent"].value)
    portable = device.portable_ratio if design.software.attention == "portable" else 1.0
    return Rates(
        flop_per_s=(
            own * ratio * scale,
            wide * wide_ratio * scale,
            wide * priors["attention_ratio"].value * portable * scale,
            wide * priors["attention_backward_ratio"].value * portable * scale,
            np.inf,
        ),
        ramp_s=(ramp, ramp, ramp, ramp, 0.0),
        processors=device.processors,
        wave_ratio=priors["wave_ratio"].value,
        memory=device.memory_gb_per_s * 1e9 * priors["memory_ratio"].value,
        launch_s=0.0 if design.software.graphs else priors["launch"].value,
        contention=priors["contention_ratio"].value,
        pass_variance_s=priors["pass_variance"].value,
    )


def _capped(design: Design, device: Device, exponent: float) -> float:
    cap = design.cluster.power_cap
    return 1.0 if cap is None else min(1.0, cap / device.tdp_w) ** exponent


def fabric_of(
    design: Design, device: Device, priors: dict[str, Prior], span: int, *, near: int
) -> Fabric:
    """Derive the links that a group of accelerators uses.

    Parameters
    ----------
    design : Design
        Its tiers of network; the device's link and network where it has none.
    device : Device
        Its links.
    priors : dict of str to Prior
        Result of `assume`.
    span : int
        Accelerators from the first to the last of the group: which tiers it crosses.
    near : int
        Ranks of the group that share the fast link.

    Returns
    -------
    Fabric
        The slowest crossed tier beyond the first counts as the network. On a torus a group uses the
        links of the axes that it lies along: of D dimensions, D log(near) / log(all), rounded.
    """
    link, network = device.link_gb_per_s * 1e9, device.network_gb_per_s * 1e9
    hop, far_hop = priors["link_latency"].value, priors["network_latency"].value
    tiers = design.cluster.tiers
    if tiers:
        link, hop = tiers[0].bandwidth, tiers[0].latency or hop
        crossed = [t for t, below in zip(tiers[1:], tiers, strict=False) if span > below.size]
        network = min([t.bandwidth / t.oversubscription for t in crossed], default=network)
        far_hop = max([t.latency or far_hop for t in crossed], default=far_hop)
    axes = _axes(device.torus, near, min(fast_domain(design), design.cluster.accelerators))
    share = axes / device.torus if device.torus else 1.0
    return Fabric(
        link=link * share * priors["link_ratio"].value,
        network=network * priors["network_ratio"].value,
        link_latency=hop,
        network_latency=far_hop,
        start=priors["collective_latency"].value,
        axes=axes,
    )


def _axes(torus: int, near: int, domain: int) -> int:
    """Count the axes of a torus of `domain` accelerators that `near` of them fill."""
    if not torus or domain <= 1:
        return torus
    return min(max(round(torus * math.log(max(near, 1)) / math.log(domain)), 1), torus)


def kernel_times_s(kernels: list[Kernel], rates: Rates) -> FloatArray:
    """Time kernels.

    Parameters
    ----------
    kernels : list of Kernel
        Their operations and bytes.
    rates : Rates
        What the device reaches.

    Returns
    -------
    (n_kernel, 7) array
        Seconds by component: operations or bytes, whichever takes longer.
    """
    kind = np.array([k.kind for k in kernels], np.intp)
    flop = np.array([k.flop for k in kernels])
    moved = np.array([k.nbytes for k in kernels]) / rates.memory
    tiles = np.array([k.tiles for k in kernels])
    rounds = np.ceil(np.array([k.rounded for k in kernels]) / rates.processors)
    idle = rounds * rates.processors / np.maximum(tiles, 1e-9) - 1
    idle = np.where(tiles > 0, idle, 0.0)
    worked = flop / np.array(rates.flop_per_s)[kind] * (1 + rates.wave_ratio * idle)
    ramps = np.array([k.ramps for k in kernels]) * np.array(rates.ramp_s)[kind]
    worked = np.where(kind == KernelKind.VECTOR, 0.0, worked + ramps)
    parts = np.zeros((len(kernels), len(COMPONENTS)))
    parts[:, 0] = np.where(worked >= moved, worked, 0.0)
    parts[:, 1] = np.where(worked >= moved, 0.0, moved)
    return parts
