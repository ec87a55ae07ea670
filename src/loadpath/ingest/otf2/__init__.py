"""Reader of OTF2 traces of MPI jobs (docs/formats/otf2.md)."""

from loadpath.ingest.otf2.archive import is_otf2, read_otf2

__all__ = ["is_otf2", "read_otf2"]
