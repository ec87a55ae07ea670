"""Kernels of a layer against counts of the whole model, and times of kernels."""

import pytest
from msgspec.structs import replace
from tests.forecast.designs import GPT3, SMALL, design, without_overheads

from loadpath.forecast.design import Batch, Cluster, Experts, Serving, Software
from loadpath.forecast.devices import shipped_devices
from loadpath.forecast.layer_work import (
    Kernel,
    KernelKind,
    backward,
    forward,
    head_kernels,
    shard_of,
)
from loadpath.forecast.priors import assume
from loadpath.forecast.rates import kernel_times_s, rates_of
from loadpath.forecast.step import step_time
from loadpath.forecast.transformer import flop_per_token

A100 = shipped_devices()["A100-SXM4-80GB"]


def layer(job, *, unfused=True, mixed=False):
    shard = shard_of(job, 2.0)
    kernels = forward(job.model, shard, unfused=unfused, mixed=mixed)
    return kernels, backward(kernels, shard), shard


def flop(kernels):
    return sum(kernel.flop for kernel in kernels)


def test_operations_of_all_layers_are_those_of_the_model():
    job = design(8, model=GPT3, tensor=8)
    ahead, back, shard = layer(job)
    head = head_kernels(GPT3, shard)
    per_rank = 96 * flop(ahead + back) + flop(head + backward(head, shard))
    assert 8 * per_rank == pytest.approx(2048 * flop_per_token(GPT3))


def test_experts_do_the_work_of_those_that_are_visited():
    model = replace(GPT3, layers=1, experts=Experts(count=64, chosen=4, feed_forward=4 * 12288))
    job = design(8, model=model, expert=8)
    visited = [k for k in layer(job, mixed=True)[0] if k.name.startswith("expert")]
    assert flop(visited) == pytest.approx(4 * 2 * 2 * 2048 * 12288 * 4 * 12288)


def test_causal_attention_on_the_chip_does_half_of_the_scores():
    job = design(model=GPT3)
    stored = [k for k in layer(job)[0] if k.name == "scores"]
    kept = [k for k in layer(job, unfused=False)[0] if k.name == "attention"]
    assert flop(kept) == pytest.approx(flop(stored) / 2)


def test_backward_pass_has_two_products_for_each_one():
    ahead, back, _ = layer(design(model=GPT3))
    assert flop(back) == pytest.approx(2 * flop(ahead))
    assert sum(k.nbytes for k in back if k.kind == KernelKind.VECTOR) == pytest.approx(
        2 * sum(k.nbytes for k in ahead if k.kind == KernelKind.VECTOR)
    )


def test_sequence_parallel_ranks_share_norms_out():
    shared = layer(design(model=GPT3, tensor=8, sequence_parallel=True))[0][0]
    whole = layer(design(model=GPT3, tensor=8))[0][0]
    assert whole.nbytes == pytest.approx(8 * shared.nbytes)


def test_eager_operations_move_more():
    fused = layer(design(model=GPT3))[0]
    eager = layer(design(model=GPT3, software=Software(fusion="eager")))[0]
    moved = [sum(k.nbytes for k in ks if k.kind == KernelKind.VECTOR) for ks in (fused, eager)]
    assert moved[1] == pytest.approx(2 * moved[0])


def test_low_precision_casts_each_incoming_gradient():
    job = design(model=GPT3, device="H100-SXM5-80GB", software=Software(precision="fp8"))
    names = [k.name for k in layer(job)[1]]
    assert names.count("cast") == 4


def test_served_token_is_one_for_each_sequence():
    job = design(model=GPT3, serving=Serving(concurrent=32, context=100), batch=None)
    assert shard_of(job, 1.0).tokens == 32


def test_roofline_takes_the_longer_of_operations_and_bytes():
    rates = rates_of(design(), A100, assume({"gemm_ramp": 0.0, "wave_ratio": 0.0}, {}))
    busy = Kernel("product", KernelKind.MATRIX16, 1e12, 1e6, tiles=108.0, rounded=108.0)
    loaded = Kernel("copy", KernelKind.VECTOR, 0.0, 1e9)
    times = kernel_times_s([busy, loaded], rates)
    assert times[0, 0] == pytest.approx(1e12 / (312e12 * 0.66))
    assert times[1, 1] == pytest.approx(1e9 / (2039e9 * 0.8))
    assert times.sum() == pytest.approx(times[0, 0] + times[1, 1])


