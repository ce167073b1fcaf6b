"""A TensorFlow Datasets corpus as a source of utterances."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from w2v2_jax.data.tensorflow_host import import_tensorflow
from w2v2_jax.data.utterance import Utterance
from w2v2_jax.errors import InputError

# TFDS names nothing by role but the audio; the first of these that a data set has is taken.
TEXT_NAMES = ("text", "transcript", "transcription", "sentence", "normalized_text", "raw_text")
SPEAKER_NAMES = ("speaker_id", "speaker", "client_id")
AUDIO_NAMES = ("speech", "audio")


def tfds(where: str, *, tfds_data_dir: str | None = None) -> Iterator[Utterance]:
    """A TensorFlow Datasets corpus with an Audio feature, "NAME[:SPLIT]" (by default all splits).

    NAME may carry a config and a version ("librispeech/default:2.1.1"), SPLIT a slice
    ("train_clean100[:1%]"). Says so on stderr before it has TFDS download what is not there.
    """
    parts = re.fullmatch(r"([^:\[]+(?::\d+\.\d+\.\d+)?)(?::(.+))?", where)
    if not parts:
        raise InputError(f"--source tfds:{where}: expected NAME[:SPLIT]")
    library = _import_tfds()
    try:
        builder = library.builder(parts[1], data_dir=tfds_data_dir)
    except (library.core.DatasetNotFoundError, ValueError, AssertionError) as error:
        raise InputError(f"--source tfds:{where}: {str(error).splitlines()[0]}") from error
    roles = _tfds_roles(library, builder)
    if not builder.is_prepared():
        print(f"TFDS downloads and prepares {parts[1]} in {builder.data_dir}", file=sys.stderr)
        builder.download_and_prepare()
    splits = [parts[2]] if parts[2] else sorted(builder.info.splits)
    for split in splits:
        if split.partition("[")[0] not in builder.info.splits:
            raise InputError(
                f"tfds:{where}: no split {split}; use {', '.join(sorted(builder.info.splits))}"
            )
    return _tfds_rows(library, builder, splits, roles)


def _tfds_roles(library, builder) -> dict[str, str | None]:
    """Which features are the audio, the text, the speaker and the id."""
    features = builder.info.features
    audio = [n for n, f in features.items() if isinstance(f, library.features.Audio)]
    if not audio:
        raise InputError(f"tfds:{builder.name} has no Audio feature; it has {', '.join(features)}")
    found = {"audio": next((n for n in AUDIO_NAMES if n in audio), audio[0])}
    for role, names in (("text", TEXT_NAMES), ("speaker", SPEAKER_NAMES), ("id", ("id",))):
        found[role] = next((n for n in names if n in features), None)
    if not features[found["audio"]].sample_rate:
        raise InputError(f"tfds:{builder.name}: feature {found['audio']} has no sample rate")
    return found


def _tfds_rows(library, builder, splits, roles) -> Iterator[Utterance]:
    rate = builder.info.features[roles["audio"]].sample_rate
    config = library.ReadConfig(interleave_cycle_length=1)
    for split in splits:
        data = builder.as_dataset(split=split, shuffle_files=False, read_config=config)
        for number, row in enumerate(data.as_numpy_iterator()):
            values = {r: _plain(row[n]) for r, n in roles.items() if n and r != "audio"}
            name = values.get("id") or f"{split}-{number:08d}"
            audio = row[roles["audio"]]
            yield Utterance(
                name, audio, rate, values.get("text"), split.partition("[")[0],
                values.get("speaker"),
            )  # fmt: skip


def _plain(value) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _import_tfds():
    import_tensorflow("--source tfds:...")
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise InputError(f"--source tfds:... needs tensorflow-datasets: {error}") from error
    return tensorflow_datasets
