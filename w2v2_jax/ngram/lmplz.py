"""KenLM's own estimator `lmplz`, if it is on PATH: the same model, faster, with less memory."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from w2v2_jax.errors import InputError


def installed() -> bool:
    """Whether KenLM's lmplz is on the PATH."""
    return shutil.which("lmplz") is not None


def run(
    lines: Iterable[Sequence[str]],
    out: Path,
    *,
    order: int,
    prune: Sequence[int],
    fallback: bool,
    memory_gib: float,
    folder: Path,
) -> None:
    """Streams sentences through lmplz into a new ARPA file; InputError with its own words if it
    fails.

    `folder` takes its temporary files; `memory_gib` is what it may sort in.
    """
    command = ["lmplz", "-o", str(order), "-S", f"{int(memory_gib * 1024)}M", "-T", str(folder)]
    command += ["--prune", *map(str, prune)] + ["--discount_fallback"] * fallback
    with tempfile.TemporaryFile() as messages, out.open("wb") as target:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=target, stderr=messages)
        assert process.stdin is not None
        try:
            for words in lines:
                process.stdin.write((" ".join(words) + "\n").encode())
            process.stdin.close()
        except BrokenPipeError:
            pass  # it says below why it stopped
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
        messages.seek(0)
        said = messages.read().decode(errors="replace").strip().splitlines()
    if process.returncode:
        raise InputError(f"lmplz failed: {' '.join(said[-3:])}")
