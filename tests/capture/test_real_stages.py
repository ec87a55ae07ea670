"""Stages of a real model of PyTorch: marked by hooks in its first steps, then without."""

import subprocess

import polars as pl
import pytest

from loadpath.ingest.stage_log import read_stage_logs

PROGRAM = """
import copy, io, sys, time
import torch
import loadpath as lp

class Slow(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
    def forward(self, batch):
        time.sleep(0.01)
        return self.layer(batch)

model = Slow()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
other = copy.deepcopy(model)
if sys.argv[2] == "compiled":
    torch.compile(other, backend="eager")(torch.ones(2, 4))
with lp.record(sys.argv[1], level="stages", rank=0, model=model, optimizer=optimizer) as recorder:
    for step in range(8):
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        recorder.step()
        print(len(model._forward_hooks), len(model._forward_pre_hooks), model._compiled_call_impl is None)
    # a copy is no part of the job; a model that is trained can be copied and saved
    average = copy.deepcopy(model)
    torch.save(model, io.BytesIO()) if sys.argv[2] == "plain" else None
    average(torch.ones(2, 4))
    average(torch.ones(2, 4))
    recorder.step()
assert torch.equal(average.layer.weight, model.layer.weight)
assert average.layer.weight is not model.layer.weight
print(len(model._forward_hooks), len(model._forward_pre_hooks), model._compiled_call_impl is None)
"""


@pytest.mark.parametrize("how", ["plain", "compiled"])
def test_stages_are_marked_in_every_step_and_nothing_of_it_is_left(
    how, torch_python, job_environment, tmp_path
):
    path = tmp_path / "job.py"
    path.write_text(PROGRAM)
    words = [torch_python, "-W", "ignore", str(path), str(tmp_path / "out"), how]
    done = subprocess.run(
        words, env=job_environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    *steps, left = done.stdout.splitlines()
    # in its third step it is known which gradient comes last
    learnt, marked = {"plain": ("0 1 False", "0 0 False"), "compiled": ("1 2 True", "1 1 True")}[
        how
    ]
    assert steps == ["1 2 True", learnt, *[marked] * 6]
    assert left == "0 0 True"
    op = read_stage_logs([tmp_path / "out" / "stages_rank0.csv"]).op
    spent = op.with_columns(pl.col("name").cast(pl.String)).filter(pl.col("step") < 8)
    forward = spent.filter(pl.col("name") == "forward")["duration_ns"]
    assert forward.len() == 8
    assert (forward >= 10_000_000).all()
    others = spent.filter(pl.col("name").is_in(["copy", "backward", "wait", "optimizer"]))
    assert (others["duration_ns"] > 0).all()
    copied = op.filter((pl.col("step") == 8) & (pl.col("name").cast(pl.String) == "forward"))
    assert how == "compiled" or copied["duration_ns"].to_list() == [0]
