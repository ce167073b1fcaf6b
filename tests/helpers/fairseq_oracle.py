"""fairseq's published code, imported from a checkout that is not part of this project.

W2V2_FAIRSEQ names the checkout (the folder that holds the package `fairseq`); a release unpacked
from PyPI serves too. It needs torch, omegaconf 2.0.6 and hydra-core 1.0.7. Further folders, after
a colon, may hold what it needs: hydra-core 1.0.7 installed as usual breaks pytest on Python 3.11,
by a plugin of its own.
"""

import contextlib
import dataclasses
import os
import sys
from pathlib import Path

VARIABLE = "W2V2_FAIRSEQ"


def absent() -> str:
    """Why the code cannot be imported here; empty when nothing is known to be missing."""
    folder = os.environ.get(VARIABLE, "").split(os.pathsep)[0]
    if not folder:
        return f"{VARIABLE} does not name a checkout of facebookresearch/fairseq"
    if not (Path(folder) / "fairseq" / "checkpoint_utils.py").is_file():
        return f"{VARIABLE}={folder} holds no fairseq/checkpoint_utils.py"
    return ""


def prepare() -> None:
    """Puts the checkout on the path, unmodified, and lets Python 3.11 run it.

    Its dataclasses have instances of dataclasses as defaults, which Python refuses since 3.11
    unless they are hashable; its files are read with weights, as it asks torch to.
    """
    if reason := absent():
        raise RuntimeError(reason)
    folders = os.environ[VARIABLE].split(os.pathsep)
    if folders[0] in sys.path:
        return
    sys.path[:0] = folders
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with hashable_dataclasses():
        import fairseq.checkpoint_utils
        import fairseq.models.wav2vec
        import fairseq.tasks  # noqa: F401


@contextlib.contextmanager
def hashable_dataclasses():
    """What is imported inside may have instances of its dataclasses as defaults."""
    process = dataclasses._process_class

    def hashable(cls, *args, **kwargs):
        made = process(cls, *args, **kwargs)
        if made.__hash__ is None:
            made.__hash__ = object.__hash__
        return made

    dataclasses._process_class = hashable
    try:
        yield
    finally:
        dataclasses._process_class = process
