"""Renews tests/golden/llo: one program of libtpu, of which only what decides its loops is kept.

Run: python -m tests.golden.make_llo FOLDER NAME
FOLDER is that of `w2v2 aot --schedules FOLDER`, NAME an operation in it.
"""

import re
import sys
from pathlib import Path

from tests.helpers.places import GOLDEN
from w2v2_jax.aot.bundles import BUNDLE

KEPT = re.compile(r"%p\w+ = (?:scmp|pnand)[^;}]*|[^;{}]*sbr\.rel[^;}]*")
REGION = re.compile(r"(?:Start|Start/End empty) region \d+")


def stripped(bundles: str) -> str:
    """The program with its comparisons, branches and the comments that regions start."""
    starts = list(BUNDLE.finditer(bundles))
    ends = [one.start() for one in starts[1:]] + [len(bundles)]
    lines = []
    for one, end in zip(starts, ends, strict=True):
        text = bundles[one.end() : end]
        kept = "  ;;  ".join(piece.strip() for piece in KEPT.findall(text))
        regions = " :: ".join(REGION.findall(text))
        lines.append(f"{one.group()} {kept} }}" + f" /* {regions} */" * bool(regions))
    return "\n".join(lines) + "\n"


def main(folder: Path, name: str) -> None:
    for path in (GOLDEN / "llo").iterdir():
        path.unlink()
    for path in sorted(folder.iterdir()):
        if re.fullmatch(rf"\d+-{re.escape(name)}-\d+-final_bundles\.txt", path.name):
            (GOLDEN / "llo" / path.name).write_text(stripped(path.read_text()))
        if re.fullmatch(rf"\d+-{re.escape(name)}-\d+-final_hlo-static-.*", path.name):
            (GOLDEN / "llo" / path.name).write_text(path.read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
