"""Order of passes against the order that synthetic jobs use."""

import pytest

from loadpath.forecast.schedule import pass_order
from loadpath.testing.schedule import pipeline_order


@pytest.mark.parametrize(
    ("stages", "chunks", "microbatches"), [(1, 1, 3), (4, 1, 8), (4, 1, 2), (4, 3, 8), (2, 2, 6)]
)
def test_order_is_that_of_synthetic_jobs(stages, chunks, microbatches):
    back, chunk, microbatch = pass_order(stages, chunks, microbatches)
    for stage in range(stages):
        told = [
            (("forward", "backward")[b], c, m)
            for b, c, m in zip(back[stage], chunk[stage], microbatch[stage], strict=True)
        ]
        assert told == [tuple(p) for p in pipeline_order(stage, stages, microbatches, chunks)]


def test_every_pass_occurs_once():
    back, chunk, microbatch = pass_order(4, 3, 8)
    for stage in range(4):
        passes = set(zip(back[stage], chunk[stage], microbatch[stage], strict=True))
        assert len(passes) == 2 * 3 * 8
