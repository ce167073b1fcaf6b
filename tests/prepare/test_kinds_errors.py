"""What is wrong in a source is one line that names the place, or is counted; nothing is lost."""

import json
import sys

import pytest

from tests.helpers.prepare_cases import OPTIONS
from tests.helpers.source_cases import CASES, lines, objects, put
from w2v2_jax import __main__ as w2v2
from w2v2_jax.data.audio import AudioError
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.clips import content
from w2v2_jax.prepare.prepare import prepare
from w2v2_jax.prepare.rows import Once, csv_rows, inside, split_in_name, unquoted
from w2v2_jax.prepare.sources import open_source, resolve

PLAIN = OPTIONS | {"holdout": {}}


def read(place, **options):
    return {u.id: u for u in open_source(str(place), **options)}


def refused(place, match, **options):
    with pytest.raises(InputError, match=match) as error:
        read(place, **options)
    assert "\n" not in str(error.value)


def test_a_name_of_a_kind_that_is_not_known_lists_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="--as 'x' is unknown; use one of folder, manifest, tfds"):
        resolve(str(tmp_path), "x")
    with pytest.raises(InputError, match=r"--as kaldi: --source 'manifest:a' says manifest"):
        resolve("manifest:a", "kaldi")


@pytest.mark.parametrize("kind", sorted({name.split("-")[0] for name in CASES} - {"folder"}))
def test_a_folder_that_is_none_of_a_kind_is_refused_in_one_line(kind, tmp_path):
    put(tmp_path / "a.wav", 0)
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    refused(f"{kind}:{tmp_path}", str(tmp_path))


def test_a_single_recording_is_no_source(tmp_path):
    put(tmp_path / "a.wav", 0)
    refused(tmp_path / "a.wav", "is one recording; name its folder")
    (tmp_path / "notes").write_text("x")
    refused(tmp_path / "notes", "not a known kind of source; known are folder: .*kaldi: wav.scp")


@pytest.mark.parametrize("missing", ["path", "sentence"])
def test_common_voice_names_a_column_that_is_missing(tmp_path, missing):
    (tmp_path / "clips").mkdir()
    names = [n for n in ("client_id", "path", "sentence") if n != missing]
    lines(tmp_path / "train.tsv", "\t".join(names), "a\tb")
    refused(tmp_path, rf"train.tsv:2: no column '{missing}'; there are {', '.join(names)}")


def test_common_voice_needs_its_clips(tmp_path):
    lines(tmp_path / "train.tsv", "client_id\tpath\tsentence", "a\tb.mp3\tc")
    refused(tmp_path, r"clips: no such folder")


def test_common_voice_takes_marks_line_ends_quotes_and_paths_without_suffix(tmp_path):
    (tmp_path / "clips").mkdir()
    for name in ("a.mp3", "b.mp3"):
        (tmp_path / "clips" / name).write_bytes(b"")
    rows = [
        "client_id\tpath\tsentence\tlocale",
        's\ta\t"He said ""no"""\tcy',
        's\tb.mp3\t"Hi" \tcy',
    ]
    (tmp_path / "dev.tsv").write_bytes(("\ufeff" + "\r\n".join(rows) + "\r\n\r\n").encode())
    read_rows = read(tmp_path)
    assert {name: u.text.strip() for name, u in read_rows.items()} == {
        "a.mp3": 'He said "no"', "b.mp3": '"Hi"',
    }  # fmt: skip
    assert {(u.split, u.language) for u in read_rows.values()} == {("dev", "cy")}


def test_common_voice_of_several_languages_is_read_folder_by_folder(tmp_path):
    for language in ("cy", "eu"):
        CASES["common_voice"](tmp_path / language)
    utterances = read(tmp_path)
    assert len(utterances) == 12 and "eu/common_voice_cy_0.mp3" in utterances
    (tmp_path / "eu/train.tsv").write_text("path\tsentence\ncommon_voice_cy_0.mp3\tbat\n")
    assert read(tmp_path)["eu/common_voice_cy_0.mp3"].language == "eu"
    (tmp_path / "cv-21").mkdir()
    (tmp_path / "eu").rename(tmp_path / "cv-21/eu")
    assert read(tmp_path)["cv-21/eu/common_voice_cy_0.mp3"].language == "eu"


