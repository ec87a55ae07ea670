"""The command that puts designs and audited jobs side by side."""

import json

import polars as pl
import pytest
from tests.end_to_end.commands import call
from tests.end_to_end.test_forecast_command import EXAMPLES, SMALL

import loadpath as lp
from loadpath.testing import make_job, write_op_table

WORLDS = ("--worlds", "64")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("compared")
    (made / "small.toml").write_text(SMALL, encoding="utf-8")
    for name, seed in (("one", 1), ("other", 2)):
        job = make_job(seed, pp=2, dp=2, steps=6, microbatches=8, noise=0.05)
        write_op_table(job, made / f"{name}.parquet")
    assert call("audit", "one.parquet", "--out", "one-audit", folder=made).code == 0
    return made


def told(*words, folder):
    answer = call("compare", *words, *WORLDS, "--json", folder=folder)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_audits_and_recordings_are_compared_by_what_they_cost(folder):
    found = told("one-audit", "other.parquet", "--rate", "2", "--rate", "20", folder=folder)
    assert (found["figure"], found["unit"], found["basis"]) == (
        "cost_per_unit",
        "microbatch",
        "replayed",
    )
    assert [row["candidate"] for row in found["candidates"]] == ["one-audit", "other"]
    assert found["chosen"] == "one-audit"
    assert found["pilot"] == []
    assert {item["path_name"] for item in found["inputs"]} >= {"audit.json"}


def test_two_records_do_not_err_alike(folder):
    found = told("one.parquet", "other.parquet", folder=folder)
    assert found["figure"] == "accelerator_s_per_unit"
    alike = told("one.parquet", "one-audit", folder=folder)
    assert [row["expected_loss"] for row in alike["candidates"]] == [0, 0]
    assert found["candidates"][1]["expected_loss"] > 0


def test_design_and_record_are_compared_by_microbatches(folder):
    found = told("small.toml", "one.parquet", folder=folder)
    assert (found["unit"], found["basis"]) == ("microbatch", "modelled and replayed")
    moe = next(path for path in EXAMPLES if path.stem == "moe")
    design = lp.run_comparison(folder / "small.toml", moe, worlds=64)
    [by_token] = [row for row in design["candidates"] if row["candidate"] == "small"]
    [by_pass] = [row for row in found["candidates"] if row["candidate"] == "small"]
    tokens = by_pass["median"] / by_token["median"]
    assert tokens == pytest.approx(round(tokens))
    assert f"{round(tokens):,} tokens" in " ".join(found["assumptions"])


def test_folder_holds_document_page_and_tables(folder):
    words = ("small.toml", "one-audit", "--rate", "2.5", "--out", "out", *WORLDS)
    answer = call("compare", *words, folder=folder)
    assert answer.code == 0, answer.err
    assert answer.out.endswith("Briefing       out/briefing.html\n")
    document = json.loads((folder / "out" / "compare.json").read_text(encoding="utf-8"))
    table = pl.read_parquet(folder / "out" / "candidate.parquet")
    assert table["expected_loss"].to_list() == [
        row["expected_loss"] for row in document["candidates"]
    ]
    page = (folder / "out" / "briefing.html").read_text(encoding="utf-8")
    for row in document["candidates"]:
        assert f'value="{row["expected_loss"]}"' in page
    assert document["command"] in page
    again = call("compare", *words, folder=folder)
    assert (again.code, "--force" in again.err) == (2, True)
    assert call("compare", *words, "--force", folder=folder).code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("one-audit",), 2, "two candidates or more"),
        (("unread.parquet",), 2, "two candidates or more"),
        (("one-audit", "one-audit"), 2, "a name of its own"),
        (("small.toml", "moe", "--rate", "3"), 2, "1 of --rate for 0"),
        (("one-audit", "one.parquet", "--pilot", "0"), 2, "pilot of 0"),
        (("one-audit", "nothing.parquet"), 4, "nothing.parquet"),
        (("small.toml", "serving"), 2, "serving and training do not do the same work"),
        (("one-audit", "stencil"), 2, "recorded and stencil do not do the same work"),
    ],
)
def test_what_cannot_be_compared_is_refused(folder, words, code, said):
    examples = {path.stem: str(path) for path in EXAMPLES}
    answer = call("compare", *(examples.get(word, word) for word in words), folder=folder)
    assert (answer.code, said in answer.err) == (code, True), answer.err
