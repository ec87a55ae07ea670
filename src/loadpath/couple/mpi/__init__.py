"""Traces of MPI jobs become coupled jobs: threads that call, and the calls that meet."""

from loadpath.couple.mpi.job import call_members, couple_calls, couple_mpi

__all__ = ["call_members", "couple_calls", "couple_mpi"]
