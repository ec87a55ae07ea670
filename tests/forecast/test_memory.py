"""Memory against published counts."""

import pytest
from msgspec.structs import replace
from tests.forecast.designs import GPT3, design

from loadpath.forecast.design import Serving, Software
from loadpath.forecast.layout import lay_out
from loadpath.forecast.memory import memory_of
from loadpath.forecast.transformer import adapter_parameters, parameters

UNFUSED = Software(precision="fp16", attention="unfused")


def held(job):
    return memory_of(job, lay_out(job))


def test_state_of_training_takes_eighteen_bytes_a_weight():
    memory = held(design(1, 4))
    n = parameters(design().model)
    assert memory.weights == pytest.approx(2 * n, rel=1e-3)
    assert memory.gradients == pytest.approx(4 * n, rel=1e-3)
    assert memory.optimiser == pytest.approx(12 * n, rel=1e-3)


@pytest.mark.parametrize(
    ("sharding", "divided"),
    [("none", ()), ("optimizer", ("optimiser",)), ("gradients", ("optimiser", "gradients")),
     ("full", ("optimiser", "gradients", "weights"))],
)  # fmt: skip
def test_sharding_divides_what_its_level_says(sharding, divided):
    whole, parts = held(design(64)), held(design(64, sharding=sharding))
    for name in ("weights", "gradients", "optimiser"):
        share = 64 if name in divided else 1
        assert getattr(parts, name) == pytest.approx(getattr(whole, name) / share)


def test_recomputation_holds_less():
    held_by = {
        kind: held(
            design(64, model=GPT3, tensor=8, pipeline=8, recompute=kind, software=UNFUSED)
        ).activations
        for kind in ("none", "selective", "alternate", "full")
    }
    assert held_by["none"] > held_by["selective"] > held_by["alternate"] > held_by["full"]


def test_activations_of_a_layer_are_those_of_the_published_count():
    # s b h (34 + 5 a s / h) / t with sequence parallelism: arXiv 2205.05198, equation 4.
    model = replace(GPT3, layers=1, dropout=True)
    job = design(8, 1, model=model, tensor=8, sequence_parallel=True, software=UNFUSED)
    logits = 4 * 2048 * 51200 / 8
    published = 2048 * 12288 * (34 + 5 * 96 * 2048 / 12288) / 8
    assert held(job).activations - logits == pytest.approx(published, rel=0.05)


def test_first_stage_holds_as_many_microbatches_as_there_are_stages():
    few = held(design(64, 2, model=GPT3, tensor=8, pipeline=8)).activations
    many = held(design(64, 64, model=GPT3, tensor=8, pipeline=8)).activations
    assert many == pytest.approx(4 * few)


def test_cache_of_a_served_model_grows_with_its_context():
    def cache(context):
        serving = Serving(concurrent=8, context=context)
        return held(design(8, model=GPT3, tensor=8, serving=serving, batch=None)).activations

    assert cache(2000) == pytest.approx(2 * cache(1000))
    assert cache(1000) == pytest.approx(2 * 96 * 2 * 12288 / 8 * 8 * 1000)


def test_model_with_adapters_has_gradients_and_optimiser_of_these_alone():
    tuned = replace(GPT3, adapter_rank=16)
    whole, part = (held(design(64, model=m, tensor=8, pipeline=8)) for m in (GPT3, tuned))
    assert part.weights == whole.weights
    ratio = 96 * adapter_parameters(tuned) / parameters(GPT3)
    assert part.optimiser / whole.optimiser == pytest.approx(ratio, rel=0.05)
    assert part.gradients / whole.gradients == pytest.approx(ratio, rel=0.05)


def test_parameters_kept_at_eight_bit_take_half():
    kept = [held(design(software=Software(parameter_bytes=n))).weights for n in (1, 2)]
    assert kept[1] == 2 * kept[0]
