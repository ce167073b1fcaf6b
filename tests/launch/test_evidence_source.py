"""The corpus that launch/evidence.sh prepares, and what it does when the source is another one."""

import shlex
import shutil
import time

import pytest

from tests.helpers.launchers import EVALUATED, PREPARE_STUB, PREPARED, launch, prepared, start

ALL_SPLITS = "folder:train_10min,train_1h,unlabeled,dev,test"


def prepared_evidence(project, source, *options):
    """The evidence with a source, and its call of prepare; splits: those in its corpus then."""
    stub = PREPARE_STUB + EVALUATED
    run = dict(stubs={"python": stub}, environment={"CELLS": "scratch@10m@1"})
    done = launch(project, "evidence.sh", "--source", source, *options, **run)
    calls = [call for call in done[3] if "w2v2_jax.prepare" in call]
    corpus = project / "data/evidence/corpus"
    return *done[:3], calls, sorted(path.name for path in corpus.iterdir() if path.is_dir())


def test_the_evidence_prepares_a_source_once_and_of_another_one_has_its_splits_alone(project):
    other = "folder:train_10min,dev,test"
    for source, times in ((ALL_SPLITS, 1), (ALL_SPLITS, 0), (other, 1)):
        status, _, error, calls, splits = prepared_evidence(
            project, source, "--out", str(len(source))
        )
        assert (status, len(calls)) == (0, times), error
        assert all(source in shlex.split(call) for call in calls)
        assert splits == sorted(source.removeprefix("folder:").split(","))


def test_two_launchers_of_one_source_prepare_it_once(project):
    """The second removed what the first was writing."""
    slow = PREPARE_STUB.replace("  for split", "  sleep 1\n  for split")
    run = dict(stubs={"python": slow + EVALUATED}, environment={"CELLS": "scratch@10m@1"})
    option = ("evidence.sh", "--source", ALL_SPLITS, "--out")
    first, record = start(project, *option, "a", **run)
    while "w2v2_jax.prepare" not in record.read_text():
        time.sleep(0.02)
    second = launch(project, *option, "b", **run)  # empties the record
    with first:
        _, error = first.communicate(timeout=120)
    assert (first.returncode, second[0]) == (0, 0), error + second[2]
    assert "is being prepared by another run; this one waits for it" in second[1]
    assert not any("w2v2_jax.prepare" in call for call in second[3])
    assert "mv:" not in error + second[2] and "rm:" not in error + second[2]


def test_a_source_that_cannot_be_prepared_leaves_the_one_before(project):
    first = prepared_evidence(project, ALL_SPLITS)
    status, *_, splits = prepared_evidence(project, "folder:absent", "--out", "other")
    assert status == 2 and splits == first[-1]
    assert prepared_evidence(project, ALL_SPLITS)[3] == []


def test_what_the_evidence_did_not_prepare_is_moved_aside_and_told(project):
    (project / "data/evidence/corpus/mine").mkdir(parents=True)
    status, output, error, _, splits = prepared_evidence(project, "folder:train_10min,dev,test")
    assert (status, splits) == (0, ["dev", "test", "train_10min"]), error
    (kept,) = (project / "data/evidence").glob("corpus.before-*")
    assert (kept / "mine").is_dir() and kept.name in output


def test_a_corpus_that_has_moved_is_taken_once_the_note_of_its_place_is_removed(project):
    prepared(project)
    run = dict(stubs={"python": EVALUATED})
    command = (project, "evidence.sh", "--out", "out")
    cells = {"CELLS": "scratch@10m@1"}
    assert launch(*command, environment={**cells, **PREPARED}, **run)[0] == 0
    (project / "data/evidence").rename(project / "data/moved")
    moved = {**cells, "W2V2_EVIDENCE_DATA": "data/moved/corpus"}
    status, _, error, calls = launch(*command, environment=moved, **run)
    assert (status, calls) == (2, []) and "or remove out/source if these are the same" in error
    (project / "out/source").unlink()
    status, _, error, calls = launch(*command, environment=moved, **run)
    assert status == 0 and not any("w2v2_jax.train" in call for call in calls), error


def test_cells_of_another_source_are_refused_before_anything_is_done(project):
    assert prepared_evidence(project, ALL_SPLITS, "--out", "out")[0] == 0
    status, _, error, calls, splits = prepared_evidence(project, "folder:dev", "--out", "out")
    assert (status, calls, error.count("\n")) == (2, [], 1) and "train_1h" in splits
    assert error.startswith(f"error: out has cells of {ALL_SPLITS}, not of folder:dev; ")
    for again in ("out", "none"):
        run = dict(stubs={"python": ""}, environment={"CELLS": "scratch@10m@1", **PREPARED})
        options = ["--source", "folder:dev"] if again == "none" else []
        status, _, error, calls = launch(project, "evidence.sh", "--out", again, *options, **run)
        assert (status, calls, error.count("\n")) == (2, [], 1), error


@pytest.mark.parametrize(
    ("cell", "lacks"),
    [("scratch@10m@1", "test"), ("pretrain@10m@1", "unlabeled"), ("pseudo@10m@1", "dev")],
)
def test_a_split_that_is_missing_is_told_before_the_first_training(project, cell, lacks):
    """A test split was missed after hours of training."""
    prepared(project)
    shutil.rmtree(project / "data/evidence/corpus" / lacks)
    run = dict(stubs={"python": EVALUATED}, environment={"CELLS": cell, **PREPARED})
    status, _, error, calls = launch(project, "evidence.sh", "--out", "out", **run)
    assert (status, calls, error.count("\n")) == (2, [], 1), error
    assert f"has no split {lacks}, which cell {cell} needs; its splits are " in error
    assert not (project / "out").exists()


def test_a_source_that_lacked_a_split_is_prepared_again_and_binds_no_folder(project):
    for _ in range(2):  # the second time it may have the split: it is read again
        status, _, error, calls, _ = prepared_evidence(project, "folder:train_10min,dev")
        assert (status, len(calls), error.count("\n")) == (2, 1, 1), error
        assert "no split test, which cell scratch@10m@1 needs; name it in the third" in error
    assert prepared_evidence(project, ALL_SPLITS)[0] == 0


def test_a_folder_in_which_nothing_was_made_takes_another_source(project):
    run = dict(environment={"CELLS": "scratch@10m@1"})
    failing = PREPARE_STUB + 'case "$*" in *w2v2_jax.train*) exit 2 ;; esac\n'
    for source, stub, wanted in (("a", failing, 2), ("b", EVALUATED, 0), ("a", EVALUATED, 2)):
        option = ("--source", f"folder:/{source}", "--out", "out")
        splits = {"SPLITS": "train_10min dev test", **run["environment"]}
        stubs = {"python": PREPARE_STUB + stub}
        status, _, error, _ = launch(
            project, "evidence.sh", *option, stubs=stubs, environment=splits
        )
        assert status == wanted, error
    assert "out has cells of folder:/b, not of folder:/a" in error
