"""Compiled reading of complete events."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

__all__ = ["complete_events"]

OTHER_PHASES = np.zeros(256, np.bool_)
OTHER_PHASES[np.frombuffer(b"stfiICBEbenNODPSTpFRcv", np.uint8)] = True
"""Phases of events that are no spans: flows, counters, marks."""


@kernel
def complete_events(data: Any, found: Any, checks: Any, is_odd: Any, kind: Any) -> Any:
    """Turn rows of values of complete events (phase X) into columns; others have none.

    `found` are begin and end of values as scanned, one row per event, the phase first; `checks` the
    column that must be there, the one whose value must be an object, those that must be text, those
    that must be text or a number, and the most digits of it. `kind` receives 1 for a complete event, 2 for one of another known
    phase, 0 else; `is_odd` what must be decoded singly. Returns begins and ends by column.
    """
    begin, end = found
    must, objects, texts, numbers, most = checks
    n, n_key = begin.shape
    low = np.full((n_key, n), -1, np.int32)
    high = np.full((n_key, n), -1, np.int32)
    for i in range(n):
        if is_odd[i] or begin[i, 0] < 0 or end[i, 0] - begin[i, 0] != 3:
            continue
        phase = data[begin[i, 0] + 1]
        kind[i] = 1 if phase == 88 else 2 if OTHER_PHASES[phase] else 0
        if kind[i] != 1:
            continue
        odd = begin[i, must] < 0
        for k in texts:
            odd |= begin[i, k] >= 0 and data[begin[i, k]] != 34
        for k in numbers:
            if begin[i, k] >= 0 and data[begin[i, k]] != 34:
                c = data[begin[i, k]]
                odd |= not (c == 45 or 48 <= c <= 57) or end[i, k] - begin[i, k] > most
        odd |= begin[i, objects] >= 0 and data[begin[i, objects]] != 123
        is_odd[i] = odd
        for k in range(n_key):
            low[k, i] = begin[i, k]
            high[k, i] = end[i, k]
    return low, high
