import pytest

from loadpath.decode.kinds import is_io_frame, kind_of
from loadpath.ingest.kineto import read_kineto


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", "input"),
        ("## load_batch ##", "input"),
        ("checkpoint", "checkpoint"),
        ("save_checkpoint step 40", "checkpoint"),
        ("torch.save", "checkpoint"),
        ("write_shard", "storage"),
        ("fsync", "storage"),
        ("Optimizer.step#AdamW.step", "optimise"),
        ("activation_checkpointing", "marker"),
        ("checkpoint_wrapper forward", "marker"),
        ("FullyShardedDataParallel._post_backward_hook", "marker"),
        ("forward", "marker"),
    ],
)
def test_annotations_name_what_they_wait_for(name, kind):
    assert kind_of(name, "annotation") == kind


@pytest.mark.parametrize("name", ["CheckpointFunction", "aten::storage", "aten::copy_"])
def test_calls_of_operators_are_host_work(name):
    assert kind_of(name, "cpu_op") == "host"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("torch/utils/data/dataloader.py(708): __next__", "input"),
        ("torch/serialization.py(943): save", "checkpoint"),
        ("torch/distributed/checkpoint/state_dict_saver.py(95): save", "checkpoint"),
        ("<built-in method write of _io.BufferedWriter object at 0x7fdf74393950>", "storage"),
        ("<built-in function fsync>", "storage"),
    ],
)
def test_python_frames_of_loaders_checkpoints_and_files_are_ops(write, event, name, kind):
    spans = [event(name, "python_function", 0, 9), event("aten::mm", "cpu_op", 1, 5)]
    op = read_kineto([write("rank0.json", spans)]).op
    assert op["kind"].to_list() == [kind, "host"]
    assert op["parent"].to_list() == [-1, 0]


@pytest.mark.parametrize(
    "name",
    [
        "torch/utils/checkpoint.py(343): checkpoint",
        "train.py(12): save",
        "<built-in function next>",
        "<built-in method copy_ of Tensor object at 0x7fdc681f0eb0>",
    ],
)
def test_other_python_frames_are_not_ops(name):
    assert not is_io_frame(name)


def test_events_of_mtia_are_no_work(write, event):
    spans = [
        event("pe_exe", "mtia_ccp_events", 0, 5, stream=112),
        event("event_wait", "mtia_ccp_events", 5, 50, stream=112, wait_on_stream=104),
    ]
    recording = read_kineto([write("rank0.json", spans)])
    assert recording.op["name"].to_list() == ["pe_exe"]
    assert recording.synchronisation["kind"].to_list() == ["stream_wait"]
