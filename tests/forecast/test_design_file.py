"""Reading designs, and saying all that is wrong with them."""

from importlib.resources import files

import pytest

from loadpath.errors import InputError
from loadpath.forecast import parse_design, step_time

EXAMPLES = files("loadpath.forecast").joinpath("examples")

GOOD = """\
name = "small"

[model]
layers = 8
hidden = 1024
heads = 16
sequence = 1024
vocabulary = 50304

[batch]
sequences = 64

[cluster]
device = "A100-SXM4-80GB"
accelerators = 8
"""


def problems(text):
    with pytest.raises(InputError) as caught:
        parse_design(text, "job.toml")
    assert str(caught.value).startswith("job.toml: ")
    assert "docs/formats/design.md" in str(caught.value)
    return caught.value.problems


@pytest.mark.parametrize("name", ["dense", "moe", "stencil", "serving"])
def test_shipped_example_is_sound_and_is_forecast(name):
    design = parse_design(EXAMPLES.joinpath(f"{name}.toml").read_text(encoding="utf-8"), name)
    forecast = step_time(design)
    assert 0 < forecast.step_s < 60
    assert 0 < forecast.mfu_ratio < 0.8
    assert sum(forecast.limitation.values()) == pytest.approx(1, abs=1e-9)
    assert forecast.fits_memory is not False


def test_quantities_arrive_in_si():
    text = GOOD + '[[cluster.tiers]]\nname = "node"\nsize = 8\nbandwidth = "2400 Gb/s"\n'
    assert parse_design(text).cluster.tiers[0].bandwidth == 300e9


def test_unknown_key_is_named_with_its_line_and_the_nearest_known_one():
    found = problems(GOOD.replace("accelerators = 8", "accelerators = 8\nacelerator_memory = 1"))
    assert found == [
        "line 16: cluster.acelerator_memory is unknown; accelerators is known",
    ]


def test_misspelt_key_is_read_on_so_that_no_error_follows_from_it():
    assert problems(GOOD.replace("layers = 8", "layer = 8")) == [
        "line 4: model.layer is unknown; layers is known"
    ]


def test_missing_key_is_named_at_its_table():
    assert problems(GOOD.replace("hidden = 1024\n", "")) == ["line 3: model.hidden is missing"]


def test_missing_table_is_named():
    text = GOOD[: GOOD.index("[cluster]")]
    assert problems(text) == ["cluster is missing"]


def test_all_errors_come_at_once_each_with_its_line():
    text = (
        GOOD.replace("layers = 8", "layers = 9")
        .replace("sequences = 64", "sequences = 62")
        .replace('"A100-SXM4-80GB"', '"A100"')
        + '[parallelism]\npipeline = 2\nrecompute = "some"\n[checkpoint]\nstall = 30\n'
    )
    found = problems(text)
    assert [problem.split(" ")[1] for problem in found] == ["4:", "11:", "14:", "18:", "20:"]
    assert found[0].endswith(
        "model.layers is 9, which 2 stages of 1 chunks do not divide; 8 or 10 would"
    )
    assert found[1].endswith("replicas with microbatches of 1 do not divide; 60 or 64 would")
    assert found[2].endswith("unknown; A100-SXM4-40GB or A100-SXM4-80GB or A100-PCIe-80GB would do")
    assert found[3].endswith("one of none, selective, latent, alternate, full would do")
    assert found[4].endswith('30 has no unit; write it as text with one, such as "5 us"')


def test_wrong_type_is_no_number():
    assert "line 4: model.layers is '8'" in problems(GOOD.replace("layers = 8", 'layers = "8"'))[0]


def test_true_is_no_count():
    assert (
        "line 4: model.layers is True" in problems(GOOD.replace("layers = 8", "layers = true"))[0]
    )


def test_zero_is_no_count():
    assert "line 4: model.layers is 0" in problems(GOOD.replace("layers = 8", "layers = 0"))[0]


def test_broken_toml_is_named_with_its_place():
    assert problems("name = ")[0].startswith("no TOML: ")


def test_steps_that_no_solver_takes_and_precisions_that_no_device_has_are_refused():
    text = EXAMPLES.joinpath("stencil.toml").read_text(encoding="utf-8")
    text = text.replace("reductions = 2", "reductions = 10_000_000_000").replace("fp32", "fp8")
    found = problems(text)
    assert any(
        "stencil.reductions is 10,000,000,000; more than 4,096" in problem for problem in found
    )
    assert any(
        "software.precision is fp8, which A100-SXM4-80GB does not have" in problem
        for problem in found
    )


def test_values_without_end_are_refused():
    assert problems("name = " + "[" * 100_000) == ["no design: its values are nested too deep"]
    assert problems("n = " + "1" * 5_000) == ["no design: a number has thousands of digits"]


def test_value_in_place_of_a_table_is_named():
    text = GOOD.replace("[batch]\nsequences = 64", "").replace("[model]", "batch = 3\n[model]")
    assert problems(text) == ["line 3: batch is 3, which is no table"]


def test_tables_in_a_list_have_their_own_lines():
    text = GOOD + "[[cluster.tiers]]\nname = 'a'\nsize = 8\nbandwidth = 5\n"
    assert problems(text)[0].startswith("line 19: cluster.tiers.0.bandwidth 5 has no unit")


def test_wrong_and_missing_values_hide_no_other_problem():
    text = GOOD.replace("sequence = 1024", 'sequence = "1k"').replace("layers = 8", "layers = 97")
    text = text.replace("heads = 16\n", "").replace("sequences = 64", "sequences = 63")
    text += "[parallelism]\npipeline = 4\n[prices]\naccelerator_hour = -2\ncurrency = 'dollars'\n"
    found = problems(text)
    assert [line.split(";")[0] for line in found] == [
        "line 3: model.heads is missing",
        "line 4: model.layers is 97, which 4 stages of 1 chunks do not divide",
        "line 6: model.sequence is '1k'",
        "line 10: batch.sequences is 63, which 2 replicas with microbatches of 1 do not divide",
        "line 18: prices.accelerator_hour is -2",
        "line 19: prices.currency is 'dollars'",
    ]
    assert found[2].endswith("a whole number from 1 would do")


@pytest.mark.parametrize("wrong", ["layers = 0", "layers = true", "layers = 1.5", "layers = []"])
def test_what_stands_in_for_a_wrong_value_is_blamed_for_nothing(wrong):
    text = GOOD.replace("layers = 8", wrong) + "[parallelism]\npipeline = 4\nchunks = 2\n"
    found = problems(text)
    assert len(found) == 1
    assert found[0].startswith("line 4: model.layers is ")
