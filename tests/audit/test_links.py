import json
from pathlib import Path

import pytest
from tests.diagnose.test_link_health import measured, slowed
from typer.testing import CliRunner

import loadpath as lp
from loadpath.audit.links import judge_links, links_caveat, measured_files
from loadpath.cli import command_line

EXAMPLE = Path(__file__).parents[2] / "examples" / "tp-host"
HEAD = "test,N,G,nodes,minBytes,maxBytes,avg_bus_bw_GBs,peak_busbw_GBs\n"


@pytest.fixture
def summary(tmp_path):
    def write(cut=1.0):
        import polars as pl  # noqa: PLC0415

        table = slowed(measured(), pl.col("nodes") == "node03,node07", cut)
        rows = [
            f'alltoall_perf,2,{r["n_rank_per_node"]},"{r["nodes"]}",4,8,{r["mean_bytes_per_s"] / 1e9},90\n'
            for r in table.iter_rows(named=True)
        ]
        path = tmp_path / "pairs.csv"
        path.write_text(HEAD + "".join(rows))
        return path

    return write


def test_a_weak_link_is_named_in_the_document_and_on_the_terminal(summary):
    told = judge_links(summary(0.8))
    assert told["weak"] == [{"place": "link", "name": "node03 - node07"}]
    shown = CliRunner().invoke(command_line(), ["links", str(summary(0.8))])
    assert "weak: link node03 - node07" in shown.stdout
    printed = CliRunner().invoke(command_line(), ["links", str(summary(0.8)), "--json"])
    assert json.loads(printed.stdout) == told


def test_healthy_links_are_said_to_be_none(summary):
    assert judge_links(summary())["weak"] == []
    assert "weak: none" in CliRunner().invoke(command_line(), ["links", str(summary())]).stdout


def test_what_holds_no_pairs_is_refused(tmp_path, summary):
    path = tmp_path / "few.csv"
    path.write_text("".join(summary().read_text().splitlines(keepends=True)[:4]))
    with pytest.raises(lp.InputError, match="six pairs"):
        judge_links(path)


def test_measured_links_beside_the_records_of_a_job_are_a_caveat(summary, tmp_path):
    for path in EXAMPLE.iterdir():
        (tmp_path / path.name).symlink_to(path)
    summary(0.8)
    told = lp.run_audit(tmp_path, brief=False)
    texts = {c["code"]: c["text"] for c in told.document["caveats"]}
    assert "node03 - node07" in texts["links_weak"]
    assert told.verdict["kind"] == lp.run_audit(EXAMPLE, brief=False).verdict["kind"]


def test_measured_links_alone_are_no_job(summary):
    with pytest.raises(lp.InputError, match="loadpath links"):
        lp.run_audit(summary(), brief=False)


def test_codes_are_on_the_page_of_the_format():
    page = (EXAMPLE.parents[1] / "docs" / "formats" / "nccl_tests.md").read_text(encoding="utf-8")
    codes = ("links_measured", "links_weak", "collectives_measured")
    assert [code for code in codes if f"`{code}`" not in page] == []


def test_a_trace_that_names_such_a_test_stays_a_trace(tmp_path):
    (tmp_path / "rank0.json").write_text('{"traceEvents": [], "note": "# nThread out-of-place"}')
    assert measured_files([tmp_path / "rank0.json"]) == []
    assert not links_caveat([tmp_path / "rank0.json"]).height
