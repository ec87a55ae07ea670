"""Mark the borders of coarse stages by the wall clock of the CPU, and log them."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from loadpath.capture.files import LineLog

__all__ = ["STAGES", "StageLog", "watch_training"]

STAGES = ("input", "copy", "forward", "backward", "wait", "optimizer", "other")
LEARNING_STEPS = 2
"""Steps in which every parameter is asked when its gradient is there, to find the last one."""

T = TypeVar("T")


class StageLog:
    """Durations of the stages of the step under way, and the file of those that ended.

    Parameters
    ----------
    folder : Path
        Gets ``stages_rankN.csv``.
    rank : int
        Rank of this process.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        names = ",".join(f"{stage}_ns" for stage in STAGES)
        self._log = LineLog(folder / f"stages_rank{rank}.csv", f"rank,step,{names}")
        self._rank = rank
        self._spent = dict.fromkeys(STAGES, 0)
        self._last_ns = time.perf_counter_ns()

    def mark(self, stage: str) -> None:
        """End a stage: the time since the mark before is its own.

        Parameters
        ----------
        stage : str
            One of `STAGES`; a stage may come several times in a step.
        """
        now = time.perf_counter_ns()
        self._spent[stage] += now - self._last_ns
        self._last_ns = now

    def batches(self, loader: Iterable[T]) -> Iterator[T]:
        """Iterate over batches; waiting for each is the stage ``input``.

        Parameters
        ----------
        loader : iterable
            Such as a DataLoader.

        Yields
        ------
        object
            Its batches.
        """
        for batch in loader:
            self.mark("input")
            yield batch

    def step(self, number: int) -> None:
        """End a step and log it.

        Parameters
        ----------
        number : int
            Its number.
        """
        self.mark("other")
        spent = ",".join(map(str, self._spent.values()))
        self._log.write(f"{self._rank},{number},{spent}", self._last_ns)
        for stage in STAGES:
            self._spent[stage] = 0

    def close(self) -> None:
        """Write what is left."""
        self._log.close()


def watch_training(log: StageLog, model: Any, optimizer: Any) -> list[Any]:
    """Let a model and its optimizer mark their stages themselves.

    The backward pass ends where the last gradient is there, which is when the rank's own work ends; what
    follows until the optimizer begins is waiting for the others.

    Parameters
    ----------
    log : StageLog
        Where they mark.
    model : torch.nn.Module
        Called once or more in a step.
    optimizer : torch.optim.Optimizer or None
        Called at its end.

    Returns
    -------
    list
        Handles whose ``remove`` undoes it.
    """
    handles = [
        model.register_forward_pre_hook(lambda *_: log.mark("copy")),
        model.register_forward_hook(lambda *_: log.mark("forward")),
    ]
    if optimizer is not None:
        handles += [
            optimizer.register_step_pre_hook(lambda *_: log.mark("wait")),
            optimizer.register_step_post_hook(lambda *_: log.mark("optimizer")),
        ]
    return [*handles, _LastGradient(log, model)]


class _LastGradient:
    """Mark the end of the backward pass: ask all parameters at first, then the last one alone."""

    def __init__(self, log: StageLog, model: Any) -> None:
        self._log = log
        self._last: Any = None
        wanted = [tensor for tensor in model.parameters() if tensor.requires_grad]
        self._asked = {
            tensor: tensor.register_post_accumulate_grad_hook(self._ready) for tensor in wanted
        }
        self._n_step = 0
        self._forward = model.register_forward_pre_hook(self._settle)

    def _ready(self, tensor: Any) -> None:
        self._last = tensor
        self._log.mark("backward")

    def _settle(self, *_: Any) -> None:
        self._n_step += self._last is not None
        if self._n_step == LEARNING_STEPS and len(self._asked) > 1:
            for tensor, handle in list(self._asked.items()):
                if tensor is not self._last:
                    handle.remove()
                    del self._asked[tensor]

    def remove(self) -> None:
        """Ask nobody any more."""
        self._forward.remove()
        for handle in self._asked.values():
            handle.remove()
