"""Kernels give what Python gives, and later processes call them without their compiler."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest

from loadpath.compiled import kernel, machine, native, store
from loadpath.compiled.identity import identity
from loadpath.testing import make_job, write_op_table
from loadpath.testing.schedules import stencil

SHIFT = 3
pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="nothing is compiled"
)


@kernel
def shifted(x):
    return x + SHIFT


@kernel(inline=True)
def halved(x):
    return x / 2


@kernel
def histogram(value, n, count, is_large):
    room = np.zeros(n, np.int64)
    for i in range(value.size):
        room[shifted(value[i]) % n] += 1
        is_large[i] = value[i] > n
    for k in range(n):
        count[k, 1] = room[k]
    most = 0
    for k in range(n):
        most = max(most, room[k])
    return most, halved(value.size), room[0] > 0


def calls_another(x):
    return shifted(x) + 1


@kernel
def largest(value):
    return value.max()


@kernel
def doubled(value):
    return value * 2


@kernel
def no_result(value):
    for i in range(value.size):
        value[i] += 1


@kernel
def room_for(n):
    return np.empty(n).size


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.uint32, np.int8])
@pytest.mark.parametrize("n", [1, 7, 64])
def test_a_kernel_gives_what_python_gives(dtype, n):
    value = np.random.default_rng(n).integers(0, 100, 50).astype(dtype)
    outcomes = []
    for function in (histogram, histogram.py_func):
        count, is_large = np.zeros((n, 2), np.int64), np.zeros(50, np.bool_)
        outcomes.append((function(value, n, count, is_large), count.tolist(), is_large.tolist()))
    assert outcomes[0] == outcomes[1]


def wrapped(value):
    return np.uint64(value) * np.uint64(0x9E3779B97F4A7C15)


def test_without_the_compiler_numbers_wrap_where_they_are_meant_to(monkeypatch):
    compiled = int(kernel(wrapped)(7))
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert int(kernel(wraps=True)(wrapped)(7)) == compiled
    with pytest.warns(RuntimeWarning, match="overflow"):
        kernel(wrapped)(7)


def test_arrays_of_no_length_and_no_result():
    nothing = np.empty(0, np.float32)
    assert no_result(nothing) is None
    value = np.arange(3.0, dtype=np.float32)
    no_result(value)
    assert value.tolist() == [1, 2, 3]


@kernel
def tables(value, n):
    low = np.zeros((n, 2), np.int32)
    is_odd = np.empty(value.size, np.bool_)
    for i in range(value.size):
        is_odd[i] = value[i] % 2 == 1
        low[value[i] % n, 1] += 1
    return low, n, is_odd[: value.size - 1], value.size / 2, is_odd[1:], value


@kernel
def of_tuples(pair, rest):
    first, second = pair
    return first.size + second + rest[0].size


def test_arrays_are_returned_and_outlive_the_call():
    value = np.arange(100)
    returned = [(n, tables(value, n)) for _ in range(200) for n in (3, 7, 100)]
    for n, found in returned[-3:]:
        for one, other in zip(found, tables.py_func(value, n), strict=True):
            assert np.array_equal(one, other)
            assert getattr(one, "dtype", int) == getattr(other, "dtype", int)
    empty = tables(np.empty(1, np.int64) * 0, 1)
    assert empty[2].size == 0
    assert empty[0].flags.writeable


def test_tuples_of_arrays_and_numbers_are_taken():
    assert of_tuples((np.zeros((2, 3)), 4), (np.zeros(5, np.uint8),)) == 15
    assert of_tuples((np.zeros(1, np.int32), 0.5), (np.zeros(5), 1)) == 6.5


def test_arrays_with_gaps_are_left_to_numba():
    value = np.arange(12.0).reshape(3, 4)
    assert doubled(value[:, 1]).tolist() == [2, 10, 18]
    column = value[:, 1]
    no_result(column)
    assert value[:, 1].tolist() == [2, 6, 10]


def test_arrays_that_lie_otherwise_than_expected_are_left_to_numba(monkeypatch):
    building = pytest.importorskip("loadpath.compiled.building")
    monkeypatch.setattr(building, "DATA_AT", 0)
    assert building.built(shifted.within, ("f",), "kernel_otherwise") is None
    monkeypatch.undo()
    assert building.built(shifted.within, ("f",), "kernel_otherwise") is not None


def test_numbers_of_each_kind_are_told_apart():
    assert shifted(1) == 4
    assert isinstance(shifted(1), int)
    assert shifted(1.5) == 4.5
    assert shifted(np.uint64(5)) == 8


def test_what_needs_more_than_the_c_library_is_left_to_numba():
    assert largest(np.arange(5)) == 4


def test_identity_follows_the_module_that_knows_better_code(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    digests = []
    for text in ("first = 1", "other = 2", "first = 1"):
        (tmp_path / "better_code.py").write_text(text, encoding="utf-8")
        inner = FunctionType(shifted.py_func.__code__, {"SHIFT": 1}, "shifted")
        space = {"shifted": native("better_code")(inner)}
        digests.append(identity(FunctionType(calls_another.__code__, space), ""))
    assert digests[0] == digests[2] != digests[1]
    assert "better_code" not in sys.modules


def test_what_a_kernel_raises_is_raised():
    with pytest.raises(ValueError, match="negative dimensions"):
        room_for(-1)


def test_many_threads_meet_a_kernel_for_the_first_time():
    @kernel
    def total(value):
        n = 0
        for i in range(value.size):
            n += value[i]
        return n

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: total(np.arange(100)), range(64))) == {4950}


def test_identity_follows_code_constants_and_called_kernels():
    def with_shift(shift):
        inner = FunctionType(shifted.py_func.__code__, {"SHIFT": shift})
        return FunctionType(calls_another.__code__, {"shifted": kernel(inner)})

    assert identity(with_shift(1), "") == identity(with_shift(1), "")
    assert identity(with_shift(1), "") != identity(with_shift(2), "")
    assert identity(with_shift(1), "") != identity(with_shift(1), "inline")


PROGRAM = """
import sys
import numpy as np
from loadpath.compiled import kernel, machine, native, store

