"""The other files in a folder whose recordings are named by a table."""

from __future__ import annotations

import os
from pathlib import Path

from w2v2_jax.data.audio import AUDIO_SUFFIXES
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.source_folder import folders, pass_over, written_name

UNNAMED = "no line names it"


def pass_over_unlisted(root: Path, taken: set[str], account: Account, *, read: set[str]) -> None:
    """Counts every file under `root` that is not among `taken`, by its path relative to it.

    read: tables that were read and files that say nothing of words, by path or name.
    """
    for directory, files in folders(str(root), account):
        for file in files:
            name = os.path.relpath(os.path.join(directory, file), root).replace(os.sep, "/")
            if name in taken:
                continue
            if name in read or file in read:
                account.pass_over("transcripts", written_name(name))
            elif file.lower().endswith(AUDIO_SUFFIXES) and not file.startswith("."):
                account.pass_over(UNNAMED, written_name(name))
            else:
                pass_over(file, written_name(name), account)