@pytest.mark.parametrize("kind", sorted({"common_voice", "metadata", "ljspeech", "timit", "nemo"}))
def test_the_folder_that_an_archive_unpacks_to_is_looked_into(kind, tmp_path):
    rows = CASES[kind](tmp_path / "release-1.0")
    resolved = resolve(str(tmp_path))
    assert resolved.kind == kind
    assert sorted(u.text for u in read(tmp_path).values()) == sorted(row.text for row in rows)
    put(tmp_path / "a.wav", 0)
    if kind == "ljspeech":
        assert resolve(str(tmp_path)) == ("folder", str(tmp_path), "")


def test_lists_in_folders_of_splits_are_read(tmp_path):
    for split in ("train", "test"):
        objects(tmp_path / split / "manifest.jsonl", {"audio_filepath": f"{split}.wav"})
    assert [u.split for u in read(tmp_path).values()] == ["test", "train"]


def test_a_clip_that_is_missing_is_rejected_and_one_without_a_row_passed_over(tmp_path):
    CASES["common_voice"](tmp_path / "in")
    (tmp_path / "in/clips/common_voice_cy_2.mp3").unlink()
    prepare(f"{tmp_path}/in", tmp_path / "out", **PLAIN)
    intake = json.loads((tmp_path / "out/train/report.json").read_text())["intake"]
    assert intake["rejected"] == 1
    passed = intake["passed_over"]
    assert passed["no line names it"]["examples"] == ["clips/common_voice_cy_6.mp3"]
    assert passed["in another table too"]["count"] == 4


@pytest.mark.parametrize("kind", ["common_voice", "metadata", "ljspeech", "nemo", "kaldi"])
def test_two_texts_of_one_id_are_refused_and_the_same_row_twice_is_counted(kind, tmp_path):
    CASES[kind](tmp_path)
    path = {
        "common_voice": "train.tsv", "metadata": "train/metadata.csv", "ljspeech": "metadata.csv",
        "nemo": "train_manifest.json", "kaldi": "data/train/text",
    }[kind]  # fmt: skip
    content = (tmp_path / path).read_text("utf-8").splitlines()
    lines(tmp_path / path, *content, content[-1])
    account = Account()
    before = len(read(f"{kind}:{tmp_path}", account=account))
    twice = account.passed_over.counts["line twice"] + account.remarks.counts["line twice"]
    assert twice == 1 and before == len(CASES[kind](tmp_path))
    old = {"ljspeech": "two", "kaldi": "THREE", "nemo": "rest", "metadata": "two"}.get(kind, "dau")
    lines(tmp_path / path, *content, content[-1].replace(old, "other"))
    refused(f"{kind}:{tmp_path}", rf"{len(content) + 1}: '.*; keep one")


def test_a_comma_outside_of_quotes_is_named_with_its_line(tmp_path):
    lines(tmp_path / "metadata.csv", "file_name,text", 'a.wav,"x, y"', "b.wav,x, y")
    refused(tmp_path, r"metadata.csv:3: 3 fields for the 2 columns.*put a text with a comma")
    lines(tmp_path / "metadata.csv", "file_name,text", 'a.wav,"never ends', "b.wav,x")
    refused(tmp_path, r"metadata.csv:3: .*correct the quotes")


def test_a_table_may_have_any_of_the_usual_columns_and_say_the_split(tmp_path):
    rows = ["path,sentence,split", f"{tmp_path}/x/a.wav,one,dev", "x\\b.wav,two,"]
    (tmp_path / "metadata.csv").write_bytes(("\ufeff" + "\r\n".join(rows)).encode())
    found = read(tmp_path)
    assert [(u.id, u.text, u.split) for u in found.values()] == [
        ("x/a.wav", "one", "dev"), ("x/b.wav", "two", None),
    ]  # fmt: skip
    (tmp_path / "metadata.csv").unlink()
    lines(tmp_path / "train.csv", "audio,text", "x/a.wav,one")
    lines(tmp_path / "test.csv", "audio,text", "x/b.wav,two")
    assert {u.id: u.split for u in read(tmp_path).values()} == {
        "x/a.wav": "train", "x/b.wav": "test",
    }  # fmt: skip


