"""What a job does not record by itself: windows of traces, stage logs, clocks; needs PyTorch only where used."""

from loadpath.capture.recorder import Recorder, record

__all__ = ["Recorder", "record"]
