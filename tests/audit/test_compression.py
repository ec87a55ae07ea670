import json
import lzma
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.audit.stage_logs import stage_log
from tests.couple.logged.written import inspector_lines, play
from tests.ingest.otf2.written import stencil as otf2_stencil

import loadpath as lp
from loadpath.audit.compression import BUDGET_BYTES, compress, compress_job
from loadpath.audit.pipeline import couple_sources
from loadpath.audit.settings import Settings
from loadpath.couple.condensed import LEVELS, condense
from loadpath.couple.couplings import couplings_of
from loadpath.couple.graph import build_graph
from loadpath.couple.steps import as_runs, lay_out
from loadpath.ingest.compressed import is_compressed
from loadpath.ingest.compressed.reading import read_compressed
from loadpath.replay import replay
from loadpath.tables import BOUND, COUPLED, EDGE, SKETCH
from loadpath.testing import Cause, make_job, write_kineto, write_op_table

EXAMPLES = Path(__file__).parents[2] / "examples"
RECORDED = ("fsdp2-rank", "tp-host", "pp-rank", "ddp-checkpoint", "2d-input")
TOLD = ("kind", "place", "ranks", "hosts", "stage", "link")


def coupled(*sources):
    return lay_out(as_runs(couple_sources(sources, Settings(), lambda _: None)))


