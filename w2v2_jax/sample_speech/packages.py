"""The Debian packages that hold the sample speech: fetched without root, checked, and read.

apt if it is there, in a private directory where its lists are empty, else a mirror that the
user names. A .deb is an ar archive with a tar inside: the standard library reads it.
"""

from __future__ import annotations

import io
import lzma
import os
import shutil
import subprocess
import tarfile
import urllib.request
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from w2v2_jax.errors import InputError
from w2v2_jax.paths import file_sha256

VERSION = "1.6.1-1"
SOURCE = "asterisk-core-sounds"  # Debian source package; binary packages are SOURCE-<key below>
SHA256 = {  # as signed in the indexes of Debian 11, 12, 13 and unstable
    "en": "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50",
    "es": "9afdab7f559f036649fb406e625899306ca1004df8ebe39c30bfbd5912d66f74",
    "fr": "04c82c78c570c43a7136cbc5e2488d0c470b775468dff9fbce4a131b18cf1056",
    "it": "3884d9457e12f21caa018c18f0d587df5d53ebea14b673d8453a134c5941ab3b",
    "ru": "28a61616bb0cd3345a7ea532dec4df9f071e5d0fa9f8c1a563ea9669002f39ab",
    "en-g722": "38c5261820b406dcb0ecb37675720da2b0864850690690352ca52707eb623806",
    "es-g722": "e4e3b4281057d3b81b779298fd6be705f57411513955c518eed1bcaabbd615b8",
    "fr-g722": "7add61d5e42279ecff1bbdf842a5a946ac3644fac9a0fe44384731aa7270c8e0",
    "it-g722": "46b4cf7afc508a5fcfc051b7ea233251c0d195dd4ef83cc4b7facb4c6429b016",
    "ru-g722": "673b4238a6b8269960f055d868c6a11083f7a0d00979167cb01554046b48ed9b",
}
MOST_BYTES = 512 << 20  # of a package unpacked; the largest of these has 40 MB
WAY_OUT = (
    "give a Debian mirror with --mirror URL (or W2V2_DEBIAN_MIRROR), or use speech of your own: "
    "w2v2 prepare --source folder:DIR"
)


def check_sha256(path: Path, expected: str) -> None:
    """Raises InputError when the file's SHA-256 is not `expected` (hexadecimal)."""
    actual = file_sha256(path)
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


def fetch_packages(
    directory: Path, names: Iterable[str], *, mirror: str | None = None
) -> dict[str, Path]:
    """Each of `names`, keys of SHA256 -> verified .deb in `directory`; downloads what is missing.

    With a mirror only that mirror is asked; otherwise apt-get with the system's package lists and
    then apt-get with lists of its own. Raises InputError when every way fails.
    """
    paths = {name: directory / f"{SOURCE}-{name}_{VERSION}_all.deb" for name in names}
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
    """(name, content) of every regular file in a .deb: an `ar` archive that holds a data.tar.

    Raises InputError if it is none, a member lies outside its folder, or it holds more than such
    packages do.
    """
    try:
        yield from _members(path)
    except (ValueError, EOFError, tarfile.TarError, lzma.LZMAError, zlib.error, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a whole Debian package: {error}") from error


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    raw = path.read_bytes()
    offset = 8
    while raw[:offset].startswith(b"!<arch>\n") and offset + 60 <= len(raw):
        name = raw[offset : offset + 16].decode("ascii", "replace").strip().rstrip("/")
        size = int(raw[offset + 48 : offset + 58])
        if size < 0:
            raise ValueError(f"a member of {size} bytes")
        offset += 60
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(raw[offset : offset + size])) as archive:
                yield from _regular_files(path, archive)
            return
        offset += size + size % 2
    raise InputError(f"{path} is not a Debian package: no data.tar in it")


def _regular_files(path: Path, archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    total = 0
    for member in archive:
        name, total = member.name.removeprefix("./"), total + member.size
        if name.startswith("/") or ".." in name.split("/"):
            raise InputError(f"{path}: its member {name!r} lies outside its folder")
        if not 0 <= member.size <= total <= MOST_BYTES:
            raise InputError(f"{path}: unpacks to more than {MOST_BYTES >> 20} MiB")
        content = archive.extractfile(member) if member.isfile() else None
        if content is not None:
            yield name, content.read()