def test_a_table_at_the_top_takes_splits_from_the_folders_of_its_files(tmp_path):
    names = ("train/a.wav", "test/x/b.wav", "c.wav")
    lines(tmp_path / "metadata.csv", "file_name,text", *(f"{name},x" for name in names))
    assert [u.split for u in read(tmp_path).values()] == ["train", "test", None]


@pytest.mark.parametrize("path", ["../a.wav", "/etc/a.wav", "x/../../a.wav", ""])
def test_a_row_that_leads_out_of_its_folder_is_refused(tmp_path, path):
    lines(tmp_path / "metadata.csv", "file_name,text", f"{path},x")
    refused(f"metadata:{tmp_path}", r"metadata.csv:2: .* is not a file below the folder")


def test_a_table_without_texts_is_remarked(tmp_path):
    put(tmp_path / "a.wav", 0)
    lines(tmp_path / "metadata.csv", "file_name,label", "a.wav,dog")
    account = Account()
    read(tmp_path, account=account)
    assert account.remarks.counts["no column of texts"] == 1


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ("[1]", "expected one JSON object per line"),
        ("{", "not JSON"),
        ('{"text": "x"}', "no column 'audio_filepath'; there are text"),
        ('{"audio_filepath": 3}', "it must be a path"),
        (
            '{"audio_filepath": "a.wav", "offset": -1}',
            "offset is -1; it must be a number of at least 0",
        ),
        ('{"audio_filepath": "a.wav", "duration": "long"}', "duration is 'long'"),
        ('{"audio_filepath": "a.wav", "duration": NaN}', "duration is nan"),
        ('{"audio_filepath": "http://x/a.wav"}', "not a path on this machine"),
    ],
)
def test_a_bad_row_of_nemo_is_named_with_its_line(tmp_path, row, match):
    lines(tmp_path / "m.json", '{"audio_filepath": "a.wav"}', row)
    refused(f"nemo:{tmp_path}", rf"m.json:2: .*{match}")


@pytest.mark.parametrize(
    ("file", "content", "match"),
    [
        ("wav.scp", "r sph2pipe -f wav a.sph |", "wav.scp:1: .*is a command, which is not run"),
        ("wav.scp", "r data/raw.ark:1234", "wav.scp:1: .*is in an archive"),
        ("segments", "u r 0.5", "segments:1: expected utterance recording start end"),
        ("segments", "u x 0 1", "segments:1: no recording 'x' in wav.scp"),
        ("segments", "u r 1.5 1", "segments:1: the segment ends at 1 s and begins at 1.5 s"),
        ("segments", "u r a 1", "segments:1: the start is 'a'"),
        ("segments", "u r 0 1 Z", "segments:1: channel 'Z'"),
    ],
)
def test_what_is_wrong_in_a_data_directory_is_named_with_its_line(tmp_path, file, content, match):
    put(tmp_path / "a.wav", 0)
    lines(tmp_path / "wav.scp", "r a.wav")
    lines(tmp_path / file, content)
    refused(tmp_path, match)


def test_kaldi_counts_recordings_without_a_segment_and_texts_without_an_utterance(tmp_path):
    put(tmp_path / "a.wav", 0)
    lines(tmp_path / "wav.scp", "r a.wav", "s b.wav")
    lines(tmp_path / "segments", "u r 0 0.1")
    lines(tmp_path / "text", "gone WORDS")
    account = Account()
    assert read(tmp_path, account=account)["u"].text is None
    assert account.passed_over.counts["no segment names it"] == 1
    assert account.remarks.counts == {"no line in text": 1, "text: no such utterance": 1}


def test_a_segment_outside_of_its_recording_is_rejected(tmp_path):
    put(tmp_path / "in/a.wav", 0, 1.0)
    lines(tmp_path / "in/wav.scp", "r a.wav")
    spans = ["a r 0.2 0.6", "b r 0.5 1.3", "c r 0.5 1.7", "d r 2 3"]
    lines(tmp_path / "in/segments", *spans)
    prepare(f"{tmp_path}/in", tmp_path / "out", **PLAIN)
    report = json.loads((tmp_path / "out/train/report.json").read_text())
    assert report["rejects"] == {
        "outside the recording": {
            "count": 2,
            "examples": [
                "c: outside the recording (0.50 to 1.70 s of a recording of 1.00 s)",
                "d: outside the recording (2.00 to 3.00 s of a recording of 1.00 s)",
            ],
        }
    }
    assert open_corpus(tmp_path / "out").num_samples.tolist() == [6400, 8000]


