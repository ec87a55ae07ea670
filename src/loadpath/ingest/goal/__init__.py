"""Reader of GOAL schedules, text and binary (docs/formats/goal.md)."""

from loadpath.ingest.goal.reading import read_goal

__all__ = ["read_goal"]
