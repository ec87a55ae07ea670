"""What connects ranks: bandwidth of a rank inside and between nodes, and how NCCL sees it."""

import math
from dataclasses import dataclass
from typing import Literal

from loadpath.errors import UsageError

__all__ = ["GENERATIONS", "NcclFabric"]

GENERATIONS = ("volta", "ampere", "hopper", "blackwell")
"""GPU generations that NCCL tells apart, in its order."""


@dataclass(frozen=True, slots=True)
class NcclFabric:
    """Links of one cluster, as seen by one collective.

    Attributes
    ----------
    intra_bytes_per_s : float
        One way per rank inside its node.
    inter_bytes_per_s : float
        One way per rank between nodes; the ranks of a node together have that many times as much.
    generation : str
        One of `GENERATIONS`.
    n_channel : int
        Channels that NCCL splits a collective into.
    is_nvlink : bool
        Whether ranks of a node are joined by NVLink (else by PCI).
    has_nvls : bool
        Whether the switch of a node reduces (NVLink SHARP).
    is_amd_host : bool
        Whether the hosts' processors are AMD's.
    net_latency_s : float
        Latency that the network adds to NCCL's own.
    oversubscription : float
        Bandwidth of leaves over that of the spine, 1 where not oversubscribed.
    """

    intra_bytes_per_s: float
    inter_bytes_per_s: float
    generation: Literal["volta", "ampere", "hopper", "blackwell"] = "hopper"
    n_channel: int = 16
    is_nvlink: bool = True
    has_nvls: bool = False
    is_amd_host: bool = False
    net_latency_s: float = 0.0
    oversubscription: float = 1.0

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {value}"
            for name, value, lowest in (
                ("intra_bytes_per_s", self.intra_bytes_per_s, 1.0),
                ("inter_bytes_per_s", self.inter_bytes_per_s, 1.0),
                ("n_channel", self.n_channel, 1),
                ("net_latency_s", self.net_latency_s, 0.0),
                ("oversubscription", self.oversubscription, 1.0),
            )
            if not (math.isfinite(value) and value >= lowest)
        ]
        wrong += [f"generation is {self.generation!r}"] * (self.generation not in GENERATIONS)
        if wrong:
            raise UsageError(
                f"fabric: {', '.join(wrong)}. Give bandwidths in bytes/s, latency in s, at least "
                f"one channel, oversubscription from 1, generation one of {', '.join(GENERATIONS)}."
            )
