"""Stores what flashlight finds in noisy logits: python -m tests.golden.make_flashlight

Needs flashlight-text and ufal.kenlm; `tests/decode/test_numpy_search.py` reads the file.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

from tests.helpers.decode_cases import SEARCHES, make_search, search_logits, write_models
from tests.helpers.places import GOLDEN

COUNT = 4  # utterances


def main() -> None:
    logits = search_logits(COUNT)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        write_models(Path(folder))
        for name in SEARCHES:
            decoder = make_search(name, Path(folder), engine="flashlight")
            results[name] = [[(h.text, h.score) for h in decoder(row)] for row in logits]
    np.savez_compressed(
        GOLDEN / "flashlight.npz", logits=np.concatenate(logits),
        lengths=[len(row) for row in logits], results=json.dumps(results),
    )  # fmt: skip


if __name__ == "__main__":
    main()
