"""Damaged records: tables with caveats or one typed error; never a traceback, never a hang.

`make soak` runs 5,000 mutants and 200 cuts of each format, and reads it while it grows; the tests that
always run take a few of them.
"""

import os
from pathlib import Path

import pytest
from tests.soak.formats import READERS, sound_records
from tests.soak.hostile import SPLINTERS, mutant, places, survey, survive, watch_growing

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is told by Linux")  # fmt: skip


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Sound records, each read once: kernels are compiled here, not in the first mutant."""
    folder = tmp_path_factory.mktemp("sound")
    records = sound_records(folder)
    assert set(records) == set(READERS)
    for name, content in records.items():
        (folder / name).write_bytes(content)
        READERS[name](folder / name)
    return records


@pytest.mark.parametrize("name", READERS)
def test_a_sound_record_is_read(name, records, tmp_path):
    assert survive(tmp_path / name, records[name]) == "tables"


@pytest.mark.parametrize("name", READERS)
def test_some_mutants_are_survived(name, records, tmp_path):
    answers = survey(tmp_path, name, (mutant(records[name], seed) for seed in range(60)))
    assert answers.total() == 60


@pytest.mark.parametrize("name", READERS)
def test_some_cuts_are_survived(name, records, tmp_path):
    cuts = places(records[name], 200)[::10]
    survey(tmp_path, name, (records[name][:place] for place in cuts))


@pytest.mark.soak
@pytest.mark.parametrize("name", READERS)
def test_five_thousand_mutants_are_survived(name, records, tmp_path):
    first = int(os.environ.get("LOADPATH_SOAK_SEED", "0"))
    seeds = range(first, first + 5000)
    answers = survey(tmp_path, name, (mutant(records[name], seed) for seed in seeds))
    assert answers.total() == 5000
    assert answers["tables"] > 0


@pytest.mark.soak
@pytest.mark.parametrize("name", READERS)
def test_record_cut_at_two_hundred_places_is_survived(name, records, tmp_path):
    cuts = places(records[name], 200)
    assert len(cuts) >= min(200, len(records[name]))
    survey(tmp_path, name, (records[name][:place] for place in cuts))


@pytest.mark.soak
@pytest.mark.parametrize("name", READERS)
def test_a_record_that_still_grows_is_survived(name, records, tmp_path):
    answers = watch_growing(tmp_path / name, records[name])
    assert answers.total() > 1


@pytest.mark.soak
def test_each_splinter_at_each_border_of_an_event_is_survived(records, tmp_path):
    text = records["rank0.json"]
    borders = [i for i, c in enumerate(text) if c in b'{}[],:"'][200:260]
    survey(
        tmp_path,
        "rank0.json",
        (text[:i] + splinter + text[i:] for i in borders for splinter in SPLINTERS),
    )
