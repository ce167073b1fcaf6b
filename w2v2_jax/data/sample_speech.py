"""Two hours of real speech for the quickstart: the Asterisk core prompts in five languages.

`python -m w2v2_jax.data.sample_speech --out DIR` gets six Debian packages (55 MB), checks their
SHA-256, decodes G.722 to 16 kHz FLAC and writes DIR/audio/transcripts.tsv, which
`python -m w2v2_jax.prepare --source folder:DIR/audio` reads. English prompts with a usable
transcript become the splits train, dev and test; everything else is `unlabeled`. Pretraining uses
`unlabeled` and the audio of `train`; no audio of dev or test is ever pretrained on.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import gzip
import hashlib
import io
import itertools
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from w2v2_jax.errors import InputError, run_command

SAMPLE_RATE = 16_000
MIN_SECONDS = 0.5
VERSION = "1.6.1-1"
SOURCE = "asterisk-core-sounds"  # Debian source package; binary packages are SOURCE-<key below>
SHA256 = {  # as signed in the indexes of Debian 11, 12, 13 and unstable
    "en": "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50",
    "en-g722": "38c5261820b406dcb0ecb37675720da2b0864850690690352ca52707eb623806",
    "es-g722": "e4e3b4281057d3b81b779298fd6be705f57411513955c518eed1bcaabbd615b8",
    "fr-g722": "7add61d5e42279ecff1bbdf842a5a946ac3644fac9a0fe44384731aa7270c8e0",
    "it-g722": "46b4cf7afc508a5fcfc051b7ea233251c0d195dd4ef83cc4b7facb4c6429b016",
    "ru-g722": "673b4238a6b8269960f055d868c6a11083f7a0d00979167cb01554046b48ed9b",
}
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
Changed here: decoded from G.722 to FLAC, clips without speech left out, English texts normalised.
"""
NOT_SPEECH = re.compile(r"silence/|beep|.*2tone|confbridge-(join|leave)$|tt-monkeys$")
WAY_OUT = (
    "give a Debian mirror with --mirror URL (or W2V2_DEBIAN_MIRROR), or use speech of your own: "
    "python -m w2v2_jax.prepare --source folder:DIR"
)


# ---- packages ------------------------------------------------------------------------------------


def check_sha256(path: Path, expected: str) -> None:
    """Raises InputError when the file's SHA-256 is not `expected` (hexadecimal)."""
    with open(path, "rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        raise InputError(
            f"{path} has SHA-256 {actual}, expected {expected}: a damaged or different file; "
            "delete it and run again"
        )


