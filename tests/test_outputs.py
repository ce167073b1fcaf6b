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


def test_an_output_replaces_no_input_and_no_other_output(tmp_path):
    text = tmp_path / "texts.txt"
    text.write_text("kept")
    (tmp_path / "link").symlink_to(text)
    inputs = dict(text=[str(text)], lm=None, order=2, beam="beam")
    for out in (text, tmp_path / "link", tmp_path / "x" / ".." / "texts.txt"):
        with pytest.raises(InputError, match=r"--out .* would replace the file of text; name"):
            try_outputs(argparse.Namespace(out=out, **inputs), "out")
    both = argparse.Namespace(json=tmp_path / "a", html=str(tmp_path / "b" / ".." / "a"))
    with pytest.raises(InputError, match=r"--html .* would replace the file of json; name"):
        try_outputs(both, "json", "html")
    same = argparse.Namespace(json="/dev/null", html="/dev/null", recipe="beam", **inputs)
    try_outputs(same, "json", "html")
    try_outputs(argparse.Namespace(out=tmp_path / "beam", **inputs), "out")
    assert text.read_text() == "kept"
