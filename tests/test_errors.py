"""What ends a command: one line and status 2 for whatever a person or a machine's state causes."""

import errno
import importlib
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.helpers.places import ROOT
from w2v2_jax.errors import (
    BUG,
    InputError,
    counted,
    disk_reason,
    lacking,
    likest,
    nearest,
    one_field,
    printable,
    run_command,
)
from w2v2_jax.paths import writing
from w2v2_jax.prepare.workers import in_order

PRINTS = """
import sys
from pathlib import Path
from w2v2_jax.errors import run_command
def main(argv):
    for number in range(100_000):
        print(number, "caf\\u00e9 \\u65e5\\u672c \\udce9")
    Path(sys.argv[1]).write_text("whole")
sys.exit(run_command(main))
"""


def raising(error):
    def main(argv):
        raise error

    return main


def shell(line, tmp_path, **environment):
    """(status, stdout, stderr) of a shell line in which PRINTS is a program."""
    program = tmp_path / "prints.py"
    program.write_text(PRINTS)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line.format(program=f"{sys.executable} {program}")],
        cwd=tmp_path, capture_output=True, env={**os.environ, "PYTHONPATH": ":".join(sys.path),
        **environment},
    )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("a.wav: no\nsuch \x1bfile"), "error: a.wav: no such \\x1bfile"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x/y"),
         "error: x/y: No such file or directory"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "x"), "error: x: Is a directory"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), "error: a/b: Not a"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "error: Permission denied (x)"),
        (OSError(errno.ENOSPC, "No space left on device", "out"), "error: No space left on device"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a" * 9), "error: aaaaaaaaa: File name"),
        (RuntimeError("write failed: No space left on device"), "error: No space left on device"),
        (MemoryError(), "error: out of memory; give smaller batches"),
        (MemoryError("Unable to allocate 9 T"), "error: out of memory (Unable to allocate 9 T)"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.\nmore"),
         "error: the device has too little memory: RESOURCE_EXHAUSTED: Out of memory alloc"),
        (ModuleNotFoundError("No module named 'onnx'", name="onnx"), "error: this needs the packa"),
    ],
)  # fmt: skip
def test_what_a_person_or_the_machine_causes_is_one_line_and_status_two(error, line, capsys):
    assert run_command(raising(error)) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(line) and printed.err.count("\n") == 1 and not printed.out


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        AssertionError(),
        RuntimeError("odd"),
        ModuleNotFoundError("w2v2_jax.typo", name="w2v2_jax.typo"),
    ],
)
def test_a_bug_keeps_its_traceback_and_says_how_to_report_it(error):
    with pytest.raises(type(error)) as raised:
        run_command(raising(error))
    assert raised.value.__notes__ == [BUG]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), 75),
        (TimeoutError("timed out"), 75),
        (OSError("network is odd"), 2),
    ],
)
def test_a_connection_that_broke_may_be_tried_again(error, status, capsys):
    assert run_command(raising(error)) == status
    assert capsys.readouterr().err.count("\n") == 1


def test_a_late_callback_of_a_failed_save_is_not_printed_and_all_else_is(monkeypatch):
    """On a full disk a hundred lines of it stood before the one that says so."""
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    for _ in range(2):
        assert run_command(lambda argv: None) == 0
    errors = [RuntimeError("Event loop is closed"), RuntimeError("other"), ValueError("is closed")]
    for error in errors:
        sys.unraisablehook(SimpleNamespace(exc_value=error))
    assert [one.exc_value for one in told] == errors[1:]


def test_an_interrupted_command_says_so_and_has_the_shells_status(capsys):
    assert run_command(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_platform_that_does_not_start_is_one_line(tmp_path):
    code = "import jax, sys; from w2v2_jax.errors import run_command as r; "
    code += "sys.exit(r(lambda argv: jax.devices()))"
    for platform in ("cuda", "tpu", "abacus"):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True,
            env={**os.environ, "JAX_PLATFORMS": platform, "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip
        assert done.returncode == 2 and done.stderr.count("error:") == 1, done.stderr
        assert f"error: JAX_PLATFORMS={platform}: " in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])  # containers set it
