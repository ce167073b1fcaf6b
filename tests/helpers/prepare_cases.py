"""Clips to prepare, the options of preparing them, and whether two corpora are the same."""

import numpy as np
import soundfile

from w2v2_jax.prepare import measure

OPTIONS = {
    "split": None,
    "holdout": {"dev": 0.2},
    "min_seconds": 0.1,
    "require_text": False,
    "workers": 1,
    "overwrite": False,
    "progress": False,
}


def speech(folder, count=30):
    """Clips of noise, two rejects and a clip that is there twice, over five parts; a manifest."""
    rng = np.random.default_rng(0)
    (folder / "in").mkdir(parents=True)
    for k in range(count):
        samples = 0.1 * rng.standard_normal(2000 + 100 * k)
        soundfile.write(folder / "in" / f"u{k:02}.wav", samples, 16000)
        (folder / "in" / f"u{k:02}.txt").write_text(f"Sentence {k}")
    soundfile.write(folder / "in" / "z.wav", soundfile.read(folder / "in" / "u03.wav")[0], 16000)
    soundfile.write(folder / "in" / "short.wav", np.zeros(10), 16000)
    (folder / "in" / "prose.wav").write_text("not audio")
    return folder


def assert_same(one, other):
    """Both hold the same splits with the same bytes, and nothing else."""
    assert sorted(p.name for p in other.iterdir()) == ["dev", "train"]
    for split in ("dev", "train"):
        names = sorted(p.name for p in (one / split).iterdir())
        assert names == sorted(p.name for p in (other / split).iterdir())
        different = [n for n in names if not same_bytes(one / split / n, other / split / n)]
        assert len(names) > 3 and not different


def same_bytes(one, other):
    return one.read_bytes() == other.read_bytes()


def counted(monkeypatch, *, break_at=-1, error=KeyboardInterrupt):
    """Names of the utterances decoded; the one of number `break_at` raises the error."""
    names, real = [], measure._decode

    def decode(utterance, *rest):
        if len(names) == break_at:
            raise error
        names.append(utterance.id)
        return real(utterance, *rest)

    monkeypatch.setattr(measure, "_decode", decode)
    return names
