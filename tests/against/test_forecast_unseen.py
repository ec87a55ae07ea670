"""Published steps of docs/validation_unseen.md: sizes between two calibrated ones."""

import numpy as np
from msgspec.structs import replace

from loadpath.forecast import MeasuredStep, parse_design, step_time
from loadpath.forecast.layout import lay_out
from loadpath.forecast.measured_steps import calibrate_runs
from loadpath.forecast.transformer import batch_of

LLAMA_405B = """
name = "Llama 3.1 405B, MLPerf v5.0, H100"
model = { layers = 126, hidden = 16384, heads = 128, kv_heads = 8, feed_forward = 53248, sequence = 8192, vocabulary = 128256, gated = true, rotary = true, tied_embeddings = false }
batch = { sequences = 1152 }
software = { precision = "fp8", gradient_bytes = 2, parameter_bytes = 1 }
cluster = { device = "H100-SXM5-80GB", accelerators = 512 }
[parallelism]
tensor = 8
pipeline = 8
context = 2
chunks = 8
sharding = "optimizer"
sequence_parallel = true
tensor_overlap = "pipelined"
embedding_apart = true
"""
MAXTEXT_16B = """
name = "MaxText 16B on TPU v5e"
model = { layers = 32, hidden = 4096, heads = 64, head_width = 128, feed_forward = 28672, sequence = 2048, vocabulary = 32000, gated = true, rotary = true, tied_embeddings = false }
batch = { sequences = 1536, microbatch = 6 }
parallelism = { sharding = "full", shard_group = 256, recompute = "full" }
software = { graphs = true }
[cluster]
device = "TPU-v5e"
accelerators = 256
"""


def runs(text, rows):
    design = parse_design(text)
    return [
        MeasuredStep(
            replace(
                design,
                cluster=replace(design.cluster, accelerators=n),
                batch=replace(batch_of(design), sequences=batch),
            ),
            step_s,
        )
        for n, batch, step_s in rows
    ]


def left(steps):
    """Give what calibration at both ends leaves between them."""
    found = calibrate_runs([steps[0], steps[-1]])
    return np.array(
        [step_time(replace(s.design, priors=found.priors)).step_s / s.step_s - 1 for s in steps]
    )[1:-1]


def test_llama_405b_of_mlperf_is_met_between_its_ends_as_by_a_straight_line():
    steps = runs(
        LLAMA_405B,
        [(512, 1152, 55.14), (2048, 1152, 14.22), (2432, 1216, 12.71), (2560, 1120, 11.17),
         (8192, 1536, 5.178)],
    )  # fmt: skip
    passes = np.array([lay_out(s.design).microbatches for s in steps])
    took = np.array([s.step_s for s in steps])
    slope = (took[-1] - took[0]) / (passes[-1] - passes[0])
    line = np.abs((took[0] + slope * (passes - passes[0])) / took - 1)[1:-1]
    off = np.abs(left(steps))
    assert off.max() <= min(0.02, line.max() + 0.002)
    assert np.median(off) <= np.median(line) + 0.002


def test_replicas_that_do_the_same_on_more_pods_are_met_between_their_ends():
    times = (10.275, 10.574, 10.615, 10.774, 11.099, 11.487)
    steps = runs(MAXTEXT_16B, [(256 << k, 1536 << k, t) for k, t in enumerate(times)])
    assert np.abs(left(steps)).max() <= 0.03
