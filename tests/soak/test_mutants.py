"""Damaged records: tables with caveats or one typed error; never a traceback, never a hang.

`make soak` runs 5,000 mutants and 200 cuts of each format; the tests that always run take a few of
them.
"""

import os

import pytest
from tests.soak.hostile import SPLINTERS, mutant, places, sound_records, survey, survive

NAMES = (
    "fr_rank0.json",
    "_dump_0",
    "rank0.json",
    "rank0.json.gz",
    "trace-a.parquet",
    "trace-a.csv",
    "text.goal",
    "binary.goal",
)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return sound_records(tmp_path_factory.mktemp("sound"))


@pytest.mark.parametrize("name", NAMES)
def test_some_mutants_are_survived(name, records, tmp_path):
    answers = survey(tmp_path, name, (mutant(records[name], seed) for seed in range(60)))
    assert answers.total() == 60


@pytest.mark.parametrize("name", NAMES)
def test_some_cuts_are_survived(name, records, tmp_path):
    cuts = places(records[name], 200)[::10]
    survey(tmp_path, name, (records[name][:place] for place in cuts))


@pytest.mark.parametrize("name", NAMES)
def test_a_sound_record_is_read(name, records, tmp_path):
    assert survive(tmp_path / name, records[name]) == "tables"


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_five_thousand_mutants_are_survived(name, records, tmp_path):
    first = int(os.environ.get("LOADPATH_SOAK_SEED", "0"))
    seeds = range(first, first + 5000)
    answers = survey(tmp_path, name, (mutant(records[name], seed) for seed in seeds))
    assert answers.total() == 5000
    assert answers["tables"] > 0


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_record_cut_at_two_hundred_places_is_survived(name, records, tmp_path):
    cuts = places(records[name], 200)
    assert len(cuts) >= 200
    survey(tmp_path, name, (records[name][:place] for place in cuts))


@pytest.mark.soak
def test_each_splinter_at_each_border_of_an_event_is_survived(records, tmp_path):
    text = records["rank0.json"]
    borders = [i for i, c in enumerate(text) if c in b'{}[],:"'][200:260]
    survey(
        tmp_path,
        "rank0.json",
        (text[:i] + splinter + text[i:] for i in borders for splinter in SPLINTERS),
    )
