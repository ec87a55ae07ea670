"""Flight-recorder dumps of PyTorch, JSON or pickle: who asked for which communication, and when."""

from loadpath.ingest.flight_recorder.dumps import (
    Flights,
    is_flight_recorder,
    rank_of_dump,
    read_flight_recorders,
)

__all__ = ["Flights", "is_flight_recorder", "rank_of_dump", "read_flight_recorders"]
