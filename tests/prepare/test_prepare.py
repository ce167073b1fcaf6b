import filecmp
import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from w2v2_jax.data import string_hashes, writer
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.data.splits import list_splits
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.prepare import command
from w2v2_jax.prepare.holdout import held_out_split
from w2v2_jax.prepare.prepare import prepare

RNG = np.random.default_rng(0)


def noise(seconds, rate=16000, level=0.1):
    return (RNG.standard_normal(int(seconds * rate)) * level).astype(np.float32)


def put(path, samples, rate=16000, text=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    if text is not None:
        path.with_suffix(".txt").write_text(text, "utf-8")
    return path


def run(folder, out, **options):
    chosen = {
        "split": None,
        "holdout": {},
        "min_seconds": 0.1,
        "require_text": False,
        "workers": 1,
        "overwrite": False,
        "progress": False,
    }
    return prepare(f"folder:{folder}", out, **(chosen | options))


def reasons(report):
    return {reason: entry["count"] for reason, entry in report["rejects"].items()}


@pytest.fixture
def folder(tmp_path):
    """40 short clips with 10 different sentences."""
    for k in range(40):
        put(tmp_path / "in" / f"u{k:02d}.wav", noise(0.2 + k / 100), text=f"Sentence {k % 10}.")
    return tmp_path / "in"


def test_what_is_prepared_comes_back_sample_by_sample_with_its_statistics(tmp_path):
    samples = RNG.integers(-32768, 32768, 30_000).astype(np.int16)
    put(tmp_path / "in" / "größe.flac", samples, text="Größe  ändern\n")
    put(tmp_path / "in" / "a.wav", samples[:5_000])
    run(tmp_path / "in", tmp_path / "out")
    corpus = open_corpus(tmp_path / "out")
    assert [corpus.id(i) for i in range(len(corpus))] == ["a.wav", "größe.flac"]
    assert [corpus.text(i) for i in range(2)] == ["", "Größe ändern"]
    np.testing.assert_array_equal(corpus.read(1, 100, 20_000), samples[100:20_100])
    assert corpus.num_samples.tolist() == [5_000, 30_000]
    assert corpus.mean[1] == pytest.approx((samples / 32768).mean(), rel=1e-5)
    assert corpus.std[1] == pytest.approx((samples / 32768).std(), rel=1e-5)
    assert corpus.verify(0) and corpus.verify(1) and corpus.verify_index()
    assert corpus.has_text
    with pytest.raises(IndexError):
        corpus.read(0, 4_000, 1_001)


def test_a_changed_sample_fails_the_checksum(tmp_path):
    put(tmp_path / "in" / "a.wav", noise(1))
    run(tmp_path / "in", tmp_path / "out")
    shard = tmp_path / "out" / "train" / "shard-00000.i16"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)
    assert not open_corpus(tmp_path / "out").verify(0)


def test_every_useless_file_is_rejected_for_its_own_reason(tmp_path, capsys):
    folder = tmp_path / "in"
    good = put(folder / "good.flac", noise(1), text="fine")
    put(folder / "stereo.wav", np.stack([noise(1, 44100)] * 2, axis=1), 44100, text="x")
    put(folder / "phone.wav", noise(1, 8000), 8000, subtype="PCM_U8", text="x")
    (folder / "cut.flac").write_bytes(good.read_bytes()[:9_000])
    (folder / "nothing.wav").write_bytes(b"")
    (folder / "prose.wav").write_text("not audio" * 99)
    not_finite = noise(1)
    not_finite[5] = np.nan
    put(folder / "nan.wav", not_finite, subtype="FLOAT")
    put(folder / "click.wav", noise(0.005))
    put(folder / "zero.wav", np.zeros(16_000))
    put(folder / "quiet.wav", noise(1, level=2e-5), subtype="FLOAT")
    put(folder / "twin.wav", soundfile.read(good, dtype="int16")[0])
    report = run(folder, tmp_path / "out")[0]
    assert reasons(report) == {
        "truncated": 1,
        "empty": 1,
        "unreadable": 1,
        "not finite": 1,
        "too short": 1,
        "silent": 2,
        "duplicate": 1,
    }
    assert report["utterances"] == 3
    assert open_corpus(tmp_path / "out").num_samples.tolist() == [16_000] * 3
    assert json.loads((tmp_path / "out/train/report.json").read_text()) == report
    shown = capsys.readouterr().out
    for expected in ("twin.wav: same audio as good.flac", "silent", "cut.flac", "wrote"):
        assert expected in shown
    assert report["lengths"] == "1-2 s: 3"
    assert report["characters"] == {"x": 2, "e": 1, "f": 1, "i": 1, "n": 1}


