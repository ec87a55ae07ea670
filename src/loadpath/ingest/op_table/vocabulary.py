"""Op types of an op table, and what loadpath calls them."""

import polars as pl

__all__ = ["COLLECTIVES", "OP_NAME", "OP_TYPES"]

OP_TYPES = {
    "forward-compute": "compute",
    "backward-compute": "compute",
    "gc": "compute",
    "optimizer": "optimise",
    "forward-send": "communicate",
    "forward-recv": "communicate",
    "backward-send": "communicate",
    "backward-recv": "communicate",
    "params-all-gather": "communicate",
    "grads-reduce-scatter": "communicate",
    "separate-grads-all-reduce": "communicate",
    "layernorm-grads-all-reduce": "communicate",
    "embedding-grads-all-reduce": "communicate",
    "optimizer-clip-main-grad": "communicate",
}
"""Known op types and what they do."""
OP_NAME = pl.Enum(sorted(OP_TYPES))
COLLECTIVES = {
    "params-all-gather": "all_gather",
    "grads-reduce-scatter": "reduce_scatter",
    "separate-grads-all-reduce": "all_reduce",
    "layernorm-grads-all-reduce": "all_reduce",
    "embedding-grads-all-reduce": "all_reduce",
    "optimizer-clip-main-grad": "all_reduce",
    "forward-send": "send",
    "backward-send": "send",
    "forward-recv": "recv",
    "backward-recv": "recv",
}
