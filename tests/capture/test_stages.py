"""Marks of stages by a clock that the test cannot set: sums and order, not lengths."""

from pathlib import Path

import polars as pl
import pytest

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
