"""Synthetic jobs with a planted cause, executed by a program of their own.

`make_job` writes the program of a job (pipeline, tensor and data parallel, 1F1B), executes it event
by event with and without a planted `Cause`, and returns what ran together with the `Truth`.
`write_op_table` and `write_kineto` record it in the formats that real jobs leave behind. `job` writes tiny jobs for tests in one line.
"""

from loadpath.testing.cause import Cause, Truth
from loadpath.testing.kineto import kineto_trace, write_kineto
from loadpath.testing.op_table import op_table, write_op_table
from loadpath.testing.shape import Shape
from loadpath.testing.small import SmallJob, job
from loadpath.testing.synthesis import SyntheticJob, make_job

__all__ = [
    "Cause",
    "Shape",
    "SmallJob",
    "SyntheticJob",
    "Truth",
    "job",
    "kineto_trace",
    "make_job",
    "op_table",
    "write_kineto",
    "write_op_table",
]
