"""Two hours of real speech for the quickstart: the Asterisk core prompts in five languages.

`w2v2 sample_speech --out DIR` gets six Debian packages (55 MB), checks their
SHA-256, decodes G.722 to 16 kHz FLAC and writes DIR/audio/transcripts.tsv, which
`w2v2 prepare --source folder:DIR/audio` reads. English prompts with a usable
transcript become the splits train, dev and test, with `--texts all` those of all five languages
(four small packages more); everything else is `unlabeled`. Pretraining uses
`unlabeled` and the audio of `train`; no audio of dev or test is ever pretrained on.
"""

from __future__ import annotations

import collections
import concurrent.futures
import gzip
import itertools
import multiprocessing
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from w2v2_jax.batch import SAMPLE_RATE
from w2v2_jax.errors import InputError, lacking, printable, run_command
from w2v2_jax.paths import write_text
from w2v2_jax.sample_speech.packages import deb_members, fetch_packages
from w2v2_jax.sample_speech.texts import (
    normalise_foreign,
    normalise_transcript,
    split_transcripts,
)
from w2v2_jax.system.arguments import CommandParser

MIN_SECONDS = 0.5
SPEAKERS = {
    "en": "allison_smith",
    "es": "allison_smith",
    "fr": "june_wallack",
    "it": "carlo_flora",
    "ru": "maxim_topal",
}
LICENCE = """\
Asterisk core sounds 1.6.1, from the Debian packages of the same name.
en: recorded by Allison Smith, financed by Digium, Inc. CC-BY-SA-3.0
es: recorded by Allison Smith, financed by Digium, Inc. CC-BY-SA-3.0
fr: recorded by June Wallack, financed by Digium, Unlimitel, BGM Informatique. CC-BY-SA-3.0
it: recorded by Carlo Flora, translated by Silvia Petrin. CC-BY-3.0
ru: provided by Maxim Topal, ivrvoice.ru. CC-BY-3.0
Changed here: decoded from G.722 to FLAC, clips without speech left out, texts normalised.
"""
NOT_SPEECH = re.compile(r"silence/|beep|.*2tone|confbridge-(join|leave)$|tt-monkeys$")


# ---- audio ---------------------------------------------------------------------------------------


class Clip(NamedTuple):
    path: str  # relative to the audio directory: en/digits/0.flac
    seconds: float


