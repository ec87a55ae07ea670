"""Record a PyTorch job from inside: `loadpath.record`."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Self, TypeVar

from loadpath.capture.files import LineLog, make_folder
from loadpath.capture.handshake import HandshakeServer, serve_handshakes, shake_hands
from loadpath.capture.power import PowerSampler
from loadpath.capture.pytorch import (
    enable_flight_recorder,
    load_torch,
    own_rank,
    process_store,
)
from loadpath.capture.stages import STAGES, StageLog, watch_training
from loadpath.capture.windows import Windows
from loadpath.errors import UsageError

__all__ = ["Recorder", "record"]

LEVELS = ("traces", "stages")
STEP_COLUMNS = "rank,step,end_ns,monotonic_ns,recorder_ns"
T = TypeVar("T")


def record(  # noqa: PLR0913 - one call is the whole interface
    out: str | Path,
    *,
    level: str = "traces",
    every: int = 500,
    active: int = 3,
    rank: int | None = None,
    model: Any = None,
    optimizer: Any = None,
    **profiler: Any,
) -> "Recorder":
    """Record this rank of a PyTorch job; every rank calls it, with the same options.

    Parameters
    ----------
    out : str or Path
        Folder of the job's recording, the same for all ranks (or joined later).
    level : {"traces", "stages"}
        ``traces``: a window of profiler traces every so many steps, with flight recorder, clocks and a
        log of steps. ``stages``: how long each coarse stage of each step took, by the CPU's clock.
    every : int
        Steps from one window to the next.
    active : int
        Steps in a window; one more is spent on warming up.
    rank : int, optional
        Rank of this process; found in the process group or ``RANK`` if left out.
    model : torch.nn.Module, optional
        Marks forward and backward pass of a stage log itself.
    optimizer : torch.optim.Optimizer, optional
        Marks its own stage, and the end of waiting for gradients.
    **profiler
        Further options of ``torch.profiler.profile``.

    Returns
    -------
    Recorder
        A context manager whose `step` is to be called at the end of each step.

    Raises
    ------
    UsageError
        If PyTorch is not there, an option is wrong, or the folder cannot be written.

    Examples
    --------
    >>> with record("recording", every=500) as recorder:  # doctest: +SKIP
    ...     for batch in loader:
    ...         train(batch)
    ...         recorder.step()
    """  # numpydoc ignore=PR01,PR02
    problems = []
    if level not in LEVELS:
        problems.append(f"level {level!r} is not one of {', '.join(LEVELS)}")
    if active < 1 or active + 2 > every:
        problems.append(f"{active} active steps do not fit, with one of warm-up, in {every}")
    if rank is not None and rank < 0:
        problems.append(f"rank {rank} is negative")
    if problems:
        raise UsageError(f"{'; '.join(problems)}. See docs/capture.md.")
    load_torch()
    folder, number = make_folder(Path(out)), own_rank(rank)
    recorder = Recorder(folder, number)
    if level == "stages":
        recorder.stages = StageLog(folder, number)
        if model is not None:
            recorder.watched = watch_training(recorder.stages, model, optimizer)
    else:
        enable_flight_recorder()
        recorder.steps = LineLog(folder / f"steps_rank{number}.log", STEP_COLUMNS)
        recorder.windows = Windows(folder, number, every=every, active=active, **profiler)
    return recorder


class Recorder:
    """What records one rank; made by `record`.

    Parameters
    ----------
    folder : Path
        Folder of the recording.
    rank : int
        Rank of this process.

    Attributes
    ----------
    stages : StageLog or None
        Where stages are marked.
    windows : Windows or None
        Windows of traces.
    steps : LineLog or None
        When each step ended by two clocks of the host, and what the recorder took.
    watched : list
        Hooks of the model and the optimizer.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self.stages: StageLog | None = None
        self.windows: Windows | None = None
        self.watched: list[Any] = []
        self._folder, self._rank = folder, rank
        self._step = 0
        self._own_ns = 0
        self._began_ns = perf_counter_ns()
        self._server: HandshakeServer | None = None
        self._power = PowerSampler(rank)
        self.steps: LineLog | None = None

    def __enter__(self) -> Self:
        """Begin to record."""
        self._began_ns = perf_counter_ns()
        if self.windows is not None and self._rank == 0:
            self._server = serve_handshakes(process_store())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End recording; what the job raised is the job's."""  # numpydoc ignore=PR01
        self.close()

    def step(self) -> None:
        """End a step; to be called by all ranks."""
        begin = perf_counter_ns()
        try:
            if self.stages is not None:
                self.stages.step(self._step)
            if self.windows is not None:
                self._step_windows(self.windows)
            if self.steps is not None:
                self._log_step(self.steps, begin)
        except OSError as error:
            self._give_up(error)
        self._step += 1
        self._own_ns += perf_counter_ns() - begin

    def _log_step(self, steps: LineLog, begin: int) -> None:
        now = perf_counter_ns()
        clocks = f"{time.time_ns()},{time.monotonic_ns()}"
        steps.write(f"{self._rank},{self._step},{clocks},{now - begin}", now)

    def _give_up(self, error: OSError) -> None:
        """End recording where the disk refuses; the job goes on."""
        text = "loadpath records no longer: %s cannot be written (%s)"
        logging.getLogger(__name__).warning(text, self._folder, error.strerror)
        for log in (self.steps, self.stages):
            if log is not None:
                with suppress(OSError):
                    log.close()
        if self.windows is not None:
            self.windows.close()
        self.steps = self.stages = self.windows = None

    def _step_windows(self, windows: Windows) -> None:
        """End a step of the window under way, or open the next one."""
        if windows.step():
            self._power.close(windows.folder)
            if self._server is not None:
                self._server.write(windows.folder)
        following = self._step + 1
        if windows.begins_at(following):
            windows.open(following)
            self._power.open()
            if self._rank > 0:
                shake_hands(process_store(), self._rank)

    def mark(self, stage: str) -> None:
        """End a stage of the step; only where stages are recorded.

        Parameters
        ----------
        stage : str
            ``input, copy, forward, backward, wait, optimizer`` or ``other``.

        Raises
        ------
        UsageError
            If there is no such stage.
        """
        if stage not in STAGES:
            raise UsageError(f"no stage {stage!r}. There are: {', '.join(STAGES)}.")
        if self.stages is not None:
            self.stages.mark(stage)

    def batches(self, loader: Iterable[T]) -> Iterator[T]:
        """Iterate over batches, and record waiting for each as input.

        Parameters
        ----------
        loader : iterable
            Such as a DataLoader.

        Returns
        -------
        iterator
            Over its batches.
        """
        if self.stages is not None:
            return self.stages.batches(loader)
        return iter(loader) if self.windows is None else self.windows.batches(loader)

    def close(self) -> None:
        """End recording, and say what it cost."""
        try:
            self._close()
        except OSError as error:
            self._give_up(error)

    def _close(self) -> None:
        for handle in self.watched:
            handle.remove()
        self.watched = []
        self._power.close()
        if self.windows is not None:
            self.windows.close()
        if self.stages is not None:
            self.stages.close()
        if self._server is not None:
            self._server.close()
            self._server = None
        if self.steps is not None:
            self.steps.close()
        run_ns = perf_counter_ns() - self._began_ns
        cost = {
            "rank": self._rank,
            "steps": self._step,
            "run_s": run_ns / 1e9,
            "recorder_s": self._own_ns / 1e9,
            "recorder_ratio": self._own_ns / run_ns if run_ns else 0.0,
        }
        lines = "".join(f"{name} = {value}\n" for name, value in cost.items())
        (self._folder / f"cost_rank{self._rank}.toml").write_text(lines, encoding="utf-8")
