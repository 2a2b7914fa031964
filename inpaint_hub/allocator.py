"""Keeps large blocks of memory inside the process: faster steps and passes on CPUs with glibc."""

import ctypes
import platform

# mallopt's names in <malloc.h>.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
# Smaller blocks come from the heap, not from a new mapping; the second value is for a glibc that
# refuses the first.
BLOCK_BYTES = (1 << 30, 1 << 25)
KEPT_BYTES = 1 << 30  # free memory at the heap's end that is not given back
SPARE_BYTES = 64 << 20  # taken in addition whenever the heap grows


def tune_allocator() -> bool:
    """Raise the thresholds of glibc's malloc in this process; returns whether that was possible.

    By default glibc maps every block above 32 MB anew and unmaps it when it is freed: the kernel
    zeroes its pages for every large temporary tensor. Costs up to 1 GB of memory that stays with
    the process. Does nothing on other systems.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    raised = any(mallopt(M_MMAP_THRESHOLD, size) == 1 for size in BLOCK_BYTES)
    kept = mallopt(M_TRIM_THRESHOLD, KEPT_BYTES) == 1
    return mallopt(M_TOP_PAD, SPARE_BYTES) == 1 and raised and kept
