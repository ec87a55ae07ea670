"""Traces with launches (host threads, device streams, collectives) to one coupled graph."""

from loadpath.couple.trace.job import couple_trace

__all__ = ["couple_trace"]
