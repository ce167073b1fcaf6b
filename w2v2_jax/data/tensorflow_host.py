"""TensorFlow only as a reader of data and a writer of programs: on the host, without log lines, and
without accelerators."""

from __future__ import annotations

import contextlib
import os
import sys

from w2v2_jax.errors import InputError, lacking
from w2v2_jax.errors.streams import without_chatter


def import_tensorflow(needed_by: str):
    """The tensorflow module with every GPU hidden from it.

    Raises InputError when it is not installed; `needed_by` begins that sentence.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        # It logs some lines before it reads its log level.
        loaded = "tensorflow" in sys.modules
        with contextlib.nullcontext() if loaded else without_chatter():
            import tensorflow

            tensorflow.config.set_visible_devices([], "GPU")
    except ImportError as error:
        needed = f"{needed_by} needs TensorFlow"
        raise InputError(lacking(error, needed, "pip install tensorflow")) from error
    return tensorflow