def test_tile_too_many_costs_a_share_of_a_round():
    rates = rates_of(design(), A100, assume({"gemm_ramp": 0.0, "wave_ratio": 0.5}, {}))
    even = Kernel("even", KernelKind.MATRIX16, 1e12, 0.0, tiles=108.0, rounded=108.0)
    over = Kernel("over", KernelKind.MATRIX16, 1e12, 0.0, tiles=109.0, rounded=109.0)
    plain, uneven = kernel_times_s([even, over], rates)[:, 0]
    assert uneven / plain == pytest.approx(1 + 0.5 * (216 / 109 - 1))


def test_power_cap_slows_computation_by_its_exponent():
    capped = design(cluster=Cluster(device="A100-SXM4-80GB", accelerators=8, power_cap=100.0))
    free, slow = (rates_of(job, A100, assume({}, {})).flop_per_s[1] for job in (design(), capped))
    assert slow / free == pytest.approx(0.5)


def test_larger_batch_has_more_tokens():
    assert shard_of(design(batch=Batch(sequences=64, microbatch=4)), 1.0).tokens == 4096


def routed(**software):
    model = replace(GPT3, layers=1, experts=Experts(count=64, chosen=4, feed_forward=4096))
    return design(8, model=model, expert=8, device="B200-SXM", software=Software(**software))


def test_experts_apart_are_launched_one_by_one_and_cast_their_rows():
    joined, apart = (
        layer(routed(precision="fp8", expert_kernels=how), mixed=True)[0]
        for how in ("joined", "apart")
    )
    assert sum(k.launches for k in joined) == len(joined)
    casts = [k for k in apart if k.name == "cast"]
    rows = 2048 * 4
    assert [k.nbytes for k in casts] == [rows * 4 * 12288, rows * 4 * 4096]
    products = [k for k in apart if k.name.startswith("expert")]
    # Eight experts on a rank, on four streams.
    assert {(k.launches, k.ramps) for k in products} == {(8.0, 2.0)}
    assert flop(apart) == pytest.approx(flop(joined))


def test_experts_apart_cast_nothing_at_sixteen_bit():
    assert not [k for k in layer(routed(expert_kernels="apart"), mixed=True)[0] if k.name == "cast"]


def test_backward_pass_casts_gradients_not_what_the_forward_pass_cast():
    _, joined, _ = layer(routed(precision="fp8"), mixed=True)
    _, apart, _ = layer(routed(precision="fp8", expert_kernels="apart"), mixed=True)
    moved = [sum(k.nbytes for k in back if k.name == "cast") for back in (joined, apart)]
    assert moved[0] == pytest.approx(moved[1])


def test_parts_that_are_added_together_share_norm_and_transfers():
    both = replace(GPT3, parallel_block=True)
    names = [[k.name for k in layer(design(model=m))[0]] for m in (GPT3, both)]
    assert [n.count("norm") for n in names] == [2, 1]
    jobs = [
        without_overheads(
            design(model=replace(SMALL, parallel_block=b), tensor=8, tensor_overlap="none")
        )
        for b in (False, True)
    ]
    steps = [step_time(job) for job in jobs]
    spent = [step.step_s * step.limitation["intra_node"] for step in steps]
    assert spent[1] == pytest.approx(spent[0] / 2, rel=0.02)


def test_weights_that_are_not_trained_have_no_product_for_their_gradient():
    tuned = replace(GPT3, adapter_rank=16)
    ahead, back, shard = layer(design(model=tuned))
    head = head_kernels(tuned, shard)
    last = backward(head, shard)
    assert not any(k.name in {"qkv:weight", "logits:weight"} for k in [*back, *last])
    spent = 96 * flop(ahead + back) + flop(head + last)
    assert spent == pytest.approx(2048 * flop_per_token(tuned))


@pytest.mark.parametrize(("adapted", "count"), [("qkv", 1), ("attention", 2), ("all", 4)])
def test_adapters_stand_beside_the_matrices_that_are_named(adapted, count):
    tuned = replace(GPT3, adapter_rank=16, adapted=adapted)
    assert sum(k.name.endswith(":out") for k in layer(design(model=tuned))[0]) == count