def verdict(source, **options):
    found = lp.run_audit(source, brief=False, **options).verdict
    return {name: found[name] for name in TOLD}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Traces of 8 ranks, of which rank 3 is slow."""
    folder = tmp_path_factory.mktemp("traces")
    job = make_job(
        5, cause=Cause("rank", 0.2, ranks=(3,)), recorder="kineto", pp=2, tp=2, dp=2, steps=4
    )
    return Path(write_kineto(job, folder))


@pytest.fixture(scope="module")
def written(planted, tmp_path_factory):
    target = tmp_path_factory.mktemp("out") / "job.lpz"
    compress(planted, out=target)
    return target


def test_couplings_read_off_a_graph_make_the_same_graph(planted):
    job = coupled(planted)
    again = build_graph(couplings_of(job.graph))
    assert (again.n_node, again.n_edge) == (job.graph.n_node, job.graph.n_edge)
    before, after = (
        replay(graph, job.work_ns).time_ns[graph.end_node + 1] for graph in (job.graph, again)
    )
    assert np.array_equal(before, after)


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("level", LEVELS)
def test_recorded_jobs_keep_verdict_and_step_however_much_is_merged(name, level, tmp_path):
    packed, report = compress_job(coupled(EXAMPLES / name), levels=(level,))
    assert report.bytes_per_rank_step <= BUDGET_BYTES
    assert abs(report.step_error_ratio) < 1e-3
    (tmp_path / "job.lpz").write_bytes(packed.content)
    assert verdict(tmp_path / "job.lpz") == verdict(EXAMPLES / name)


@pytest.mark.parametrize("level", LEVELS)
def test_a_healthy_job_accuses_nobody_however_much_is_merged(level, tmp_path):
    packed, _ = compress_job(coupled(EXAMPLES / "ddp-healthy"), levels=(level,))
    (tmp_path / "job.lpz").write_bytes(packed.content)
    told = verdict(tmp_path / "job.lpz")
    assert told["kind"] in {"none", "jitter", "absorbed", "not_assessable"}
    assert not told["ranks"]


def test_merging_adds_up_work_and_keeps_every_communication():
    job = coupled(EXAMPLES / "tp-host")
    few = condense(job, "kind")
    assert few.op.height < job.n_op / 10
    plain = few.n_merged.sum()
    assert plain == job.n_op
    assert few.op["duration_ns"].sum() == job.op["duration_ns"].sum()
    members = few.of[job.membership["op"].to_numpy()]
    assert (few.n_merged[members] == 1).all()


def test_a_planted_rank_is_named_from_the_compressed_recording(planted, written):
    assert is_compressed(written)
    assert verdict(written) == verdict(planted)
    told = lp.run_audit(written, brief=False).document
    assert told["record"]["source"] == "kineto"
    assert "compressed" in {caveat["code"] for caveat in told["caveats"]}


def test_the_format_is_told_by_content_whatever_the_name(written, tmp_path):
    other = tmp_path / "job.json"
    other.write_bytes(written.read_bytes())
    assert verdict(other) == verdict(written)


def test_an_op_table_keeps_the_published_slowdown(tmp_path):
    job = make_job(3, cause=Cause("stage", 0.2), pp=4, dp=2, steps=4, microbatches=4)
    table = write_op_table(job, tmp_path)
    compress(table, out=tmp_path / "job.lpz")
    whole, told = (lp.run_audit(p, brief=False).document for p in (table, tmp_path / "job.lpz"))
    assert told["verdict"]["kind"] == whole["verdict"]["kind"] == "stage"
    assert told["slowdown"]["method"] == whole["slowdown"]["method"]
    assert told["slowdown"]["ratio"] == pytest.approx(whole["slowdown"]["ratio"], rel=1e-3)


def test_logs_of_stages_and_of_communications_keep_their_verdicts(tmp_path):
    (tmp_path / "stages").mkdir()
    stage_log("forward").write_csv(tmp_path / "stages" / "stages.csv")
    (tmp_path / "logs").mkdir()
    job = play(n=4, steps=12, slow=1)
    for rank in range(4):
        text = "\n".join(inspector_lines(job, rank, age="4.3"))
        (tmp_path / "logs" / f"rank{rank}.log").write_text(text)
    for kind in ("stages", "logs"):
        compress(tmp_path / kind, out=tmp_path / f"{kind}.lpz")
        whole = verdict(tmp_path / kind)
        assert verdict(tmp_path / f"{kind}.lpz") == whole
        assert whole["kind"] == "rank"


def test_messages_of_a_trace_keep_their_verdict(tmp_path):
    anchor = otf2_stencil(n_turn=20).write(tmp_path)
    compress(anchor, out=tmp_path / "job.lpz")
    assert verdict(tmp_path / "job.lpz") == verdict(anchor)


def test_sketches_tell_how_merged_ops_were_spread(tmp_path):
    packed, _ = compress_job(coupled(EXAMPLES / "ddp-healthy"), levels=("kind",))
    (tmp_path / "job.lpz").write_bytes(packed.content)
    held = read_compressed(tmp_path / "job.lpz").coupled
    assert held is not None
    sketch = held.sketch
    assert sketch.height
    assert (sketch["n_ops"] >= 1).all()
    ordered = [sketch[name] for name in ("least_ns", "median_ns", "p90_ns", "most_ns")]
    assert all((low <= high).all() for low, high in pairwise(ordered))
    assert (sketch["most_ns"] <= sketch["total_ns"]).all()


def test_the_same_job_makes_the_same_bytes(planted, written, tmp_path):
    compress(planted, out=tmp_path / "again.lpz")
    assert (tmp_path / "again.lpz").read_bytes() == written.read_bytes()


def test_a_budget_that_cannot_be_kept_is_refused_by_size(planted, tmp_path):
    with pytest.raises(lp.UsageError, match="KiB of each rank and step"):
        compress(planted, out=tmp_path / "job.lpz", budget_bytes=16)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_kept_unless_force_is_set(written):
    with pytest.raises(lp.UsageError, match="is there"):
        compress(EXAMPLES / "tp-host", out=written)


@pytest.mark.parametrize(
    ("source", "why"), [("written", "compressed already"), ("goal", "schedule, which has no times")]
)
def test_what_holds_no_times_of_its_own_is_refused(source, why, written, tmp_path):
    from loadpath.testing.schedules import stencil  # noqa: PLC0415

    (tmp_path / "job.goal").write_text(stencil(3, 4, 1000))
    given = written if source == "written" else tmp_path / "job.goal"
    with pytest.raises(lp.InputError, match=why):
        compress(given, out=tmp_path / "out.lpz")


def test_hanging_dumps_are_refused_as_they_hold_no_times(tmp_path):
    with pytest.raises(lp.InputError):
        compress(EXAMPLES / "hang-stopped", out=tmp_path / "out.lpz")


def test_a_recording_merged_too_far_draws_no_conclusion(tmp_path, monkeypatch):
    from loadpath.audit import compression  # noqa: PLC0415

    means = iter([1.0, 0.5, 1.2, 0.5, 0.5])
    monkeypatch.setattr(compression, "mean_step_s", lambda *_: next(means))
    packed, report = compress_job(coupled(EXAMPLES / "tp-host"), levels=("kind",))
    assert report.step_error_ratio == pytest.approx(0.2)
    (tmp_path / "job.lpz").write_bytes(packed.content)
    told = lp.run_audit(tmp_path / "job.lpz", brief=False).verdict
    assert told["kind"] == "not_assessable"
    assert "too coarse" in told["summary"]


def test_columns_are_on_the_page_of_the_format():
    page = (EXAMPLES.parent / "docs" / "formats" / "compressed.md").read_text(encoding="utf-8")
    columns = {c.name for schema in (BOUND, COUPLED, EDGE, SKETCH) for c in schema.columns}
    codes = ("merged_apart", "noise_merged")
    assert [name for name in (*columns, *codes) if f"`{name}`" not in page] == []


def head_of(path):
    line, _, rest = path.read_bytes().partition(b"\n")
    return json.loads(line), rest


def rewritten(path, head, rest):
    path.write_bytes(json.dumps(head, separators=(",", ":")).encode() + b"\n" + rest)
    return path


def test_another_version_is_refused_by_name(written, tmp_path):
    head, rest = head_of(written)
    path = rewritten(tmp_path / "a.lpz", head | {"format": "loadpath.compressed/9"}, rest)
    with pytest.raises(lp.InputError, match="version"):
        read_compressed(path)


def test_a_stream_that_unpacks_to_more_than_it_says_is_refused(written, tmp_path):
    head, _ = head_of(written)
    bomb = lzma.compress(bytes(1 << 26))
    path = rewritten(tmp_path / "a.lpz", head, bomb)
    with pytest.raises(lp.InputError, match="unpacks to"):
        read_compressed(path)
    path = rewritten(tmp_path / "b.lpz", head | {"raw_bytes": 1 << 30}, bomb)
    with pytest.raises(lp.InputError, match="more than such a file holds"):
        read_compressed(path)


def test_a_cut_file_is_refused(written, tmp_path):
    content = written.read_bytes()
    for place in range(0, len(content), len(content) // 20):
        (tmp_path / "a.lpz").write_bytes(content[:place])
        with pytest.raises(lp.InputError, match=r"a\.lpz"):
            read_compressed(tmp_path / "a.lpz")
