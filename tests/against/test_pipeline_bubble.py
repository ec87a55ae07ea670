"""The bubble that the command tells of recorded pipelines beside its closed form.

D. Narayanan et al., "Efficient large-scale language model training on GPU clusters using Megatron-LM",
SC21, sections 2.2.1 (1F1B) and 2.2.2 (interleaved): p - 1 passes over v m of them, for p stages of v
chunks and m microbatches.
"""

import json

import pytest
from tests.end_to_end.commands import run

from loadpath.testing import make_job, write_op_table

FORWARD_S = 0.02
OPTIMISER_S = FORWARD_S / 2


@pytest.mark.parametrize(
    ("p", "v", "m"), [(2, 1, 4), (4, 1, 8), (8, 1, 8), (2, 3, 4), (4, 2, 8), (4, 4, 4)]
)
def test_bubble_of_a_recorded_pipeline_is_that_of_its_closed_form(tmp_path, p, v, m):
    job = make_job(
        1, pp=p, vpp=v, microbatches=m, dp=1, tp=1, steps=3,
        forward_s=FORWARD_S, stage_work=(1.0,) * p,
        noise=0.0, lag_s=0.0, transfer_ratio=1e-4,
    )  # fmt: skip
    table = write_op_table(job, tmp_path)
    told = json.loads(run("audit", table, "--json", folder=tmp_path).out)["job"]["rank_time_s"]
    passes_s = told["compute"] - OPTIMISER_S
    assert passes_s == pytest.approx(3 * m * FORWARD_S, rel=1e-4)
    assert told["bubble"] / (told["bubble"] + passes_s) == pytest.approx(
        (p - 1) / (v * m + p - 1), rel=2e-3
    )
