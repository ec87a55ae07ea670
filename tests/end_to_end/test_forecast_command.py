"""The commands on design files: what they print, write and refuse."""

import json
import re
from importlib.resources import files
from pathlib import Path

import polars as pl
import pytest
from tests.end_to_end.commands import call, run

import loadpath as lp

EXAMPLES = sorted(
    Path(str(files("loadpath.forecast").joinpath("examples"))).glob("*.toml"),
    key=lambda path: path.name,
)
PAGE = (Path(__file__).parents[2] / "docs" / "formats" / "forecast.md").read_text(encoding="utf-8")
SMALL = """name = "small"
[model]
layers = 8
hidden = 1024
heads = 16
sequence = 1024
vocabulary = 50304
[batch]
sequences = 256
[cluster]
device = "A100-SXM4-80GB"
accelerators = 16
[prices]
accelerator_hour = 2.0
[startup]
steps = 1000
"""
POINT = {
    "accelerator_s_per_unit", "basis", "cost_per_unit", "energy_j_per_unit", "ettr_ratio", "fits_memory",
    "in_data_range", "job_cost", "job_cost_band", "job_s", "job_s_band", "limitation", "mfu_ratio", "n",
    "noise_gain_ratio", "power_w", "step_s", "tokens_per_s",
}  # fmt: skip
LIMITS = {
    "compute", "memory", "intra_node", "inter_node", "latency", "waiting", "bubble", "host", "failures",
    "startup",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL, encoding="utf-8")
    return tmp_path


def told(*words, folder):
    answer = call("forecast", *words, "--json", "--worlds", "64", folder=folder)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_shipped_example_is_forecast(example, tmp_path):
    found = told(example, folder=tmp_path)
    assert found["schema"] == "loadpath.forecast/1"
    for point in found["points"]:
        assert set(point) == POINT
        assert set(point["limitation"]) == LIMITS
        assert sum(share or 0 for share in point["limitation"].values()) == pytest.approx(1)
        assert point["step_s"]["low"] <= point["step_s"]["median"] <= point["step_s"]["high"]
    assert list(tmp_path.iterdir()) == []


def test_page_of_the_format_names_every_key(folder):
    found = told("small.toml", folder=folder)
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert set(found) - named == set()
    assert POINT - named == set()
    compared = lp.run_comparison(folder / "small.toml", EXAMPLES[0], worlds=64)
    assert set(compared) | set(compared["candidates"][0]) | set(compared["pilot"][0]) <= named | {
        "mean", "median", "low", "high", "schema",
    }  # fmt: skip


