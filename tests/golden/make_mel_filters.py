"""Stores librosa's HTK triangles, whose first use compiles and loads for seconds.

Run with librosa 0.11:  python -m tests.golden.make_mel_filters
"""

from pathlib import Path

import librosa
import numpy as np

FILE = Path(__file__).with_name("mel_filters.npz")

if __name__ == "__main__":
    filters = librosa.filters.mel(sr=16000, n_fft=512, n_mels=80, htk=True, norm=None)
    np.savez_compressed(FILE, filters=filters.T)  # [257, 80] float32
