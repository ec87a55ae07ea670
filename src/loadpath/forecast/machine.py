"""What a design runs on: rates of its device and links of each group, from data sheet and priors."""

from dataclasses import dataclass

from loadpath.forecast.design import Design
from loadpath.forecast.devices import Device
from loadpath.forecast.fabric import Fabric
from loadpath.forecast.layout import lay_out
from loadpath.forecast.priors import Prior
from loadpath.forecast.rates import Rates, fabric_of, rates_of

__all__ = ["Machine", "machine_of"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Rates and links in SI units.

    Attributes
    ----------
    rates : Rates
        What a device reaches.
    fabrics : dict of str to Fabric
        Links by the name of a group of `Layout`.
    """

    rates: Rates
    fabrics: dict[str, Fabric]


def machine_of(design: Design, device: Device, priors: dict[str, Prior]) -> Machine:
    """Derive what a design runs on.

    Parameters
    ----------
    design : Design
        Its cluster and parallelism.
    device : Device
        Its accelerator.
    priors : dict of str to Prior
        Result of `assume`.

    Returns
    -------
    Machine
        With the tiers that each group crosses.
    """
    p, everything = design.parallelism, design.cluster.accelerators
    spans = {
        "tensor": p.tensor,
        "context": p.tensor * p.context,
        "expert": p.expert,
        "gradient": everything // p.pipeline,
        "shard": min(p.tensor * (p.shard_group or everything), everything // p.pipeline),
        "stages": everything,
    }
    layout = lay_out(design)
    near = {name: getattr(layout, name).local for name in spans}
    fabrics = {
        name: fabric_of(design, device, priors, span, near=near[name])
        for name, span in spans.items()
    }
    return Machine(rates_of(design, device, priors), fabrics)
