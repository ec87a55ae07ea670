"""Marks of stages by a clock that the test cannot set: sums and order, not lengths."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loadpath.capture.files import RowLog, finish
from loadpath.capture.recorder import Recorder
from loadpath.capture.stages import STAGES, StageLog, watch_training
from loadpath.ingest.stage_log import is_stage_log, read_stage_logs


class Hooked:
    """Something that lets others look on: a parameter, a model or an optimizer."""

    def __init__(self, *parameters):
        self.hooks, self.owned, self.requires_grad = {}, parameters, True

    def parameters(self):
        return self.owned

    def look(self, name, hook):
        held = self.hooks.setdefault(name, [])
        held.append(hook)
        return type("Handle", (), {"remove": staticmethod(lambda: held.remove(hook))})

    def __getattr__(self, name):
        if not name.startswith("register_"):
            raise AttributeError(name)
        return lambda hook: self.look(name, hook)

    def call(self, name):
        for hook in list(self.hooks.get(name, ())):
            hook(self, (), {})


def train(model, optimizer, gradients):
    model.call("register_forward_pre_hook")
    model.call("register_forward_hook")
    for parameter in gradients:
        for hook in list(parameter.hooks.get("register_post_accumulate_grad_hook", ())):
            hook(parameter)
    optimizer.call("register_step_pre_hook")
    optimizer.call("register_step_post_hook")


def test_what_is_logged_is_read_and_adds_up_to_the_steps(tmp_path):
    log = StageLog(tmp_path, 3)
    for step in range(4):
        for _ in log.batches([0]):
            log.mark("copy")
        log.mark("forward")
        log.mark("forward")
        log.step(step)
    log.close()
    path = tmp_path / "stages_rank3.csv"
    assert is_stage_log(path)
    recording = read_stage_logs([path])
    assert recording.op.height == 4 * len(STAGES)
    assert recording.op["name"].cast(pl.String).to_list()[: len(STAGES)] == list(STAGES)
    assert recording.rank["rank"].to_list() == [3]
    assert (recording.step["end_ns"] > 0).all()


def test_after_two_steps_only_the_parameter_that_is_ready_last_is_asked(tmp_path):
    late, early = Hooked(), Hooked()
    model, optimizer = Hooked(late, early), Hooked()
    log = StageLog(tmp_path, 0)
    handles = watch_training(log, model, optimizer)
    for step in range(4):
        train(model, optimizer, [early, late])
        log.step(step)
    asked = [p.hooks["register_post_accumulate_grad_hook"] for p in (late, early)]
    assert [len(hooks) for hooks in asked] == [1, 0]
    for handle in handles:
        handle.remove()
    assert not any(hooks for part in (model, optimizer, late) for hooks in part.hooks.values())
    log.close()
    spent = read_stage_logs([tmp_path / "stages_rank0.csv"]).op
    by_stage = spent.group_by(pl.col("name").cast(pl.String)).agg(pl.col("duration_ns").min())
    shortest = dict(by_stage.iter_rows())
    assert all(shortest[name] > 0 for name in ("copy", "forward", "backward", "wait", "optimizer"))
    assert shortest["input"] == 0


def test_a_stage_that_is_none_is_an_error(tmp_path):
    log = StageLog(tmp_path, 0)
    with pytest.raises(KeyError):
        log.mark("lunch")
    log.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk")
def test_a_full_disk_ends_recording_and_not_the_job(tmp_path, caplog):
    (tmp_path / "stages_rank0.csv").symlink_to("/dev/full")
    recorder = Recorder(tmp_path, 0)
    recorder.stages = StageLog(tmp_path, 0)
    with recorder:
        for _ in range(3):
            recorder.step()
    assert caplog.text.count("records no longer") == 1
    assert "No space left" in caplog.text
    assert recorder.stages is None


class Plain(Hooked):
    """A model that is called as a module of PyTorch is: past its hooks where something stands instead."""

    _compiled_call_impl: Callable[[Any], Any] | None = None

    def _wrapped_call_impl(self, *arguments):
        if self._compiled_call_impl is not None:
            return self._compiled_call_impl(*arguments)
        self.call("register_forward_pre_hook")
        result = self._call_impl(*arguments)
        self.call("register_forward_hook")
        return result

    def _call_impl(self, number):
        return number + 1

    __call__ = _wrapped_call_impl


def hooks_of(model):
    return [len(model.hooks.get(f"register_forward_{when}hook", ())) for when in ("pre_", "")]


def test_calls_of_a_plain_model_are_marked_without_hooks_after_two_of_them(tmp_path):
    parameter = Hooked()
    model, log = Plain(parameter), StageLog(tmp_path, 0)
    watched = watch_training(log, model, None)
    for step in range(4):
        assert model(step) == step + 1
        # one more asks which gradient is the last, until it is known
        assert hooks_of(model) == ([2, 1] if step < 1 else [1, 0])
        log.step(step)
    for handle in watched:
        handle.remove()
    assert hooks_of(model) == [0, 0]
    assert model(1) == 2
    assert model._compiled_call_impl is None
    log.close()
    op = read_stage_logs([tmp_path / "stages_rank0.csv"]).op
    forward = op.filter(op["name"].cast(pl.String) == "forward")
    assert forward.height == 4
    assert (forward["duration_ns"] > 0).all()


def test_calls_that_something_else_stands_in_for_keep_their_hooks(tmp_path):
    model, log = Plain(Hooked()), StageLog(tmp_path, 0)
    model._compiled_call_impl = model._call_impl
    watch_training(log, model, None)
    for _ in range(4):
        model.call("register_forward_pre_hook")
        model.call("register_forward_hook")
    assert hooks_of(model) == [2, 1]
    assert model._compiled_call_impl == model._call_impl
    log.close()


def test_what_is_compiled_while_it_is_recorded_stays_compiled(tmp_path):
    model, log = Plain(Hooked()), StageLog(tmp_path, 0)
    watched = watch_training(log, model, None)
    for step in range(4):
        model(step)
        log.step(step)
    assert model._compiled_call_impl is not None

    def compiled(number):
        return number + 1

    model._compiled_call_impl = compiled
    for handle in watched:
        handle.remove()
    log.close()
    assert model._compiled_call_impl is compiled


def test_steps_are_written_twice_a_second_and_those_kept_at_the_end(tmp_path):
    path = tmp_path / "stages_rank0.csv"
    log, begun = RowLog(path, "rank,step,a,b", "0", 2), 10**10
    for step, now in (
        (0, 1),
        (1, 400_000_000),
        (2, 500_000_001),
        (3, 500_000_002),
        (4, 1_100_000_000),
    ):
        log.add(step, [10 * (step + 1), 3 * step, now], begun + now)
        # the first at once, then all since whenever half a second has gone by
        assert len(path.read_text().splitlines()) == {0: 2, 1: 2, 2: 2, 3: 5, 4: 6}[step]
    log.add(5, [75, 15, 0], begun + 1_100_000_001)
    log.close()
    lines = path.read_text().splitlines()
    assert lines[1:3] == ["0,0,10,0", "0,1,10,3"]
    assert lines[-1] == "0,5,25,3"
    finish(log)
    assert path.read_text().splitlines() == lines


def test_a_log_that_nobody_closes_is_written_when_it_is_dropped(tmp_path):
    log = StageLog(tmp_path, 0)
    for step in range(5):
        log.step(step)
    del log
    assert len((tmp_path / "stages_rank0.csv").read_text().splitlines()) == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_a_forked_process_leaves_rows_to_its_parent(tmp_path):
    log = StageLog(tmp_path, 0)
    for step in range(3):
        log.step(step)
    child = os.fork()
    if not child:
        log.close()
        os._exit(0)
    os.waitpid(child, 0)
    log.close()
    steps = [
        line.split(",")[1] for line in (tmp_path / "stages_rank0.csv").read_text().splitlines()
    ]
    assert steps == ["step", "0", "1", "2"]
