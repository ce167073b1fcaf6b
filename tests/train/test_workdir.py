"""A run's folder: who holds it, what is written, and what a disk's refusal becomes."""

import errno

import jax
import pytest

from w2v2_jax.errors import InputError
from w2v2_jax.train import workdir

FACTS = {"config": {"seed": 1}, "data": {}}


def test_a_workdir_is_made_with_its_parents_and_held_until_the_run_ends(tmp_path):
    path = tmp_path / "a" / "b"
    with workdir.lock(path):
        assert (path / ".lock").is_file()
        with pytest.raises(InputError, match="b is in use by another run"), workdir.lock(path):
            raise AssertionError("two runs hold it")
    with workdir.lock(path):  # free again, and it may be there
        pass


def test_a_workdir_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match=r"--workdir .*file/run: Not a directory"),
        workdir.lock(tmp_path / "file" / "run"),
    ):
        raise AssertionError("held")


def test_a_file_in_the_place_of_the_checkpoints_is_told_before_the_first_update(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    told = pytest.raises(InputError, match=rf"--workdir {tmp_path}/checkpoints: .* is a file")
    with told, workdir.lock(tmp_path):
        raise AssertionError("trains until it saves")


def test_nothing_is_held_in_an_object_store(tmp_path, monkeypatch):
    monkeypatch.setattr(workdir, "is_remote", lambda path: True)
    with workdir.lock(tmp_path / "run"):
        assert not (tmp_path / "run").exists()


def test_the_configuration_is_written_in_the_order_of_its_names(tmp_path):
    workdir.save_record(tmp_path, {"b": 1, "a": {"d": 2, "c": 3}}, FACTS)
    text = (tmp_path / "config.json").read_text()
    assert text == '{\n "a": {\n  "c": 3,\n  "d": 2\n },\n "b": 1\n}\n'


@pytest.mark.parametrize("damage", ["other", "absent"])
def test_a_folder_that_is_not_the_same_on_all_hosts_is_one_line(tmp_path, monkeypatch, damage):
    write_text = workdir.write_text
    if damage == "absent":
        monkeypatch.setattr(workdir, "write_text", lambda path, text: None)
    else:
        monkeypatch.setattr(workdir, "write_text", lambda path, text: write_text(path, "{}\n"))
    monkeypatch.setattr(workdir, "VISIBLE_SECONDS", 0)
    with pytest.raises(InputError, match="is not the same folder on all hosts"):
        workdir.save_record(tmp_path, {"seed": 0}, FACTS)


@pytest.mark.parametrize(
    ("error", "hosts", "line"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            1,
            "no checkpoint was saved yet: .* starts from the beginning",
        ),
        (TimeoutError("late"), 1, r"writing took too long, or the clock jumped \(late\)"),
        (TimeoutError("late"), 2, None),  # a host is gone
        (ZeroDivisionError("a bug"), 1, None),
    ],
)
def test_what_a_disk_refuses_is_one_line_and_a_bug_stays_one(
    tmp_path, monkeypatch, error, hosts, line
):
    monkeypatch.setattr(jax, "process_count", lambda: hosts)
    expected = InputError if line else type(error)
    with pytest.raises(expected, match=line), workdir.disk_errors(tmp_path):
        raise error


def test_a_full_disk_says_that_the_run_resumes_from_what_was_saved(tmp_path):
    (tmp_path / "checkpoints" / "4").mkdir(parents=True)
    (tmp_path / "checkpoints" / "8.orbax-checkpoint-tmp").mkdir()
    message = "the earlier checkpoints are complete: .* resumes from there"
    with pytest.raises(InputError, match=message), workdir.disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_an_input_error_passes_as_it_is(tmp_path):
    with pytest.raises(InputError, match=r"^mine$"), workdir.disk_errors(tmp_path):
        raise InputError("mine")