def test_a_slice_that_its_file_does_not_have_is_rejected_with_the_reason(tmp_path):
    CASES["manifest"](tmp_path / "in")
    lines(tmp_path / "in/valid.tsv", "audio", "some.zip:9000:9000\t1", "gone.zip:0:9\t1")
    (tmp_path / "in/valid.wrd").unlink()
    prepare(f"{tmp_path}/in", tmp_path / "out", **PLAIN)
    report = json.loads((tmp_path / "out/train/report.json").read_text())
    assert report["intake"]["rejected"] == 2
    (cut, gone) = (u.audio for u in read(f"{tmp_path}/in/valid.tsv").values())
    with pytest.raises(AudioError, match=r"truncated .*has no 9000 bytes from byte 9000 on"):
        content(cut, "x")
    with pytest.raises(AudioError, match=r"unreadable .*gone.zip: no such file"):
        content(gone, "x")


@pytest.mark.parametrize("line", ["a", "|x", "a|b|c|d", "../a|b"])
def test_a_bad_row_of_ljspeech_is_named_with_its_line(tmp_path, line):
    lines(tmp_path / "metadata.csv", "x|fine", line)
    refused(f"ljspeech:{tmp_path}", r"metadata.csv:2: ")


@pytest.mark.parametrize(
    ("phones", "text"),
    [("61", "h# sh ix q tcl"), ("48", "sil sh ix cl"), ("39", "sil sh ih sil")],
)
def test_phones_of_timit_are_folded_on_request(tmp_path, phones, text):
    CASES["timit"](tmp_path)
    assert {u.text for u in read(tmp_path, phones=phones).values()} == {text}
    refused(f"timit:{tmp_path}", r"--phones '40': use one of 61, 48, 39", phones="40")


def test_a_bad_line_of_phones_is_named(tmp_path):
    CASES["timit"](tmp_path)
    path = tmp_path / "TRAIN/DR1/FCJF0/SX37.PHN"
    path.write_text("0 50 h#\n50 sh\n")
    refused(tmp_path, r"SX37.PHN:2: expected first, last sample, phone")
    path.write_text("0 50 zz\n")
    refused(tmp_path, r"'zz' is not a TIMIT phone", phones="39")


def test_a_second_form_of_a_timit_recording_is_passed_over(tmp_path):
    CASES["timit"](tmp_path)
    put(tmp_path / "TRAIN/DR1/FCJF0/SX37.WAV.wav", 9)
    account = Account()
    assert len(read(tmp_path, account=account)) == 3
    assert account.passed_over.counts["a recording in another form too"] == 1


def test_libritts_counts_recordings_without_a_text_and_texts_without_a_recording(tmp_path):
    CASES["libritts"](tmp_path)
    (tmp_path / "dev-clean/19/198/19_198_000001_000000.wav").unlink()
    (tmp_path / "train-clean-100/19/198/19_198_000000_000000.normalized.txt").unlink()
    account = Account()
    (utterance,) = open_source(f"libritts:{tmp_path}", account=account)
    assert utterance.text is None
    assert account.remarks.counts == {
        "no .normalized.txt beside it": 1, "a text without audio of its name": 1,
    }  # fmt: skip


def test_mls_rejects_a_line_without_a_recording_and_refuses_other_lines(tmp_path):
    CASES["mls"](tmp_path)
    table = tmp_path / "mls_polish_opus/dev/transcripts.txt"
    lines(table, "7_81_000001\tdzień 1", "7_81_000001\tdzień 1", "7_81_000002\tnigdzie")
    account = Account()
    paths = [u.audio for u in open_source(f"mls:{tmp_path}/mls_polish_opus", account=account)]
    assert paths[1].endswith("dev/audio/7/81/7_81_000002.flac")
    assert account.passed_over.counts["line twice"] == 1
    assert account.passed_over.counts["no line names it"] == 1
    for line in ("../../x\tword", "7_81_000001 dzień"):
        lines(table, line)
        refused(f"mls:{tmp_path}/mls_polish_opus", r"transcripts\.txt:1: expected SPEAKER_BOOK_NUM")
    lines(table, "7_81_000001\tone", "7_81_000001\ttwo")
    refused(f"mls:{tmp_path}/mls_polish_opus", r"txt:2: '7_81_000001' has other values at")


