"""Power of a rank's device, held to a stand-in for NVML: there was no GPU to try it on."""

import sys
import time
from types import ModuleType, SimpleNamespace

import pytest

from loadpath.capture import power
from loadpath.capture.power import PowerSampler, own_device


class NvmlError(Exception):
    """What the library raises."""


class Nvml(ModuleType):
    """One device, that tells 300.5 W so many times."""

    NVMLError = NvmlError

    def __init__(self, n_answer=10**6):
        super().__init__("pynvml")
        self.n_answer = n_answer

    def nvmlInit(self):  # noqa: N802 - the library's name
        pass

    def nvmlDeviceGetHandleByUUID(self, name):  # noqa: N802
        if name != "GPU-00-11":
            raise NvmlError
        return "handle"

    def nvmlDeviceGetPowerUsage(self, handle):  # noqa: N802
        self.n_answer -= 1
        if self.n_answer < 0 or handle != "handle":
            raise NvmlError
        return 300_500


@pytest.fixture
def gpu(monkeypatch):
    """Process whose current device is the second of two; returns what puts a library beside it."""

    def here(nvml, uuid="00-11", *, is_available=True):
        cuda = SimpleNamespace(
            is_available=lambda: is_available,
            current_device=lambda: 1,
            get_device_properties=lambda k: SimpleNamespace(uuid=uuid if k == 1 else "other"),
        )
        monkeypatch.setattr(power, "load_torch", lambda: SimpleNamespace(cuda=cuda))
        monkeypatch.setitem(sys.modules, "pynvml", nvml)

    return here


def sampled(folder, seconds=0.1):
    sampler = PowerSampler(3)
    sampler.open()
    time.sleep(seconds)
    sampler.close(folder)
    return sorted(path.name for path in folder.iterdir())


def test_a_window_holds_the_power_of_the_ranks_own_device(gpu, tmp_path):
    gpu(Nvml())
    before = time.time_ns()
    assert sampled(tmp_path) == ["power_rank3.csv"]
    header, *lines = (tmp_path / "power_rank3.csv").read_text().splitlines()
    rows = [tuple(map(int, line.split(","))) for line in lines]
    assert header == "rank,time_ns,power_mw"
    assert len(rows) >= 2
    assert {(rank, milliwatts) for rank, _, milliwatts in rows} == {(3, 300_500)}
    times = [at for _, at, _ in rows]
    assert before <= min(times)
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("nvml", "options"),
    [(None, {}), (Nvml(), {"is_available": False}), (Nvml(), {"uuid": "99"}), (Nvml(0), {})],
)
def test_without_device_library_or_answer_nothing_is_written(nvml, options, gpu, tmp_path):
    gpu(nvml, **options)
    assert own_device() is None
    assert sampled(tmp_path, 0.0) == []


def test_a_device_that_ends_answering_keeps_what_it_said(gpu, tmp_path):
    gpu(Nvml(n_answer=3))
    assert sampled(tmp_path) == ["power_rank3.csv"]
    assert len((tmp_path / "power_rank3.csv").read_text().splitlines()) == 3


def test_a_window_that_is_dropped_leaves_no_samples(gpu, tmp_path):
    gpu(Nvml())
    sampler = PowerSampler(0)
    sampler.open()
    sampler.close()
    sampler.close(tmp_path)
    assert list(tmp_path.iterdir()) == []
