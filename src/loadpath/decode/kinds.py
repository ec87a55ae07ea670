"""What a span is, by category and name: the declared kinds of ops."""

import re

__all__ = ["CATEGORIES", "CATEGORY", "ON_DEVICE", "STEP_MARK", "is_event", "is_io_frame", "kind_of"]

CATEGORIES = ("cpu_op", "annotation", "runtime", "kernel", "copy", "set", "python", "sync")
"""What spans are read as; columns hold the place in this list."""
CATEGORY: dict[str, str] = {
    "cpu_op": "cpu_op",
    "operator": "cpu_op",
    "user_annotation": "annotation",
    "cuda_runtime": "runtime",
    "cuda_driver": "runtime",
    "hip_runtime": "runtime",
    "hip_driver": "runtime",
    "xpu_runtime": "runtime",
    "xpu_driver": "runtime",
    "mtia_runtime": "runtime",
    "privateuse1_runtime": "runtime",
    "privateuse1_driver": "runtime",
    "runtime": "runtime",
    "kernel": "kernel",
    "mtia_ccp_events": "kernel",
    "gpu_memcpy": "copy",
    "memcpy": "copy",
    "gpu_memset": "set",
    "memset": "set",
    "python_function": "python",
    "cuda_sync": "sync",
    "cuda_event": "sync",
}
"""Kineto's categories (the capitalised ones of 2021 in small letters) that are read, and as what."""
ON_DEVICE = ("kernel", "copy", "set")
"""Categories that run on a device stream."""

STEP_MARK = re.compile(r"ProfilerStep#([0-9]{1,15})$")
LOADER = re.compile(r"loader|next\(data|get_batch|fetch_batch|load_batch|data_load", re.IGNORECASE)
CHECKPOINT = re.compile(
    r"checkpoint|ckpt|torch\.(save|load)\b|(save|load)_(model|state|state_dict)\b", re.IGNORECASE
)
RECOMPUTES = re.compile(
    r"activ|recomp|forward|backward|wrapper|function|selective|gradient", re.IGNORECASE
)
"""Activation checkpointing stores nothing: it computes again."""
STORAGE = re.compile(
    r"\b(read|write|flush|sync|download|upload|open|load|save)_?"
    r"(file|disk|storage|s3|gcs|blob|nfs|shard|parquet)s?\b"
    r"|\b(file|disk|storage|s3|gcs|blob|nfs)_?(io|read|write|sync|flush|get|put)\b|\bf(data)?sync\b",
    re.IGNORECASE,
)
FRAMES = (
    ("input", re.compile(r"(^|/)torch/utils/data/dataloader\.py\(\d+\): __next__$")),
    (
        "checkpoint",
        re.compile(
            r"(^|/)torch/(serialization\.py\(\d+\): (save|load)$"
            r"|distributed/checkpoint/state_dict_(saver|loader)\.py\(\d+\): (save|load|async_save)$)"
        ),
    ),
    (
        "storage",
        re.compile(
            r"<built-in (function|method) (open|f(data)?sync|sendfile|pread|pwrite"
            r"|(read|readinto|write|flush) of _io\.\w+ object at 0x[0-9a-f]+)>$"
        ),
    ),
)
"""Python frames (``with_stack``) that wait for data or a disk; all others are not used."""
SHOWN = 160
EVENT = re.compile(r"event_(wait|record)$")


def is_io_frame(name: str) -> bool:
    """Tell whether a Python frame is one of `FRAMES`.

    Parameters
    ----------
    name : str
        Name as recorded.

    Returns
    -------
    bool
        True for data loading, checkpoints and files.

    Examples
    --------
    >>> is_io_frame("torch/serialization.py(943): save")
    True
    >>> is_io_frame("torch/utils/checkpoint.py(343): checkpoint")
    False
    """
    return bool(_frame_kind(name))


def is_event(name: str) -> bool:
    """Tell MTIA's entries for events, which are no work, from what its cores run.

    Parameters
    ----------
    name : str
        Name of a device span.

    Returns
    -------
    bool
        True for ``event_wait`` and ``event_record``.
    """
    return bool(EVENT.match(name))


def kind_of(name: str, category: str) -> str:
    """Name the kind of an op; communication is told apart by its lane and kernel, not here.

    Parameters
    ----------
    name : str
        Name as recorded.
    category : str
        One of `CATEGORIES`.

    Returns
    -------
    str
        One of `loadpath.tables.OP_KINDS`.

    Examples
    --------
    >>> kind_of("enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", "annotation")
    'input'
    >>> kind_of("save checkpoint 40", "annotation"), kind_of("CheckpointFunction", "cpu_op")
    ('checkpoint', 'host')
    """
    if category in ON_DEVICE:
        return "compute" if category == "kernel" and not name.startswith("dma_") else "copy"
    if category == "python":
        return _frame_kind(name)
    if category not in {"cpu_op", "annotation"} or STEP_MARK.match(name):
        return "marker" if category == "annotation" or STEP_MARK.match(name) else "host"
    if LOADER.search(name[:SHOWN]) and not name.startswith(("aten::", "torch::")):
        return "input"
    if category == "annotation":
        return _annotation_kind(name[:SHOWN])
    return "host"


def _annotation_kind(name: str) -> str:
    if name.startswith("Optimizer."):
        return "optimise"
    if CHECKPOINT.search(name) and not RECOMPUTES.search(name):
        return "checkpoint"
    return "storage" if STORAGE.search(name) else "marker"


def _frame_kind(name: str) -> str:
    return next((kind for kind, pattern in FRAMES if pattern.search(name[:SHOWN])), "")
