"""A TensorFlow Datasets corpus as a source of utterances, whole or record file by record file."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from w2v2_jax.data.tensorflow_host import import_tensorflow
from w2v2_jax.errors import InputError, broken_import, lacking, nearest
from w2v2_jax.paths import is_remote
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.tfds_audio import read_with_libsndfile
from w2v2_jax.prepare.utterance import SourceOptions, Utterance

# TFDS marks only the audio by its type; for other roles the first of these names is taken.
TEXT_NAMES = ("text", "transcript", "transcription", "sentence", "normalized_text", "raw_text")
SPEAKER_NAMES = ("speaker_id", "speaker", "client_id")
LANGUAGE_NAMES = ("language", "locale")  # as text; classes are numbers
AUDIO_NAMES = ("speech", "audio")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class Rows(NamedTuple):
    """Rows `start` to `stop` of a split, which lie in one record file; `first` is the number of
    the first of them within `split`, which may be a slice."""

    name: str
    data_dir: str | None
    split: str
    start: int
    stop: int
    first: int
    file: str


class _Opened(NamedTuple):
    library: Any
    builder: Any
    splits: list[str]
    roles: dict[str, str | None]


def tfds(where: str, *, account: Account, options: SourceOptions) -> Iterator[Utterance]:
    """A TensorFlow Datasets corpus with an Audio feature, "NAME[:SPLIT]" (by default all splits).

    NAME may carry a config and a version ("librispeech/default:2.1.1"), SPLIT a slice
    ("train_clean100[:1%]"). Prints a line to stderr before TFDS downloads a missing corpus.
    """
    opened = _open(where, options.tfds_data_dir, {})
    return _counted(account, (u for split in opened.splits for u in _read(opened, split, split, 0)))


def _counted(account: Account, utterances: Iterator[Utterance]) -> Iterator[Utterance]:
    for utterance in utterances:
        account.seen += 1
        yield utterance


def tfds_rows(
    where: str,
    *,
    account: Account,
    tfds_data_dir: str | None = None,
    download: dict[str, Any] | None = None,
) -> Iterator[Rows]:
    """The same corpus in the same order, as ranges that machines read one by one, divided as by
    `tfds.beam.ReadFromTFDS`. download: arguments of TFDS's DownloadConfig."""
    opened = _open(where, tfds_data_dir, download or {})
    return _ranges(where, tfds_data_dir, opened, account)


def read_rows(rows: Rows) -> Iterator[Utterance]:
    """The utterances of a range."""
    opened = _open(f"{rows.name}:{rows.split}", rows.data_dir, {})
    base = rows.split.partition("[")[0]
    instruction = opened.library.core.ReadInstruction(
        base, from_=rows.start, to=rows.stop, unit="abs"
    )
    return _read(opened, rows.split, instruction, rows.first)


class Facts(NamedTuple):
    """A corpus's splits, the requested splits, and the name of its text feature (None: no text)."""

    splits: list[str]
    text: str | None


def tfds_facts(where: str, *, tfds_data_dir: str | None = None) -> Facts:
    """What is known of a corpus before any row is read."""
    opened = _open(where, tfds_data_dir, {})
    return Facts(opened.splits, opened.roles["text"])


def _parse(where: str) -> tuple[str, str | None]:
    parts = re.fullmatch(r"([^:\[]+(?::\d+\.\d+\.\d+)?)(?::(.+))?", where)
    if not parts:
        raise InputError(f"--source tfds:{where}: expected NAME[:SPLIT]")
    return parts[1], parts[2]


def _open(where: str, data_dir: str | None, download: dict[str, Any]) -> _Opened:
    name, wanted = _parse(where)
    library = _import_tfds()
    if "tensorflow" not in sys.modules:
        check_name(library, name, data_dir)
        import_tensorflow("--source tfds:...")
    read_with_libsndfile()
    try:
        builder = library.builder(name, data_dir=data_dir)
    except Exception as error:  # of its own kinds, of the network's, of modules it lacks
        raise InputError(f"--source tfds:{where}: {_first_line(error)}") from error
    roles = _tfds_roles(library, builder)
    if not builder.is_prepared():
        print(f"TFDS downloads and prepares {name} in {builder.data_dir}", file=sys.stderr)
        _download(where, builder, library.download.DownloadConfig(**download))
    splits = [wanted] if wanted else sorted(builder.info.splits)
    for split in splits:
        if split.partition("[")[0] not in builder.info.splits:
            raise InputError(
                f"tfds:{where}: no split {split}; use {', '.join(sorted(builder.info.splits))}"
            )
    return _Opened(library, builder, splits, roles)


