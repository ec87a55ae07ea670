"""Constants of NCCL 2.30.7's cost model: latencies in us, bandwidths of a channel in GB/s.

Facts of its tuning and topology tables (github.com/NVIDIA/nccl at 5067397). Columns of latencies are
the protocols LL, LL128, Simple; columns of bandwidths are 1, 2 and more nodes.
"""

import numpy as np

__all__ = [
    "BASE_US",
    "INTRA_US",
    "LL_MAX",
    "NET_OVERHEAD_US",
    "NET_US",
    "NVLS_EFFICIENCY",
    "PER_CHANNEL",
    "TREE_CORRECTION",
]

BASE_US = {
    "ring": (6.6, 14.0, 8.4),
    "tree": (6.8, 14.0, 8.4),
    "pat": (8.0, 8.0, 8.0),
    "nvls": (0.0, 0.0, 0.0),
    "nvls_tree": (0.0, 0.0, 0.0),
}
INTRA_US = {
    True: {
        "ring": (0.6, 1.9, 3.4),
        "tree": (0.6, 1.25, 4.0),
        "pat": (4.0, 4.0, 4.0),
        "nvls": (25.0, 25.0, 25.0),
        "nvls_tree": (25.0, 25.0, 25.0),
    },
    False: {
        "ring": (1.0, 2.5, 5.7),
        "tree": (1.0, 1.9, 4.0),
        "pat": (4.0, 4.0, 4.0),
        "nvls": (0.0, 0.0, 0.0),
        "nvls_tree": (0.0, 0.0, 0.0),
    },
}
"""Hop inside a node, by whether it has NVLink."""
NET_US = {
    "ring": (2.7, 4.0, 14.0),
    "tree": (5.0, 8.5, 14.0),
    "pat": (14.0, 14.0, 14.0),
    "nvls": (18.0, 18.0, 18.0),
    "nvls_tree": (20.9, 20.9, 20.9),
}
NET_OVERHEAD_US = {False: 1.0, True: 2.0}
"""By whether the host is AMD's; three times as much under Simple."""
LL_MAX = np.array([[39, 39, 20.4], [87.7, 22.5, 19], [141, 45, 35], [282, 90, 70]])
PER_CHANNEL = {
    "ring_ll128": np.array([[20.0] * 3, [20.0] * 3, [36.7] * 3, [40.0] * 3]),
    "tree_ll128": np.array([[20.0] * 3, [20.0] * 3, [36.7, 36.7, 29], [55.6, 31.67, 20]]),
    "tree": np.array([[26.5, 18.5, 10], [24, 23.6, 17.8], [38.7, 41.4, 36], [70, 42.8, 24]]),
    "nvls_tree": np.array([[26.5, 18.5, 10], [24, 23.6, 17.8], [0, 57.7, 45.5], [0, 96, 80]]),
}
"""Most that one channel carries; a row per generation."""
NVLS_EFFICIENCY = np.array([0.0, 0.0, 0.85, 0.74])
TREE_CORRECTION = np.array(
    [
        [
            "1",
            "1",
            "1",
            "1",
            ".9",
            ".8",
            ".7",
            ".7",
            ".7",
            ".7",
            ".6",
            ".5",
            ".4",
            ".4",
            ".5",
            ".6",
            ".7",
            ".8",
            ".9",
            "1",
            "1",
            "1",
            "1",
        ],
        [
            "1",
            "1",
            "1",
            "1",
            "1",
            ".9",
            ".8",
            ".8",
            ".8",
            ".7",
            ".6",
            ".6",
            ".6",
            ".6",
            ".6",
            ".6",
            ".8",
            ".9",
            ".9",
            ".9",
            ".9",
            "1",
            "1",
        ],
        [
            ".9",
            ".9",
            ".9",
            ".9",
            ".9",
            ".9",
            ".9",
            ".8",
            ".7",
            ".6",
            ".6",
            ".5",
            ".5",
            ".5",
            ".5",
            ".6",
            ".7",
            ".8",
            ".7",
            ".7",
            ".8",
            ".9",
            ".9",
        ],
    ],
    dtype=float,
)
"""Bandwidth factor of a tree all-reduce by log2 of 64-byte units; 1 beyond the last column."""
