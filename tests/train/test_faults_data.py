"""Bad audio and bad batches are left out, counted and written down."""

import collections
import json
import shutil

import numpy as np
import pytest
import soundfile

from tests.helpers.fault_cases import UNRAISABLE, flip, run
from tests.helpers.train_runs import records
from w2v2_jax.data import feed
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.errors import run_command
from w2v2_jax.health import monitor, rules
from w2v2_jax.prepare import command as prepare

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(UNRAISABLE),
    pytest.mark.usefixtures("programs", "one_device"),
]


def test_a_corpus_that_is_gone_is_named(corpus, tmp_path, capsys):
    copy = tmp_path / "corpus"
    shutil.copytree(corpus, copy)
    for shard in (copy / "train").glob("shard-*"):
        shard.unlink()
    assert run(copy, tmp_path / "run") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "train/shard-00000.i16: cannot map the samples" in error


def test_a_flipped_sample_is_left_out_listed_and_announced(corpus, tmp_path, capsys):
    copy, workdir = tmp_path / "corpus", tmp_path / "run"
    shutil.copytree(corpus, copy)
    flip(copy / "train" / "shard-00000.i16")
    assert run(copy, workdir, "--config.health.damaged_limit=1.0") == 0
    said = capsys.readouterr().err
    (entry,) = map(json.loads, (workdir / "damaged_audio.0.jsonl").read_text().splitlines())
    assert entry["reason"] == "checksum differs" and entry["id"] in said
    assert "[warn; docs/symptoms.md#damaged-audio]" in said
    rows = records(workdir, "train")
    assert any(row["empty_rows"] > 0 for row in rows)
    assert all(np.isfinite(row["loss"]) for row in rows if "loss" in row)


@pytest.fixture
def poison(monkeypatch):
    """(updates) -> their batches hold a NaN."""

    def put(steps):
        batches = feed.Feed.batches

        def stream(self, first_step, num_steps, **parts):
            for step, batch in enumerate(
                batches(self, first_step, num_steps, **parts), first_step + 1
            ):
                if step in steps and num_steps is not None:  # validation reads to the end
                    batch.waveforms[0, 0] = np.nan
                yield batch

        monkeypatch.setattr(feed.Feed, "batches", stream)
        return steps

    return put


def test_a_non_finite_update_is_not_taken_counted_and_its_rows_written_down(
    corpus, tmp_path, capsys, poison
):  # fmt: skip
    poison({3, 5})
    assert run(corpus, tmp_path / "run") == 0
    assert "health: step 3: loss or gradient is not finite" in capsys.readouterr().err
    lines = (tmp_path / "run" / "bad_batches.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [(e["step"], e["rule"], e["left_out"]) for e in entries] == [
        (3, "non-finite", False),
        (5, "non-finite", False),
    ]
    assert all(row[0]["id"] for row in entries[0]["rows"])
    taken = [row["skipped"] for row in records(tmp_path / "run", "train")]
    assert taken == [0, 0, 1, 0, 1, 0]
    events = records(tmp_path / "run", "health")
    steps = [event["step"] for event in events if event["rule"] == "non-finite"]
    assert steps == [3]  # once a cooldown


def test_too_many_non_finite_updates_end_the_run_which_can_go_on(
    corpus, pretrained, tmp_path, capsys, poison
):  # fmt: skip
    steps = poison({3, 4, 5})
    assert run(corpus, tmp_path / "run", "--config.health.non_finite_limit=1") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: stopped by health rule health: step 4: 2 updates skipped")
    steps.clear()
    assert run(corpus, tmp_path / "run") == 0
    assert records(tmp_path / "run", "train") == records(pretrained, "train")


def test_a_rollback_leaves_batches_out_for_good_also_after_a_kill(
    corpus, tmp_path, capsys, monkeypatch
):  # fmt: skip
    """A rule that fires at update 5: back to the checkpoint at 2, updates 4 and 5 not taken."""
    fire = lambda seen: "too loud" if len(seen.steps["loss"]) == 5 else None  # noqa: E731
    loud = tuple(
        rule._replace(check=fire) if rule.name == "loss-spike" else rule for rule in rules.RULES
    )
    more = ("--config.health.rollback=loss-spike", "--config.health.skip_batches=2")
    monkeypatch.setattr(monitor, "RULES", loud)
    assert run(corpus, tmp_path / "run", *more) == 0
    said = capsys.readouterr().err
    assert "health: step 5: too loud [rollback; docs/symptoms.md#loss-spike]" in said
    assert "returned to step 2; batches up to 5 are left out" in said
    rows = records(tmp_path / "run", "train")
    assert [(row["step"], row["skipped"]) for row in rows] == [
        (1, 0), (2, 0), (3, 0), (4, 1), (5, 1), (6, 0),
    ]  # fmt: skip
    assert [e["action"] for e in records(tmp_path / "run", "health")] == ["rollback"]

    monkeypatch.setattr(monitor, "RULES", rules.RULES)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "6")
    assert run(corpus, tmp_path / "run", *more) == 0
    assert f"resuming {tmp_path / 'run'} at step 4" in capsys.readouterr().err
    assert records(tmp_path / "run", "train") == rows


def test_a_folder_of_10000_files_with_3_percent_bad_is_prepared_and_every_bad_one_counted(
    tmp_path, capsys
):
    speech, random = tmp_path / "speech", np.random.default_rng(0)
    speech.mkdir()
    bad = collections.Counter()
    good = None
    for i in range(10_000):
        path, kind = speech / f"{i:05}.wav", i % 100
        if kind == 0:
            path.write_bytes(b"")
            bad["empty"] += 1
        elif kind == 33:
            path.write_bytes(b"<html>404</html>" * 20)
            bad["unreadable"] += 1
        elif kind == 66:
            path.write_bytes(good[: len(good) // 2])
            bad["truncated"] += 1
        else:
            soundfile.write(path, 0.1 * random.standard_normal(2400), 16000)
            good = path.read_bytes()
    out = ["--out", str(tmp_path / "out"), "--workers", "2"]
    assert run_command(prepare.main, ["--source", f"folder:{speech}", *out]) == 0
    report = json.loads((tmp_path / "out" / "train" / "report.json").read_text())
    assert {name: entry["count"] for name, entry in report["rejects"].items()} == bad
    corpus = open_corpus(f"{tmp_path / 'out'}:train")
    assert len(corpus) == 10_000 - bad.total() and bad.total() == 300
    assert all(map(corpus.verify, range(len(corpus))))
