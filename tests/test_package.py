"""The package as it is installed: its parts, its version, and a wheel in use far from the clone."""

import configparser
import os
import shutil
import subprocess
import sys

import pytest

import w2v2_jax
from tests.helpers.corpora import write_split
from tests.helpers.places import EXPERIMENTS, ROOT


def declared():
    parsed = configparser.ConfigParser()
    parsed.read(ROOT / "setup.cfg")
    return parsed


def test_every_folder_of_the_package_is_installed():
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "w2v2_jax").rglob("__init__.py")}
    names = {".".join(folder.parts) for folder in folders}
    assert set(declared()["options"]["packages"].split()) == names | {"w2v2_jax.recipes"}


def test_one_version_stands_everywhere():
    version = w2v2_jax.__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version {version}," in (ROOT / "README.md").read_text()


def test_every_extra_is_on_the_page_of_installing():
    page = (ROOT / "docs" / "installing.md").read_text()
    extras = declared()["options.extras_require"]
    assert [name for name in extras if f"| `{name}` |" not in page] == []


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package as a wheel leaves it, built without network."""
    pytest.importorskip("setuptools", minversion="64")
    pytest.importorskip("wheel")
    sources, wheels, target = (tmp_path_factory.mktemp(name) for name in "swt")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    for folder in (ROOT / "w2v2_jax", EXPERIMENTS):
        shutil.copytree(folder, sources / folder.name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    build = [*pip, "wheel", *offline, "--no-build-isolation", "-w", str(wheels), str(sources)]
    subprocess.run(build, check=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "install", *offline, "--target", str(target), str(wheel)], check=True)
    return target


def w2v2(installed, cwd, *words):
    plain = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return subprocess.run(
        [sys.executable, "-m", "w2v2_jax", *words],
        cwd=cwd,
        env={**plain, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
def test_a_wheel_lists_its_own_recipes(installed, tmp_path):
    done = w2v2(installed, tmp_path, "recipes", "pretrain_base")
    assert done.returncode == 0, done.stderr
    assert f"File: {installed}/w2v2_jax/recipes/pretrain_base.py" in done.stdout


@pytest.mark.slow
def test_a_wheel_rehearses_a_recipe_of_its_own_by_name(installed, tmp_path):
    write_split(tmp_path, "train", texts=("A B",) * 12, seconds=0.3)
    done = w2v2(
        installed, tmp_path, "train", "--config", "pretrain_base:smoke", "--dry-run",
        "--config.data.train=.:train", "--config.data.valid=",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "memory: an update of" in done.stdout


@pytest.mark.slow
def test_a_source_distribution_builds_and_has_the_recipes(tmp_path):
    pytest.importorskip("setuptools", minversion="64")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for folder in (ROOT / "w2v2_jax", EXPERIMENTS):
        shutil.copytree(folder, tmp_path / folder.name)
    code = "import setuptools.build_meta as build; build.build_sdist('dist')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path / "unpacked", filter="data")
    (top,) = (tmp_path / "unpacked").iterdir()
    names = {path.name for path in (top / "experiments").iterdir()}
    assert names == {path.name for path in EXPERIMENTS.glob("*.py")}
    assert (top / "w2v2_jax" / "evaluation" / "curves" / "base.json").is_file()
