"""The page of the format names what a design may hold, and its example is sound."""

import re
from pathlib import Path

import msgspec
import pytest

from loadpath.forecast import design as designs
from loadpath.forecast import parse_design, step_time
from loadpath.forecast.devices import shipped_devices
from loadpath.forecast.priors import shipped_priors

PAGE = (Path(__file__).parents[2] / "docs" / "formats" / "design.md").read_text(encoding="utf-8")
TABLES: dict[str, type[msgspec.Struct]] = {
    "[model]": designs.Transformer,
    "[model.experts]": designs.Experts,
    "[stencil]": designs.Stencil,
    "[serving]": designs.Serving,
    "[batch]": designs.Batch,
    "[parallelism]": designs.Parallelism,
    "[cluster]": designs.Cluster,
    "[[cluster.tiers]]": designs.Tier,
    "[software]": designs.Software,
    "[noise]": designs.Noise,
    "[failures]": designs.Failures,
    "[checkpoint]": designs.Checkpoint,
    "[convergence]": designs.Convergence,
    "[evaluation]": designs.Evaluation,
    "[startup]": designs.Startup,
    "[prices]": designs.Prices,
    "[power]": designs.Power,
}


def section(title):
    """Give the text under the heading that ends with this table."""
    start = PAGE.index(f": `{title}`\n")
    return PAGE[start : PAGE.find("\n## ", start)]


@pytest.mark.parametrize("title", TABLES)
def test_page_names_every_key_of_a_table_and_no_other(title):
    named = set(re.findall(r"^\| `(\w+)` \|", section(title), re.MULTILINE))
    kept = {f.name for f in msgspec.structs.fields(TABLES[title])} - {"experts", "tiers"}
    assert named == kept


def test_tables_of_a_design_are_all_described():
    parts = {f.name for f in msgspec.structs.fields(designs.Design)} - {"name", "priors"}
    assert {title.strip("[]").split(".")[0] for title in TABLES} == parts


def test_page_names_every_prior_with_its_value():
    for prior in shipped_priors().values():
        assert f"| `{prior.name}` | {prior.value:g} | {prior.low:g} to {prior.high:g} |" in PAGE


def test_page_names_every_device():
    for name in shipped_devices():
        assert f"`{name}`" in PAGE


def test_example_of_the_page_is_sound():
    text = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert text is not None
    assert step_time(parse_design(text[1])).fits_memory
