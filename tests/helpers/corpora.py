"""Small prepared splits, written without recordings."""

import hashlib
import zlib

import numpy as np

from w2v2_jax.data.corpus import Entry
from w2v2_jax.data.writer import CorpusWriter

TEXTS = ("AB CA", "B A", "CAB CAB A", "A <b> & 'B'")


def write_split(
    directory, name, *, texts=TEXTS, seconds=0.3, numbers=None, languages=("",), rules=None
):
    """Utterance k has texts[k] and k + 1 times `seconds` of audio, and one of the languages in
    turn; `numbers`: only these; `rules`: the text rules that the corpus says it was prepared with.
    """
    writer = CorpusWriter(directory / name)
    for k, text in enumerate(texts):
        if numbers is not None and k not in numbers:
            continue
        rng = np.random.default_rng(k)
        samples = (3000 * np.sin(np.arange(int(16000 * seconds * (k + 1))) * 0.2)).astype(np.int16)
        samples += rng.integers(-50, 50, len(samples)).astype(np.int16)
        data = samples.tobytes()
        length, checksum = len(samples), zlib.crc32(data)
        content = int.from_bytes(hashlib.sha256(data).digest()[:8], "little")
        entry = Entry(f"{name}/u{k}", text, f"speaker{k % 2}", length, 0.0, 1.0, checksum, content)
        entry = entry._replace(language=languages[k % len(languages)])
        writer.add(entry, iter([data]))
    writer.close(split=name, source="made", text=rules and rules.to_json())
