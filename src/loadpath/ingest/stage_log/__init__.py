"""Stage logs: how long each rank spent in each coarse stage of each step."""

from loadpath.ingest.stage_log.reading import is_stage_log, read_stage_logs

__all__ = ["is_stage_log", "read_stage_logs"]