def _run_apt(arguments: list[str], directory: Path) -> None:
    result = subprocess.run(
        ["apt-get", "-q", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=900,
        check=False,
    )
    if result.returncode:
        errors = [line for line in result.stderr.splitlines() if line.startswith("E:")]
        raise OSError("; ".join(errors[:2]) or f"apt-get exit status {result.returncode}")


def _download_with_apt(names: list[str], directory: Path) -> None:
    _run_apt(["download", *(f"{SOURCE}-{name}" for name in names)], directory)


def _download_with_private_apt(names: list[str], directory: Path) -> None:
    """Needs no root and no filled package lists: apt keeps its state under `directory`."""
    state = directory.absolute() / "apt"
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    options = ["-o", f"Dir::State::lists={state}/lists", "-o", f"Dir::Cache={state}/cache"]
    try:
        _run_apt([*options, "update"], directory)
        _run_apt([*options, "download", *(f"{SOURCE}-{name}" for name in names)], directory)
    finally:
        shutil.rmtree(state, ignore_errors=True)


def _download_from_mirror(names: list[str], directory: Path, mirror: str) -> None:
    for name in names:
        file_name = f"{SOURCE}-{name}_{VERSION}_all.deb"
        url = f"{mirror.rstrip('/')}/pool/main/a/{SOURCE}/{file_name}"
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                (directory / file_name).write_bytes(response.read())
        except (OSError, ValueError) as error:  # ValueError: not a URL
            raise OSError(f"{url}: {error}") from error


def fetch_packages(directory: Path, *, mirror: str | None = None) -> dict[str, Path]:
    """Key of SHA256 -> verified .deb in `directory`; downloads what is missing.

    With a mirror only that mirror is asked; otherwise apt-get with the system's package lists and
    then apt-get with lists of its own. Raises InputError when every way fails.
    """
    paths = {name: directory / f"{SOURCE}-{name}_{VERSION}_all.deb" for name in SHA256}
    missing = [name for name, path in paths.items() if not path.exists()]
    ways: dict[str, Callable[[list[str], Path], None]] = {
        "apt-get download": _download_with_apt,
        "apt-get with a private state directory": _download_with_private_apt,
    }
    if mirror:
        ways = {"the mirror": lambda names, to: _download_from_mirror(names, to, mirror)}
    failures = []
    for label, download in ways.items() if missing else ():
        incoming = directory / "incoming"  # a file reaches its place only when its hash is right
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir(parents=True)
        print(f"downloading {len(missing)} packages: {label}", flush=True)
        try:
            download(missing, incoming)
            for name in missing:
                check_sha256(incoming / paths[name].name, SHA256[name])
                os.replace(incoming / paths[name].name, paths[name])
            break
        except (OSError, subprocess.SubprocessError, InputError) as error:
            failures.append(f"{label}: {error}")
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
    else:
        if missing:
            raise InputError(f"the sample speech cannot be had ({'. '.join(failures)}); {WAY_OUT}")
    for name, path in paths.items():
        check_sha256(path, SHA256[name])
    return paths


def deb_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every regular file in a .deb: an `ar` archive that holds a data.tar."""
    raw = path.read_bytes()
    offset = 8
    while raw[:offset].startswith(b"!<arch>\n") and offset + 60 <= len(raw):
        name = raw[offset : offset + 16].decode("ascii", "replace").strip().rstrip("/")
        size = int(raw[offset + 48 : offset + 58])
        offset += 60
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(raw[offset : offset + size])) as archive:
                for member in archive:
                    if member.isfile():
                        yield member.name.removeprefix("./"), archive.extractfile(member).read()
            return
        offset += size + size % 2
    raise InputError(f"{path} is not a Debian package: no data.tar in it")


# ---- texts and splits ----------------------------------------------------------------------------

DIGITS = ["ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE"]
MISSPELLED = {
    "EXCLAIMATION": "EXCLAMATION",
    "FOURTIETH": "FORTIETH",
    "INDENTIFIED": "IDENTIFIED",
    "REPRESENATIVES": "REPRESENTATIVES",
    "THRU": "THROUGH",
    "UMUTE": "UNMUTE",
    "WITHELD": "WITHHELD",
}


def normalise_transcript(text: str) -> str:
    """Upper case words of A-Z and apostrophe, digits spelled; "" where the words are not certain.

    Not certain: stage directions, symbols, numbers over 9, host names. "at [@]" is "AT".
    """
    text = re.sub(r" \[.\]$", "", text.strip()).replace("\u2019", "'")
    words = []
    for token in text.replace("-", " ").split():
        token = token.strip(".,;:!?\"'").upper()
        if re.fullmatch(r"[0-9]", token):
            words.append(DIGITS[int(token)])
        elif re.fullmatch(r"([A-Z]\.)+[A-Z]", token):  # A.M.
            words.extend(token.split("."))
        elif re.fullmatch(r"[A-Z']+", token):
            words.append(MISSPELLED.get(token, token))
        elif token:
            return ""
    return " ".join(words)


def _alike(a: list[str], b: list[str]) -> bool:
    """Whether two texts share 70 % of the longer one's words, or of all their distinct words."""
    if min(len(a), len(b)) < 0.7 * min(max(len(a), len(b)), len(set(a) | set(b))):
        return False
    shared = (collections.Counter(a) & collections.Counter(b)).total()
    distinct = set(a) | set(b)
    return shared >= 0.7 * max(len(a), len(b)) or len(set(a) & set(b)) >= 0.7 * len(distinct)


def group_transcripts(transcripts: Iterable[str]) -> list[list[str]]:
    """Connected components of equal and near-equal transcripts, in the order of a hash."""
    words = {text: text.split() for text in sorted(set(transcripts))}
    root = {text: text for text in words}

    def find(text: str) -> str:
        while root[text] != text:
            text = root[text]
        return text

    for a, b in itertools.combinations(words, 2):
        if _alike(words[a], words[b]):
            root[find(b)] = find(a)
    groups = collections.defaultdict(list)
    for text in words:
        groups[find(text)].append(text)
    return sorted(groups.values(), key=lambda g: hashlib.sha256(g[0].encode()).digest())


def split_transcripts(transcripts: list[str], seconds: list[float]) -> list[str]:
    """The split of each clip: about 70 % train, 10 % dev, 20 % test of the time.

    Near-equal transcripts stay on one side. Always train: one-word prompts (nobody can spell a
    letter whose name was never heard) and groups over 25 s (one would be a fifth of dev).
    """
    shares = {"train": 0.7, "dev": 0.1, "test": 0.2}
    time_of = collections.Counter()
    for text, length in zip(transcripts, seconds, strict=True):
        time_of[text] += length

    def held_out(group: list[str]) -> bool:
        return all(" " in text for text in group) and sum(time_of[text] for text in group) <= 25

    filled = dict.fromkeys(shares, 0.0)
    side = {}
    for group in sorted(group_transcripts(transcripts), key=held_out):  # what must be train first
        names = list(shares) if held_out(group) else ["train"]
        chosen = min(names, key=lambda name: filled[name] / shares[name])
        filled[chosen] += sum(time_of[text] for text in group)
        side |= dict.fromkeys(group, chosen)
    return [side[text] for text in transcripts]


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


def decode_all(packages: dict[str, Path], audio: Path) -> list[Clip]:
    """Decodes every prompt that is speech, over all cores."""
    try:
        import G722  # noqa: F401
    except ImportError as error:
        raise InputError("decoding needs the package g722: pip install g722") from error
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
    """The clips of an earlier complete run: everything that its transcripts.tsv lists."""
    index = audio / "transcripts.tsv"
    if not index.exists():
        return []
    paths = [line.split("\t")[0] for line in index.read_text("utf-8").splitlines()]
    if not all((audio / path).exists() for path in paths):
        return []
    return [Clip(path, soundfile.info(audio / path).duration) for path in paths]


# ---- the index -----------------------------------------------------------------------------------


class Row(NamedTuple):
    path: str
    text: str
    split: str
    speaker: str
    seconds: float


def english_transcripts(package: Path) -> dict[str, str]:
    """Clip path -> normalised transcript, of the prompts where it is certain."""
    for name, content in deb_members(package):
        if name.endswith("core-sounds-en.txt.gz"):
            lines = gzip.decompress(content).decode("utf-8").splitlines()
            pairs = (line.split(":", 1) for line in lines if ":" in line and line[0] != ";")
            texts = {f"en/{key.strip()}.flac": normalise_transcript(text) for key, text in pairs}
            return {path: text for path, text in texts.items() if text}
    raise InputError(f"{package} holds no English texts")


def index_clips(clips: list[Clip], transcripts: dict[str, str]) -> list[Row]:
    """One row a clip; clips without a transcript are `unlabeled`."""
    labeled = [clip for clip in clips if clip.path in transcripts]
    texts = [transcripts[clip.path] for clip in labeled]
    splits = split_transcripts(texts, [clip.seconds for clip in labeled])
    split_of = {clip.path: split for clip, split in zip(labeled, splits, strict=True)}
    return [
        Row(
            path=clip.path,
            text=transcripts.get(clip.path, ""),
            split=split_of.get(clip.path, "unlabeled"),
            speaker=SPEAKERS[clip.path.split("/")[0]],
            seconds=clip.seconds,
        )
        for clip in clips
    ]


def write_index(rows: list[Row], audio: Path) -> None:
    """Writes transcripts.tsv (path, text, split, speaker); last of all, so it says "complete"."""
    lines = ["\t".join(row[:4]) + "\n" for row in rows]
    partial = audio / "transcripts.partial"
    partial.write_text("".join(lines), "utf-8")
    os.replace(partial, audio / "transcripts.tsv")


def _summary(rows: list[Row]) -> str:
    clips, seconds = collections.Counter(), collections.Counter()
    for row in rows:
        for key in ((row.split, row.path.split("/")[0]), ("all", "")):
            clips[key] += 1
            seconds[key] += row.seconds
    lines = [f"{'split':<10} {'language':<8} {'clips':>6} {'minutes':>8}"]
    for split, language in [*sorted(clips.keys() - {("all", "")}), ("all", "")]:
        key = (split, language)
        lines.append(f"{split:<10} {language:<8} {clips[key]:>6} {seconds[key] / 60:>8.1f}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="w2v2_jax.data.sample_speech", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory to write")
    mirror = os.environ.get("W2V2_DEBIAN_MIRROR")
    parser.add_argument("--mirror", default=mirror, help="Debian mirror (URL that holds pool/)")
    args = parser.parse_args(argv)
    audio = args.out / "audio"
    try:
        audio.mkdir(parents=True, exist_ok=True)
        packages = fetch_packages(args.out / "packages", mirror=args.mirror)
        clips = find_decoded(audio) or decode_all(packages, audio)
        rows = index_clips(clips, english_transcripts(packages["en"]))
        (args.out / "LICENCE.txt").write_text(LICENCE, "utf-8")
        write_index(rows, audio)
    except OSError as error:
        raise InputError(f"cannot write the sample speech to {args.out}: {error}") from error
    print(_summary(rows))
    print(LICENCE)
    print(f"wrote {audio}/transcripts.tsv and {args.out}/LICENCE.txt")


if __name__ == "__main__":
    sys.exit(run_command(main))