def test_a_missing_transcript_is_a_reject_only_when_texts_are_required(tmp_path):
    put(tmp_path / "in" / "a.wav", noise(1), text="yes")
    put(tmp_path / "in" / "b.wav", noise(1))
    put(tmp_path / "in" / "c.wav", noise(1), text=" \n")
    assert run(tmp_path / "in", tmp_path / "all")[0]["utterances"] == 3
    report = run(tmp_path / "in", tmp_path / "texts", require_text=True)[0]
    assert reasons(report) == {"transcript missing": 2}


def test_any_number_of_workers_writes_the_same_bytes(folder, tmp_path):
    (folder / "bad.wav").write_text("not audio")
    for workers in (1, 2):
        run(folder, tmp_path / f"out{workers}", workers=workers, holdout={"dev": 0.3})
    for split in ("train", "dev"):
        left, right = tmp_path / "out1" / split, tmp_path / "out2" / split
        names = sorted(p.name for p in left.iterdir())
        assert names == ["corpus.json", "index.npz", "report.json", "shard-00000.i16"]
        assert filecmp.cmpfiles(left, right, names, shallow=False)[0] == names


def test_held_out_splits_share_neither_audio_nor_sentence_and_stay_as_the_corpus_grows(
    folder, tmp_path
):
    reports = run(folder, tmp_path / "one", holdout={"dev": 0.3, "test": 0.2})
    assert list_splits(tmp_path / "one") == ["dev", "test", "train"]
    assert sum(r["utterances"] for r in reports) == 40
    assert all(not r["leaks"] for r in reports)
    before = {s: ids_of(tmp_path / "one", s) for s in ("dev", "test", "train")}
    put(folder / "new.wav", noise(1), text="A new one.")
    run(folder, tmp_path / "two", holdout={"dev": 0.3, "test": 0.2})
    assert all(before[s] <= ids_of(tmp_path / "two", s) for s in before)


def ids_of(out, split):
    corpus = open_corpus(f"{out}:{split}")
    return {corpus.id(i) for i in range(len(corpus))}


def test_a_holdout_without_transcripts_has_about_its_share():
    splits = [
        held_out_split("train", int(h), {"dev": 0.1})
        for h in RNG.integers(0, 2**64, 5_000, dtype=np.uint64)
    ]
    assert splits.count("dev") == pytest.approx(500, abs=80)


def test_content_shared_with_another_split_is_counted_and_kept(tmp_path, capsys):
    shared = noise(1)
    put(tmp_path / "train" / "a.wav", shared, text="Hello, world")
    put(tmp_path / "train" / "b.wav", noise(1), text="Other")
    put(tmp_path / "test" / "x.wav", shared, text="something else")
    put(tmp_path / "test" / "y.wav", noise(1), text="hello WORLD")
    run(tmp_path / "train", tmp_path / "out", split="train")
    report = run(tmp_path / "test", tmp_path / "out", split="test")[0]
    leaks = {leak["kind"]: leak for leak in report["leaks"]}
    assert (leaks["audio"]["count"], leaks["audio"]["examples"]) == (1, ["x.wav"])
    assert (leaks["transcript"]["count"], leaks["transcript"]["examples"]) == (1, ["y.wav"])
    assert report["utterances"] == 2
    assert "WARNING: 1 utterance shares its audio with split train" in capsys.readouterr().out


def test_the_source_may_name_the_splits(tmp_path):
    for name in ("a.wav", "b.wav", "c.wav"):
        put(tmp_path / "in" / name, noise(1))
    (tmp_path / "in" / "transcripts.tsv").write_text("a.wav\thi\tdev\tana\nb.wav\tho\n")
    run(tmp_path / "in", tmp_path / "out")
    assert ids_of(tmp_path / "out", "dev") == {"a.wav"}
    assert ids_of(tmp_path / "out", "train") == {"b.wav", "c.wav"}
    assert open_corpus(f"{tmp_path}/out:dev").speaker(0) == "ana"
    with pytest.raises(InputError, match=r"more than one split; use one of .*:dev, .*:train"):
        open_corpus(tmp_path / "out")
    with pytest.raises(InputError, match=r"no split 'test'; use one of"):
        open_corpus(f"{tmp_path}/out:test")
    assert len(open_corpus(tmp_path / "out" / "dev")) == 1


