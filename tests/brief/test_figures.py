import xml.etree.ElementTree as ET

import polars as pl
import pytest

from loadpath.brief import FIGURE_NAMES, figure
from loadpath.errors import UsageError


@pytest.mark.parametrize("name", FIGURE_NAMES)
@pytest.mark.parametrize("kind", ["rank", "host", "none"])
def test_a_figure_is_well_formed_and_shows_itself(audited, name, kind):
    shown = figure(name, *audited(kind))
    root = ET.fromstring(shown.svg)  # noqa: S314  (made here)
    assert root.attrib["role"] == "img"
    assert shown.description in shown._repr_html_().replace("&#x27;", "'")
    assert shown._repr_svg_() == shown.svg


@pytest.mark.parametrize("name", FIGURE_NAMES)
def test_hostile_names_are_text_in_every_drawing(hostile, name):
    root = ET.fromstring(figure(name, *hostile).svg)  # noqa: S314  (made here)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags.isdisjoint({"script", "img", "foreignObject", "a"})


@pytest.mark.parametrize("name", FIGURE_NAMES)
def test_an_empty_table_gives_words_and_no_drawing(audited, name):
    document, tables = audited("rank")
    document["job"]["rank_time_s"] = None
    shown = figure(name, document, {key: table.clear() for key, table in tables.items()})
    assert shown.svg == ""
    assert shown.description.endswith(".")


def test_an_unknown_figure_names_the_known_ones():
    with pytest.raises(UsageError, match="waterfall, heatmap, path"):
        figure("pie", {}, {})


def test_the_waterfall_falls_from_the_step_to_computing(audited):
    document, tables = audited("rank")
    parts = document["job"]["rank_time_s"]
    shown = figure("waterfall", document, tables).table
    assert shown["mean_s"][0] == parts["total"]
    assert shown["mean_s"][-1] == parts["compute"]
    assert shown["mean_s"][1:].sum() == pytest.approx(parts["total"])


def test_the_waterfall_averages_ranks_where_the_document_has_no_means(audited):
    document, tables = audited("rank")
    given = figure("waterfall", document, tables).table
    del document["job"]["rank_time_s"]
    found = figure("waterfall", document, tables).table
    assert found["mean_s"].to_list() == pytest.approx(given["mean_s"].to_list())


@pytest.mark.parametrize(
    ("stages", "words"), [(4, "less pipeline bubble"), (1, "less waiting for dependencies")]
)
def test_waiting_that_nobody_causes_is_a_bubble_in_pipelines_alone(stages, words, audited):
    document, tables = audited("rank")
    document["job"] |= {"stages": stages}
    assert words in figure("waterfall", document, tables).table["part"].to_list()


@pytest.mark.parametrize(("basis", "word"), [("measured", "measured"), ("modelled", "simulated")])
def test_steps_of_a_schedule_are_not_called_measured(basis, word, audited):
    document, tables = audited("rank")
    document["record"] |= {"basis": basis}
    shown = figure("steps", document, tables)
    assert shown.title.startswith(f"Step time: {word}, replayed")
    assert (">measured<" in shown.svg) == (word == "measured")


def test_the_path_is_drawn_with_and_without_the_cause(audited):
    drawing = figure("path", *audited("rank")).svg
    assert drawing.index("As it ran") < drawing.index("Replayed without the cause")
    assert 'marker-end="url(#path-arrow)"' in drawing


def test_without_a_cause_only_the_actual_path_is_drawn(audited):
    assert "without the cause" not in figure("path", *audited("none")).svg


def test_the_heat_map_points_at_the_accused_rank(audited):
    assert "◀ cause" in figure("heatmap", *audited("rank")).svg
    assert "◀" not in figure("heatmap", *audited("host")).svg


def test_the_path_shows_few_ranks_of_many_and_says_so(audited):
    document, tables = audited("rank", ranks=64)
    more = tables["timeline"].with_columns(pl.col("rank") + 20)
    tables["timeline"] = pl.concat([tables["timeline"], more])
    shown = figure("path", document, tables)
    assert "12 of 16 ranks are drawn." in shown.description
    assert "rank 0 " in shown.svg


def test_a_path_of_one_op_has_no_excess_and_no_arrow(audited):
    document, tables = audited("none")
    tables["path"] = tables["path"].tail(1).with_columns(excess_s=pl.lit(0.0))
    drawing = figure("path", document, tables)
    assert "<line" in drawing.svg
    assert "marker-end" not in drawing.svg
    assert "beyond its peers." not in drawing.description


def test_a_path_without_a_timeline_is_still_drawn(audited):
    document, tables = audited("rank")
    tables["timeline"] = tables["timeline"].clear()
    assert "As it ran" in figure("path", document, tables).svg


def test_a_single_step_is_shown_as_bars(audited):
    document, tables = audited("host", ranks=8, steps=1)
    shown = figure("steps", document, tables)
    assert shown.description.startswith("1 step. Step 0: measured")
    assert "seconds of step 0" in shown.svg


def test_a_merged_bar_is_not_called_one_op(audited):
    words = figure("path", *audited("rank")).description
    assert "The stretch of ops with the largest excess is on rank 0" in words
    assert "the longest of its ops is" in words


def test_a_verdict_on_all_ranks_marks_no_rank_as_late(audited):
    shown = figure("path", *audited("host"))
    assert "No rank is marked late" in shown.description
    assert "#cf1020" not in shown.svg
    assert "#cf1020" in figure("path", *audited("rank")).svg


def test_classes_whose_names_are_cut_alike_keep_a_bar_each(audited):
    document, tables = audited("rank")
    long = "x" * 60
    effects = tables["attribution"].head(3).with_columns(key=pl.Series([long + c for c in "abc"]))
    tables["attribution"] = effects
    drawing = figure("attribution", document, tables).svg
    assert drawing.count("#c8503f") == 3
    assert len({part.split('"')[0] for part in drawing.split("translate(")[1:]}) > 3


@pytest.mark.parametrize("name", [name for name in FIGURE_NAMES if name != "steps"])
def test_a_job_that_is_not_assessed_shows_its_steps_alone(audited, name):
    shown = figure(name, *audited("not_assessable"))
    assert shown.svg == ""
    assert shown.table.is_empty()
    assert shown.description.startswith("Not shown: no conclusion across ranks")


def test_a_figure_names_itself_in_a_line_and_shows_itself_in_a_notebook(audited):
    drawn = figure("waterfall", *audited("rank"))
    assert len(repr(drawn).splitlines()) == 1
    assert "<svg" not in repr(drawn)
    assert "<svg" in drawn._repr_html_()