CONSTANT = {constant}

@kernel
def scaled(value):
    for i in range(value.size):
        value[i] *= CONSTANT
    return value.size

value = np.arange(4)
scaled(value)
print(value.tolist(), "numba" in sys.modules)
"""


def run(folder, constant=2, cache="kernels", program=PROGRAM):
    path = folder / "program.py"
    path.write_text(program.format(constant=constant), encoding="utf-8")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / cache)}
    done = subprocess.run(
        [sys.executable, path], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_second_process_does_not_load_the_compiler(tmp_path):
    assert run(tmp_path) == "[0, 2, 4, 6] True"
    assert run(tmp_path) == "[0, 2, 4, 6] False"
    assert run(tmp_path, constant=5) == "[0, 5, 10, 15] True"
    assert len(list((tmp_path / "kernels").glob("*.machine"))) == 1, "the old code is removed"


CALLS = """
import sys
import numpy as np
from loadpath.compiled import kernel

CONSTANT = int(sys.argv[1])

@kernel
def added(x):
    return x + CONSTANT

@kernel
def largest(value):
    return value.max() + added(0)

print(largest(np.arange(4)[::2]))
"""


def test_what_numba_keeps_follows_the_kernels_that_are_called(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(CALLS, encoding="utf-8")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    told = [
        subprocess.run(
            [sys.executable, path, constant],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for constant in ("1", "5", "1")
    ]
    assert told == ["3", "7", "3"]
    assert list((tmp_path / "kernels").rglob("*.nbc"))


def test_damaged_machine_code_is_compiled_anew(tmp_path):
    run(tmp_path)
    (held,) = (tmp_path / "kernels").glob("*.machine")
    whole = held.read_bytes()
    for damage in (b"", whole[:40], whole[:-1], whole[:-9] + bytes(9), b"x" + whole):
        held.write_bytes(damage)
        assert run(tmp_path) == "[0, 2, 4, 6] True"
        assert run(tmp_path) == "[0, 2, 4, 6] False"


def test_where_nothing_can_be_written_each_process_compiles(tmp_path):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    for _ in range(2):
        assert run(tmp_path, cache="file/kernels") == "[0, 2, 4, 6] True"


def test_what_is_kept_is_used_where_nothing_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    store.keep("kernel-1", b"code")
    monkeypatch.setattr(os, "access", lambda *_: False)
    store.keep("kernel-2", b"other")
    assert (store.kept("kernel-1"), store.kept("kernel-2")) == (b"code", None)
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o644]


def test_each_processor_keeps_its_own_code(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    for name in ("one", "other", "one"):
        monkeypatch.setattr(machine, "processor", lambda name=name: name)
        kernel(shifted.py_func)(1)
    assert len(list(tmp_path.iterdir())) == 2


def test_processes_that_begin_together_at_an_empty_cache(tmp_path):
    with ThreadPoolExecutor(3) as pool:
        told = list(pool.map(lambda _: run(tmp_path), range(3)))
    assert {text.rpartition(" ")[0] for text in told} == {"[0, 2, 4, 6]"}
    assert run(tmp_path) == "[0, 2, 4, 6] False"
    assert len(list((tmp_path / "kernels").iterdir())) == 1


KILLED = """
import os
from pathlib import Path
Path.replace = lambda *_: os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_left_is_removed_when_nobody_can_be_writing_it(tmp_path):
    folder = tmp_path / "kernels"
    with pytest.raises(subprocess.CalledProcessError):
        run(tmp_path, program=KILLED + PROGRAM)
    (left,) = folder.iterdir()
    assert left.suffix == ".part"
    assert run(tmp_path) == "[0, 2, 4, 6] True"
    assert left.exists(), "another process may be writing it"
    os.utime(left, (0, 0))
    assert run(tmp_path, constant=5) == "[0, 5, 10, 15] True"
    assert [path.suffix for path in folder.iterdir()] == [".machine"]


