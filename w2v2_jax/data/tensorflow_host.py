"""TensorFlow as a reader of data only: on the host, quiet, away from the accelerators of JAX."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from w2v2_jax.errors import InputError


def import_tensorflow(needed_by: str):
    """The tensorflow module with every GPU hidden from it.

    Raises InputError when it is not installed; `needed_by` begins that sentence.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _quiet_stderr():
            import tensorflow

            tensorflow.config.set_visible_devices([], "GPU")
    except ImportError as error:
        raise InputError(f"{needed_by} needs TensorFlow, which cannot be imported: {error}") from (
            error
        )
    return tensorflow


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Sends file descriptor 2 nowhere: TensorFlow logs some lines before it reads its log level."""
    if "tensorflow" in sys.modules:
        yield
        return
    sys.stderr.flush()
    stderr_copy, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(stderr_copy, 2)
        os.close(stderr_copy)
        os.close(nowhere)
