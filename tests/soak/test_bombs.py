"""Records built to exhaust the reader: handled or refused in 5 s of an idle processor and 1 GiB."""

import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from tests.soak.bombs import BOMBS, gzipped_repeat
from tests.soak.formats import sound_records
from tests.soak.hostile import bomb_lines, one_event

pytestmark = pytest.mark.soak

MOST_SECONDS, MOST_BYTES = 10.0, 1 << 30
"""Twice what an idle machine may take: other work on a core slows this."""
READ = """
import sys, time
from pathlib import Path
from tests.soak.formats import READERS
from loadpath.errors import LoadpathError

path, warm = (Path(word) for word in sys.argv[1:])
READERS[warm.name](warm)
begin = time.process_time()
try:
    n = READERS[path.name](path)
    said = f"tables {n if isinstance(n, int) else -1}"
except LoadpathError as error:
    said = f"{type(error).__name__} {len(str(error))}"
spent = time.process_time() - begin
# not ru_maxrss: that of a new process begins with its parent's
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
print(said, spent, int(peak.split()[1]) * 1024)
"""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return sound_records(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def defuse(tmp_path, sound):
    """Read a bomb in a process of its own; returns what came of it."""

    def run(name, content):
        (tmp_path / "warm").mkdir()
        path, warm = tmp_path / name, tmp_path / "warm" / name
        path.write_bytes(content)
        warm.write_bytes(sound[name])
        done = subprocess.run(
            [sys.executable, "-c", READ, path, warm],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd=Path(__file__).parents[2],
        )
        assert done.returncode == 0, done.stderr[-2000:]
        what, number, seconds, n_byte = done.stdout.split()
        assert float(seconds) < MOST_SECONDS, seconds
        assert int(n_byte) < MOST_BYTES, n_byte
        if what != "tables":
            assert int(number) < 4000
        path.unlink()  # half a GiB, of which pytest would keep three
        return what, int(number)

    return run


@pytest.mark.parametrize(("name", "kind"), BOMBS)
def test_bomb_of_another_format_is_defused(name, kind, sound, defuse):
    assert defuse(name, BOMBS[name, kind](sound))[0] in {"tables", "InputError", "StructureError"}


def test_gibibyte_of_zeros_in_a_mebibyte_of_gzip(defuse):
    assert defuse("rank0.json.gz", gzipped_repeat(b"\0", 1 << 30))[0] in {"InputError", "tables"}


def test_gibibyte_of_one_string_in_a_mebibyte_of_gzip(defuse):
    head = gzip.compress(b'{"traceEvents": [{"ph": "X", "name": "')
    assert defuse("rank0.json.gz", head + gzipped_repeat(b"a", 1 << 30))[0] == "InputError"


def test_string_of_half_a_gibibyte(defuse):
    content = (
        b'{"traceEvents": ['
        + one_event()
        + b',\n{"name": "'
        + b"a" * (512 << 20)
        + b'"},\n'
        + one_event()
        + b"]}"
    )
    assert defuse("rank0.json", content) == ("tables", 2)


def test_string_of_half_a_gibibyte_before_the_events(defuse):
    content = b'{"a": "' + b"a" * (512 << 20) + b'", "traceEvents": [' + one_event() + b"]}"
    defuse("rank0.json", content)


@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_of_a_hundred_thousand(defuse, brackets):
    deep = brackets[0] * 100_000 + b"1" + brackets[1] * 100_000
    event = one_event()[:-1] + b', "args": {"x": ' + deep + b"}}"
    found = defuse("rank0.json", bomb_lines(one_event() + b",\n" + event + b",\n" + one_event()))
    assert found[0] == "tables"
    assert found[1] >= 2


@pytest.mark.parametrize("field", ["ts", "dur", "pid"])
def test_number_of_a_million_digits(defuse, field):
    event = one_event(**{field: 7}).replace(
        f'"{field}": 7'.encode(), f'"{field}": '.encode() + b"7" * 1_000_000
    )
    found = defuse("rank0.json", bomb_lines(one_event() + b",\n" + event + b",\n" + one_event()))
    assert found[0] == "tables"
    assert found[1] >= 2


@pytest.mark.parametrize("field", ["name", "tid", "cat"])
def test_million_distinct_names(defuse, field):
    events = b",\n".join(one_event(**{field: f"n{i}", "ts": i}) for i in range(1_000_000))
    found = defuse("rank0.json", bomb_lines(one_event() + b",\n" + events))
    assert found[0] in {"tables", "InputError"}


def test_million_small_objects(defuse):
    assert defuse("rank0.json", bomb_lines(b"{}," * 1_000_000 + one_event())) == ("tables", 1)


def test_million_streams(defuse):
    events = b",\n".join(
        one_event(cat="kernel", ts=i, args={"stream": i, "device": 0}) for i in range(1_000_000)
    )
    assert defuse("rank0.json", bomb_lines(events))[0] == "InputError"


def test_group_of_a_million_ranks_in_many_calls(defuse):
    said = {"Collective name": "allreduce", "Process Group Ranks": json.dumps(list(range(100_000)))}
    events = b",\n".join(one_event(name="record_param_comms", ts=i, args=said) for i in range(100))
    defuse("rank0.json", bomb_lines(events))


def test_parquet_of_a_billion_equal_rows(defuse):
    n = 100_000_000
    frame = pl.select(
        dp_rank=pl.repeat(0, n, dtype=pl.Int8), stage=pl.repeat(0, n, dtype=pl.Int8),
        rank=pl.repeat(0, n, dtype=pl.Int8), step=pl.repeat(0, n, dtype=pl.Int8),
        optype=pl.repeat("gc", n, dtype=pl.Categorical), start_ts=pl.repeat(0.0, n, dtype=pl.Float32),
        duration=pl.repeat(0.0, n, dtype=pl.Float32), seq_id=pl.repeat(0, n, dtype=pl.Int8),
    )  # fmt: skip
    target = io.BytesIO()
    frame.write_parquet(target, compression="zstd", compression_level=19)
    assert len(target.getvalue()) < 8 << 20
    assert defuse("trace-a.parquet", target.getvalue())[0] == "InputError"


def test_table_with_a_million_columns(defuse):
    defuse("trace-a.csv", b",".join(b"c%d" % i for i in range(1_000_000)) + b"\n")


def test_table_with_a_field_of_half_a_gibibyte(defuse):
    head = b"dp_rank,stage,rank,step,optype,start_ts,duration,seq_id\n0,0,0,0,"
    assert defuse("trace-a.csv", head + b"a" * (512 << 20) + b",0,0,0\n")[0] == "InputError"


def test_table_with_a_million_op_types(defuse):
    head = b"dp_rank,stage,rank,step,optype,start_ts,duration,seq_id\n"
    rows = b"".join(b"0,0,0,0,op%d,0,0,%d\n" % (i, i) for i in range(1_000_000))
    defuse("trace-a.csv", head + rows)