def test_a_recording_beside_the_subsets_never_joins_them_unannounced(tmp_path):
    CASES["librispeech"](tmp_path)
    put(tmp_path / "mine/a.flac", 5)
    account = Account()
    assert read(tmp_path, account=account)["mine/a.flac"].split is None
    assert account.remarks.counts["in no subset's folder"] == 1
    (utterance,) = read(f"folder:{tmp_path}/dev-clean").values()
    assert utterance.split == "dev-clean"


def test_cuts_that_cannot_be_read_are_passed_over_with_the_reason(tmp_path):
    CASES["lhotse"](tmp_path)
    path = tmp_path / "more_cuts.jsonl"
    cut = {"id": "x", "start": 0, "duration": 1, "type": "MonoCut", "supervisions": []}
    source = {"type": "command", "channels": [0], "source": "sox x.sph -t wav - |"}
    made = {"id": "r", "sources": [source], "sampling_rate": 16000}
    file = {"type": "file", "channels": [0], "source": "a.wav"}
    fast = made | {"sources": [file], "transforms": [{"name": "Speed"}]}
    objects(path, cut | {"recording": made}, cut | {"id": "y", "recording": fast})
    account = Account()
    assert not read(path, account=account)
    assert account.passed_over.counts == {
        "lhotse: source of the type command": 1, "lhotse: recording to be transformed": 1,
    }  # fmt: skip
    objects(path, {**cut, "start": "now", "recording": made})
    refused(path, r"more_cuts.jsonl:1: start is 'now'")


def test_a_damaged_archive_and_a_damaged_table_are_one_line(tmp_path):
    pytest.importorskip("pyarrow")
    for name in ("a.tar.gz", "b.parquet", "c.arrow"):
        (tmp_path / name).write_bytes(b"not this" * 99)
        refused(tmp_path / name, rf"{name}: cannot be read")


def test_without_pyarrow_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    refused(tmp_path, r"pip install .w2v2_jax\[parquet\].")


@pytest.mark.parametrize("name", ["a.csv", "b/words.lab", "text", "alone.txt", "c.TextGrid"])
def test_texts_beside_the_audio_that_nothing_reads_are_named_in_one_line(tmp_path, capsys, name):
    put(tmp_path / "in/a.wav", 0)
    (tmp_path / "in/b").mkdir()
    (tmp_path / "in" / name).write_text("some words\n")
    prepare(f"folder:{tmp_path}/in", tmp_path / "out", **PLAIN)
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "WARNING" in line]
    assert "no transcripts: texts that were not understood: 1 " in told and name in told
    assert "transcripts are read from transcripts.tsv" in told
    report = json.loads((tmp_path / "out/train/report.json").read_text())
    assert sum(e["count"] for e in report["intake"]["texts_not_understood"].values()) == 1


@pytest.mark.parametrize(
    ("name", "split"),
    [("train", "train"), ("an4_train_manifest", "train"), ("librispeech_cuts_dev-clean-2",
      "dev-clean-2"), ("train-00000-of-00004", "train"), ("training", None), ("recall", None),
     ("validation", "validation"), ("metadata", None), ("test.other", "test.other")],
)  # fmt: skip
def test_the_split_that_a_file_is_named_after(name, split):
    assert split_in_name(name) == split


def test_helpers_of_tables(tmp_path):
    assert unquoted('"a ""b"" c"') == 'a "b" c' and unquoted('"a"') == '"a"'
    assert inside(tmp_path, "./x//y.wav", "p") == "x/y.wav"
    path = tmp_path / "t.tsv"
    path.write_text("a\tb\n\n1\t2\n")
    assert list(csv_rows(path, delimiter="\t")) == [(3, {"a": "1", "b": "2"})]
    once = Once(Account())
    assert once("x", 1, "f:1") and not once("x", 1, "f:2")


