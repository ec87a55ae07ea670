"""PyTorch, where the job has it; nothing else of loadpath imports it."""

import os
from importlib import import_module
from typing import Any

from loadpath.errors import UsageError

__all__ = ["dump_flight_recorder", "load_torch", "own_rank", "process_store"]

FLIGHT_ENTRIES = "2000"
DUMPS = ("_dump_nccl_trace_json", "_dump_fr_trace_json")
"""Names under which versions of PyTorch say what the flight recorder holds, as JSON."""


def load_torch() -> Any:
    """Import PyTorch.

    Returns
    -------
    module
        ``torch``.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    try:
        return import_module("torch")
    except ImportError as error:
        raise UsageError(
            f"PyTorch cannot be imported ({error}). Record where the job runs, with its Python."
        ) from error


def own_rank(rank: int | None) -> int:
    """Find the rank of this process.

    Parameters
    ----------
    rank : int or None
        What the caller says.

    Returns
    -------
    int
        That; else the rank in the default process group; else ``RANK`` of the environment; else 0.
    """
    if rank is not None:
        return rank
    distributed = import_module("torch.distributed")
    if distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    told = os.environ.get("RANK", "")
    return int(told) if told.isdecimal() else 0


def enable_flight_recorder() -> None:
    """Let process groups that are made from now on keep their last communications."""
    os.environ.setdefault("TORCH_FR_BUFFER_SIZE", FLIGHT_ENTRIES)


def dump_flight_recorder() -> bytes:
    """Ask what the flight recorder holds.

    Returns
    -------
    bytes
        JSON; empty where this PyTorch keeps none.
    """
    native = import_module("torch._C")
    held = getattr(native, "_distributed_c10d", None)
    for name in DUMPS:
        dump = getattr(held, name, None)
        found = bytes(dump()) if dump else b""
        if b'"entries"' in found:
            return found
    return b""


def process_store() -> Any:
    """Give the key-value store through which the processes of the job met.

    Returns
    -------
    torch.distributed.Store or None
        None outside a job of several processes.
    """
    distributed = import_module("torch.distributed")
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    if distributed.get_world_size() < 2:
        return None
    return import_module("torch.distributed.distributed_c10d")._get_default_store()  # noqa: SLF001
