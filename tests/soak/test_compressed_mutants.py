"""Damaged compressed recordings, as files and behind their check sums: a job or one typed error."""

import json
import lzma
import os
import random
import time
from collections import Counter
from pathlib import Path

import msgspec
import polars as pl
import pytest
from tests.soak.formats import compressed
from tests.soak.hostile import MOST_SECONDS, mutant, places

import loadpath as lp
from loadpath.audit.pipeline import couple_recording
from loadpath.errors import LoadpathError
from loadpath.ingest.compressed import is_compressed
from loadpath.ingest.compressed.columns import pack_table, unpack_table
from loadpath.ingest.compressed.layout import TABLES, Payload
from loadpath.ingest.compressed.reading import read_compressed

SOURCE = Path(__file__).parents[2] / "examples" / "tp-host"
AUDITED_EVERY = 20
LIMITS = (1 << 31, 1 << 40, (1 << 62) - 1, -(1 << 62))


@pytest.fixture(scope="module")
def sound():
    return compressed(SOURCE)


def inside(content, seed):
    """Damage what is packed, and pack it again, so that no check sum tells."""
    line, _, packed = content.partition(b"\n")
    raw = mutant(lzma.decompress(packed), seed)
    head = json.loads(line) | {"raw_bytes": len(raw)}
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + lzma.compress(raw, preset=0)


def untrue(content, seed):
    """Change a few values of one column to others of its kind, to extremes or to those of other rows."""
    draw = random.Random(seed)  # noqa: S311 - reproducible
    line, _, packed = content.partition(b"\n")
    payload = msgspec.msgpack.decode(lzma.decompress(packed), type=Payload)
    schema = draw.choice([s for s in TABLES if payload.rows[s.name]])
    table = unpack_table(schema, payload.tables[schema.name], payload.rows[schema.name])
    name = draw.choice([c for c, kind in table.schema.items() if kind.is_integer()] or [""])
    if name:
        values = table[name].to_list()
        for _ in range(draw.choice((1, 2, 8))):
            place, other = draw.randrange(len(values)), draw.choice(values)
            values[place] = draw.choice(
                (-1, 0, 1, 2, 7, 100, other, other, values[place] + 1, *LIMITS)
            )
        changed = pl.DataFrame({name: values}, schema={name: pl.Int64})
        payload.tables[schema.name] |= pack_table(changed)
    raw = msgspec.msgpack.encode(payload)
    head = json.loads(line) | {"raw_bytes": len(raw)}
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + lzma.compress(raw, preset=0)


def survive(path, content, *, audited=False):
    """Read and couple a damaged file; returns "tables" or the type of the error."""
    path.write_bytes(content)
    begin = time.process_time()
    try:
        is_compressed(path)
        couple_recording(read_compressed(path))
        if audited:
            lp.run_audit(path, brief=False)
    except LoadpathError as error:
        said = str(error)
        assert path.name in said or "coupled graph" in said, said
        assert len(said) < 4000
        return type(error).__name__
    finally:
        assert audited or time.process_time() - begin < MOST_SECONDS
    return "tables"


def test_some_mutants_and_cuts_are_survived(sound, tmp_path):
    path = tmp_path / "job.lpz"
    assert survive(path, sound, audited=True) == "tables"
    for seed in range(60):
        survive(path, mutant(sound, seed))
    for place in places(sound, 40):
        assert survive(path, sound[:place]) == "InputError"


def test_some_mutants_behind_the_check_sum_are_survived(sound, tmp_path):
    path = tmp_path / "job.lpz"
    survive(path, sound)
    answers = Counter(
        survive(path, inside(sound, seed), audited=seed % AUDITED_EVERY == 0) for seed in range(60)
    )
    assert answers["InputError"] > 0


def test_some_untrue_values_are_survived(sound, tmp_path):
    path = tmp_path / "job.lpz"
    survive(path, sound)
    answers = Counter(
        survive(path, untrue(sound, seed), audited=seed % AUDITED_EVERY == 0) for seed in range(100)
    )
    assert answers["tables"] > 0
    assert answers["InputError"] > 0


@pytest.mark.soak
def test_five_thousand_untrue_values_are_survived(sound, tmp_path):
    path = tmp_path / "job.lpz"
    survive(path, sound)
    first = int(os.environ.get("LOADPATH_SOAK_SEED", "0"))
    answers = Counter(
        survive(path, untrue(sound, seed), audited=seed % AUDITED_EVERY == 0)
        for seed in range(first, first + 5000)
    )
    assert answers.total() == 5000


@pytest.mark.soak
def test_five_thousand_mutants_behind_the_check_sum_are_survived(sound, tmp_path):
    path = tmp_path / "job.lpz"
    survive(path, sound)
    first = int(os.environ.get("LOADPATH_SOAK_SEED", "0"))
    answers = Counter(
        survive(path, inside(sound, seed), audited=seed % AUDITED_EVERY == 0)
        for seed in range(first, first + 5000)
    )
    assert answers.total() == 5000
