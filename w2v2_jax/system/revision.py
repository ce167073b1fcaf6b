"""The version of the package and, in a git checkout, its commit."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import w2v2_jax


def revision(root: Path = Path(w2v2_jax.__file__).parents[1]) -> dict[str, Any]:
    """The package's version, or in a git checkout its commit and whether files were changed."""
    version = {"version": w2v2_jax.__version__}
    if not (root / ".git").exists():
        return version
    try:
        commit, status = (
            subprocess.run(
                ["git", "-C", str(root), *command],
                capture_output=True,
                text=True,
                check=True,
                timeout=30,
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.SubprocessError):
        return version
    return {**version, "commit": commit, "changed": bool(status)}


def stamp() -> str:
    """Date and code of a figure or page: "2026-11-28, w2v2_jax 0.2.0, commit 38b177ae, changed"."""
    code = revision()
    parts = [time.strftime("%Y-%m-%d"), f"w2v2_jax {code['version']}"]
    if "commit" in code:
        parts.append(f"commit {code['commit'][:8]}")
    return ", ".join([*parts, *(["changed"] if code.get("changed") else [])])
