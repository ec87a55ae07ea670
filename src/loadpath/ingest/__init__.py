"""Readers: one module or sub-package per recorded format."""
