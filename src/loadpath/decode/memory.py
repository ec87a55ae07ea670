"""Memory that is free, but not the system's."""

import ctypes

__all__ = ["release_free_memory"]

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def release_free_memory() -> None:
    """Give what was freed back to the system, where the C library is glibc.

    It keeps free memory below what is still used for later, and other allocators (the one of
    Polars) have memory of their own: what large arrays leave behind would stand beside what is made
    of them.
    """
    if _trim is not None:
        _trim(0)
