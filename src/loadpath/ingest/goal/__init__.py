"""Reader of GOAL schedules, text and binary (docs/formats/goal.md)."""

from loadpath.ingest.goal.reading import is_goal, read_goal

__all__ = ["is_goal", "read_goal"]
