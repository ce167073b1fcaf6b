"""Whether a recording is as long as the list that names it says."""

from __future__ import annotations

import io
import os
from typing import Any

from w2v2_jax.paths import is_remote, to_path

DIFFERS = "other length than its list says"


def fetched(audio: Any) -> Any:
    """The bytes of a file in an object store, so that it is asked for once."""
    if not (isinstance(audio, str) and is_remote(audio)):
        return audio
    try:
        return to_path(audio).read_bytes()
    except OSError:
        return audio  # its reader says why


def is_as_declared(audio: Any, frames: int | None) -> bool:
    """Whether a file, or its bytes, holds `frames` samples of each channel by
    libsndfile, which fairseq's lists are made with; also where nobody can say."""
    import soundfile

    if frames is None or not isinstance(audio, (str, bytes)):
        return True
    if isinstance(audio, str) and not os.path.isfile(audio):
        return True
    try:
        file = os.fsencode(audio) if isinstance(audio, str) else io.BytesIO(audio)
        return soundfile.info(file).frames == frames
    except (soundfile.LibsndfileError, OSError):
        return True  # its decoder says more
