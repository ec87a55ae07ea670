"""Loops compiled once and called without their compiler.

Importing Numba and asking it for kernels that it compiled before takes longer than the audit of a
small job. A kernel here is compiled by Numba the first time that it meets arguments of new types;
its machine code is kept on disk under a name that tells everything it was made of, and later
processes load that code and call it, without importing Numba. What cannot be kept this way (a
kernel that returns arrays, arguments of other kinds, a Numba whose arrays are laid out in another
way) is left to Numba, with Numba's own cache.
"""

from loadpath.compiled.kernel import Kernel, kernel
from loadpath.compiled.native import native

__all__ = ["Kernel", "kernel", "native"]
