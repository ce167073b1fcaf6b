"""The corpus that launch/evidence.sh prepares, and what it does when the source is another one."""

import shlex
import time

from tests.helpers.launchers import EVALUATED, PREPARE_STUB, PREPARED, launch, start

ALL_SPLITS = "folder:train_10min,train_1h,unlabeled,dev"


def prepared_evidence(project, source, *options):
    """The evidence with a source, and its call of prepare; splits: those in its corpus then."""
    stub = PREPARE_STUB + EVALUATED
    run = dict(stubs={"python": stub}, environment={"CELLS": "scratch@10m@1"})
    done = launch(project, "evidence.sh", "--source", source, *options, **run)
    calls = [call for call in done[3] if "w2v2_jax.prepare" in call]
    corpus = project / "data/evidence/corpus"
    return *done[:3], calls, sorted(path.name for path in corpus.iterdir() if path.is_dir())


def test_the_evidence_prepares_a_source_once_and_of_another_one_has_its_splits_alone(project):
    other = "folder:train_10min,dev"
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
    status, output, error, _, splits = prepared_evidence(project, "folder:train_10min,dev")
    assert (status, splits) == (0, ["dev", "train_10min"]), error
    (kept,) = (project / "data/evidence").glob("corpus.before-*")
    assert (kept / "mine").is_dir() and kept.name in output


def test_a_corpus_that_has_moved_is_taken_once_the_note_of_its_place_is_removed(project):
    (project / "data/evidence/corpus/train_10min").mkdir(parents=True)
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
