"""A design at other sizes: what is asked for, what it becomes, and where it cannot be."""

import pytest
from msgspec.structs import replace
from tests.forecast.designs import design

from loadpath.errors import UsageError
from loadpath.forecast.design import Cluster, Serving, Stencil, Tier
from loadpath.forecast.sizes import (
    default_sizes,
    goal_of,
    parse_sizes,
    resize,
    same_work,
    split_sizes,
)
from loadpath.forecast.transformer import batch_of

STENCIL = Stencil(cells=1 << 20, flop_per_cell=10.0, bytes_per_cell=8.0)


@pytest.mark.parametrize(
    "text", ["", "0", "8:4", "a", "8,,9", "8;9", "1:99999999999", "-8", "8.5", "99999999"]
)
def test_sizes_that_nobody_can_run_are_refused(text):
    with pytest.raises(UsageError, match=r"such as 512,1024,2048"):
        parse_sizes(text)


def test_range_doubles_from_its_lower_end_and_holds_its_upper_one():
    assert parse_sizes("96:500") == (96, 192, 384, 500)
    assert parse_sizes(" 8 : 8 ") == (8,)


def test_sizes_are_sorted_and_each_is_asked_once():
    assert parse_sizes("64, 8,64") == (8, 64)


def test_strong_scaling_keeps_the_batch_and_weak_scaling_that_of_a_replica():
    job = design(accelerators=8, sequences=64)
    assert resize(job, 32, "strong").batch == job.batch
    assert batch_of(resize(job, 32, "weak")).sequences == 256


def test_outermost_tier_grows_with_the_job_and_no_other_does():
    tiers = (
        Tier(name="node", size=8, bandwidth=1e11),
        Tier(name="leaf", size=32, bandwidth=1e10),
    )
    cluster = Cluster(device="A100-SXM4-80GB", accelerators=8, tiers=tiers)
    grown = resize(design(cluster=cluster), 128, "strong").cluster.tiers
    assert [tier.size for tier in grown] == [8, 128]
    assert resize(design(cluster=cluster), 16, "strong").cluster.tiers == tiers


def test_stencil_turns_from_one_kind_of_scaling_into_the_other():
    job = design(accelerators=8, model=None, batch=None, stencil=STENCIL)
    weak = resize(job, 64, "weak").stencil
    assert weak is not None
    assert (weak.cells, weak.scaling) == ((1 << 20) // 8, "weak")
    again = resize(replace(job, stencil=weak), 64, "strong").stencil
    assert again is not None
    assert (again.cells, again.scaling) == (1 << 20, "strong")


def test_served_model_adds_replicas_or_shares_its_sequences_out():
    serving = Serving(concurrent=64, context=1024)
    job = design(accelerators=8, tensor=8, batch=None, serving=serving)
    assert goal_of(job) == "weak"
    more, shared = (resize(job, 32, goal) for goal in ("weak", "strong"))
    assert (batch_of(more).sequences, batch_of(shared).sequences) == (64, 16)


def test_default_sizes_hold_whole_replicas_alone():
    assert default_sizes(design(accelerators=16, tensor=8)) == (8, 16, 32, 64, 128)


def test_sizes_that_cannot_be_are_named_with_what_would_be_right():
    designs, skipped = split_sizes(design(accelerators=8, sequences=48), [8, 16, 32], "strong")
    assert list(designs) == [8, 16]
    assert (skipped[0].n, skipped[0].why) == (
        32,
        "batch.sequences is 48, which 32 replicas with microbatches of 1 do not divide; 32 or 64 would",
    )


def test_run_with_another_batch_does_other_work():
    job = design(accelerators=8, sequences=64)
    weak = resize(job, 32, "weak")
    assert same_work(job, weak, "weak")
    assert not same_work(job, weak, "strong")
    assert not same_work(design(accelerators=16, sequences=8), resize(job, 1, "strong"), "weak")


def test_batch_that_would_not_be_whole_is_named():
    _, skipped = split_sizes(design(accelerators=8, sequences=8), [3], "weak")
    assert not skipped
    _, skipped = split_sizes(design(accelerators=16, sequences=8), [1], "weak")
    assert skipped[0].why == "sequences would be 0.5, which is not whole."
