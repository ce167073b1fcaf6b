"""What makes a site of these pages: README, CHANGELOG and CONTRIBUTING, which lie outside, as pages
of it, with links as they are there."""

import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
# Files of the repository that pages name by a link and the site does not have.
OUTSIDE = re.compile(
    r"\[([^\]]+)\]\((?:\.\./)*((?:CITATION\.cff|LICENSE|launch/|experiments/)[^)]*)\)"
)


def on_files(files, config):
    """Adds the pages from outside docs/."""
    for source, target in PAGES.items():
        files.append(
            File.generated(config, target, content=inside((ROOT / source).read_text("utf-8")))
        )
    return files


def on_page_markdown(markdown, page, config, files):
    """Leads links to README and the others to their pages of the site."""
    up = "../" * page.file.src_uri.count("/")
    for source, target in PAGES.items():
        markdown = markdown.replace(f"]({up}../{source}", f"]({up}{target}")
    return OUTSIDE.sub(r"\1", markdown)


def inside(text: str) -> str:
    """A page of the root as a page of docs/."""
    for source, target in PAGES.items():
        text = text.replace(f"]({source}", f"]({target}")
    return text.replace("](docs/", "](")
