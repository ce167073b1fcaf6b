"""Every command, link and call in the documentation is one that the code takes."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers import docs_commands
from tests.helpers.docs_commands import ROOT, blocks, check_python, check_shell
from tests.helpers.measured import missing, unsourced
from tests.helpers.xla_flags import FAST_COMPILE
from w2v2_jax.__main__ import COMMANDS
from w2v2_jax.errors import InputError

CHECKS = {"bash": check_shell, "python": check_python, "text": lambda content: None}


@pytest.mark.parametrize("page", sorted({block.file for block in blocks()}))
def test_the_commands_of_a_page_are_what_the_code_takes(page):
    for block in blocks():
        if block.file == page:
            where = f"{page}:{block.line}"
            assert block.language in CHECKS, f"{where}: name the block's language"
            try:
                CHECKS[block.language](block.content)
            except InputError as error:
                pytest.fail(f"{where}: {error}")


@pytest.mark.parametrize("recipe", docs_commands.recipe_commands())
def test_the_commands_of_a_recipe_are_what_the_code_takes(recipe):
    commands = docs_commands.recipe_commands()[recipe]
    assert commands
    for command in commands:
        check_shell(command)


@pytest.mark.parametrize("page", docs_commands.pages(), ids=docs_commands.name_of)
def test_the_links_of_a_page_lead_somewhere(page):
    assert docs_commands.broken_links(page) == []


@pytest.mark.parametrize("page", docs_commands.pages(), ids=docs_commands.name_of)
def test_the_options_that_a_page_names_exist(page):
    assert docs_commands.unknown_options(page) == []


def test_the_tests_that_a_page_names_exist():
    named = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
    found = [
        (page.name, *match)
        for page in docs_commands.pages()
        for match in named.findall(page.read_text())
    ]
    assert len(found) > 40
    for page, file, name in found:
        assert f"\ndef {name}(" in (ROOT / file).read_text(), f"{page}: {file}::{name}"


WRITTEN = [
    path
    for folder in ("docs", "experiments", "launch", "w2v2_jax")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".md", ".py", ".sh") and path.name != "__main__.py"
] + sorted(ROOT.glob("*.md"))


def test_extras_are_quoted_as_zsh_needs_it():
    bare = re.compile(r"pip install [^\"'`\n]*\w*\[[a-z]")
    assert [path for path in WRITTEN if bare.search(path.read_text())] == []
    assert bare.search("pip install w2v2_jax[av]") and bare.search("pip install .[decode,vad]")


def test_a_command_has_one_spelling():
    """Launch scripts, which may run without the entry point on PATH, and the history are let be."""
    module = re.compile(rf"python -m w2v2_jax\.({'|'.join(COMMANDS)})(?![.\w])")
    let_be = {ROOT / "CHANGELOG.md", *(ROOT / "launch").iterdir()}
    assert [
        path for path in WRITTEN if path not in let_be and module.search(path.read_text())
    ] == []


def test_commands_name_recipes_as_they_work_in_any_folder():
    said = [path for path in WRITTEN if path.suffix == ".md" or path.parent.name == "experiments"]
    by_file = re.compile(r"--config experiments/")
    assert [p for p in said if p.name != "CHANGELOG.md" and by_file.search(p.read_text())] == []


@pytest.mark.parametrize("page", docs_commands.pages(), ids=docs_commands.name_of)
def test_no_line_of_a_page_is_longer_than_120_columns(page):
    """Tables and links, which cannot be broken, are let be."""
    lines = enumerate(page.read_text().splitlines(), 1)
    breakable = [(n, line) for n, line in lines if not line.startswith("|") and "](" not in line]
    assert [n for n, line in breakable if len(line) > 120] == []


WRONG = {
    "w2v2 trian --config experiments/pretrain_base.py --workdir x": "no command trian",
    "w2v2 evaluate --cheque x --data y --json z": "--checkpoint",
    "w2v2 evaluate --checkpoint x --data y --json z --nothing": "unrecognized arguments",
    "w2v2 train --config experiments/none.py --workdir x": "is not a file",
    "w2v2 train --config experiments/quickstart.py:none --workdir x": "not known",
    "w2v2 train --config experiments/pretrain_base.py --workdir x --config.data.none=1": "none",
    "w2v2 train --config experiments/pretrain_base.py --workdir x --config.model.none=1": "none",
    "w2v2 train --config experiments/pretrain_base.py --workdir x --config.nothing.a=1": "section",
    "w2v2 train --config experiments/pretrain_base.py --workdir x --fast": "has no option --fast",
    "w2v2 bench --what everything --json x": "invalid choice",
    "w2v2 train --config experiments/pretrain_base.py --workdir x --num-processes N": "int",
    "python -m w2v2_jax.nothing": "no command nothing",
    "bash launch/none.sh": "no file launch/none.sh",
    "bash launch/test.sh quick": "no suite quick",
    "pip install .[none]": "no such extra",
    "curl example.org | bash": "none of this project's commands",
}


@pytest.mark.parametrize("command", WRONG)
def test_a_wrong_command_would_be_found(command):
    with pytest.raises(InputError, match=WRONG[command]):
        check_shell(command)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("model = (", "not Python"),
        ("from w2v2_jax.decode.make import nothing", "has no nothing"),
        ("model.transcripts(['a.wav'])", "no model.transcripts"),
        ("model.features(x, layers=3)", "takes no layers"),
        ("w2v2_jax.open('x')", r"no w2v2_jax\.open"),
    ],
)
def test_wrong_python_would_be_found(code, message):
    with pytest.raises(InputError, match=message):
        check_python(code)


def test_an_unknown_option_would_be_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Give `--beam 5`, `--biem 5` or `--config.data.x=1`.\n")
    assert docs_commands.unknown_options(page) == ["--biem"]


def test_a_broken_link_would_be_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A heading\n[a](#a-heading) [b](#none) [c](none.md) `tests/test_none.py`\n")
    assert docs_commands.broken_links(page) == ["#none", "none.md", "tests/test_none.py"]


RESULTS = sorted((ROOT / "docs/results").glob("*.md"))


@pytest.mark.parametrize("page", RESULTS, ids=docs_commands.name_of)
def test_measured_tables_say_when_where_from_what_and_how(page):
    assert unsourced(page) == []


def test_a_table_without_its_source_would_be_found(tmp_path):
    page = tmp_path / "page.md"
    table = "| ms |\n|---|\n| 12 |\n"
    page.write_text(
        f"# Speed\nOne core of an EPYC.\n## A\n{table}### B\nOn 2026-11-24, commit 1234abc.\n"
        f"```bash\nw2v2 bench\n```\n## C\n`pytest x` at the commit that adds it, 2026-11-24.\n"
        f"{table}## D\nmeasured by hand, commits 1234abc and 1234abd\n\n{table}"
        f"## E\n2026-11-24, commit\n1234abc, `w2v2\nbench`\n{table}"
    )
    assert unsourced(page) == ["A: no date", "A: no commit", "A: no command", "D: no date"]
    page.write_text(f"# Speed\n{table}\n```bash\n# 2026-11-24 on a CPU at commit 1234abc\n```\n")
    assert unsourced(page) == ["introduction: no command"]


GOT = re.compile(r"^Got.*?(?=^\S|\Z)", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "recipe", sorted((ROOT / "experiments").glob("*.py")), ids=lambda p: p.stem
)
def test_what_a_recipe_gave_has_a_date_a_device_and_a_commit(recipe):
    """The command is the docstring's `Run`."""
    got = GOT.search(ast.get_docstring(ast.parse(recipe.read_text())) or "")
    assert got, f"{recipe.name}: no 'Got: ...' (or 'Got: not run.')"
    if not got[0].startswith("Got: not run"):
        assert [thing for thing in missing(got[0]) if thing != "command"] == []


