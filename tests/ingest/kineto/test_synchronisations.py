import pytest

from loadpath.ingest.kineto import read_kineto

WAIT = {
    "cuda_sync_kind": "Stream Wait Event", "stream": 20, "correlation": 12, "device": 0,
    "wait_on_stream": 7, "wait_on_cuda_event_record_corr_id": 11, "wait_on_cuda_event_id": 3,
}  # fmt: skip


def read(write, event, *spans):
    kernels = [event("k", "kernel", i, 1, stream=s, device=0) for i, s in enumerate((7, 20))]
    return read_kineto([write("rank0.json", [*kernels, *spans])])


def test_stream_that_waits_for_an_event_names_both_streams_and_both_calls(write, event):
    recording = read(write, event, event("Stream Wait Event", "cuda_sync", 5, 0, **WAIT))
    assert recording.op.height == 2
    assert recording.synchronisation.rows(named=True) == [
        {"rank": 0, "kind": "stream_wait", "correlation": 12, "lane": 1, "source_lane": 0,
         "record": 11, "event": 3, "start_ns": 5000, "duration_ns": 0}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Event Sync", "event_wait"),
        ("Stream Sync", "stream_synchronise"),
        ("Context Sync", "device_synchronise"),
        ("Device Sync", "device_synchronise"),
        ("Event Record", "event_record"),
    ],
)
def test_kinds_of_synchronisation_are_told_by_name(write, event, name, kind):
    args = {"stream": -1, "device": 0, "correlation": 1}
    table = read(write, event, event(name, "cuda_sync", 5, 2, **args)).synchronisation
    assert table["kind"].to_list() == [kind]
    assert table["lane"].to_list() == [-1]


def test_calls_that_name_their_stream_are_ops_and_synchronisations(write, event):
    call = event("cudaEventRecord", "cuda_runtime", 5, 2, correlation=11, stream=7, device=0)
    recording = read(write, event, call)
    assert recording.op.height == 3
    assert recording.synchronisation.select("kind", "correlation", "lane").rows() == [
        ("event_record", 11, 1)
    ]


def test_calls_that_name_no_stream_are_ops_only(write, event):
    recording = read(write, event, event("cudaEventRecord", "cuda_runtime", 5, 2, correlation=11))
    assert recording.op.height == 3
    assert recording.synchronisation.height == 0
