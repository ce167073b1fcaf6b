"""Splits go to their places by renaming: through links, and back if a run is killed in between."""

import os

import numpy as np
import pytest
import soundfile

from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.errors import run_command
from w2v2_jax.prepare import command as prepare
from w2v2_jax.prepare import prepare as prepare_module
from w2v2_jax.prepare import publish, splits


@pytest.fixture
def made(tmp_path):
    """A folder of recordings, and the command that prepares it."""
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio/a.wav", 0.1 * np.sin(np.arange(16000.0)), 16000)
    (tmp_path / "data").mkdir()
    return ["--source", f"folder:{tmp_path}/audio", "--out", f"{tmp_path}/data", "--overwrite"]


@pytest.mark.parametrize("more", [[], ["--resumable"]])
def test_a_split_goes_where_a_link_leads(made, tmp_path, more):
    (tmp_path / "data/train").symlink_to(tmp_path / "far")
    for _ in range(2):
        assert run_command(prepare.main, [*made, *more]) == 0
        assert (tmp_path / "data/train").is_symlink()
        assert (tmp_path / "far/corpus.json").is_file()


def test_a_link_to_another_disk_is_refused_before_the_work(made, tmp_path, monkeypatch, capsys):
    (tmp_path / "data/train").symlink_to(tmp_path / "far")
    monkeypatch.setattr(splits, "_on_one_disk", lambda place, out: False)
    assert run_command(prepare.main, [*made, "--split", "train"]) == 2
    assert "data/train leads to" in capsys.readouterr().err


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_split_that_cannot_be_replaced_stays(tmp_path, monkeypatch, error):
    """It was lost with the folder of the run that had moved it away."""
    for name in ("train", "work", "work/new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    rename = type(tmp_path).rename

    def refuse(path, target):
        if path.name == "new":
            raise error("moved away")
        return rename(path, target)

    monkeypatch.setattr(type(tmp_path), "rename", refuse)
    with pytest.raises(error):
        publish.put_in_place(
            tmp_path / "work/new", tmp_path / "train", tmp_path / "work", overwrite=True
        )
    assert (tmp_path / "train/file").read_text() == "train"


@pytest.mark.parametrize("more", [[], ["--resumable"]])
def test_a_split_that_another_command_made_meanwhile_stays(
    made, tmp_path, monkeypatch, capsys, more
):
    """Of two commands that began together, the slower one took the place of the faster one's split,
    without --overwrite; both said that they had written it."""
    (tmp_path / "other").mkdir()
    soundfile.write(tmp_path / "other/b.wav", 0.1 * np.cos(np.arange(32000.0)), 16000)
    other = ["--source", f"folder:{tmp_path}/other", "--out", f"{tmp_path}/data"]
    (tmp_path / "other/transcripts.tsv").write_text("b.wav\tA\tdev\n")
    soundfile.write(tmp_path / "audio/b.wav", 0.2 * np.cos(np.arange(20000.0)), 16000)
    (tmp_path / "audio/transcripts.tsv").write_text("a.wav\tA\tdev\nb.wav\tA\ttrain\n")
    publishes = prepare_module._publish

    def meanwhile(*given, **options):
        monkeypatch.setattr(prepare_module, "_publish", publishes)
        assert run_command(prepare.main, other) == 0
        return publishes(*given, **options)

    monkeypatch.setattr(prepare_module, "_publish", meanwhile)
    assert run_command(prepare.main, [*made[:-1], *more]) == 2
    assert "data/dev exists already: another command wrote it" in capsys.readouterr().err
    assert [open_corpus(tmp_path / "data/dev").id(i) for i in range(1)] == ["b.wav"]
    assert not (tmp_path / "data/train").exists()


@pytest.mark.parametrize("link", ["data/gone", "data"])
def test_an_output_that_cannot_be_made_is_named(made, tmp_path, capsys, link):
    (tmp_path / "data").rmdir()
    (tmp_path / "data").symlink_to("nowhere")
    assert run_command(prepare.main, [*made, "--out", f"{tmp_path}/{link}"]) == 2
    said = capsys.readouterr().err
    assert f"--out {tmp_path}/{link}: " in said
    assert f"{tmp_path}/data is a link to nowhere, which does not exist" in said


@pytest.mark.parametrize("left", [".partial-abc", ".pieces-abc"])
def test_a_split_that_a_killed_run_had_moved_away_is_put_back(made, tmp_path, capsys, left):
    assert run_command(prepare.main, made) == 0
    before = (tmp_path / "data/train/index.npz").read_bytes()
    (tmp_path / "data" / left).mkdir()
    os.rename(tmp_path / "data/train", tmp_path / "data" / left / "replaced-train")
    capsys.readouterr()
    assert run_command(prepare.main, made[:-1]) == 2
    told = capsys.readouterr().err.splitlines()
    assert "a run was killed while it replaced this; it is back as it was" in told[0]
    assert f"{left}: of an unfinished run" in told[1] and "exists already" in told[2]
    assert (tmp_path / "data/train/index.npz").read_bytes() == before


def test_a_split_that_was_replaced_does_not_come_back(made, tmp_path, monkeypatch, capsys):
    """The run was killed while it removed the former split, and the user removed the new one."""
    assert run_command(prepare.main, made) == 0
    with monkeypatch.context() as patched:
        patched.setattr(publish.shutil, "rmtree", lambda path, **options: None)
        assert run_command(prepare.main, made) == 0
    os.rename(tmp_path / "data/train", tmp_path / "away")
    capsys.readouterr()
    assert run_command(prepare.main, [*made[:-1], "--split", "dev"]) == 0
    assert not (tmp_path / "data/train").exists()
    assert "it is back as it was" not in capsys.readouterr().err
