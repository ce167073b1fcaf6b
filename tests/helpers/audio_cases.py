"""Recordings of every kind made on the spot, and how they are damaged."""

import io

import numpy as np
import pytest
import soundfile

from w2v2_jax.data.audio import AudioError, load_audio

RNG = np.random.default_rng(0)
TIME = np.arange(24_000) / 16_000
SPEECH = (0.3 * np.sin(700 * TIME) * np.sin(9 * TIME)).astype("f4")
NOISE = (0.1 * RNG.standard_normal(24_000)).astype("f4")
KINDS = {  # name: format and subtype of libsndfile
    "wav": ("WAV", "PCM_16"), "float": ("WAV", "FLOAT"), "adpcm": ("WAV", "IMA_ADPCM"),
    "rf64": ("RF64", "PCM_16"), "w64": ("W64", "PCM_24"), "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"), "caf": ("CAF", "PCM_16"), "nist": ("NIST", "PCM_16"),
    "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}  # fmt: skip
LONG = np.tile(NOISE, 4)


def encoded(kind, samples=NOISE, rate=16_000, **options):
    file = io.BytesIO()
    name, subtype = KINDS[kind]
    soundfile.write(file, samples, rate, format=name, subtype=subtype, **options)
    return file.getvalue()


def reason_of(content):
    with pytest.raises(AudioError) as caught:
        load_audio(content)
    return caught.value.reason


def overwritten(content, place, count):
    """The same file with bytes of noise in it."""
    noise = np.random.default_rng(1).integers(1, 255, count, dtype=np.uint8).tobytes()
    return content[:place] + noise + content[place + count :]


def made_by_pyav(suffix, codec, rate, seconds=2, options=None):
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format=suffix, options=options or {}) as opened:
        stream = opened.add_stream(codec, rate=rate, layout="mono", bit_rate=64_000)
        time = np.arange(seconds * rate) / rate
        samples = (0.3 * np.sin(700 * time)).astype("f4")[None]
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format, "mono", rate, stream.frame_size or 1024)
        for even in [*resampler.resample(frame), *resampler.resample(None)]:
            opened.mux(stream.encode(even))
        opened.mux([packet for packet in stream.encode(None) if packet.size])
    return file.getvalue()