def test_same_bytes_in_other_processes(folder):
    words = ("forecast", "small.toml", "--json", "--worlds", "32", "--seed", "3")
    first, second = (run(*words, folder=folder, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first == second
    assert first.code == 0
    assert list(json.loads(first.out)) == sorted(json.loads(first.out))


def test_folder_holds_document_page_and_tables(folder):
    answer = call("forecast", "small.toml", "--worlds", "64", folder=folder)
    assert answer.code == 0
    assert answer.out.endswith("Briefing       small-forecast/briefing.html\n")
    written = folder / "small-forecast"
    document = json.loads((written / "forecast.json").read_text(encoding="utf-8"))
    curve = pl.read_parquet(written / "curve_point.parquet")
    assert curve["n"].unique().sort().to_list() == [point["n"] for point in document["points"]]
    assert document["command"] == "loadpath forecast small.toml --worlds 64"
    again = call("forecast", "small.toml", folder=folder)
    assert (again.code, "--force" in again.err) == (2, True)
    assert call("forecast", "small.toml", "--worlds", "64", "--force", folder=folder).code == 0


def test_forecast_does_not_replace_what_is_no_forecast(folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "audit.json").write_text("{}", encoding="utf-8")
    answer = call("forecast", "small.toml", "--out", "mine", "--force", folder=folder)
    assert answer.code == 2
    assert "no forecast folder" in answer.err


def test_measured_runs_set_priors_and_others_are_held_against_them(folder):
    steps = {
        point["n"]: point["step_s"]["median"]
        for point in told("small.toml", "--sizes", "8,16,32,64", folder=folder)["points"]
    }
    lines = [f"{n},{1.2 * steps[n]}" for n in (8, 64)]
    (folder / "set.csv").write_text("\n".join(["n,step_s", *lines]), encoding="utf-8")
    (folder / "held.csv").write_text(f"n,step_s\n16,{1.2 * steps[16]}\n", encoding="utf-8")
    words = ("small.toml", "--sizes", "8:128", "--calibrate", "set.csv", "--points", "held.csv")
    found = told(*words, folder=folder)
    assert found["calibration"]["error_ratio"] < 1e-4
    assert found["data_range"] == [8, 64]
    assert [point["in_data_range"] for point in found["points"]] == [True] * 4 + [False]
    (held,) = found["measured"]
    assert abs(held["error_ratio"]) < 0.05
    assert {one["fitted_to"] for one in found["baselines"]} == {"measured"}
    assert "affine" in {one["name"] for one in found["baselines"]}
    assert [item["path_name"] for item in found["inputs"]] == ["small.toml", "set.csv", "held.csv"]


def test_all_that_is_wrong_with_a_design_is_told_at_once_with_its_line(folder):
    wrong = SMALL.replace("layers = 8", "layers = 7.5").replace(
        'device = "A100-SXM4-80GB"', 'device = "A100"\nmemory = 80\nnodes = 2'
    ).replace("accelerator_hour = 2.0", 'accelerator_hour = inf\ncurrency = "dollars"')  # fmt: skip
    (folder / "wrong.toml").write_text(wrong, encoding="utf-8")
    answer = call("forecast", "wrong.toml", folder=folder)
    assert answer.code == 4
    for said in ("line 3: model.layers", "line 12: cluster.memory 80 has no unit", "line 13: cluster.nodes",
                 "accelerator_hour is inf"):  # fmt: skip
        assert said in answer.err
    assert len(answer.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--sizes", "many"), "such as 64:16384"),
        (("--sizes", "3"), "can be at none of the sizes (3: batch.sequences"),
        (("--goal", "medium"), "not strong or weak"),
        (("--worlds", "2"), "not from 16 to 100,000"),
        (("--seed", "-1"), "negative"),
        (("--budget", "0"), "not a positive number"),
    ],
)
def test_wrong_calls_say_what_would_be_right(words, said, folder):
    answer = call("forecast", "small.toml", *words, folder=folder)
    assert answer.code == 2
    assert said in answer.err


@pytest.mark.parametrize("name", ["absent.toml", "."])
def test_design_that_cannot_be_read_is_named(name, folder):
    answer = call("forecast", name, folder=folder)
    assert (answer.code, len(answer.err.splitlines())) == (4, 1)


def test_budget_and_value_raise_their_flags(folder):
    found = told("small.toml", "--value", "1e-12", "--budget", "1e9", folder=folder)
    assert found["inversion"]["marginal"]["likelihood_ratio"] == 1
    assert found["inversion_searched"]["not_assessed"] == []
    assert {row["times"] for row in found["break_even"]} == {None}


def test_one_size_says_nothing_of_scaling(folder):
    found = told("small.toml", "--sizes", "16", folder=folder)
    assert found["inversion"] == {"average": None, "marginal": None, "throughput": None}
    assert found["inversion_searched"]["not_assessed"] == ["all: two sizes or more"]


def test_python_gives_what_the_command_does(folder):
    done = lp.run_forecast(folder / "small.toml", sizes=[8, 16], worlds=64)
    found = told("small.toml", "--sizes", "8,16", folder=folder)
    assert json.loads(json.dumps(done.document)) == found
    assert repr(done) == "Forecast(small: 8 to 16)"
    assert done.table("curve_point").height
    assert done.figure("cost").svg
    with pytest.raises(lp.UsageError, match="no table"):
        done.table("sinks")
    with pytest.raises(lp.UsageError, match="unknown option"):
        lp.run_forecast(folder / "small.toml", size=8)


def test_designs_are_compared_side_by_side(folder):
    dear = SMALL.replace("accelerator_hour = 2.0", "accelerator_hour = 3.0")
    (folder / "dear.toml").write_text(dear, encoding="utf-8")
    answer = call("compare", "dear.toml", "small.toml", "--worlds", "64", folder=folder)
    assert answer.code == 0
    assert answer.out.startswith("Verdict        small costs least in 100.0 % of the worlds\n")
    assert max(map(len, answer.out.splitlines())) <= 80
    assert answer.out.count("would not change the choice") == 2
    words = ("compare", "dear.toml", "small.toml", "--worlds", "64", "--pilot", "4", "--json")
    found = json.loads(call(*words, folder=folder).out)
    assert (found["chosen"], found["figure"]) == ("small", "job_cost")
    assert {row["n"] for row in found["pilot"]} == {4}


def test_one_design_is_nothing_to_compare(folder):
    answer = call("compare", "small.toml", folder=folder)
    assert (answer.code, "two candidates or more" in answer.err) == (2, True)
