"""A project whose launchers a test may run."""

import shutil

import pytest

from tests.helpers.places import ROOT


@pytest.fixture
def project(tmp_path):
    """A copy of launch/ whose environment is already there, and a folder for stubs."""
    shutil.copytree(ROOT / "launch", tmp_path / "launch")
    (tmp_path / "launch" / "env.sh").write_text("# the environment is there\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "x.py").touch()
    return tmp_path
