"""Where transcripts are written: one file per input and format; existing files are kept."""

from __future__ import annotations

import functools
import os
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from w2v2_jax.data.audio import AUDIO_SUFFIXES
from w2v2_jax.errors import InputError
from w2v2_jax.paths import try_folder, write_text
from w2v2_jax.recognition.transcript import Result
from w2v2_jax.recognition.transcript_formats import FORMATS
from w2v2_jax.system.outputs import spare_files


def read_formats(names: str) -> list[str]:
    """Formats of a comma-separated list; InputError lists the known ones."""
    chosen = [name.strip().lower() for name in names.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in FORMATS]
    if unknown or not chosen:
        raise InputError(f"--formats {names!r}: use some of {','.join(FORMATS)}")
    return list(dict.fromkeys(chosen))


def chosen_formats(arguments: Namespace, usual: str) -> list[str]:
    """Those of --formats, or the usual ones. Raises InputError if there is no --out for them."""
    if arguments.formats is not None and arguments.out is None:
        raise InputError("--formats changes nothing without --out DIR, where the files go")
    return read_formats(usual if arguments.formats is None else arguments.formats)


def plan(
    inputs: Mapping[str, Path] | Sequence[str],
    directory: Path,
    formats: Sequence[str],
    *,
    overwrite: bool,
    skip_done: bool = False,
) -> dict[str, dict[str, Path]]:
    """Input -> format -> file DIR/<name><suffix of the format>; the name is what the inputs map to,
    by default their own without suffix. With skip_done, those whose files are all there are absent.

    Raises InputError before any work if two inputs would share a file, a file exists, or the
    directory cannot be written.
    """
    if not isinstance(inputs, Mapping):
        inputs = {name: Path(Path(name).name).with_suffix("") for name in inputs}
    stems = Counter(inputs.values())
    doubled = [stem for stem, count in stems.items() if count > 1]
    if doubled:
        raise InputError(
            f"--out {directory}: {stems[doubled[0]]} inputs would be written to {doubled[0]}.*; "
            "transcribe them into different directories, or name the folder they are below"
        )
    planned = {
        name: {form: directory / f"{stem}{FORMATS[form][0]}" for form in formats}
        for name, stem in inputs.items()
    }
    if skip_done:
        planned = {
            name: files
            for name, files in planned.items()
            if not all(path.exists() for path in files.values())
        }
    existing = [path for files in planned.values() for path in files.values() if path.exists()]
    if existing and not overwrite and not skip_done:
        raise InputError(f"{existing[0]} exists; add --overwrite or choose another --out")
    try_folder(directory, "--out")
    return planned


def spare(arguments: Namespace, files: Iterable[Path]) -> None:
    """InputError if a planned file is there and is an input, or lies beside a recording of its name
    and so may be a transcript that somebody made: `prepare` and `segment` read them there."""
    files = list(files)
    spare_files(arguments, "out", files)
    recordings = functools.cache(_recordings)  # each folder is listed once, not for every file
    for path in files:
        if path.exists() and (recording := recordings(path.parent).get(path.stem)):
            raise InputError(
                f"{path} lies beside {recording} and may be a transcript made by hand, which is "
                "not replaced; move it away or choose another --out"
            )


def _recordings(folder: Path) -> dict[str, str]:
    """The names of the recordings in a folder by the stem of a transcript beside them, which is a
    for a.wav (a.txt) and a.wav (a.wav.txt)."""
    names = sorted(name for name in os.listdir(folder) if name.lower().endswith(AUDIO_SUFFIXES))
    return {os.path.splitext(name)[0]: name for name in reversed(names)} | {n: n for n in names}


def write(result: Result, files: dict[str, Path]) -> None:
    """Writes a result in each of its formats."""
    for form, path in files.items():
        write_text(path, FORMATS[form][1](result))
