"""Fixtures of other frameworks' own code, for the parity suite; conftest.py makes them known.

fairseq is imported from the checkout that W2V2_FAIRSEQ names, torchaudio's model files from the
unpacked wheel that W2V2_TORCHAUDIO names: the package itself does not load beside torch 2.13.
"""

import os
import sys
import types
from pathlib import Path

import pytest

from tests.helpers import fairseq_oracle

TORCHAUDIO = "W2V2_TORCHAUDIO"


@pytest.fixture(scope="module")
def checkpoint_utils():
    """fairseq's own loader."""
    if reason := fairseq_oracle.absent():
        pytest.skip(reason)
    try:
        fairseq_oracle.prepare()
    except ImportError as error:
        pytest.skip(f"fairseq cannot be imported here: {error}")
    return sys.modules["fairseq.checkpoint_utils"]


@pytest.fixture
def torchaudio_model():
    """torchaudio's module of models, without the package around it."""
    folder = Path(os.environ.get(TORCHAUDIO, ""))
    if not (folder / "torchaudio" / "models" / "wav2vec2" / "model.py").is_file():
        pytest.skip(f"{TORCHAUDIO} does not name an unpacked torchaudio wheel")
    for name in ("torchaudio", "torchaudio.models", "torchaudio.models.wav2vec2"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")))]
        sys.modules[name] = package
    from torchaudio.models.wav2vec2 import model

    yield model
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        del sys.modules[name]  # its presence would make transformers look for the whole package
