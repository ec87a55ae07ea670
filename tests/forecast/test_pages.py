"""Examples on the pages of the forecast are run as they stand."""

import doctest
from pathlib import Path

import pytest

from loadpath.tables.measured import RUN_POINT

PAGES = sorted((Path(__file__).parents[2] / "docs" / "forecast").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_of_the_page_give_what_it_says(page):
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert failed == 0
    assert tried or page.stem == "README"


def test_columns_of_measured_runs_are_on_their_page():
    (page,) = (page for page in PAGES if page.stem == "baselines")
    text = page.read_text(encoding="utf-8")
    assert [name for name in RUN_POINT.schema if f"`{name}`" not in text] == []