def check_name(library, name: str, data_dir: str | None) -> None:
    """Raises InputError for a corpus that TFDS does not know, and that no folder of this machine
    has; takes a second, where TensorFlow takes many to load."""
    base = re.split("[/:]", name)[0]
    place = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    known = library.list_builders(with_community_datasets=False)
    if base in known or base != base.lower() or is_remote(place):
        return
    if not os.path.isdir(os.path.join(os.path.expanduser(place), base)):
        raise InputError(
            f"--source tfds:{name}: TensorFlow Datasets {library.__version__} has no data set "
            f"{base}, and neither has {place}; "
            f"{nearest(base, known) or 'give --tfds-data-dir of another'}"
        )


def _download(where: str, builder, config) -> None:
    from tensorflow_datasets.core.download import downloader

    # Without a network, ten attempts would take minutes and print a warning each.
    patience, log = getattr(downloader, "MAX_RETRIES", None), logging.getLogger("urllib3")
    level = log.level
    log.setLevel(logging.ERROR)
    if patience is not None and not _names_resolve():
        downloader.MAX_RETRIES = 0
    try:
        builder.download_and_prepare(download_config=config)
    except Exception as error:
        raise InputError(
            f"--source tfds:{where}: cannot be downloaded and prepared: {_first_line(error)}"
        ) from error
    finally:
        downloader.MAX_RETRIES = patience
        log.setLevel(level)


def _names_resolve() -> bool:
    if any(os.environ.get(name) for name in PROXIES):
        return True
    try:
        socket.getaddrinfo("www.tensorflow.org", 443)
    except OSError:
        return False
    return True


def _first_line(error: Exception) -> str:
    """An error's message, without the addresses and advice that follow it; of a package that it
    lacks, how to install that."""
    if (broken := broken_import(error)) is not None:
        return broken
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _tfds_roles(library, builder) -> dict[str, str | None]:
    """Which features are the audio, the text, the speaker and the id."""
    features = builder.info.features
    audio = [n for n, f in features.items() if isinstance(f, library.features.Audio)]
    if not audio:
        raise InputError(f"tfds:{builder.name} has no Audio feature; it has {', '.join(features)}")
    roles = {"audio": next((n for n in AUDIO_NAMES if n in audio), audio[0])}
    for role, names in (("text", TEXT_NAMES), ("speaker", SPEAKER_NAMES), ("id", ("id",))):
        roles[role] = next((n for n in names if n in features), None)
    texts = [n for n, f in features.items() if isinstance(f, library.features.Text)]
    roles["language"] = next((n for n in LANGUAGE_NAMES if n in texts), None)
    if not features[roles["audio"]].sample_rate:
        raise InputError(f"tfds:{builder.name}: feature {roles['audio']} has no sample rate")
    return roles


def _ranges(where: str, data_dir: str | None, opened: _Opened, account: Account) -> Iterator[Rows]:
    name, infos = _parse(where)[0], opened.builder.info.splits
    for split in opened.splits:
        starts, total, number = {}, 0, 0
        for file in infos[split.partition("[")[0]].file_instructions:
            starts[file.filename] = total
            total += file.examples_in_shard
        for file in infos[split].file_instructions:
            start = starts[file.filename] + file.skip
            left = file.examples_in_shard - file.skip
            stop = start + (left if file.take < 0 else min(file.take, left))
            account.seen += stop - start
            yield Rows(name, data_dir, split, start, stop, number, str(file.filename))
            number += stop - start


def _read(opened: _Opened, split: str, instruction, first: int) -> Iterator[Utterance]:
    """Utterances of a split's rows, the first of which is number `first`."""
    library, builder, _, roles = opened
    rate = builder.info.features[roles["audio"]].sample_rate
    config = library.ReadConfig(interleave_cycle_length=1)
    data = builder.as_dataset(split=instruction, shuffle_files=False, read_config=config)
    for number, row in enumerate(data.as_numpy_iterator(), first):
        values = {r: _plain(row[n]) for r, n in roles.items() if n and r != "audio"}
        name = values.get("id") or f"{split}-{number:08d}"
        audio = row[roles["audio"]]
        yield Utterance(
            name,
            audio,
            rate,
            values.get("text"),
            split.partition("[")[0],
            values.get("speaker"),
            values.get("language"),
        )


def _plain(value) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _import_tfds():
    try:
        import tensorflow_datasets
    except ImportError as error:
        install = "pip install tensorflow-datasets importlib_resources"
        raise InputError(
            lacking(error, "--source tfds:... needs tensorflow-datasets", install)
        ) from error
    if not hasattr(tensorflow_datasets, "builder"):  # it goes on without what it cannot import
        raise InputError(
            "--source tfds:... needs tensorflow-datasets, which is installed but not whole; "
            "`python -c 'import tensorflow_datasets.public_api'` says what it lacks"
        )
    return tensorflow_datasets
