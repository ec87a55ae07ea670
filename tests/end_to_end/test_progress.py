import contextlib
import io

import pytest
from tests.end_to_end.test_forecast_command import SMALL

import loadpath as lp
from loadpath.cli.progress import talk
from loadpath.testing import make_job, write_kineto, write_op_table


class Terminal(io.StringIO):
    def isatty(self):
        return True


def said_on(stream):
    with contextlib.redirect_stderr(stream), talk() as say:
        say("weighing causes")
    return stream.getvalue()


def test_progress_is_shown_on_a_terminal():
    assert "weighing causes" in said_on(Terminal())


def test_progress_is_silent_where_nobody_watches():
    assert said_on(io.StringIO()) == ""


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    (folder / "small.toml").write_text(SMALL, encoding="utf-8")
    job = make_job(1, pp=1, dp=2, steps=4, microbatches=4)
    traced = make_job(1, recorder="kineto", pp=1, dp=2, tp=1, steps=4, skewed_ratio=0.0)
    return {
        "design": folder / "small.toml",
        "op table": write_op_table(job, folder / "job"),
        "traces": write_kineto(traced, folder / "traced"),
    }


@pytest.mark.parametrize("kind", ["design", "op table", "traces"])
def test_forecast_says_which_size_it_replays(kind, sources):
    said: list[str] = []
    how = {"data_parallel": True} if kind == "traces" else {}
    lp.run_forecast(
        sources[kind], sizes=[8, 16], goal="weak", worlds=16, progress=said.append, **how
    )
    sizes = [words for words in said if words.startswith("replaying")]
    assert sizes == ["replaying 8 accelerators (1 of 2)", "replaying 16 accelerators (2 of 2)"]


def test_comparison_says_which_candidate_it_replays(sources):
    said: list[str] = []
    lp.run_comparison(sources["design"], sources["op table"], worlds=16, progress=said.append)
    names = [sources["design"].name, sources["op table"].name]
    assert [words for words in said if words.startswith("replaying")] == [
        f"replaying {name}" for name in names
    ]
