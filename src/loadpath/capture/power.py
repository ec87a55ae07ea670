"""Power of the device that a rank computes on, sampled through NVML while a window is open."""

import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from loadpath.capture.pytorch import load_torch

__all__ = ["PowerSampler", "own_device"]

PERIOD_S = 0.02
"""Time between two samples; NVML renews its value some ten times a second or less."""
MOST_SAMPLES = 1 << 16
HEADER = "rank,time_ns,power_mw"


def own_device() -> tuple[Any, Any] | None:
    """Find the device of this process.

    Returns
    -------
    tuple or None
        The library (``pynvml``, of nvidia-ml-py) and its handle of PyTorch's current device; None where
        there is no such device, no library, or it tells no power.
    """
    cuda = load_torch().cuda
    if not cuda.is_available():
        return None
    try:
        nvml = import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        name = cuda.get_device_properties(cuda.current_device()).uuid
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{name}")
        nvml.nvmlDeviceGetPowerUsage(handle)
    except (nvml.NVMLError, AttributeError, RuntimeError):
        return None
    return nvml, handle


class PowerSampler:
    """Samples of one window, taken by a thread of its own; what NVML refuses costs samples, never a step.

    Parameters
    ----------
    rank : int
        Rank of this process.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._samples: list[tuple[int, int]] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Begin to sample, if the device of this process tells its power."""
        device = own_device()
        if device is None:
            return
        self._samples, self._over = [], threading.Event()
        self._thread = threading.Thread(target=self._sample, args=device, daemon=True)
        self._thread.start()

    def _sample(self, nvml: Any, handle: Any) -> None:
        while len(self._samples) < MOST_SAMPLES:
            try:
                power_mw = int(nvml.nvmlDeviceGetPowerUsage(handle))
            except nvml.NVMLError:
                return
            self._samples.append((time.time_ns(), power_mw))
            if self._over.wait(PERIOD_S):
                return

    def close(self, folder: Path | None = None) -> None:
        """End sampling.

        Parameters
        ----------
        folder : Path, optional
            Window that gets ``power_rankN.csv``; samples are dropped if left out.
        """
        if self._thread is None:
            return
        self._over.set()
        self._thread.join()
        self._thread = None
        if folder is None or not self._samples:
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = [HEADER, *(f"{self._rank},{at},{power}" for at, power in self._samples)]
        partial = folder / f".power_rank{self._rank}.csv.partial"
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
        partial.replace(folder / f"power_rank{self._rank}.csv")
