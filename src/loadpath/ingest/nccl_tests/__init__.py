"""Reader of nccl-tests: logs, JSON output, tables of times, summaries of links."""

from loadpath.ingest.nccl_tests.output import is_output
from loadpath.ingest.nccl_tests.reading import CollectiveRecord, is_nccl_tests, read_nccl_tests

__all__ = ["CollectiveRecord", "is_nccl_tests", "is_output", "read_nccl_tests"]