def test_a_disk_that_refuses_leaves_nothing(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError

    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(Path, "chmod", refused)
    store.keep("kernel-1", b"code")
    assert not list(tmp_path.iterdir())


def test_a_user_without_a_home_keeps_nothing_there(monkeypatch):
    def no_home(_):
        raise RuntimeError

    monkeypatch.setattr(os.path, "expanduser", no_home)
    monkeypatch.setattr(Path, "home", classmethod(no_home))
    for stated in ("", "relative/cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", stated)
        assert store.cache_home() is None
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    assert [place.name for place in store.places()] == ["__pycache__"]


WORK = """
import sys
import loadpath
from loadpath.audit.simulation import simulate
{work}(sys.argv[1])
print("numba" in sys.modules)
"""


def record_of(what, folder):
    if what == "op table":
        return write_op_table(make_job(1, pp=2, dp=4, steps=4), folder)
    if what == "traces":
        return Path(__file__).parents[2] / "examples" / "tp-host"
    schedule = folder / "stencil.goal"
    schedule.write_text(stencil(4, 3, 1000))
    return schedule


@pytest.mark.parametrize(
    ("work", "of_what"),
    [
        ("loadpath.run_audit", "op table"),
        ("loadpath.run_audit", "traces"),
        ("loadpath.run_audit", "schedule"),
        ("simulate", "schedule"),
    ],
)
def test_an_audit_does_not_load_the_compiler_twice(tmp_path, work, of_what):
    command = [sys.executable, "-c", WORK.format(work=work), record_of(of_what, tmp_path)]
    told = [
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        for _ in range(2)
    ]
    assert told[1] == "False"


@kernel(borrows=True)
def first_above(value, limit):
    for i in range(value.size):
        if value[i] > limit:
            return i
    return -1


@kernel(borrows=True)
def passes(value, n):
    total = 0
    for k in range(n):
        total += first_above(value, k)
    return total


def test_kernels_that_borrow_their_arrays_give_what_python_gives():
    value = np.array([3, 1, 4, 1, 5])
    expected = sum(int(np.argmax(value > k)) for k in range(5))
    before = sys.getrefcount(value)
    assert passes(value, 5) == expected
    assert sys.getrefcount(value) == before
