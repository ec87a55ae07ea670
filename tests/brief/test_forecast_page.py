"""The page and the summary of a forecast: every number in the document, nothing that escapes."""

import re
from importlib.resources import files

import polars as pl
import pytest
from tests.brief.test_briefing import Page, hurdles, known_numbers, measured
from tests.forecast.designs import design

from loadpath.audit.forecast_settings import ForecastSettings
from loadpath.audit.forecasting import foresee, run_forecast
from loadpath.brief import (
    forecast_figure,
    render_comparison,
    render_comparison_page,
    render_forecast,
    render_forecast_summary,
)
from loadpath.brief.amounts import rounded
from loadpath.brief.compare_words import compare_answers, compare_scale, compare_summary_words
from loadpath.brief.forecast_cells import NONE, count, known, laid
from loadpath.brief.forecast_words import forecast_headline
from loadpath.errors import UsageError
from loadpath.forecast.comparison import compare_designs
from loadpath.forecast.design import Prices, Startup, Stencil
from loadpath.forecast.document import describe
from loadpath.testing import make_job, write_op_table

PROVENANCE = {
    "as_of": None,
    "command": "loadpath forecast test.toml",
    "inputs": [{"path_name": "test.toml", "sha256": "0" * 64, "bytes": 1}],
    "versions": {"loadpath": "0"},
}
DESIGNS = {
    "priced": design(
        accelerators=16, sequences=256, prices=Prices(accelerator_hour=2.0), startup=Startup(steps=1000)
    ),
    "plain": design(accelerators=16, sequences=256),
    "stencil": design(
        accelerators=16, model=None, batch=None,
        stencil=Stencil(cells=1 << 24, flop_per_cell=10.0, bytes_per_cell=8.0),
    ),
}  # fmt: skip


RUNS = "n,step_s\n8,10.4\n16,5.4\n32,2.95\n64,1.8\n128,1.35\n256,1.38\n"
REQUESTS = "arrival_s,prompt_tokens,output_tokens\n" + "".join(
    f"{k / 4},500,50\n" for k in range(40)
)
SERVED = files("loadpath.forecast").joinpath("examples/serving.toml").read_text(encoding="utf-8")
SEARCHED = """name = "searched"
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
[convergence]
batches = [256, 512, 1024]
steps = [5000, 3000, 2000]
"""


def written(name, folder):
    """Forecast a source that is no design, or a design with all that may be asked of it."""
    (folder / "runs.csv").write_text(RUNS, encoding="utf-8")
    (folder / "requests.csv").write_text(REQUESTS, encoding="utf-8")
    (folder / "served.toml").write_text(SERVED, encoding="utf-8")
    (folder / "searched.toml").write_text(SEARCHED, encoding="utf-8")
    if name == "recorded":
        path = write_op_table(make_job(1, pp=2, dp=2, steps=6, microbatches=8, noise=0.05), folder)
        return run_forecast(path, worlds=64, rate=2.0)
    if name == "measured":
        return run_forecast(points=folder / "runs.csv", worlds=64)
    if name == "served":
        return run_forecast(folder / "served.toml", worlds=64, requests=folder / "requests.csv")
    return run_forecast(folder / "searched.toml", worlds=64, search=True, goal="weak")


@pytest.fixture(scope="module", params=[*DESIGNS, "recorded", "measured", "served", "searched"])
def forecast(request, tmp_path_factory):
    if request.param not in DESIGNS:
        done = written(request.param, tmp_path_factory.mktemp("known"))
        return done.document, done.tables
    asked, outlook, advice, found = foresee(DESIGNS[request.param], ForecastSettings(worlds=64))
    document = describe(asked, outlook, advice, (found.runs, found.calibration)) | found.told()
    return document | {"search": None, "serving": None} | PROVENANCE, dict(advice.tables)


def test_every_number_of_the_page_is_in_the_document_or_a_table(forecast):
    page = Page(render_forecast(*forecast))
    known = known_numbers(*forecast)
    assert len(page.numbers) > 100
    assert [number for number in page.numbers if float(number) not in known] == []


def test_headings_of_a_forecast_skip_no_level_and_every_table_has_a_name(forecast):
    assert hurdles(render_forecast(*forecast)) == []


def test_page_stands_alone_and_runs_nothing(forecast):
    page = render_forecast(*forecast)
    tags = {tag for tag, _ in Page(page).tags}
    assert not tags & {"script", "link", "iframe", "img", "object"}
    assert re.findall(r'(?:src|href)="(?!#)', page) == []
    assert len(page.encode()) < 200_000
    assert render_forecast(*forecast) == page


def test_every_figure_says_its_numbers_in_words(forecast):
    names = ["cost", "shares", "step", *(["levers"] if forecast[0]["elasticity"] else [])]
    for name in names:
        drawn = forecast_figure(name, *forecast)
        assert drawn.svg.startswith("<svg")
        assert drawn.description
        assert isinstance(drawn.table, pl.DataFrame)


def test_unknown_figure_is_refused(forecast):
    with pytest.raises(UsageError, match=r"no figure 'heatmap'"):
        forecast_figure("heatmap", *forecast)


