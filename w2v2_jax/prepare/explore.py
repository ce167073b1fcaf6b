"""`w2v2 explore`: a prepared corpus as a page to look at and listen to."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.data.splits import list_splits
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.paths import AnyPath, to_path, write_text
from w2v2_jax.system.arguments import CommandParser
from w2v2_jax.system.outputs import try_outputs

EACH = 3  # utterances per kind of odd ones
MOST_EACH = 10


def write_page(data: str | AnyPath, file: str | AnyPath, *, each: int = EACH) -> None:
    """Writes the page of "DIR" with all its splits, or of "DIR:split", and says so."""
    from w2v2_jax.prepare.explore_figures import figures
    from w2v2_jax.prepare.explore_page import explore_page

    directory = to_path(data)
    splits = list_splits(directory) if directory.is_dir() else []
    corpora = [open_corpus(directory / split) for split in splits] or [open_corpus(data)]
    page = explore_page([figures(corpus) for corpus in corpora], str(data), each=each)
    write_text(file, page)
    print(f"wrote {file}: {len(page.encode()) / 1e6:.1f} MB, complete in one file")


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(prog="w2v2 explore", description=__doc__.splitlines()[0])
    parser.add_argument("data", metavar="DIR[:split]", help="a prepared corpus, or one split")
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="the page (default: DIR/explore.html, of a split DIR/explore-SPLIT.html)",
    )
    parser.add_argument(
        "--each",
        type=int,
        default=EACH,
        metavar="N",
        help="number of odd utterances of each kind, with players",
    )
    arguments = parser.parse_args(argv)
    if not 0 <= arguments.each <= MOST_EACH:
        raise InputError(f"--each {arguments.each}: use 0 to {MOST_EACH}")
    if arguments.html is None:
        folder, split = arguments.data, ""
        if not os.path.isdir(folder):
            folder, _, split = folder.rpartition(":")
        if not os.path.isdir(folder):
            raise InputError(f"{arguments.data}: no such directory of a prepared corpus")
        arguments.html = Path(folder) / (f"explore-{split}.html" if split else "explore.html")
    try_outputs(arguments, "html")
    write_page(arguments.data, arguments.html, each=arguments.each)


if __name__ == "__main__":
    sys.exit(run_command(main))
