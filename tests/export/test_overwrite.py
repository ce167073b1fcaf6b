"""--overwrite: what is in the way, what replaces it, and that a failure keeps what was saved."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.corpora import write_split
from tests.helpers.interop_cases import assert_same, random_checkpoint
from w2v2_jax import convert, emit, extract, lm
from w2v2_jax.checkpoint import files as checkpoint
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.export import average
from w2v2_jax.export import command as export
from w2v2_jax.interop import hugging_face, native, safetensors_file
from w2v2_jax.system.new_output import new_file, new_output

LM = ("--order", "1", "--discount-fallback", "--estimator", "own")


@pytest.fixture(scope="module")
def runs(tuned, tmp_path_factory):
    """Two workdirs of a fine-tuned network."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("a", "b"):
        native.write_initial(folder / name, tuned)
    return folder


@pytest.fixture
def commands(runs, tuned, tmp_path):
    """Command -> (its main, its arguments without --out)."""
    write_split(tmp_path / "data", "dev", texts=("AB", "CA"))
    hugging_face.save(tuned, tmp_path / "hf")
    one = ["--checkpoint", str(runs / "a")]
    corpus = ["--data", str(tmp_path / "data:dev")]
    return {
        "hf": (export.main, [*one, "--to", "hf"]),
        "fairseq": (export.main, [*one, "--to", "fairseq"]),
        "average": (average.main, ["--checkpoint", f"{runs}/a", f"{runs}/b"]),
        "convert": (convert.main, ["--from", "hf", "--input", str(tmp_path / "hf")]),
        "extract": (extract.main, [*one, *corpus]),
        "emit": (emit.main, [*one, *corpus]),
        "lm": (lm.main, ["--text", str(tmp_path / "data:dev"), *LM]),
    }


def content(path: Path):
    """The files below a path, with what is in them."""
    files = [path] if path.is_file() else path.rglob("*")
    return {str(file): file.read_bytes() for file in files if file.is_file()}


@pytest.mark.parametrize("name", ["hf", "fairseq", "average", "convert", "extract", "emit"])
def test_an_output_that_exists_is_replaced_only_on_request(commands, tuned, tmp_path, capsys, name):
    main, arguments = commands[name]
    out = tmp_path / ("out.npz" if name == "extract" else "out")
    arguments = [*arguments, "--out", str(out)]
    main(arguments)
    (file,) = [path for path in content(out) if not Path(path).name.startswith("_")][:1]
    wanted = Path(file).read_bytes()
    Path(file).write_bytes(b"old")
    before, around = content(out), sorted(tmp_path.iterdir())
    capsys.readouterr()
    assert run_command(main, arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--out {out} exists" in line and "add --overwrite or choose another" in line
    assert content(out) == before
    assert run_command(main, [*arguments, "--overwrite"]) == 0
    if name in ("average", "convert"):  # Orbax names its files anew
        assert_same(checkpoint.load(out).params, tuned.params)
    else:
        assert Path(file).read_bytes() == wanted
    assert sorted(tmp_path.iterdir()) == around  # nothing beside it


def test_a_failed_export_leaves_what_was_there(commands, tmp_path, monkeypatch, capsys):
    main, arguments = commands["hf"]
    arguments = [*arguments, "--out", str(tmp_path / "out"), "--overwrite"]
    main(arguments)
    before = content(tmp_path / "out")

    def fail(loaded, out):
        hugging_face.save(loaded, out)
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(export.EXPORTERS, "hf", fail)
    assert run_command(main, arguments) == 2
    assert "No space left" in capsys.readouterr().err
    assert content(tmp_path / "out") == before
    assert [path.name for path in tmp_path.glob(".out*")] == []


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_was_there_comes_back_if_the_new_output_cannot_take_its_place(
    tmp_path, monkeypatch, error
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "file").write_text("old")
    rename = Path.rename

    def refuse(path, target):
        if ".partial-" in path.name:
            raise error("moved away")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises((InputError, KeyboardInterrupt)), new_output(out, overwrite=True) as partial:
        partial.mkdir()
        (partial / "file").write_text("new")
    assert content(tmp_path) == {str(out / "file"): b"old"}


KILLED = """
import os, pathlib, signal, sys
from w2v2_jax.system.new_output import new_output
rename = pathlib.Path.rename
def die(path, target):
    if ".partial-" in path.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, target)
pathlib.Path.rename = die
with new_output(sys.argv[1], overwrite=True) as partial:
    partial.mkdir()
    (partial / "file").write_text("new")
"""


def test_an_output_that_a_killed_run_had_moved_away_is_put_back(tmp_path, capsys):
    out = tmp_path / "out [1]"
    out.mkdir()
    (out / "file").write_text("old")
    assert subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False).returncode == -9
    assert not out.exists()
    with pytest.raises(InputError, match="exists and is not empty"), new_output(out):
        pytest.fail("the work was done")
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"{out}: a run was killed while it replaced this; it is back as it was"
    assert f".{out.name}.partial-" in second and "of an unfinished run; delete it if" in second
    assert (out / "file").read_text() == "old"
    (partial,) = tmp_path.glob(".*")
    assert (partial / "file").read_text() == "new"


