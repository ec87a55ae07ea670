"""Graphs of training steps against closed forms."""

import numpy as np
import pytest
from msgspec.structs import replace

from loadpath.forecast.pipeline import Form, skeleton
from loadpath.forecast.skeleton import OpKind
from loadpath.replay import replay, step_time_ns

FORM = Form(
    stages=4, chunks=1, microbatches=8, segments=1, stage_overlap=True, reduce="none",
    gather="none", every_pass=False, tied=False,
)  # fmt: skip


def step(form, **seconds):
    """Replay with one duration for each kind of op, of a whole chunk."""
    frame = skeleton(form)
    by_kind = np.zeros(len(OpKind))
    for name, value in seconds.items():
        by_kind[OpKind[name.upper()]] = value
    return float(
        step_time_ns(frame.graph, replay(frame.graph, by_kind[frame.kind] * frame.share))[0]
    )


@pytest.mark.parametrize(("p", "m"), [(1, 4), (2, 2), (4, 8), (8, 32), (8, 4)])
def test_bubble_of_1f1b_is_that_of_its_closed_form(p, m):
    time = step(replace(FORM, stages=p, microbatches=m), forward=1.0, backward=2.0)
    assert 1 - 3 * m / time == pytest.approx((p - 1) / (m + p - 1))


@pytest.mark.parametrize(("p", "v", "m"), [(4, 2, 8), (8, 3, 16), (2, 6, 8), (4, 4, 4)])
def test_bubble_of_interleaved_stages_is_smaller_by_the_chunks(p, v, m):
    form = replace(FORM, stages=p, chunks=v, microbatches=m)
    time = step(form, forward=1.0, backward=2.0)
    ideal = 3 * m * v
    assert (time - ideal) / ideal == pytest.approx((p - 1) / (m * v))


def test_sends_that_nothing_hides_lengthen_fill_and_drain():
    quick = step(replace(FORM, microbatches=1), forward=1.0, backward=2.0)
    slow = step(replace(FORM, microbatches=1), forward=1.0, backward=2.0, send=0.5)
    assert slow - quick == pytest.approx(2 * 3 * 0.5)


def test_stage_that_waits_for_its_sends_is_never_faster():
    free = step(FORM, forward=1.0, backward=2.0, send=0.3)
    held = step(replace(FORM, stage_overlap=False), forward=1.0, backward=2.0, send=0.3)
    assert held > free


@pytest.mark.parametrize("segments", [1, 4])
def test_gradients_hide_under_the_last_backward_pass_but_for_one_segment(segments):
    form = replace(FORM, stages=1, segments=segments, reduce="beside")
    time = step(form, forward=1.0, backward=2.0, reduce=2.0)
    assert time == pytest.approx(3 * 8 + 2.0 / segments)


def test_gradients_after_the_passes_hide_nothing():
    form = replace(FORM, stages=1, reduce="after")
    assert step(form, forward=1.0, backward=2.0, reduce=2.0) == pytest.approx(3 * 8 + 2.0)


def test_parameters_beside_the_first_forward_pass_hide_but_for_one_segment():
    form = replace(FORM, stages=1, segments=4, gather="beside")
    assert step(form, forward=1.0, backward=2.0, gather=1.0) == pytest.approx(3 * 8 + 0.25)


def test_full_sharding_gathers_before_each_pass():
    form = replace(
        FORM,
        stages=1,
        microbatches=2,
        segments=4,
        gather="beside",
        reduce="beside",
        every_pass=True,
    )
    # Gathers take as long as forward passes: the links are busy throughout two passes of each.
    bound = step(form, forward=1.0, backward=1.0, gather=4.0)
    assert bound == pytest.approx(4 * 4.0 + 0.25, rel=0.1)
    hidden = step(form, forward=1.0, backward=1.0, gather=0.5)
    assert hidden == pytest.approx(4 + 0.5 / 4)


def test_clip_waits_for_all_stages_and_update_follows():
    base = step(FORM, forward=1.0, backward=2.0)
    assert step(FORM, forward=1.0, backward=2.0, clip=0.5, update=0.25) == pytest.approx(
        base + 0.75
    )


def test_shared_embedding_is_a_meeting_of_the_first_and_last_stage():
    base = step(FORM, forward=1.0, backward=2.0)
    tied = step(replace(FORM, tied=True), forward=1.0, backward=2.0, tie=0.5)
    assert tied == pytest.approx(base + 0.5)


def test_replicas_laid_out_one_by_one_take_as_long_as_one_for_all():
    form = replace(FORM, reduce="beside", gather="beside", segments=2, tied=True)
    given = {"forward": 1.0, "backward": 2.0, "reduce": 0.7, "gather": 0.4, "send": 0.1, "tie": 0.2}
    assert step(replace(form, replicas=3), **given) == pytest.approx(step(form, **given))


def test_replicas_wait_for_their_slowest_at_the_gradients():
    form = replace(FORM, stages=1, microbatches=2, reduce="beside", replicas=2)
    frame = skeleton(form)
    work = np.select([frame.kind == OpKind.FORWARD, frame.kind == OpKind.BACKWARD], [1.0, 2.0], 0.0)
    work *= np.where(frame.replica == 1, 1.5, 1.0)
    time = step_time_ns(frame.graph, replay(frame.graph, work))[0]
    assert time == pytest.approx(2 * 3 * 1.5)


def test_each_microbatch_stage_and_bucket_is_an_op():
    frame = skeleton(replace(FORM, chunks=2, segments=2, reduce="beside", gather="beside"))
    kinds = np.bincount(frame.kind, minlength=len(OpKind))
    # Of each stage and chunk, one pass of each direction is cut in two segments.
    assert kinds[OpKind.FORWARD] == kinds[OpKind.BACKWARD] == 4 * 2 * (8 + 1)
    assert kinds[OpKind.REDUCE] == kinds[OpKind.GATHER] == 4 * 2 * 2
    assert kinds[OpKind.SEND] == 2 * 8 * (4 * 2 - 1)


def test_time_spent_on_a_pipeline_is_counted():
    frame = skeleton(replace(FORM, chunks=2))
    assert frame.passed[OpKind.FORWARD].tolist() == [[8, 8]] * 4
    assert frame.passed[OpKind.CLIP, :, 0].tolist() == [1] * 4
