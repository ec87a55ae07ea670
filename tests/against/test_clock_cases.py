"""A fixed sample of benchmarks/clock_cases.py: clocks that err change no verdict, or are refused."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "clock_cases.py"


@pytest.fixture(scope="module")
def clock_cases():
    spec = importlib.util.spec_from_file_location("clock_cases", SCRIPT)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules["clock_cases"] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    yield module
    del sys.modules["clock_cases"]


@pytest.fixture(scope="module")
def outcomes(clock_cases):
    # each kind of error on three jobs
    return list(clock_cases.run(clock_cases.cases(180)[::5], 1))


@pytest.mark.slow
def test_clocks_that_err_by_a_line_change_no_verdict_and_are_recovered(clock_cases, outcomes):
    steady = [o for o in outcomes if o.case.kind in clock_cases.STEADY]
    wrong = [f"{o.case}: {o.text}, {o.error_ns} ns" for o in steady if not o.is_right]
    assert len(steady) >= 20
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_clocks_that_jump_change_no_culprit_or_are_refused(clock_cases, outcomes):
    jumps = [o for o in outcomes if o.case.kind in clock_cases.JUMPS]
    wrong = [f"{o.case}: {o.text}" for o in jumps if not o.is_right]
    assert len(jumps) >= 10
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_no_op_has_a_negative_duration(outcomes):
    assert not any(o.is_negative for o in outcomes)
