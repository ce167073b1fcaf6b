"""Where transcripts are written: one file an input and format, nothing overwritten unasked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from w2v2_jax.errors import InputError
from w2v2_jax.paths import write_text
from w2v2_jax.recognition.transcript import Result
from w2v2_jax.recognition.transcript_formats import FORMATS


def read_formats(names: str) -> list[str]:
    """Formats of a comma-separated list; InputError lists the known ones."""
    chosen = [name.strip().lower() for name in names.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in FORMATS]
    if unknown or not chosen:
        raise InputError(f"--formats {names!r}: use some of {','.join(FORMATS)}")
    return list(dict.fromkeys(chosen))


def plan(
    inputs: Sequence[str], directory: Path, formats: Sequence[str], *, overwrite: bool
) -> dict[str, dict[str, Path]]:
    """Input -> format -> file DIR/<name without suffix><suffix of the format>.

    Raises InputError before any work where two inputs would share a file or a file exists.
    """
    stems = Counter(Path(name).stem for name in inputs)
    doubled = [stem for stem, count in stems.items() if count > 1]
    if doubled:
        raise InputError(
            f"--out {directory}: {stems[doubled[0]]} inputs would be written to {doubled[0]}.*; "
            "transcribe them into different directories"
        )
    planned = {
        name: {form: directory / (Path(name).stem + FORMATS[form][0]) for form in formats}
        for name in inputs
    }
    existing = [path for files in planned.values() for path in files.values() if path.exists()]
    if existing and not overwrite:
        raise InputError(f"{existing[0]} exists; add --overwrite or choose another --out")
    if directory.exists() and not directory.is_dir():
        raise InputError(f"--out {directory} is no directory")
    return planned


def write(result: Result, files: dict[str, Path]) -> None:
    """Writes a result in each of its formats."""
    for form, path in files.items():
        write_text(path, FORMATS[form][1](result))