def _decode(batch: list[tuple[Path, str, bytes]]) -> list[Clip]:
    """Writes one FLAC for each (audio directory, relative path, G.722 bytes)."""
    from G722 import G722

    clips = []
    for audio, relative, content in batch:
        samples = np.asarray(G722(SAMPLE_RATE, 64_000).decode(content), np.int16)
        seconds = len(samples) / SAMPLE_RATE
        if seconds < MIN_SECONDS:
            continue
        path = audio / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        soundfile.write(partial, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        os.replace(partial, path)
        clips.append(Clip(relative, seconds))
    return clips


def _prompts(packages: dict[str, Path], audio: Path) -> Iterator[tuple[Path, str, bytes]]:
    for language in SPEAKERS:
        for name, content in deb_members(packages[f"{language}-g722"]):
            if name.endswith(".g722"):
                prompt = name.split("/sounds/")[1].split("/", 1)[1].removesuffix(".g722")
                if not NOT_SPEECH.match(prompt):
                    yield audio, f"{language}/{prompt}.flac", content


def _refuse_without_decoder() -> None:
    """InputError before anything is downloaded."""
    try:
        import G722  # noqa: F401
    except ImportError as error:
        needed = "decoding needs the package g722"
        raise InputError(lacking(error, needed, "pip install g722")) from error


def decode_all(packages: dict[str, Path], audio: Path) -> list[Clip]:
    """Decodes every prompt that is speech, over all cores."""
    context = multiprocessing.get_context("spawn")
    prompts = _prompts(packages, audio)
    clips: list[Clip] = []
    with concurrent.futures.ProcessPoolExecutor(mp_context=context) as pool:
        batches = iter(lambda: list(itertools.islice(prompts, 64)), [])
        futures = [pool.submit(_decode, batch) for batch in batches]
        for done, future in enumerate(futures, 1):
            clips += future.result()
            print(f"\rdecoding: {100 * done // len(futures):3d} %", end="", file=sys.stderr)
    print(file=sys.stderr)
    print(f"decoded {len(clips)} clips")
    return sorted(clips)


def find_decoded(audio: Path) -> list[Clip]:
    """The clips of an earlier complete run: everything that its transcripts.tsv lists; none if one
    of them is missing or damaged. Raises InputError for a transcripts.tsv of other recordings."""
    index = audio / "transcripts.tsv"
    if not index.exists():
        return []
    paths = [line.split("\t")[0] for line in index.read_text("utf-8", "replace").splitlines()]
    if other := [path for path in paths if _language(path) not in SPEAKERS or "/" not in path]:
        raise InputError(
            f"{index} is of other recordings ({printable(other[0])!r}) and would be replaced; name "
            "another --out"
        )
    try:
        return [Clip(path, soundfile.info(audio / path).duration) for path in paths]
    except soundfile.LibsndfileError:
        return []


# ---- the index -----------------------------------------------------------------------------------


class TranscriptLine(NamedTuple):
    path: str
    text: str
    split: str
    speaker: str
    seconds: float


def transcripts_of(language: str, package: Path) -> dict[str, str]:
    """Clip path -> normalised transcript, of the prompts where it is certain."""
    normalise = normalise_transcript if language == "en" else normalise_foreign
    for name, content in deb_members(package):
        if name.endswith(f"core-sounds-{language}.txt.gz"):
            lines = gzip.decompress(content).decode("utf-8-sig").splitlines()
            pairs = (line.split(":", 1) for line in lines if ":" in line and line[0] != ";")
            texts = {f"{language}/{key.strip()}.flac": normalise(text) for key, text in pairs}
            return {path: text for path, text in texts.items() if text}
    raise InputError(f"{package} holds no texts of {language!r}")


def index_clips(clips: list[Clip], transcripts: dict[str, str]) -> list[TranscriptLine]:
    """One row per clip; clips without a transcript are `unlabeled`."""
    split_of: dict[str, str] = {}
    for language in SPEAKERS:
        labeled = [c for c in clips if c.path in transcripts and _language(c.path) == language]
        texts = [transcripts[clip.path] for clip in labeled]
        splits = split_transcripts(texts, [clip.seconds for clip in labeled])
        split_of |= {clip.path: split for clip, split in zip(labeled, splits, strict=True)}
    return [
        TranscriptLine(
            path=clip.path,
            text=transcripts.get(clip.path, ""),
            split=split_of.get(clip.path, "unlabeled"),
            speaker=SPEAKERS[_language(clip.path)],
            seconds=clip.seconds,
        )
        for clip in clips
    ]


def _language(path: str) -> str:
    return path.split("/", 1)[0]


def write_index(rows: list[TranscriptLine], audio: Path) -> None:
    """Writes transcripts.tsv (path, text, split, speaker); last of all, so it says "complete"."""
    lines = ["\t".join(row[:4]) + "\n" for row in rows]
    write_text(audio / "transcripts.tsv", "".join(lines))


def _summary(rows: list[TranscriptLine]) -> str:
    clips: dict[tuple[str, str], int] = collections.defaultdict(int)
    seconds: dict[tuple[str, str], float] = collections.defaultdict(float)
    for row in rows:
        for key in ((row.split, _language(row.path)), ("all", "")):
            clips[key] += 1
            seconds[key] += row.seconds
    lines = [f"{'split':<10} {'language':<8} {'clips':>6} {'minutes':>8}"]
    for split, language in [*sorted(clips.keys() - {("all", "")}), ("all", "")]:
        key = (split, language)
        lines.append(f"{split:<10} {language:<8} {clips[key]:>6} {seconds[key] / 60:>8.1f}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(prog="w2v2 sample_speech", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory to write")
    parser.add_argument(
        "--texts",
        choices=("en", "all"),
        default="en",
        help="transcripts of the English prompts, or of all five languages (default: en)",
    )
    mirror = os.environ.get("W2V2_DEBIAN_MIRROR")
    parser.add_argument("--mirror", default=mirror, help="Debian mirror (URL that holds pool/)")
    args = parser.parse_args(argv)
    audio = args.out / "audio"
    try:
        audio.mkdir(parents=True, exist_ok=True)
        clips = find_decoded(audio)
        if not clips:
            _refuse_without_decoder()
        languages = [*SPEAKERS] if args.texts == "all" else ["en"]
        names = [*languages, *(f"{language}-g722" for language in SPEAKERS)]
        packages = fetch_packages(args.out / "packages", names, mirror=args.mirror)
        clips = clips or decode_all(packages, audio)
        transcripts: dict[str, str] = {}
        for language in languages:
            transcripts |= transcripts_of(language, packages[language])
        rows = index_clips(clips, transcripts)
        write_text(args.out / "LICENCE.txt", LICENCE)
        write_index(rows, audio)
    except OSError as error:
        raise InputError(f"cannot write the sample speech to {args.out}: {error}") from error
    print(_summary(rows))
    print(LICENCE)
    print(f"wrote {audio}/transcripts.tsv and {args.out}/LICENCE.txt")


if __name__ == "__main__":
    sys.exit(run_command(main))
