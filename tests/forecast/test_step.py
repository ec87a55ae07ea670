"""Forecasts of whole steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.forecast.designs import GPT3, SMALL, design, without_overheads

from loadpath.errors import UsageError
from loadpath.forecast import step_time
from loadpath.forecast.design import Batch, Cluster, Experts, Software, Tier
from loadpath.forecast.devices import measured_priors, shipped_devices
from loadpath.forecast.durations import expected_maximum, replayed_s
from loadpath.forecast.priors import assume
from loadpath.forecast.skeleton import OpKind
from loadpath.forecast.step import step_durations

COMPONENTS = {
    "compute",
    "memory",
    "intra_node",
    "inter_node",
    "latency",
    "host",
    "waiting",
    "bubble",
}


def seconds(job):
    return step_time(job).step_s


def big(**more):
    return design(512, 512, model=GPT3, device="H100-SXM5-80GB", tensor=8, pipeline=8,
                  sharding="optimizer", sequence_parallel=True, **more)  # fmt: skip


def test_limitation_names_all_parts_and_sums_to_one():
    told = step_time(big(chunks=2)).limitation
    assert set(told) == COMPONENTS
    assert sum(told.values()) == pytest.approx(1, abs=1e-9)
    assert all(share > -0.01 for share in told.values())


def test_utilisation_is_operations_over_those_of_the_peak():
    forecast = step_time(big())
    flop = forecast.mfu_ratio * 989.4e12 * 512 * forecast.step_s
    assert forecast.tokens_per_s * forecast.step_s == pytest.approx(512 * 2048)
    assert flop == pytest.approx(512 * 2048 * 6 * 175e9, rel=0.06)


def test_delayed_scales_are_reduced_over_all_ranks_of_a_stage_in_every_pass():
    def added(accelerators, sequences):
        own, delayed = (
            seconds(
                design(
                    accelerators, sequences, tensor=2, pipeline=2, device="H100-SXM5-80GB",
                    software=Software(precision="fp8", scaling=scaling), priors={"pass_variance": 0.0},
                )
            )
            for scaling in ("own", "delayed")
        )  # fmt: skip
        return delayed - own

    # 8 microbatches on 2 stages: 9 passes of each direction follow each other.
    each = added(32, 64) / (2 * (8 + 1))
    assert 10e-6 < each < 100e-6
    assert added(32, 128) / (2 * (16 + 1)) == pytest.approx(each, rel=0.05)
    assert added(512, 1024) > 1.3 * added(32, 64)


def test_replicas_that_meet_in_every_pass_wait_for_the_latest_of_them():
    drawn, n_micro = np.random.default_rng(7), 8

    def met(n_replica, variance, scaling="delayed"):
        job = design(
            n_replica, n_micro * n_replica, device="H100-SXM5-80GB", data_overlap=False,
            software=Software(precision="fp8", scaling=scaling), priors={"pass_variance": variance},
        )  # fmt: skip
        device = shipped_devices()["H100-SXM5-80GB"]
        table = step_durations(job, device, assume(job.priors, measured_priors(device))).seconds
        return step_time(job), [table[kind].sum() for kind in (OpKind.FORWARD, OpKind.BACKWARD)]

    for n_replica in (4, 64):
        (calm, _), (scattered, _) = met(n_replica, 0.0), met(n_replica, 4e-6)
        passes = met(n_replica, 0.0, "own")[1]
        latest = [
            drawn.normal(0, np.sqrt(4e-6 * t), (20_000, n_replica)).max(axis=1) for t in passes
        ]
        wait = n_micro * sum(each.mean() for each in latest)
        assert scattered.step_s - calm.step_s == pytest.approx(wait, rel=0.03)
        told = [f.limitation["waiting"] * f.step_s for f in (scattered, calm)]
        assert told[0] - told[1] == pytest.approx(wait, rel=0.03)
    assert met(64, 0.0, "own")[0] == met(64, 4e-6, "own")[0]


def test_delayed_scales_need_a_precision_that_has_them():
    with pytest.raises(UsageError, match="scaling is 'delayed', which precision bf16 has none of"):
        step_time(design(software=Software(scaling="delayed")))


@pytest.mark.parametrize("prior", ["network_ratio", "link_ratio", "memory_ratio", "gemm_ratio"])
def test_half_the_rate_of_anything_makes_the_step_longer(prior):
    fast, slow = (seconds(replace(big(), priors={prior: value})) for value in (0.8, 0.4))
    assert slow > fast * 1.005


def test_link_that_carries_nothing_of_a_job_does_not_matter():
    job = design(1, 4)
    assert seconds(replace(job, priors={"network_ratio": 0.1})) == seconds(job)


def test_bubble_of_a_balanced_pipeline_is_that_of_its_closed_form():
    # Many alike layers: embedding and loss vanish beside them.
    model = replace(GPT3, layers=1024, vocabulary=8)
    job = without_overheads(
        design(64, 16, model=model, device="B300-SXM", pipeline=8, tensor=8,
               cluster=Cluster(device="B300-SXM", accelerators=64, memory=1e15))
    )  # fmt: skip
    told = step_time(job).limitation
    assert told["bubble"] == pytest.approx(7 / (16 + 7), abs=0.01)


def test_more_microbatches_shrink_the_bubble():
    few, many = (step_time(replace(big(), batch=Batch(sequences=n))) for n in (512, 4096))
    assert many.limitation["bubble"] < few.limitation["bubble"] / 4


def test_recomputation_costs_a_forward_pass():
    model = replace(SMALL, layers=32, hidden=2048, vocabulary=8)
    none, full = (
        seconds(without_overheads(design(1, 64, model=model, recompute=kind)))
        for kind in ("none", "full")
    )
    assert full / none == pytest.approx(4 / 3, rel=0.02)


def test_transfers_under_computation_cost_less_than_after_it():
    assert seconds(big(data_overlap=True)) < seconds(big(data_overlap=False))
    assert seconds(big(tensor_overlap="pipelined")) < seconds(big(tensor_overlap="none"))


def test_oversubscribed_tier_counts_only_for_groups_that_cross_it():
    def job(oversubscription):
        tiers = (
            Tier(name="node", size=8, bandwidth=300e9),
            Tier(name="leaf", size=16, bandwidth=25e9),
            Tier(name="spine", size=64, bandwidth=25e9, oversubscription=oversubscription),
        )
        cluster = Cluster(device="A100-SXM4-80GB", accelerators=64, tiers=tiers)
        return design(cluster=cluster, sharding="optimizer", data_overlap=False)

    assert seconds(job(4.0)) > seconds(job(1.0)) * 1.05
    inner = replace(job(4.0), parallelism=replace(job(4.0).parallelism, pipeline=4))
    same = replace(job(1.0), parallelism=replace(job(1.0).parallelism, pipeline=4))
    gradient = [step_time(j).limitation["inter_node"] * seconds(j) for j in (inner, same)]
    assert gradient[0] < 4 * gradient[1]


def test_sharding_within_a_node_gathers_inside_it():
    job = design(64, 64, sharding="full", device="H100-SXM5-80GB", priors={"network_ratio": 0.02})
    near = replace(job, parallelism=replace(job.parallelism, shard_group=8))
    device = shipped_devices()[job.cluster.device]
    priors = assume(job.priors, measured_priors(device))
    gather = [step_durations(j, device, priors).seconds[OpKind.GATHER, 0, 0] for j in (job, near)]
    reduce = step_durations(near, device, priors).seconds[OpKind.REDUCE, 0, 0]
    inside, outside = 2, 3
    assert gather[0][outside] > 0
    assert gather[1][outside] == 0 < gather[1][inside]
    assert reduce[outside] > 0


def test_tokens_that_go_to_each_node_once_load_the_network_less():
    model = replace(SMALL, experts=Experts(count=64, chosen=8, feed_forward=1024))
    job = design(32, sequences=256, model=model, expert=32)
    once = replace(job, software=replace(job.software, expert_dispatch="each_node"))
    whole, less = (
        one.step_s * one.limitation["inter_node"] for one in (step_time(job), step_time(once))
    )
    # Of 8 experts 6 are on other nodes, which are 3, of which 2.7 hold one or more.
    assert less / whole == pytest.approx(3 * (1 - 0.75**8) / 6, rel=0.05)
    near = replace(job, parallelism=replace(job.parallelism, expert=8))
    at_hand = replace(near, software=once.software)
    assert step_time(at_hand).step_s == step_time(near).step_s


def test_experts_spread_over_nodes_exchange_over_the_network():
    model = replace(SMALL, experts=Experts(count=16, chosen=2, feed_forward=1024))
    near = step_time(design(16, model=model, expert=8, device="H100-SXM5-80GB"))
    far = step_time(design(16, model=model, expert=16, device="H100-SXM5-80GB"))
    assert far.limitation["inter_node"] * far.step_s > near.limitation["inter_node"] * near.step_s


def test_slowest_of_many_devices_sets_the_pace():
    alike, apart = (seconds(replace(big(), priors={"device_spread": s})) for s in (0.0, 0.02))
    assert 1.04 < apart / alike < 1 + 0.02 * expected_maximum(512) + 1e-6


def test_launches_of_small_kernels_limit_a_small_job():
    tiny = design(1, 1, model=replace(SMALL, hidden=64, heads=1, sequence=64))
    assert step_time(tiny).limitation["host"] > 0.5
    recorded = replace(tiny, software=Software(graphs=True))
    assert step_time(recorded).limitation["host"] < step_time(tiny).limitation["host"]


def test_priors_given_by_the_design_are_no_assumptions():
    assumed = {p.name for p in step_time(replace(design(), priors={"launch": 1e-6})).priors}
    assert "launch" not in assumed
    assert "gemm_ratio" in assumed


def test_same_design_gives_the_same_forecast():
    assert step_time(big()) == step_time(big())


def test_unsound_design_is_refused_with_all_that_is_wrong():
    with pytest.raises(UsageError, match=r"Design 'test': model.heads .*; batch.sequences is 63"):
        step_time(design(6, 63, tensor=3))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2]),
    st.sampled_from(["none", "optimizer", "gradients", "full"]),
    st.sampled_from(["none", "selective", "alternate", "full"]), st.booleans(), st.booleans(),
)  # fmt: skip
def test_any_sound_layout_has_a_forecast(
    tensor, pipeline, chunks, sharding, recompute, sp, overlap
):
    job = design(
        64, 256, tensor=tensor, pipeline=pipeline, chunks=chunks if pipeline > 1 else 1,
        sharding=sharding, recompute=recompute, sequence_parallel=sp, data_overlap=overlap,
    )  # fmt: skip
    forecast = step_time(job)
    assert forecast.step_s > 0
    assert 0 < forecast.mfu_ratio < 1
    assert sum(forecast.limitation.values()) == pytest.approx(1, abs=1e-9)


def test_endless_batch_is_condensed_and_replayed():
    few, many = (step_time(design(8, 8 * n, pipeline=2)) for n in (1000, 1_000_000))
    assert many.step_s / few.step_s == pytest.approx(1000, rel=0.01)


def test_replicas_one_by_one_take_as_long_as_one_for_all():
    job = replace(big(), batch=Batch(sequences=128))
    device = shipped_devices()[job.cluster.device]
    priors = assume(job.priors, measured_priors(device))
    times = [replayed_s(step_durations(job, device, priors, replicas=n)) for n in (1, 3)]
    assert times[1] == pytest.approx(times[0])


def test_memory_stands_beside_the_room_for_it():
    forecast = step_time(big())
    assert forecast.memory is not None
    assert forecast.room_bytes == pytest.approx(85.9e9)
    assert forecast.fits_memory == (forecast.memory.total <= forecast.room_bytes)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([(1, 1), (2, 1), (4, 1), (2, 2), (4, 2)]), st.sampled_from([1, 2, 4]),
    st.sampled_from(["none", "optimizer", "full"]), st.booleans(), st.sampled_from([1, 5, 50257]),
)  # fmt: skip
def test_condensed_pipeline_takes_as_long_as_the_whole_one(
    stages, tensor, sharding, overlap, words
):
    # A vocabulary makes the last stage slower than the others, or not.
    pipeline, chunks = stages
    job = design(
        32, 32 * 64, model=replace(SMALL, vocabulary=words), pipeline=pipeline, chunks=chunks,
        tensor=tensor, sharding=sharding, data_overlap=overlap,
    )  # fmt: skip
    whole, condensed = step_time(job), step_time(job, condensed=True)
    assert condensed.step_s == pytest.approx(whole.step_s, rel=1e-9)
    assert condensed.limitation == pytest.approx(whole.limitation, abs=1e-9)


def mixed(**more):
    model = replace(GPT3, layers=8, experts=Experts(count=64, chosen=4, feed_forward=4096))
    return without_overheads(design(32, 128, model=model, device="B200-SXM", expert=32, **more))


def test_tokens_that_travel_under_computation_cost_what_it_cannot_hide():
    shown, hidden = step_time(mixed()), step_time(mixed(expert_overlap=True))
    near = replace(mixed(), cluster=Cluster(device="B200-SXM", accelerators=32, node_size=32))
    at_hand = step_time(replace(near, parallelism=replace(near.parallelism, expert_overlap=True)))
    assert shown.limitation["inter_node"] > hidden.limitation["inter_node"] > 0
    assert hidden.step_s < shown.step_s
    assert at_hand.limitation["intra_node"] < 0.02


def test_latent_form_is_worked_out_again_in_the_backward_pass():
    model = replace(GPT3, layers=8, latent_width=576, query_latent_width=1536)
    kept, again = (seconds(design(8, model=model, tensor=8, device="H200-SXM5-141GB", recompute=how))
                   for how in ("none", "latent"))  # fmt: skip
    assert 1.003 * kept < again < 1.03 * kept


def test_recomputing_a_latent_form_costs_nothing_without_one():
    job = design(8, model=SMALL)
    assert seconds(design(8, model=SMALL, recompute="latent")) == seconds(job)


def test_gradients_that_are_added_apart_cost_a_pass_over_memory_for_each_microbatch():
    job = without_overheads(design(8, 32, model=SMALL))
    fused, apart = (
        seconds(replace(job, software=Software(accumulation=how))) for how in ("fused", "apart")
    )
    weights = 8 * 12 * 1024**2 + 50304 * 1024
    assert apart - fused == pytest.approx(4 * 10 * weights / (2039e9 * 0.8), rel=0.1)
