"""Mark the borders of coarse stages by the wall clock of the CPU, and log them."""

import inspect
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import perf_counter_ns
from typing import Any, TypeVar

from loadpath.capture.files import RowLog, finish

__all__ = ["STAGES", "StageLog", "watch_training"]

STAGES = ("input", "copy", "forward", "backward", "wait", "optimizer", "other")
NUMBER = {stage: place for place, stage in enumerate(STAGES)}
LAST, OTHER = len(STAGES), NUMBER["other"]
"""Where `StageLog` keeps the time of the last mark, and what no stage claims."""
INSTEAD = "_compiled_call_impl"
"""What a module of PyTorch calls instead of its forward pass, where it is set; no copy of a module takes it along."""
LEARNING_STEPS = 2
"""Steps in which every parameter is asked when its gradient is there, to find the last one."""

T = TypeVar("T")


class StageLog:
    """Durations of the stages of the step under way, and the file of those that ended.

    A mark adds to one of eight numbers and a step keeps a copy of them: what a step touches is little, for
    after real work none of it is in a cache. Text is made twice a second, of all steps since.

    Parameters
    ----------
    folder : Path
        Gets ``stages_rankN.csv``.
    rank : int
        Rank of this process.
    """

    __slots__ = ("__weakref__", "_log", "_spent")

    def __init__(self, folder: Path, rank: int) -> None:
        names = ",".join(f"{stage}_ns" for stage in STAGES)
        path = folder / f"stages_rank{rank}.csv"
        self._log = RowLog(path, f"rank,step,{names}", str(rank), len(STAGES))
        # sums since the log was opened, and the time of the last mark
        self._spent = [0] * LAST + [perf_counter_ns()]
        weakref.finalize(self, finish, self._log)

    def marker(self, stage: str) -> Callable[..., None]:
        """Make a function that marks the end of a stage, whatever it is called with.

        Parameters
        ----------
        stage : str
            One of `STAGES`.

        Returns
        -------
        callable
            For hooks: it looks nothing up.
        """
        spent, place, clock, last = self._spent, NUMBER[stage], perf_counter_ns, LAST

        def mark(*_: Any) -> None:
            now = clock()
            spent[place] += now - spent[last]
            spent[last] = now

        return mark

    def mark(self, stage: str) -> None:
        """End a stage: the time since the mark before is its own.

        Parameters
        ----------
        stage : str
            One of `STAGES`; a stage may come several times in a step.
        """
        spent, now = self._spent, perf_counter_ns()
        spent[NUMBER[stage]] += now - spent[LAST]
        spent[LAST] = now

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
        mark = self.marker("input")
        for batch in loader:
            mark()
            yield batch

    def step(self, number: int) -> None:
        """End a step and log it.

        Parameters
        ----------
        number : int
            Its number.
        """
        spent, now = self._spent, perf_counter_ns()
        spent[OTHER] += now - spent[LAST]
        spent[LAST] = now
        self._log.add(number, spent, now)

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
    handles: list[Any] = [_Calls(log, model)]
    if optimizer is not None:
        handles += [
            optimizer.register_step_pre_hook(log.marker("wait")),
            optimizer.register_step_post_hook(log.marker("optimizer")),
        ]
    return [*handles, _LastGradient(log, model)]


class _Calls:
    """Mark where a model is called and where it returns.

    By hooks at first. A call that has hooks goes a long way through PyTorch (6 us, 20 with cold caches), so once the
    model was called as often as tells whether anything is compiled, the marks stand where a compiled call would.
    """

    def __init__(self, log: StageLog, model: Any) -> None:
        self._model, self._begins, self._ends = model, log.marker("copy"), log.marker("forward")
        self._n_call = 0
        self._instead: Callable[..., Any] | None = None
        self._hooks = [
            model.register_forward_pre_hook(self._begins),
            model.register_forward_hook(self._returned),
        ]

    def _returned(self, *_: Any) -> None:
        self._ends()
        self._n_call += 1
        if self._n_call < LEARNING_STEPS:
            return
        begins, counts = self._hooks
        counts.remove()
        if _is_plain(self._model):
            begins.remove()
            self._hooks = []
            self._instead = self._marked(self._model._call_impl)  # noqa: SLF001 - what PyTorch calls
            setattr(self._model, INSTEAD, self._instead)
        else:
            self._hooks = [begins, self._model.register_forward_hook(self._ends)]

    def _marked(self, call: Callable[..., Any]) -> Callable[..., Any]:
        begins, ends = self._begins, self._ends

        def marked(*arguments: Any, **named: Any) -> Any:
            begins()
            result = call(*arguments, **named)
            ends()
            return result

        return marked

    def remove(self) -> None:
        """Mark no calls any more; what was compiled since stays so."""
        if self._instead is not None and getattr(self._model, INSTEAD, None) is self._instead:
            setattr(self._model, INSTEAD, None)
        for handle in self._hooks:
            handle.remove()
        self._hooks = []


def _is_plain(model: Any) -> bool:
    """Whether PyTorch looks at `INSTEAD` when it calls a model, and nobody compiles anything."""
    called = inspect.getattr_static(type(model), "__call__", None)
    looks = getattr(called, "__name__", "") == "_wrapped_call_impl"
    compiler = sys.modules.get("torch._dynamo")
    compiled = getattr(getattr(compiler, "utils", None), "counters", {"frames": compiler})
    return looks and getattr(model, INSTEAD, model) is None and not compiled.get("frames")


class _LastGradient:
    """Mark the end of the backward pass: ask all parameters at first, then the last one alone."""

    def __init__(self, log: StageLog, model: Any) -> None:
        self._mark = log.marker("backward")
        self._last: Any = None
        self._n_step = 0
        self._asked = [
            tensor.register_post_accumulate_grad_hook(self._ready)
            for tensor in model.parameters()
            if tensor.requires_grad
        ]
        self._asked.append(model.register_forward_pre_hook(self._settle))

    def _ready(self, tensor: Any) -> None:
        self._last = tensor
        self._mark()

    def _settle(self, *_: Any) -> None:
        """Leave one hook, once it is known which parameter is ready last."""
        self._n_step += self._last is not None
        if self._n_step == LEARNING_STEPS:
            self.remove()
            self._asked = [self._last.register_post_accumulate_grad_hook(self._mark)]

    def remove(self) -> None:
        """Ask nobody any more."""
        for handle in self._asked:
            handle.remove()
        self._asked = []
