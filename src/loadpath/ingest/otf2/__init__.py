"""Reader of OTF2 traces of MPI jobs (docs/formats/otf2.md)."""

from loadpath.ingest.otf2.archive import read_otf2

__all__ = ["read_otf2"]