def test_name_of_a_design_is_shown_as_text(forecast):
    document, tables = forecast
    hostile = document | {
        "design": document["design"] | {"name": "<script>alert(1)</script>\x1b[31m"}
    }
    page, said = render_forecast(hostile, tables), render_forecast_summary(hostile)
    assert "<script>" not in page
    assert "\x1b" not in page + said


def test_summary_fits_a_terminal(forecast):
    lines = render_forecast_summary(forecast[0], briefing_path="x/briefing.html").splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "Briefing       x/briefing.html"


def test_page_says_what_of_it_is_extrapolation(forecast):
    said = {"recorded": "all else is extrapolation", "measured": "beyond is extrapolation"}
    kind = forecast[0]["design"]["kind"]
    words = said.get(kind, "all of it is extrapolation")
    assert words in forecast_figure("cost", *forecast).description


def test_comparison_fits_a_terminal():
    other = design(accelerators=8, sequences=256)
    found = compare_designs({"a" * 60: DESIGNS["plain"], "b": other}, n_world=64)
    lines = render_comparison(found).splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 80


def compared(*, mean, best_ratio=1.0):
    """Give a comparison of two, the second at `mean` times the cost of the first."""
    found = compare_designs({"a": DESIGNS["plain"], "b": DESIGNS["priced"]}, n_world=64)
    first, second = ({**row, "job_s": None} for row in found["candidates"])
    first |= {"candidate": "a", "mean": 1.0, "best_ratio": best_ratio}
    second |= {"candidate": "b", "mean": mean}
    return found | {"candidates": [first, second], "not_shared": ["gemm_ratio"],
                    "about": {"gemm_ratio": "share of the peak"}, "pilot": []}  # fmt: skip


@pytest.mark.parametrize(
    ("mean", "said"), [(1.25, "b, costs 25.0 % more."), (26.3, "b, costs 26.3 times as much.")]
)
def test_what_the_next_candidate_costs_is_told_as_people_say_it(mean, said):
    words = "".join(cell.text for cell in compare_summary_words(compared(mean=mean)))
    assert words.endswith(said)


@pytest.mark.parametrize(
    ("best_ratio", "said"), [(1.0, "a costs least in every world"), (0.9, "not the same for all")]
)
def test_priors_that_change_no_choice_are_not_said_to_do_so(best_ratio, said):
    answers = dict(compare_answers(compared(mean=2.0, best_ratio=best_ratio)))
    [told] = answers["What could make another one right after all?"]
    assert said in told.text
    assert "share of the peak (gemm_ratio)" in told.text


def test_summary_of_a_comparison_tells_the_cost_that_decides():
    found = compared(mean=2.0)
    lines = render_comparison(found).splitlines()
    head = next(line for line in lines if line.startswith("candidate"))
    assert "expected" in head.split()
    column = head.split().index("expected")
    scale, _ = compare_scale(found)
    assert next(line for line in lines if line.startswith("b ")).split()[column + 1] == rounded(
        2.0 * scale
    )


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (1.11, "Beyond 1 accelerator a token"),
        (34.9, "Beyond 34 accelerators a"),
        (7441.2, "Beyond 7,440 accelerators"),
    ],
)
def test_inversion_is_told_in_whole_accelerators(n, said):
    told = {
        "inversion": {"average": {"n": n}, "marginal": None, "throughput": None},
        "inversion_searched": {"n_most": 8192, "worst_ratio": 1.2},
        "unit": "token",
        "points": [{}, {}],
    }
    assert forecast_headline(told).startswith(said)


def test_columns_that_nothing_is_known_of_are_left_out():
    grid = laid(["n", "job", "power"], [(count(1), NONE, NONE), (count(2), NONE, count(3))])
    assert known(grid).headings == ("n", "power")
    assert known(grid).rows == ((count(1), NONE), (count(2), count(3)))
    assert known(laid(["n"], [])).headings == ("n",)


@pytest.mark.slow
def test_widest_table_of_a_forecast_fits_a4(chromium, tmp_path):
    source = files("loadpath.forecast").joinpath("examples/dense.toml").read_text(encoding="utf-8")
    (tmp_path / "dense.toml").write_text(source, encoding="utf-8")
    done = run_forecast(tmp_path / "dense.toml", sizes="512:4096", worlds=32)
    page = render_forecast(done.document, done.tables)
    assert measured(chromium, tmp_path, page, (688, 1024), ("print",))["out"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("window", "media"),
    [((1280, 800), ()), ((1280, 800), ("(prefers-color-scheme:dark)",)), ((688, 1024), ("print",))],
    ids=["screen", "dark", "a4"],
)
def test_page_of_a_comparison_fits_its_medium(chromium, tmp_path, window, media):
    other = design(accelerators=8, sequences=256)
    found = compare_designs(
        {"<b>" + 4 * "design of a job ": DESIGNS["plain"], "b": other, "c": DESIGNS["plain"]},
        n_world=64,
    )
    page = render_comparison_page(found | PROVENANCE)
    shown = measured(chromium, tmp_path, page, window, media)
    assert (shown["out"], shown["rows"]) == ([], 1)
    assert shown["first"] <= window[1]
    assert "<b>design" not in page


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999.9, "1,000"),
        (0.00123456, "0.00123"),
        (-12.34, "-12.3"),
        (1234567.0, "1,230,000"),
    ],
)
def test_amounts_keep_three_digits(value, text):
    assert rounded(value) == text
