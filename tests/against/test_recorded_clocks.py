"""A fixed sample of benchmarks/recorded_clocks.py: clocks that err change no verdict on real jobs."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "recorded_clocks.py"
SOUND = (
    "ddp-healthy",
    "fsdp2-healthy",
    "tp-healthy",
    "pp-healthy",
    "2d-input",
    "pp-rank",
    "tp-host",
)


@pytest.fixture(scope="module")
def outcomes():
    spec = importlib.util.spec_from_file_location("recorded_clocks", SCRIPT)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules["recorded_clocks"] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    found = list(module.run([ROOT / "examples" / name for name in SOUND], range(2, 4)))
    del sys.modules["recorded_clocks"]
    return found


@pytest.mark.slow
def test_skewed_clocks_change_no_verdict_on_recorded_jobs(outcomes):
    assert len(outcomes) == 3 * 2 * len(SOUND)
    wrong = [f"{o.recording}, {o.way}: {o.text}" for o in outcomes if not o.is_same]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_what_is_left_of_the_skew_is_within_the_residual_that_is_said(outcomes):
    assert [o for o in outcomes if o.error_ns > max(o.residual_ns, 50_000)] == []


@pytest.mark.slow
def test_clocks_of_a_pipeline_without_fault_are_recovered_to_50_us(outcomes):
    errors = [o.error_ns for o in outcomes if o.recording == "pp-healthy"]
    assert max(errors) <= 50_000
