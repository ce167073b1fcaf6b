"""A corpus for runs of many processes, none of which outlives its test."""

import numpy as np
import pytest
import soundfile

from tests.helpers.host_processes import STARTED
from w2v2_jax.prepare import command as prepare


@pytest.fixture(scope="session")
def tones(tmp_path_factory):
    """Forty tones in noise, prepared into train and dev."""
    folder = tmp_path_factory.mktemp("speech")
    random = np.random.default_rng(0)
    lines = []
    for i in range(40):
        time_axis = np.arange(16000 + 800 * i) / 16000
        tone = 0.2 * np.sin(2 * np.pi * (200 + 20 * i) * time_axis)
        noise = 0.05 * random.standard_normal(len(time_axis))
        soundfile.write(folder / f"{i:02}.wav", tone + noise, 16000)
        lines.append(f"{i:02}.wav\tTONE {'ABCDEFGHIJ'[i % 10]}\t{'train' if i < 32 else 'dev'}")
    (folder / "transcripts.tsv").write_text("\n".join(lines) + "\n")
    out = folder / "corpus"
    prepare.main(["--source", f"folder:{folder}", "--out", str(out), "--workers", "1"])
    return out


@pytest.fixture(autouse=True)
def no_process_is_left():
    """Kills what a failed test left running."""
    yield
    for process in STARTED:
        process.kill()
        process.wait()
    STARTED.clear()
