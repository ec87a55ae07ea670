"""What is measured of a job stands on the page of the forecasts that read it."""

from pathlib import Path

from loadpath.tables.measured import RUN_POINT

PAGE = Path(__file__).parents[2] / "docs" / "forecast" / "baselines.md"


def test_columns_of_measured_runs_are_on_their_page():
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in RUN_POINT.schema if f"`{name}`" not in text] == []