def test_a_split_that_exists_is_replaced_only_on_request(folder, tmp_path):
    run(folder, tmp_path / "out")
    with pytest.raises(InputError, match=r"out/train exists already; use --overwrite"):
        run(folder, tmp_path / "out")
    assert run(folder, tmp_path / "out", overwrite=True, min_seconds=0.4)[0]["utterances"] == 20
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["train"]


def test_splits_that_an_overwriting_run_does_not_replace_are_named(folder, tmp_path, capsys):
    out = tmp_path / "out"
    put(tmp_path / "other" / "a.wav", noise(1))
    for split in ("train", "train_1h", "dev"):
        run(folder, out, split=split)
    assert "stay as they" not in capsys.readouterr().out
    run(tmp_path / "other", out, overwrite=True)
    (line,) = [x for x in capsys.readouterr().out.splitlines() if "stay as they" in x]
    before = f"{out} has splits of other runs, which stay as they are: dev, train_1h"
    assert line == f"{before} (of folder:{folder})"


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_folder_that_is_no_split_is_never_replaced(folder, tmp_path, kind):
    place = tmp_path / "out" / "train"
    file = place / "a.wav" if kind == "folder" else place
    file.parent.mkdir(parents=True)
    file.write_text("recorded")
    with pytest.raises(InputError, match=r"out/train is no prepared split, and --overwrite would"):
        run(folder, tmp_path / "out", overwrite=True)
    assert file.read_text() == "recorded"