HALF_REMOVED = """
import os, shutil, signal, sys
from w2v2_jax.system.new_output import new_output
def die(path, **options):
    os.unlink(os.path.join(path, "one"))
    os.kill(os.getpid(), signal.SIGKILL)
shutil.rmtree = die
with new_output(sys.argv[1], overwrite=True) as partial:
    partial.mkdir()
    for name in ("one", "two"):
        (partial / name).write_text("new")
"""


def test_what_a_killed_run_was_removing_is_not_put_back(tmp_path, capsys):
    """Half of the former output came back when the user had removed the new one."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("one", "two"):
        (out / name).write_text("old")
    command = [sys.executable, "-c", HALF_REMOVED, str(out)]
    assert subprocess.run(command, check=False).returncode == -9
    assert (out / "one").read_text() == (out / "two").read_text() == "new"
    shutil.rmtree(out)
    with new_output(out) as partial:
        partial.mkdir()
        (partial / "one").write_text("third")
    assert [path.name for path in out.iterdir()] == ["one"]
    assert "of an unfinished run; delete it if" in capsys.readouterr().err


def test_the_folder_that_a_link_leads_to_is_tried_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "file/out")
    with pytest.raises(InputError, match="is a file, not a folder"), new_output(tmp_path / "link"):
        pytest.fail("the work was done")
    (tmp_path / "other").symlink_to(tmp_path / "missing/out")
    with new_output(tmp_path / "other") as partial:
        partial.mkdir()
    assert (tmp_path / "missing/out").is_dir() and (tmp_path / "other").is_symlink()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_another_command_wrote_meanwhile_stays(tmp_path, kind):
    """Of two commands that began together, the slower one took the place of the other's output."""

    def write(path, text):
        if kind == "folder":
            path.mkdir()
            path /= "file"
        path.write_text(text)

    out = tmp_path / "out"
    with pytest.raises(InputError, match="another command wrote it"), new_output(out) as partial:
        write(partial, "slower")
        with new_output(out) as other:
            write(other, "faster")
    assert list(content(tmp_path).values()) == [b"faster"]


@pytest.mark.parametrize("own", [False, True])  # in containers all runs may have one number
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_killed_runs_left_is_told_and_kept(tmp_path, capsys, own, kind):
    """The unfinished output of a run of the same number became a part of the next one's."""
    pid = os.getpid() if own else 4194305  # beyond any
    left = [tmp_path / f".out.{name}-{pid}" for name in ("partial", "replaced")]
    for folder in left:
        folder.mkdir()
        (folder / "kept").write_text("")
    make = {"file": new_file, "folder": lambda out: new_output(out, overwrite=True)}[kind]
    (tmp_path / "out").write_text("old") if kind == "file" else (tmp_path / "out").mkdir()
    with make(tmp_path / "out") as partial:
        assert not partial.exists()
        partial.write_text("new")
    told = capsys.readouterr().err
    assert f"{left[1]}: out as it was before a killed run replaced it; delete it" in told
    assert f"{left[0]}: of an unfinished run; delete it if none is running" in told
    assert (tmp_path / "out").read_text() == "new"
    assert [list(folder.iterdir()) == [folder / "kept"] for folder in left] == [True, True]