# ---- the tutorial, run ---------------------------------------------------------------------------


def recordings(folder: Path) -> None:
    """A stand-in for the sample speech: noises with the letters of their texts in them."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(24):
        split = ("train", "train", "dev", "test", "unlabeled", "train")[number % 6]
        name = f"en/{'vm-goodbye' if number == 0 else f'clip{number}'}.flac"
        (folder / "en").mkdir(parents=True, exist_ok=True)
        times = np.arange(int(16000 * (0.9 + 0.02 * number))) / 16000
        tone = np.sin(2 * np.pi * (200 + 40 * number) * times) * np.sin(9 * times)
        soundfile.write(folder / name, 0.3 * tone + 0.01 * rng.normal(size=len(times)), 16000)
        text = "" if split == "unlabeled" else f"GOODBYE {chr(65 + number)}"
        lines.append(f"{name}\t{text}\t{split}\tspeaker{number % 3}\n")
    (folder / "transcripts.tsv").write_text("".join(lines))


# One device, and little optimization: compiling is most of the time.
QUICK = {
    "XLA_FLAGS": FAST_COMPILE,
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
}


@pytest.mark.slow
def test_the_tutorial_runs_from_its_first_command_to_its_last(tmp_path):
    """As it is printed, but for recipes at toy size and a generated folder of sounds."""
    mine = [b for b in blocks() if b.file == "tutorial.md" and b.language == "bash" and not b.needs]
    assert len(mine) == 5  # prepare, pretrain, fine-tune, evaluate, share
    script = "\n".join(block.content for block in mine)
    for recipe in ("pretrain", "finetune"):
        old = f"quickstart:{recipe}"
        assert old in script
        script = script.replace(old, f"{old},smoke --config.model.d_model=48")
    recordings(tmp_path / "data/quickstart/speech/audio")
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    start = f'set -euo pipefail\nw2v2() {{ "{sys.executable}" -m w2v2_jax "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-c", start + script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **QUICK},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / "shared/hf/model.safetensors").is_file()
    transcripts = [line for line in done.stdout.splitlines() if "vm-goodbye.flac\t" in line]
    assert len(transcripts) >= 2 and len(set(transcripts)) == 1  # ours, and from what is shared
