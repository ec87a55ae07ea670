"""Counts of parameters and operations of known models."""

import pytest
from msgspec.structs import replace
from tests.forecast.designs import GPT3

from loadpath.errors import UsageError
from loadpath.forecast.design import Cluster, Design, Experts, Transformer
from loadpath.forecast.transformer import (
    adapter_parameters,
    batch_of,
    flop_per_token,
    model_of,
    parameters,
)


def llama(layers, hidden, heads, feed_forward):
    return Transformer(
        layers=layers, hidden=hidden, heads=heads, feed_forward=feed_forward, sequence=8192,
        vocabulary=128256, kv_heads=8, gated=True, rotary=True, tied_embeddings=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "billions"),
    [
        (GPT3, 174.6),
        (Transformer(layers=48, hidden=6144, heads=64, sequence=2048, vocabulary=51200), 22.1),
        (Transformer(layers=128, hidden=25600, heads=160, sequence=2048, vocabulary=51200), 1008.0),
        (llama(32, 4096, 32, 14336), 8.03),
        (llama(80, 8192, 64, 28672), 70.6),
        (llama(126, 16384, 128, 53248), 405.9),
    ],
)  # fmt: skip
def test_known_models_have_their_published_size(model, billions):
    assert parameters(model) / 1e9 == pytest.approx(billions, rel=2e-3)


def test_mixture_of_experts_has_its_published_size():
    # Qwen3 235B A22B: 94 layers, 128 experts of which 8 are visited.
    model = Transformer(
        layers=94, hidden=4096, heads=64, kv_heads=4, head_width=128, sequence=4096,
        vocabulary=151936, gated=True, rotary=True, tied_embeddings=False,
        experts=Experts(count=128, chosen=8, feed_forward=1536),
    )  # fmt: skip
    assert parameters(model) / 1e9 == pytest.approx(235, rel=0.01)
    active = (flop_per_token(model) - 12 * 64 * 128 * 4096 * 94) / 6
    assert active / 1e9 == pytest.approx(22 - 0.62, rel=0.02)


def test_compressed_keys_have_their_published_size():
    # DeepSeek-V3: 671 B without the layer that predicts a further token.
    model = Transformer(
        layers=61, hidden=7168, heads=128, head_width=128, latent_width=576,
        query_latent_width=1536, feed_forward=18432, sequence=4096, vocabulary=129280, gated=True,
        rotary=True, tied_embeddings=False,
        experts=Experts(count=256, chosen=8, feed_forward=2048, shared_feed_forward=2048, dense_layers=3),
    )  # fmt: skip
    assert parameters(model) / 1e9 == pytest.approx(671, rel=0.01)


def test_window_halves_scores_of_every_second_layer():
    wide = Transformer(layers=2, hidden=512, heads=8, sequence=4096, vocabulary=1000)
    narrow = replace(wide, window=128)
    per_token = 12 * 512 * 2
    assert flop_per_token(wide) - flop_per_token(narrow) == pytest.approx(
        per_token * (4096 - 256) / 2
    )


def test_design_without_a_model_or_batch_says_so():
    empty = Design(name="empty", cluster=Cluster(device="V100-SXM2-32GB", accelerators=1))
    with pytest.raises(UsageError, match="has no model"):
        model_of(empty)
    with pytest.raises(UsageError, match="has no batch"):
        batch_of(empty)


def test_window_of_all_layers_spares_twice_that_of_every_second_one():
    wide = Transformer(layers=6, hidden=512, heads=8, sequence=4096, vocabulary=1000)
    half, every = (replace(wide, window=128, windowed_layers=n) for n in (None, 6))
    spared = [flop_per_token(wide) - flop_per_token(model) for model in (half, every)]
    assert spared[1] == pytest.approx(2 * spared[0])


def test_adapters_have_two_narrow_matrices_each():
    tuned = Transformer(
        layers=1, hidden=8192, heads=64, kv_heads=8, feed_forward=28672, gated=True,
        sequence=4096, vocabulary=128256, adapter_rank=16,
    )  # fmt: skip
    counts = [
        adapter_parameters(replace(tuned, adapted=what)) for what in ("qkv", "attention", "all")
    ]
    qkv = 16 * (8192 + 8192 + 2048)
    both = qkv + 16 * (8192 + 8192)
    assert counts == [qkv, both, both + 16 * (8192 + 2 * 28672 + 28672 + 8192)]
