"""What collectives are called: one name for all spellings."""

import re
from functools import lru_cache

__all__ = ["collective_of"]

WORDS = {
    "reducescatter": "reduce_scatter",
    "allreduce": "all_reduce",
    "allgather": "all_gather",
    "alltoall": "all_to_all",
    "broadcast": "broadcast",
    "sendrecv": "send_recv",
    "barrier": "barrier",
    "scatter": "scatter",
    "gather": "gather",
    "send": "send",
    "recv": "recv",
    "reduce": "reduce",
}


@lru_cache(256)
def collective_of(name: str) -> str:
    """Name the collective that a call, annotation or kernel runs.

    Parameters
    ----------
    name : str
        Name as recorded.

    Returns
    -------
    str
        Such as ``all_reduce``; empty if the name does not tell.

    Examples
    --------
    >>> collective_of("ncclDevKernel_AllReduce_Sum_f16_RING_LL(ncclDevComm*)")
    'all_reduce'
    >>> collective_of("c10d::_allgather_base_"), collective_of("ncclDevKernel_Generic")
    ('all_gather', '')
    """
    letters = re.sub(r"[^a-z]", "", name.split("(", maxsplit=1)[0].lower())
    return next((known for word, known in WORDS.items() if word in letters), "")
