"""Sets up the C library's heap for a long CPU program: memory is kept, and is in huge pages.

XLA:CPU allocates the temporaries of a program, gigabytes for a training step, again at every call.
glibc passes such requests to the kernel, which then has to clear every page again. That takes a
fifth of the time of a BASE training step (docs/results/speed.md).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from w2v2_jax.system.compile_cache import switched_on

SWITCH = "W2V2_KEEP_MEMORY"
HUGE_PAGE = 2 << 20
MADV_HUGEPAGE = 14  # <sys/mman.h>
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # <malloc.h>
RESERVE = 256 << 20  # bytes
ACCELERATORS = ("jax_plugins", "libtpu", "jax_rocm60_plugin")


def wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process will compute on a CPU with glibc, and this is not turned off."""
    if not switched_on(SWITCH, environ) or platform.libc_ver()[0] != "glibc":
        return False
    chosen = environ.get("JAX_PLATFORMS", "")
    installed = any(importlib.util.find_spec(name) for name in ACCELERATORS)
    return chosen == "cpu" or (not chosen and not installed)


def _libc() -> ctypes.CDLL:
    """The C library, with the types of what is called here."""
    libc = ctypes.CDLL(None)
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    libc.malloc.restype = libc.realloc.restype = pointer
    libc.malloc.argtypes, libc.realloc.argtypes = [size], [pointer, size]
    libc.free.argtypes, libc.malloc_trim.argtypes = [pointer], [size]
    libc.madvise.argtypes = [pointer, size, ctypes.c_int]
    return libc


_kept = False


def keep(environ: Mapping[str, str] = os.environ) -> bool:
    """Keeps freed memory for the next request, in huge pages; returns whether it does.

    Call it before JAX starts its threads: a thread keeps its arena, and only the main arena can
    hold large blocks. The process then keeps its memory until it ends. W2V2_KEEP_MEMORY=0 leaves
    the heap unchanged.
    """
    global _kept
    if not wanted(environ):
        return False
    libc = _libc()
    done = [libc.mallopt(M_ARENA_MAX, 1), libc.mallopt(M_MMAP_MAX, 0)]
    done.append(libc.mallopt(M_TRIM_THRESHOLD, -1))
    # The heap's future addresses are marked while they hold nothing; what is never used costs
    # nothing. A limit on addresses refuses this, and the heap keeps its memory in small pages.
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    start = libc.malloc(size)
    if start:
        first = -(-start // HUGE_PAGE) * HUGE_PAGE
        libc.madvise(first, (start + size - first) // HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE)
        libc.free(start)
    _kept = all(done)
    return _kept


def keep_for_training() -> None:
    """`keep`, and lets a program on a CPU end before its call returns. A call takes the program's
    temporaries at once, so a step that is called while the one before it runs would take as much
    memory again; what the host does between two steps takes milliseconds. Calls on other devices
    do not change. Call it before JAX looks for devices.
    """
    keep()
    jax.config.update("jax_cpu_enable_async_dispatch", False)


def owned(tree):
    """The arrays of `tree` in memory of JAX's own; those given cannot be used any more.

    On a CPU, JAX leaves an array from NumPy or Orbax where it is, if that address suits it, and an
    update cannot write there: it would take as much memory again for the new value. A program that
    may reuse its arguments copies these arrays and no others. Other devices have copies already.
    """
    if jax.default_backend() != "cpu":
        return tree
    places = jax.tree.map(lambda array: array.sharding, tree)
    copied = lambda tree: jax.tree.map(jnp.copy, tree)  # noqa: E731
    return jax.jit(copied, donate_argnums=0, out_shardings=places)(tree)


def trim() -> None:
    """Returns free memory to the kernel, if `keep` keeps it: after set-up, or after programs other
    than those of the next updates. The next request is then cleared again, once.

    It leaves free addresses for what is requested between two updates, such as batches. These would
    otherwise be cut from the block that an update has just given back, and the next update, whose
    temporaries the rest is too small for, would take as much again.
    """
    if not _kept:
        return
    libc = _libc()
    libc.malloc_trim(0)
    # Two blocks, as nothing smaller is sure to lie above the first and keep it apart. Nothing is
    # written to them, so they take no memory.
    free, above = libc.malloc(RESERVE), libc.malloc(RESERVE)
    if above:
        libc.realloc(above, 1)
    libc.free(free)