def test_a_line_on_standard_error_is_out_at_once(unbuffered):
    code = "import os, sys; from w2v2_jax.errors import run_command as r; "
    code += "r(lambda argv: (print('now', file=sys.stderr), os._exit(3)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (3, "now\n")


@pytest.mark.parametrize("line", ["{program} out | head -1", "{program} out | true"])
def test_a_reader_that_goes_neither_stops_the_work_nor_makes_a_traceback(tmp_path, line):
    status, _, stderr = shell(line, tmp_path)
    assert (status, stderr) == (0, "")
    assert (tmp_path / "out").read_text() == "whole"


def test_a_full_disk_under_standard_output_is_one_line_after_the_work(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    status, _, stderr = shell("{program} out > /dev/full", tmp_path)
    assert (status, stderr) == (2, "error: standard output: No space left on device\n")
    assert (tmp_path / "out").read_text() == "whole"


HIDES = """
import os, sys
from w2v2_jax.errors import run_command
def main(argv):
    with open(sys.argv[1], "wb") as file:
        os.write(1, b"of a library")
        os.write(2, b"of a library")
        sys.stderr.write("said")
        os.system("echo of a child; echo of a child >&2")
        file.write(b"whole")
sys.exit(run_command(main))
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_program_that_starts_without_its_streams_works_and_spoils_no_file(tmp_path, closed):
    """Without standard error, a progress bar ended `prepare` with a traceback that nobody saw."""
    program = tmp_path / "hides.py"
    program.write_text(HIDES)
    line = f"exec {sys.executable} {program} {tmp_path}/out {closed}"
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == b"whole"


def test_a_current_directory_that_was_removed_is_told(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run_command(lambda argv: print(os.path.abspath("x"))) == 2
    assert "current directory has been removed: change to one" in capsys.readouterr().err


def test_a_disk_that_cuts_an_array_short_is_full():
    """numpy says how many values were written, but not why so few."""
    error = OSError("86274 requested and 3056 written")
    assert disk_reason(error) == "No space left on device"
    with pytest.raises(InputError, match=r"^--out x: No space left"), writing("--out", "x"):
        raise error


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({"PYTHONIOENCODING": "ascii"}, "0 caf\\xe9 \\u65e5\\u672c \\udce9"),
        ({"PYTHONIOENCODING": "latin-1"}, "0 caf\u00e9 \\u65e5\\u672c \\udce9"),
        ({"PYTHONIOENCODING": "ascii:replace"}, "0 caf? ?? ?"),
        ({"PYTHONIOENCODING": "utf-8"}, "0 caf\u00e9 \u65e5\u672c \\udce9"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
         "0 caf\\xe9 \\u65e5\\u672c \\udce9"),
    ],
)  # fmt: skip
def test_letters_that_the_output_lacks_come_out_escaped(tmp_path, environment, first):
    charset = environment.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    program = tmp_path / "prints.py"
    program.write_text(PRINTS.replace("100_000", "1"))
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "out")], capture_output=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path), **environment},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode(charset).strip() == first


def test_a_field_of_a_line_has_no_tab_and_no_line_break_and_keeps_its_spaces():
    assert one_field("a  b\tc\nd\r\x1b\x85\u2028é") == "a  b\\tc\\nd\\r\\x1b\\x85\\u2028é"


@pytest.mark.parametrize(
    "code", [0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
def test_a_control_of_the_writing_direction_is_escaped(code):
    """It makes a terminal show a name as another: "3pm.exe" for "exe.mp3"."""
    for told in (one_field, printable):
        assert told(f"a{chr(code)}3pm.exe") == f"a\\u{code:04x}3pm.exe"


def test_what_joins_letters_or_keeps_them_apart_stays_as_it_is():
    """Persian and Indic words are spelled with it, and emoji put together."""
    assert one_field("a\u200cb\u200dc") == "a\u200cb\u200dc"


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [(1, "batch", "1 batch"), (0, "batch", "0 batches"), (2, "process", "2 processes"),
     (3, "utterance", "3 utterances")],
)  # fmt: skip
def test_a_number_of_things_is_said_in_the_right_form(number, noun, said):
    assert counted(number, noun) == said


def test_the_likest_of_known_names_are_found_in_one_place():
    known = ["encoder", "decoder", "head"]
    assert likest("encoderr", known, most=3) == ["encoder", "decoder"]
    assert likest("encoderr", known) == ["encoder"] and likest("x", known) == []
    assert likest("encoderr", known, most=3, likeness=0.9) == ["encoder"]
    assert nearest("encoderr", known, "!") == "did you mean encoder!?" and nearest("x", known) == ""
    files = (ROOT / "w2v2_jax").rglob("*.py")
    assert [file.parent.name for file in files if "difflib" in file.read_text()] == ["errors"]


# A module whose import raises, as with missing libraries and versions that do not fit.
BROKEN = {
    "shared": ("raise ImportError('libx.so.1: cannot open shared object file', name=__name__)",
               "the package shared is installed but cannot be imported: libx.so.1: cannot open"),
    "abi": ("raise RuntimeError('module compiled against ABI version 0x1000009')",
            "the package abi is installed but cannot be imported: RuntimeError: module compiled"),
    "protos": ("raise TypeError('Descriptors cannot be created directly.\\nIf this call came')",
               "the package protos is installed but cannot be imported: TypeError: Descriptors"),
    "sndfile": ("raise OSError('sndfile library not found')",
                "the package sndfile is installed but cannot be imported: OSError: sndfile"),
    "newer": ("from os import nothing_of_this_name",
              "the package newer is installed but cannot be imported: cannot import name"),
    "deeper": ("import not_installed_here",
               "this needs the package not_installed_here, which is not installed: pip install"),
    "wraps": ("try: import not_installed_here\nexcept ImportError as e:\n"
              "    raise ImportError('Please install it', name='jax') from e",
              "this needs the package not_installed_here, which is not installed: pip install"),
    "orbax_needed": ("raise ModuleNotFoundError('No module named orbax', name='orbax')",
                     "this needs the package orbax, which is not installed: pip install orbax-"),
}  # fmt: skip


@pytest.mark.parametrize("module", BROKEN)
def test_a_package_that_cannot_be_imported_is_one_line_that_names_it(
    module, tmp_path, monkeypatch, capsys
):
    source, line = BROKEN[module]
    (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert run_command(lambda argv: importlib.import_module(module)) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {line}") and printed.count("\n") == 1


def test_an_optional_package_is_absent_or_broken_and_the_line_says_which(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "half.py").write_text("import not_installed_here")
    (tmp_path / "torn.py").write_text("raise ImportError('libx.so.1: cannot open')")

    def said(module):
        try:
            exec(f"import {module}")
        except ImportError as error:
            # The frame of `exec` stands for the function that asks.
            inner = error.with_traceback(error.__traceback__.tb_next)
            return lacking(inner, "--x needs it", "pip install it")

    assert said("not_installed_here") == "--x needs it: pip install it"
    assert said("half") == (
        "--x needs it, which is installed but cannot be imported: it needs not_installed_here, "
        "which is not installed: pip install not_installed_here"
    )
    assert "which is installed but cannot be imported: libx.so.1: cannot open; " in said("torn")


def test_a_package_that_a_worker_cannot_import_is_named_by_its_parent(tmp_path, monkeypatch):
    (tmp_path / "torn_in_worker.py").write_text("raise OSError('sndfile library not found')")
    monkeypatch.syspath_prepend(tmp_path)  # workers get the path of their parent
    results = in_order(importlib.import_module, ["torn_in_worker"], workers=2)
    with pytest.raises(InputError, match="the package torn_in_worker is installed but cannot be"):
        list(results)
