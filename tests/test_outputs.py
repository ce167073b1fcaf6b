"""Where results will go is tried before the work that makes them."""

import argparse
import re

import pytest

from w2v2_jax.errors import InputError
from w2v2_jax.paths import try_file, try_outputs


def test_an_output_is_tried_before_the_work(tmp_path):
    (tmp_path / "file").write_text("kept")
    try_file(tmp_path / "new" / "deep" / "a.json", "--json")
    try_file(tmp_path / "file", "--json")
    try_file("/dev/null", "--json")
    assert (tmp_path / "file").read_text() == "kept"
    assert list((tmp_path / "new" / "deep").iterdir()) == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("file/a.json", "--json file: file is a file, not a folder"),
        ("file/b/a.json", "--json file/b cannot be written: Not a directory"),
        ("folder", "--json folder is a folder; name a file"),
        ("n" * 300 + "/a.json", "cannot be written: File name too long"),
        ("/proc/none/a.json", "--json /proc/none cannot be written: No such file or directory"),
    ],
)
def test_an_output_that_cannot_be_is_named_with_its_option(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=re.escape(message)):
        try_file(path, "--json")


def test_the_outputs_of_a_command_line_that_are_given_are_tried(tmp_path):
    arguments = argparse.Namespace(json=tmp_path / "a.json", html=None, other=5)
    try_outputs(arguments, "json", "html")
    arguments.html = tmp_path
    with pytest.raises(InputError, match=r"--html .* is a folder"):
        try_outputs(arguments, "json", "html")
