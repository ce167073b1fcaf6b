"""Where transcripts are written: one file per input and format; existing files are kept, and what
wrote them is on record (`transcript_record`)."""

from __future__ import annotations

import functools
import os
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from w2v2_jax.data.audio import AUDIO_SUFFIXES
from w2v2_jax.errors import InputError
from w2v2_jax.paths import try_folder, write_text
from w2v2_jax.recognition import transcript_record
from w2v2_jax.recognition.transcript import Result
from w2v2_jax.recognition.transcript_formats import FORMATS
from w2v2_jax.system.outputs import spare_files

Planned = dict[str, dict[str, Path]]  # input -> format -> file


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
) -> Planned:
    """Input -> format -> file DIR/<name><suffix of the format>; the name is what the inputs map to,
    by default their own without suffix.

    Raises InputError before any work if two inputs would share a file, a file exists (which with
    skip_done `pending` judges), or the directory cannot be written.
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
    existing = [path for files in planned.values() for path in files.values() if path.exists()]
    if existing and not overwrite and not skip_done:
        raise InputError(f"{existing[0]} exists; add --overwrite or choose another --out")
    try_folder(directory, "--out")
    return planned


def pending(
    planned: Planned, directory: Path, settings: Mapping[str, Any], *, overwrite: bool
) -> Planned:
    """The files that --skip-done leaves to write. Done is what these settings wrote from this
    recording; if somebody has changed it since, that stays.

    Raises InputError that names a file which something else made, unless overwrite.
    """
    record = transcript_record.read(directory)
    by = transcript_record.identity(settings)
    left: Planned = {}
    for name, files in planned.items():
        existing = {form: path for form, path in files.items() if path.exists()}
        todo = {form: path for form, path in files.items() if form not in existing}
        of = transcript_record.hash_of_recording(name) if existing else ""
        for form, path in existing.items():
            odd = _odd(path, directory, record, (by, of), settings)
            if odd and of and not overwrite:
                raise InputError(
                    f"{path} is there, but {odd}; add --overwrite, which writes such files anew, "
                    "or choose another --out"
                )
            if odd or not of:  # what cannot be read now is named when it is to be read
                todo[form] = path
        if todo:
            left[name] = todo
    return left


def unrecorded(planned: Planned, directory: Path) -> Planned:
    """The planned files of which the folder's record says nothing."""
    known = transcript_record.read(directory).writings
    return {
        name: {
            form: path
            for form, path in files.items()
            if transcript_record.name_in(directory, path) not in known
        }
        for name, files in planned.items()
    }


def _odd(path, directory, record, made: tuple[str, str], settings) -> str:
    """Why an existing file is not what these settings (id, hash of the recording) write; "" if it
    is."""
    matching = record.ours(directory, path) or record.changed(directory, path)
    if not matching:
        return f"{transcript_record.FILE} does not say what wrote it"
    if any((writing.by, writing.of) == made for writing in matching):
        return ""
    last = matching[-1]
    if last.by == made[0]:
        return "it is of another recording"
    others = transcript_record.differing(record.settings.get(last.by, {}), settings)
    return f"it was made with another {others or 'run'}"


def spare(arguments: Namespace, planned: Planned) -> None:
    """InputError if a planned file is there and is an input, or lies beside a recording of its name
    and so may be a transcript that somebody made: `prepare` and `segment` read them there. What is
    as this folder's record says that it was written is not."""
    files = [path for files in planned.values() for path in files.values()]
    spare_files(arguments, "out", files)
    record = transcript_record.read(arguments.out)
    recordings = functools.cache(_recordings)  # each folder is listed once, not for every file
    for path in files:
        if not path.exists() or not (recording := recordings(path.parent).get(path.stem)):
            continue
        if not record.ours(arguments.out, path):
            raise InputError(
                f"{path} lies beside {recording} and may be a transcript made by hand, which is "
                "not replaced; move it away or choose another --out"
            )


def _recordings(folder: Path) -> dict[str, str]:
    """The names of the recordings in a folder by the stem of a transcript beside them, which is a
    for a.wav (a.txt) and a.wav (a.wav.txt)."""
    names = sorted(name for name in os.listdir(folder) if name.lower().endswith(AUDIO_SUFFIXES))
    return {os.path.splitext(name)[0]: name for name in reversed(names)} | {n: n for n in names}


def write(
    result: Result, files: dict[str, Path], directory: Path, by: str, *, overwrite: bool
) -> None:
    """Writes a result in each of its formats. by: the settings' id in the folder's record.

    Raises InputError if, without overwrite, a file is there now, which was not when `plan` looked.
    """
    for path in [] if overwrite else files.values():
        if path.exists():
            raise InputError(
                f"{path} exists: another command wrote it while this one ran; wait for its end "
                "and add --overwrite, or choose another --out"
            )
    contents = {path: FORMATS[form][1](result) for form, path in files.items()}
    transcript_record.note(directory, by, result.path, contents)
    for path, text in contents.items():
        write_text(path, text)
