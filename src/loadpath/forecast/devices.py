"""Accelerators: peaks, memory, links and power from the shipped table, each row with its sources."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated

from msgspec import Meta, Struct, convert

__all__ = ["Device", "measured_priors", "shipped_devices"]


class Device(Struct, frozen=True, kw_only=True):
    """One accelerator, as its data sheet says.

    Attributes
    ----------
    name : str
        How a design calls it.
    tflops : dict of str to float
        Peak without sparsity by precision, in TFLOP/s.
    memory_gb, memory_gb_per_s : float
        Size in 1e9 B and bandwidth in 1e9 B/s.
    processors : int
        Units that each compute one tile of a matrix product at a time.
    domain : int
        Accelerators that the fast link joins.
    torus : int
        Dimensions of the torus that these links form; 0 where a switch joins them.
    link_gb_per_s, network_gb_per_s : float
        Bandwidth of one accelerator in one direction inside the domain and beyond it.
    tdp_w : float
        Rated power.
    gemm_ratio, gemm8_ratio : tuple of 3 floats
        Share of the peak that large matrix products reach: value, low, high.
    sustained_ratio : float
        Rate of computation that a loaded device holds, to that of short runs, which its power does
        not limit yet.
    portable_ratio : float
        Rate of attention kernels written for the generation before, to that of its own.
    specified, measured, held : str
        Sources of the data sheet, of the shares of products, and of what is sustained.
    """

    name: str
    tflops: dict[str, float]
    memory_gb: float
    memory_gb_per_s: float
    processors: int
    domain: int
    torus: Annotated[int, Meta(ge=0, le=3)] = 0
    link_gb_per_s: float
    network_gb_per_s: float
    tdp_w: float
    gemm_ratio: tuple[float, float, float]
    gemm8_ratio: tuple[float, float, float] | None = None
    sustained_ratio: tuple[float, float, float] = (1.0, 0.9, 1.0)
    portable_ratio: float = 1.0
    specified: str
    measured: str
    held: str


@cache
def shipped_devices() -> Mapping[str, Device]:
    """Read the accelerators that come with loadpath.

    Returns
    -------
    mapping of str to Device
        By name, in the order of the file.

    Examples
    --------
    >>> shipped_devices()["H100-SXM5-80GB"].tflops["bf16"]
    989.4
    """
    text = files("loadpath.forecast").joinpath("data/devices.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    devices = {}
    for row in table["device"]:
        row["specified"] = table["sources"][row["specified"]]
        row["measured"] = table["sources"][row["measured"]]
        row["held"] = table["sources"][row.get("held", "assumed")]
        devices[row["name"]] = convert(row, Device)
    return devices


def measured_priors(device: Device) -> dict[str, tuple[float, float, float, str]]:
    """Give what the table knows better about a device than the shipped priors do.

    Parameters
    ----------
    device : Device
        A row of the table.

    Returns
    -------
    dict of str to (value, low, high, source)
        By name of the prior.
    """
    known = {
        "gemm_ratio": (*device.gemm_ratio, device.measured),
        "sustained_ratio": (*device.sustained_ratio, device.held),
    }
    if device.gemm8_ratio is not None:
        known["gemm8_ratio"] = (*device.gemm8_ratio, device.measured)
    return known
