"""A command that SIGTERM or SIGHUP ends leaves nothing unfinished behind."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from tests.helpers.corpora import write_split
from w2v2_jax import stage

KILLED = """
    import os, signal, sys
    from w2v2_jax.prepare.publish import work_folder
    from w2v2_jax.system.new_output import new_file, new_output
    out, make, number = sys.argv[1:]
    signal.signal(int(number), signal.SIG_DFL)  # else tests under nohup inherit another
    with globals()[make](out if make == "new_file" else out + "/new") as partial:
        if make != "work_folder":
            partial.write_text("half")
        print("begun")
        try:
            os.kill(os.getpid(), int(number))
        finally:
            os.kill(os.getpid(), int(number))  # `timeout` sends it twice
            print("cleared")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("make", ["new_output", "new_file", "work_folder"])
def test_what_is_unfinished_is_removed_and_the_process_ends_by_the_signal(tmp_path, make, number):
    """The folders stayed, as large as what had been decoded, and only the next run told of them."""
    out = tmp_path / "in" / "out"
    out.parent.mkdir()
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(out), make, str(int(number))]
    before = os.environ | {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=before, check=False)
    assert (done.returncode, done.stdout) == (-number, "begun\ncleared\n"), done.stderr
    assert [path for path in tmp_path.rglob("*") if "partial" in path.name] == []


STAGED = """
    import os, signal, sys, threading, time
    from w2v2_jax import stage
    source, target, number = sys.argv[1:]
    signal.signal(int(number), signal.SIG_DFL)
    stage.BLOCK = 1

    def watch():
        while not list(stage.Path(target).glob("train/.shard*")):
            time.sleep(0.001)
        os.kill(os.getpid(), int(number))

    threading.Thread(target=watch, daemon=True).start()
    stage.stage(source, target, [])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_stage_leaves_no_part_of_a_file_and_goes_on_when_it_runs_again(tmp_path, number):
    write_split(tmp_path / "data", "train", texts=["A"] * 20, seconds=10)
    source, target = str(tmp_path / "data"), tmp_path / "staged"
    command = [sys.executable, "-c", textwrap.dedent(STAGED), source, str(target), str(int(number))]
    before = os.environ | {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        command, capture_output=True, text=True, env=before, check=False, timeout=60
    )
    assert done.returncode == -number, done.stderr
    assert [path.name for path in target.rglob(".*") if path.name != stage.UNDER_WAY] == []
    assert not (target / "train" / "corpus.json").exists()
    assert stage.stage(source, str(target), []) == ["train"]


def test_a_signal_that_nohup_or_a_scheduler_has_taken_stays_so(tmp_path):
    from w2v2_jax.system.new_output import new_file

    heard = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    own = signal.signal(signal.SIGTERM, lambda *_: heard.append("SIGTERM"))
    try:
        with new_file(tmp_path / "out") as partial:
            partial.write_text("whole")
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.signal(signal.SIGTERM, own)
    assert heard == ["SIGTERM"] and (tmp_path / "out").read_text() == "whole"
