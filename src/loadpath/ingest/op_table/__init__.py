"""Op tables (Parquet or CSV) of Megatron-style pipeline and data parallelism, a row per op."""

from loadpath.ingest.op_table.layout import read_layout, trial_name
from loadpath.ingest.op_table.reading import is_op_table, read_op_table, read_steps

__all__ = ["is_op_table", "read_layout", "read_op_table", "read_steps", "trial_name"]