def test_the_output_of_a_run_that_runs_is_let_alone(tmp_path, capsys):
    left = tmp_path / f".out.replaced-{os.getppid()}"
    left.write_text("old")
    with new_file(tmp_path / "out") as partial:
        partial.write_text("new")
    assert left.read_text() == "old" and capsys.readouterr().err == ""


@pytest.mark.parametrize("step", ["7", "0"])
def test_a_workdir_is_not_replaced_by_an_average(runs, tuned, tmp_path, capsys, step):
    shutil.copytree(runs / "a", tmp_path / "run")
    (tmp_path / "run/checkpoints/0").rename(tmp_path / "run/checkpoints" / step)
    if step == "0":
        (tmp_path / "run/metrics.jsonl").write_text("{}\n")
    before = content(tmp_path)
    command = ["--checkpoint", f"{runs}/a", f"{runs}/b", "--out", f"{tmp_path}/run", "--overwrite"]
    assert run_command(average.main, command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    lost = "metrics.jsonl" if step == "0" else "checkpoints/7"
    assert f"would lose {lost}, which the new output does not have" in line
    assert content(tmp_path) == before


@pytest.mark.parametrize(("old", "lost"), [("folder", "README.md and "), ("file", "the file")])
def test_a_folder_is_not_replaced_by_a_file_nor_the_other_way(
    runs, tmp_path, capsys, old, lost, tuned
):
    out = tmp_path / "out"
    forms = ("hf", "fairseq") if old == "folder" else ("fairseq", "hf")
    command = ["--checkpoint", f"{runs}/a", "--out", str(out), "--overwrite", "--to"]
    assert run_command(export.main, [*command, forms[0]]) == 0
    before = content(out)
    assert run_command(export.main, [*command, forms[1]]) == 2
    assert f"would lose {lost}" in capsys.readouterr().err
    assert content(out) == before


@pytest.mark.parametrize("out", ["hf", "run", "run/../run", "link", ".", "run/checkpoints"])
def test_what_is_read_is_not_replaced(runs, tuned, tmp_path, monkeypatch, capsys, out):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(runs / "a", "run")
    hugging_face.save(tuned, "hf")
    Path("link").symlink_to("run")
    step = "run/checkpoints/0"
    command = ["--checkpoint", "hf" if out == "hf" else step, "--out", out, "--overwrite"]
    before = content(tmp_path)
    mains = {export.main: ["--to", "hf"]}
    mains |= {average.main: []} if out != "hf" else {}
    for main, more in mains.items():
        assert run_command(main, [*command, *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"--out {out} would replace the folder of checkpoint; name another" in line
    if out == "hf":
        converting = ["--from", "hf", "--input", "hf", "--out", "hf", "--overwrite"]
        assert run_command(convert.main, converting) == 2
    assert content(tmp_path) == before


@pytest.mark.parametrize("name", ["fairseq", "emit", "extract", "lm"])
@pytest.mark.parametrize("there", [True, False])
def test_every_command_writes_where_a_link_leads(commands, tmp_path, name, there):
    main, arguments = commands[name]
    more = [] if name == "lm" else ["--overwrite"]
    target, link = tmp_path / "far/real", tmp_path / "link.npz"
    target.parent.mkdir()
    link.symlink_to("far/real")
    if there and name == "emit":
        target.mkdir()
    elif there:
        target.write_text("old")
    assert run_command(main, [*arguments, "--out", str(link), *more]) == 0
    assert link.is_symlink() and target.exists() and content(target) != {str(target): b"old"}
    assert [path.name for path in target.parent.iterdir()] == ["real"]


def test_a_link_stays_and_the_folder_it_leads_to_is_replaced(runs, tmp_path):
    command = ["--checkpoint", f"{runs}/a", "--to", "hf", "--out", f"{tmp_path}/link"]
    (tmp_path / "real").mkdir()
    (tmp_path / "real/config.json").write_text("old")
    (tmp_path / "link").symlink_to("real")
    export.main([*command, "--overwrite"])
    assert (tmp_path / "link").is_symlink() and "model_type" in (
        tmp_path / "real/config.json"
    ).read_text("utf-8")


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "/"])
def test_a_pipe_a_device_or_the_root_is_not_replaced(tmp_path, kind, overwrite):
    """An output renamed to /dev/null took its place."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link to a pipe").symlink_to("pipe")
    out = tmp_path / kind  # "/" is itself
    said = f"--out {out} (exists|cannot be replaced; name a file or)"
    with pytest.raises(InputError, match=said), new_output(out, overwrite=overwrite):
        pytest.fail("the work was done")
    assert (tmp_path / "pipe").is_fifo()
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "link to a pipe"}


@pytest.mark.parametrize("name", ["hf", "average", "convert", "extract", "emit", "lm"])
def test_an_outputs_folder_need_not_exist(commands, tmp_path, name):
    main, arguments = commands[name]
    out = tmp_path / "new" / "deep" / ("out.npz" if name == "extract" else "out")
    assert run_command(main, [*arguments, "--out", str(out)]) == 0
    assert content(out)


def test_extract_and_lm_do_not_replace_a_pipe(commands, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "a.txt").write_text("AB CA\n")
    extracts, given = commands["extract"]
    text = ["--text", str(tmp_path / "a.txt"), "--vocabulary", "librispeech", "--order", "1"]
    for main, arguments in (
        (extracts, [*given, "--overwrite"]),
        (lm.main, [*text, "--discount-fallback", "--lexicon", str(tmp_path / "lexicon")]),
    ):
        assert run_command(main, [*arguments, "--out", str(tmp_path / "pipe.npz")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"--out {tmp_path}/pipe.npz cannot be replaced; name a file" in line
        assert (tmp_path / "pipe.npz").is_fifo()


def test_a_file_is_there_at_every_moment_of_its_replacement(tmp_path, monkeypatch):
    out, seen = tmp_path / "out", []
    out.write_text("old")
    for name in ("rename", "replace"):
        move = getattr(Path, name)

        def watched(path, target, move=move):
            moved = move(path, target)
            seen.append(out.exists())
            return moved

        monkeypatch.setattr(Path, name, watched)
    with new_output(out, overwrite=True) as partial:
        partial.write_text("new")
    assert seen and all(seen) and content(tmp_path) == {str(out): b"new"}


def test_a_tokenizer_that_exists_is_replaced_only_on_request(runs, tmp_path, capsys):
    command = ["--checkpoint", f"{runs}/a", "--to", "fairseq2", "--out", f"{tmp_path}/a.pt"]
    command += ["--tokenizer", f"{tmp_path}/a.model"]
    (tmp_path / "a.model").write_text("old")
    assert run_command(export.main, command) == 2
    assert "add --overwrite or choose another --tokenizer" in capsys.readouterr().err
    assert content(tmp_path) == {str(tmp_path / "a.model"): b"old"}
    assert run_command(export.main, [*command, "--overwrite"]) == 0
    assert (tmp_path / "a.model").read_bytes() != b"old"


def test_a_replaced_file_is_read_back(tiny, tuned, tmp_path):
    other = random_checkpoint(tiny, parts=("encoder",))
    for loaded in (tuned, other):
        with new_output(tmp_path / "a.safetensors", overwrite=True) as partial:
            safetensors_file.save(loaded, partial)
    read = safetensors_file.read(tmp_path / "a.safetensors")
    assert_same(read.loaded.params, other.params)