@pytest.mark.parametrize("text", [["a", "b"], {"en": "hello"}, True])
def test_what_is_no_text_of_a_table_is_refused_with_its_line(tmp_path, text):
    put(tmp_path / "a.wav", 0)
    objects(tmp_path / "metadata.jsonl", {"file_name": "a.wav", "transcription": text})
    refused(tmp_path, r"metadata\.jsonl:1: .* is not a text")


def test_a_text_that_is_no_number_is_none(tmp_path):
    put(tmp_path / "a.wav", 0)
    lines(tmp_path / "metadata.jsonl", '{"file_name": "a.wav", "transcription": NaN}')
    assert read(tmp_path)["a.wav"].text is None


def test_an_offset_beyond_any_recording_is_refused_with_its_line(tmp_path):
    put(tmp_path / "a.wav", 0)
    objects(tmp_path / "a.json", {"audio_filepath": "a.wav", "text": "x", "offset": 1e308})
    refused(
        f"nemo:{tmp_path}/a.json",
        r"a\.json:1: offset is 1e\+308; it must be a number of at least 0",
    )


@pytest.mark.parametrize("channel", [-1, 1.5, True, "left"])
def test_a_channel_of_nemo_that_is_none_is_refused_with_its_line(tmp_path, channel):
    put(tmp_path / "a.wav", 0)
    row = {"audio_filepath": "a.wav", "text": "x", "channel_selector": channel}
    objects(tmp_path / "a.json", row)
    refused(f"nemo:{tmp_path}/a.json", r"a\.json:1: channel_selector is .* a number from 0")
    objects(tmp_path / "a.json", row | {"channel_selector": "average"})
    assert read(f"nemo:{tmp_path}/a.json")["a.wav"].audio.channel is None


def test_speakers_in_the_third_field_are_no_normalised_texts(tmp_path):
    for k in range(4):
        put(tmp_path / "wavs" / f"{k}.wav", k)
    rows = [f"wavs/{k}.wav|said {k}|spk{k % 2}" for k in range(4)]
    lines(tmp_path / "metadata.csv", *rows)
    refused(f"ljspeech:{tmp_path}", "the third field, such as 'spk0', recurs")
    lines(tmp_path / "metadata.csv", *(f"{k}|said {k}|spoken {k}" for k in range(4)))
    assert read(f"ljspeech:{tmp_path}")["wavs/2.wav"].text == "spoken 2"


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_a_least_length_that_is_none_is_refused(tmp_path, seconds):
    put(tmp_path / "a.wav", 0)
    with pytest.raises(InputError, match="--min-seconds"):
        prepare(f"folder:{tmp_path}", tmp_path / "out", **PLAIN | {"min_seconds": seconds})


def test_the_split_that_is_taken_from_is_none_to_hold_out(tmp_path):
    put(tmp_path / "a.wav", 0)
    with pytest.raises(
        InputError, match="--holdout train: this is the split from which the share is taken"
    ):
        prepare(f"folder:{tmp_path}", tmp_path / "out", **PLAIN | {"holdout": {"train": 0.2}})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--holdout dev=1.5", "--holdout dev=1.5: shares must be above 0 and add up to less than"),
        ("--holdout dev=0.6 --holdout test=0.5", "--holdout dev=0.6, test=0.5: shares must be"),
        ("--holdout dev=0.1 --holdout dev=0.2", "--holdout dev is given twice; give each split"),
        ("--holdout dev", "--holdout 'dev': use NAME=SHARE, like dev=0.05"),
        ("--phones 60", "argument --phones: invalid choice: '60' (choose from"),
        ("--source foldr:x", "--source 'foldr:x' is unknown; did you mean folder:x?"),
    ],
)
def test_values_that_are_none_are_told_as_they_were_given(tmp_path, options, told, capsys):
    source = [] if "--source" in options else ["--source", str(tmp_path)]
    line = ["prepare", *source, "--out", str(tmp_path / "out"), *options.split()]
    assert w2v2.main(line) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1 and "{" not in said