def test_nothing_usable_is_an_error_with_the_rejects_and_leaves_nothing(tmp_path):
    put(tmp_path / "in" / "zero.wav", np.zeros(16_000))
    put(tmp_path / "in" / "click.wav", noise(0.005))
    with pytest.raises(InputError, match=r"(?s)no usable utterance.*too short.*click.*silent"):
        run(tmp_path / "in", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupted_run_leaves_no_split_and_the_old_one_untouched(
    folder, tmp_path, monkeypatch
):
    run(folder, tmp_path / "out")
    before = (tmp_path / "out/train/index.npz").read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("w2v2_jax.prepare.prepare._write_reports", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out/train/index.npz").read_bytes() == before
    assert list_splits(tmp_path / "out") == ["train"]


def test_a_killed_run_leaves_neither_a_split_nor_workers(tmp_path):
    samples = noise(10, 44100)
    for k in range(64):
        put(tmp_path / "in" / f"{k}.wav", samples, 44100)
    command_line = [sys.executable, "-m", "w2v2_jax.prepare", "--workers", "2"]
    process = subprocess.Popen(
        [*command_line, "--source", f"folder:{tmp_path}/in", "--out", f"{tmp_path}/out"],
        stdout=subprocess.PIPE,
    )
    while not list(tmp_path.glob("out/.partial-*/spool/*.i16")):
        assert process.poll() is None
    process.kill()
    process.stdout.read()  # ends only when the workers, who share it, have ended too
    process.stdout.close()
    assert process.wait() == -9
    assert list_splits(tmp_path / "out") == []


def test_damaged_corpora_are_named(folder, tmp_path):
    with pytest.raises(InputError, match="no such directory"):
        open_corpus(tmp_path / "absent")
    with pytest.raises(InputError, match=r"make one with `w2v2 prepare`"):
        open_corpus(folder)
    run(folder, tmp_path / "out")
    index = tmp_path / "out/train/index.npz"
    index.write_bytes(index.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"index.npz: cut short"):
        open_corpus(tmp_path / "out")
    (tmp_path / "out/train/corpus.json").write_text("{}")
    with pytest.raises(InputError, match=r"corpus.json: unreadable"):
        open_corpus(tmp_path / "out")


def test_shards_are_bounded_and_no_utterance_spans_two(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "SHARD_BYTES", 60_000)
    run(folder, tmp_path / "out")
    shards = sorted((tmp_path / "out/train").glob("*.i16"))
    assert len(shards) > 5
    assert all(s.stat().st_size <= 60_000 for s in shards)
    corpus = open_corpus(tmp_path / "out")
    assert all(corpus.verify(i) for i in range(len(corpus)))


def test_the_command_prints_what_it_wrote_and_answers_bad_input_with_one_line(
    folder, tmp_path, capsys
):
    arguments = ["--source", f"folder:{folder}", "--out", str(tmp_path / "out"), "--workers", "1"]
    assert run_command(command.main, [*arguments, "--holdout", "dev=0.3"]) == 0
    assert f"wrote {tmp_path}/out/dev" in capsys.readouterr().out
    for more in (
        [],
        ["--holdout", "dev"],
        ["--holdout", "dev=1.5", "--overwrite"],
        ["--split", "a/b"],
        ["--source", f"folder:{tmp_path}/absent", "--overwrite"],
    ):
        assert run_command(command.main, [*arguments, *more]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.slow
def test_twenty_minutes_at_8_khz_take_bounded_memory(tmp_path):
    quiet = noise(60, 8000, level=0.01)
    (tmp_path / "in").mkdir()
    with soundfile.SoundFile(tmp_path / "in" / "long.wav", "w", 8000, 1) as file:
        for _ in range(20):
            file.write(quiet)
    code = (
        "import sys; from w2v2_jax.prepare.command import main;"
        "from w2v2_jax.bench.child import resident_peak_bytes;"
        "base = resident_peak_bytes(); main(sys.argv[1:]);"
        "print('GREW', (resident_peak_bytes() - base) // 1024)"
    )
    arguments = ["--source", f"folder:{tmp_path}/in", "--out", f"{tmp_path}/out", "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert int(done.stdout.split("GREW")[1]) < 60_000  # kB; the samples alone are 38 MB as int16
    corpus = open_corpus(tmp_path / "out")
    assert corpus.num_samples[0] == pytest.approx(20 * 60 * 16_000, abs=2)


def test_ids_pick_utterances_whatever_their_folder_and_suffix(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "audio" / "19").mkdir(parents=True)
    for name in ("19-198-0000", "19-198-0001", "26-495-0002"):
        samples = 0.1 * random.standard_normal(16000)
        soundfile.write(tmp_path / "audio" / "19" / f"{name}.flac", samples, 16000)
    (tmp_path / "ids.txt").write_text("19-198-0001\n1h/26-495-0002.flac\n")
    options = ["--source", f"folder:{tmp_path / 'audio'}", "--out", str(tmp_path / "out")]
    command.main([*options, "--ids", str(tmp_path / "ids.txt"), "--workers", "1"])
    corpus = open_corpus(tmp_path / "out")
    assert sorted(corpus.id(i)[3:14] for i in range(len(corpus))) == ["19-198-0001", "26-495-0002"]
    (tmp_path / "ids.txt").write_text("")
    assert run_command(command.main, [*options, "--ids", str(tmp_path / "ids.txt")]) == 2


@pytest.mark.parametrize(
    ("wanted", "used", "unmet"),
    [
        ("s0/000.wav s0/001", "s0/000 s0/001", ""),  # all of s1 came too
        ("./s1/000.wav", "s1/000", ""),
        ("train/audio/s0/000.flac", "s0/000", ""),  # the source is a folder of what the list is of
        ("000", "s0/000 s1/000", ""),
        ("s9/000 s0/001", "s0/001", "s9/000"),
        ("s9/once.ogg", "s1/once", ""),
    ],
)
@pytest.mark.parametrize("resumable", [False, True])
def test_ids_with_a_folder_pick_no_others_of_that_name(tmp_path, wanted, used, unmet, resumable):
    random = np.random.default_rng(0)
    for name in ("s0/000", "s0/001", "s1/000", "s1/001", "s1/once"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        samples = 0.1 * random.standard_normal(16000)
        soundfile.write(tmp_path / "in" / f"{name}.wav", samples, 16000)
    (tmp_path / "ids").write_text("\n".join(wanted.split()))
    options = ["--source", f"folder:{tmp_path / 'in'}", "--out", str(tmp_path / "out")]
    options += ["--ids", str(tmp_path / "ids"), "--workers", "1", *["--resumable"] * resumable]
    command.main(options)
    corpus = open_corpus(tmp_path / "out")
    assert sorted(corpus.id(i)[:-4] for i in range(len(corpus))) == used.split()
    report = json.loads((tmp_path / "out/train/report.json").read_text())
    assert report["intake"]["seen"] == 5
    remarks = report["intake"]["remarks"].get("--ids: no such utterance", {"examples": []})
    assert remarks["examples"] == unmet.split()


@pytest.mark.parametrize("at_once", [1, 4, 4096])
def test_speaker_numbers_follow_the_name_alone(monkeypatch, at_once):
    monkeypatch.setattr(string_hashes, "HASHED", at_once)
    names = ["ab", "ba", "", "ab", "b", "ä"]
    blob = np.frombuffer("".join(names).encode(), np.uint8)
    ends = np.cumsum([len(name.encode()) for name in names])
    numbers = string_hashes.string_hashes(blob, ends)
    assert numbers[0] == numbers[3]
    assert len(set(numbers.tolist())) == 5
