"""What the search of `test_fuzz.py` found, and a few damaged files of each kind; no hypothesis."""

import io

import numpy as np
import pytest

from tests.helpers.fuzz_cases import CASES, write
from tests.helpers.fuzz_mutations import damaged
from w2v2_jax.errors import InputError


def index(ids) -> bytes:
    """An index of saved logits with these ids."""
    file = io.BytesIO()
    count = len(ids)
    np.savez(file, ids=ids, num_frames=np.zeros(count, np.int64), references=np.array([""] * count))
    return file.getvalue()


# what -> (case, changed files); each made its reader end with another exception than InputError.
FOUND = {
    "a list as a decoder's beam": ("texts", {"settings.json": b'{"settings": {"beam": [1]}}'}),
    "a decoder's settings that are a word": ("texts", {"settings.json": b'{"settings": ""}'}),
    "more utterances than can be counted": (
        "corpus",
        {"corpus.json": (b'"utterances": 3', b'"utterances": 9223372036854775808')},
    ),
    "an id of no characters": (
        "emissions",
        {"index.npz": index(ids=np.array([1, 0x110000], "<u4").view("<U1"))},
    ),
    "a manifest's root with a NUL": (
        "manifest",
        {"train.tsv": b"\0\na.wav\t1600\nx/b.wav\t3200\n"},
    ),
    "a length of five thousand digits": (
        "manifest",
        {"train.tsv": b"root\na.wav\t" + 5000 * b"9" + b"\nx/b.wav\t3200\n"},
    ),
    "a list as a checkpoint's objective": (
        "description",
        {"description.json": (b'"objective": "ctc"', b'"objective": ["ctc"]')},
    ),
    "a header of logits.npy that never ends": (
        "emissions",
        {"logits.npy": b"\x93NUMPY\x01\0\x20\0{'descr': '<f4', 'shape': (8,  \n" + b" " * 200},
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_is_refused_with_one_line(tmp_path, name):
    case, changed = FOUND[name]
    (tmp_path / "seeds").mkdir()
    seeds = CASES[case].seeds(tmp_path / "seeds")
    files = dict(next((s for s in seeds if set(changed) <= set(s)), {}))
    for path, content in changed.items():  # a new content, or what of the seed's to put where
        files[path] = content if isinstance(content, bytes) else files[path].replace(*content)
    write(files, tmp_path / "files")
    with pytest.raises(InputError) as caught:
        CASES[case].read(tmp_path / "files")
    assert "\n" not in str(caught.value)


SLOW = ("safetensors", "hugging_face", "torch", "audio")


class Random:
    """A chooser for `damaged`."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def number(self, low, high):
        return int(self.rng.integers(low, high, endpoint=True))


@pytest.mark.parametrize("case", CASES)
def test_damaged_files_are_read_or_refused(tmp_path, case):
    (tmp_path / "seeds").mkdir()
    seeds = CASES[case].seeds(tmp_path / "seeds")
    refused = 0
    for number in range(8 if case in SLOW else 40):
        files = damaged(seeds[number % len(seeds)], Random(number))
        write(files, tmp_path / str(number))
        try:
            CASES[case].read(tmp_path / str(number))
        except InputError:
            refused += 1
    assert refused
