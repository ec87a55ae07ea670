"""What each op's work depends on: the resources that a faster job would need more of."""

import re

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.labels import numbered
from loadpath.diagnose.message_size import is_latency_like
from loadpath.diagnose.places import rank_index

__all__ = ["MATRIX", "RESOURCES", "op_resources"]

MATRIX = re.compile(
    r"gemm|gemv|cutlass|cublas|nvjet|xmma|Cijk_|convol|conv[123]d|[fd]prop|[dw]grad|flash|fmha|attention|attn"
    r"|\b(mm|bmm|addmm|baddbmm|matmul|linear|einsum|dot)\b",
    re.IGNORECASE,
)
"""Names of kernels (and of calls on ranks without a device) that multiply matrices."""

RESOURCES = {
    "matrix": "device",
    "memory": "device",
    "copy": "device",
    "compute": "compute",
    "intra_node": "interconnect",
    "inter_node": "interconnect",
    "transfer": "interconnect",
    "latency": "interconnect",
    "gap": "interconnect",
    "overhead": "overhead",
    "host": "host",
    "input": "input",
    "launch": "launch",
    "lag": "lag",
    "boundary": "boundary",
}
"""Resource of each class of time, in the order of the tables."""

CLASSES = tuple(RESOURCES)
PARTS = {"transit": "latency", "gap": "gap"}
"""Parts of a simulated message that are of one class, whatever the link."""
Int32Array = NDArray[np.int32]


def op_resources(job: CoupledJob) -> Int32Array:
    """Say of each op what its work depends on.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    (n_op,) array of int32
        Place in `RESOURCES`: kernels that multiply matrices, other kernels (bound by memory as a
        rule), copies, `compute` where the record cannot tell device from host, transfers within and
        between hosts (`transfer` where hosts are unknown), messages too small to fill a link
        (`latency`), least time between messages of a simulation (`gap`), what they take of processors
        (`overhead`), host work and waiting for data.
    """
    mechanism = job.op["mechanism"].cast(pl.String).to_numpy()
    number = np.full(job.n_op, CLASSES.index("compute"), np.int32)
    for name in ("host", "input", "overhead"):
        number[mechanism == name] = CLASSES.index(name)
    on_device = np.flatnonzero(mechanism == "device")
    number[on_device] = _device_classes(job, on_device)
    moves = np.flatnonzero(mechanism == "communication")
    number[moves] = _transfer_classes(job, moves)
    return number


def _device_classes(job: CoupledJob, op: NDArray[np.intp]) -> Int32Array:
    """Tell matrix products from other kernels by name, and copies by kind."""
    code, names = numbered(job.op["name"].gather(op))
    multiplies = np.array([bool(MATRIX.search(name)) for name in names], np.bool_)
    kind = np.where(multiplies, CLASSES.index("matrix"), CLASSES.index("memory"))[code]
    copies = (job.op["kind"].gather(op) == "copy").to_numpy()
    return np.where(copies, CLASSES.index("copy"), kind).astype(np.int32)


def _transfer_classes(job: CoupledJob, op: NDArray[np.intp]) -> Int32Array:
    """Tell transfers by link and size; of a simulated message what it consists of is known."""
    link = _link_classes(job)[op]
    if job.source != "goal":
        link[is_latency_like(job, op, link)] = CLASSES.index("latency")
        return link
    name = job.op["name"].gather(op)
    for part, kind in PARTS.items():
        link[(name == part).to_numpy()] = CLASSES.index(kind)
    return link


def _link_classes(job: CoupledJob) -> Int32Array:
    """Tell transfers within a host from those between hosts, where all hosts are known."""
    link = np.full(job.n_op, CLASSES.index("transfer"), np.int32)
    hosts = job.rank["host"]
    if hosts.is_empty() or (hosts == "").any():
        return link
    code, _ = numbered(hosts)
    op, instance = (job.membership[name].to_numpy() for name in ("op", "instance"))
    row = rank_index(job)[op]
    least, most = np.full((2, job.instance.height), -1)
    least[:] = code.max() + 1
    np.minimum.at(least, instance, code[row])
    np.maximum.at(most, instance, code[row])
    between = (least != most)[instance]
    link[op] = CLASSES.index("intra_node")
    link[op[between]] = CLASSES.index("inter_node")  # a batch may do both
    return link
