"""Windows of profiler traces: a few steps in every so many, written beside the job's own work."""

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

from loadpath.capture.files import publish
from loadpath.capture.pytorch import dump_flight_recorder, load_torch

__all__ = ["Windows"]

INPUT = "next(data)"
"""Name of a span that is read as input."""
END: Any = object()
T = TypeVar("T")


class Windows:
    """The window under way, if any, and the thread that writes the one before.

    Parameters
    ----------
    folder : Path
        Gets a folder ``window-STEP`` for each window, with ``rankN.json.gz`` in it.
    rank : int
        Rank of this process.
    every : int
        Steps from one window to the next.
    active : int
        Steps in a window.
    **options
        For ``torch.profiler.profile``, such as ``record_shapes``.
    """

    def __init__(self, folder: Path, rank: int, *, every: int, active: int, **options: Any) -> None:
        self._profiler = load_torch().profiler
        self._folder, self._rank = folder, rank
        self._every, self._active = every, active
        self._options = {"record_shapes": True, **options}
        self._open: Any = None
        self._age, self._first = 0, 0
        self._writer: threading.Thread | None = None

    def begins_at(self, step: int) -> bool:
        """Say whether the window opens before a step: one step of warm-up, then the active ones.

        Parameters
        ----------
        step : int
            Step that comes next.

        Returns
        -------
        bool
            True for the last but one step of each span of `every` steps before its window.
        """
        return self._open is None and (step + 1) % self._every == 0

    @property
    def folder(self) -> Path:
        """Folder of the window that opened last, by its first recorded step."""
        return self._folder / f"window-{self._first + 1:09d}"

    def open(self, step: int) -> None:
        """Begin to record.

        Parameters
        ----------
        step : int
            Step of the warm-up.
        """
        self.wait()
        self._age, self._first = 0, step
        self._open = self._profiler.profile(schedule=self._action, **self._options)
        self._open.step_num = step
        self._open.start()

    def _action(self, _: int) -> Any:
        actions = self._profiler.ProfilerAction
        if self._age == 0:
            return actions.WARMUP
        if self._age > self._active:
            return actions.NONE
        return actions.RECORD if self._age < self._active else actions.RECORD_AND_SAVE

    def step(self) -> bool:
        """End a step; the last of a window hands it to a thread that writes it.

        Returns
        -------
        bool
            True where a window ended.
        """
        if self._open is None:
            return False
        self._age += 1
        self._open.step()
        if self._age <= self._active:
            return False
        done, self._open = self._open, None
        done.stop()
        self._writer = threading.Thread(target=self._write, args=(done, self.folder), daemon=False)
        self._writer.start()
        return True

    def _write(self, done: Any, folder: Path) -> None:
        try:
            self._publish(done, folder)
        except OSError as error:
            text = "a window is lost: %s cannot be written (%s)"
            logging.getLogger(__name__).warning(text, folder, error.strerror)

    def _publish(self, done: Any, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flight = dump_flight_recorder()
        for name, save in (("rank", done.export_chrome_trace), ("fr_rank", None)):
            raw = folder / f".{name}{self._rank}.raw.json"
            if save is not None:
                save(str(raw))
            elif flight:
                raw.write_bytes(flight)
            else:
                continue
            publish(raw, folder / f"{name}{self._rank}.json.gz")

    def batches(self, loader: Iterable[T]) -> Iterator[T]:
        """Iterate over batches; waiting for each is marked in a window under way.

        Parameters
        ----------
        loader : iterable
            Such as a DataLoader.

        Yields
        ------
        object
            Its batches.
        """
        waiting = iter(loader)
        while True:
            with self._profiler.record_function(INPUT) if self._open else nullcontext():
                batch = next(waiting, END)
            if batch is END:
                return
            yield batch

    def wait(self) -> None:
        """Wait until the window before is written."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None

    def close(self) -> None:
        """End recording; a window that has not ended is dropped."""
        if self._open is not None:
            self._open.stop()
            self._open = None
        self.wait()
