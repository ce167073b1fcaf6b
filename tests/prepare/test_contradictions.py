"""What two places of a source say of one recording, and cells that stand for nothing, are told."""

import tarfile

import pytest

from tests.helpers.prepare_cases import OPTIONS
from tests.helpers.source_cases import lines, objects, put
from w2v2_jax.bench import command as bench
from w2v2_jax.data.corpus import open_corpus
from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Account
from w2v2_jax.prepare.prepare import prepare
from w2v2_jax.prepare.source_metadata import WHOLE
from w2v2_jax.prepare.sources import open_source
from w2v2_jax.prepare.transcripts import MISSING_TEXT, SHARED_TEXT, UNQUOTED

PLAIN = OPTIONS | {"holdout": {}}


def read(place):
    """Texts by id, and the counts of what the account was told."""
    account = Account()
    texts = {u.id: u.text for u in open_source(str(place), account=account)}
    return texts, dict(account.remarks.counts)


def test_quotes_of_csv_in_a_tab_separated_table_are_taken_off_and_told(tmp_path):
    for name in ("a.wav", "b.wav", "c.wav"):
        put(tmp_path / name, 0)
    rows = ('a.wav\t"She said ""no"""', '"b.wav"\t"two"', 'c.wav\t"a quotation"')
    lines(tmp_path / "transcripts.tsv", *rows)
    texts, remarks = read(tmp_path)
    assert texts == {"a.wav": 'She said "no"', "b.wav": "two", "c.wav": '"a quotation"'}
    assert remarks == {UNQUOTED: 2}


def test_an_empty_field_between_quotes_is_no_text(tmp_path):
    put(tmp_path / "a.wav", 0)
    lines(tmp_path / "transcripts.tsv", 'a.wav\t""')
    assert read(tmp_path) == ({"a.wav": ""}, {UNQUOTED: 1})


KEPT = ('"He said', 'no" she said', '"all"', '"a ""b"""', "nan", "null", "NA", "None", '""')


@pytest.mark.parametrize("kind", ["mls", "libritts"])
def test_a_corpus_of_plain_lines_has_no_quoting_and_no_missing_cells(tmp_path, kind):
    where = tmp_path / ("dev" if kind == "mls" else "dev-clean")
    for k, text in enumerate(KEPT):
        put(where / ("audio" if kind == "mls" else "") / "1" / "2" / f"1_2_{k}.wav", k)
        if kind == "libritts":
            lines(where / "1" / "2" / f"1_2_{k}.normalized.txt", text)
    if kind == "mls":
        lines(where / "transcripts.txt", *(f"1_2_{k}\t{text}" for k, text in enumerate(KEPT)))
    texts, remarks = read(f"{kind}:{tmp_path}")
    assert tuple(texts[name] for name in sorted(texts)) == KEPT and not remarks


MISSING = ("nan", "NaN", "<NA>", "None", "null")


@pytest.mark.parametrize("table", ["transcripts.tsv", "metadata.csv", "train.json", "bars"])
def test_cells_that_stand_for_nothing_are_no_texts_and_are_told(tmp_path, table):
    for k in range(len(MISSING) + 1):
        put(tmp_path / f"{k}.wav", k)
    texts = (*MISSING, "nancy")
    if table == "train.json":
        rows = ({"audio_filepath": f"{k}.wav", "text": text} for k, text in enumerate(texts))
        objects(tmp_path / table, *rows)
    else:
        sign = {"transcripts.tsv": "\t", "metadata.csv": ",", "bars": "|"}[table]
        head = ["file_name,text"] if sign == "," else []
        table = "metadata.csv" if sign == "|" else table
        lines(tmp_path / table, *head, *(f"{k}.wav{sign}{t}" for k, t in enumerate(texts)))
    texts, remarks = read(tmp_path)
    assert [text for text in texts.values() if text] == ["nancy"]
    assert remarks == {MISSING_TEXT: len(MISSING)}


def test_a_parquet_cell_that_stands_for_nothing_is_told_with_its_row(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    audio = [{"bytes": b"x", "path": f"{k}.flac"} for k in range(2)]
    table = arrow.table({"audio": audio, "text": ["nan", "one"]})
    parquet.write_table(table, tmp_path / "train.parquet")
    texts, remarks = read(tmp_path)
    assert texts == {"0.flac": None, "1.flac": "one"} and remarks == {MISSING_TEXT: 1}


def test_of_the_same_audio_with_two_texts_it_is_said_whose_text_stays(tmp_path):
    folder = tmp_path / "in"
    for name, text in (("a", "one"), ("b", "two"), ("c", "one"), ("d", "")):
        put(folder / f"{name}.wav", 0)
        (folder / f"{name}.txt").write_text(text)
    (report,) = prepare(f"folder:{folder}", tmp_path / "out", **PLAIN)
    assert list(open_corpus(tmp_path / "out:train").texts()) == ["one"]
    examples = {reason: entry["examples"] for reason, entry in report["rejects"].items()}
    assert examples == {
        "duplicate with another text": ["b.wav: same audio as a.wav, whose text stays, not 'two'"],
        "duplicate": ["c.wav: same audio as a.wav", "d.wav: same audio as a.wav"],
    }


@pytest.mark.parametrize("packed", [False, True])
def test_a_text_beside_two_recordings_of_its_name_is_told(tmp_path, packed):
    folder = tmp_path / "in"
    for k, name in enumerate(("a.wav", "a.flac", "b.wav")):
        put(folder / name, k)
    (folder / "a.txt").write_text("one")
    (folder / "b.txt").write_text("two")
    if packed:
        with tarfile.open(tmp_path / "in.tar", "w") as archive:
            for path in folder.iterdir():
                archive.add(path, path.name)
    texts, remarks = read(tmp_path / "in.tar" if packed else folder)
    assert texts == {"a.flac": "one", "a.wav": "one", "b.wav": "two"}
    assert remarks == {SHARED_TEXT: 2}


def test_a_manifest_tells_other_lengths_and_labels_that_differ(tmp_path):
    put(tmp_path / "a.wav", 0)
    put(tmp_path / "b.wav", 1)
    lines(tmp_path / "train.tsv", tmp_path, "a.wav\t3200", "b.wav\t9999")
    lines(tmp_path / "train.wrd", "ONE", "TWO TWO")
    lines(tmp_path / "train.ltr", "O N E |", "T O O |")
    (report,) = prepare(f"manifest:{tmp_path}/train.tsv", tmp_path / "out", **PLAIN)
    assert report["remarks"] == {
        "other length than its list says": {"count": 1, "examples": ["b.wav"]}
    }
    labels = {"count": 1, "examples": [f"{tmp_path}/train.wrd:2: TWO TWO"]}
    assert report["intake"]["remarks"] == {"not the words of train.ltr": labels}


def test_an_empty_split_and_no_worker_are_refused(tmp_path):
    put(tmp_path / "in/a.wav", 0)
    for option, value, match in (("split", "", "split ''"), ("workers", 0, "--workers 0")):
        with pytest.raises(InputError, match=match):
            prepare(f"folder:{tmp_path}/in", tmp_path / "out", **PLAIN | {option: value})
    with pytest.raises(InputError, match="--workers must be at least 1"):
        bench.main(["--what", "data", "--workers", "0", "--json", str(tmp_path / "x.json")])


def test_half_of_a_surrogate_pair_is_dropped_and_told_and_the_corpus_is_written(tmp_path):
    put(tmp_path / "a.wav", 0)
    row = '{"audio_filepath": "a.wav", "text": "x \\ud83d y", "speaker": "s\\ud83d"}\n'
    (tmp_path / "train.json").write_text(row)
    (report,) = prepare(f"nemo:{tmp_path}", tmp_path / "out", **PLAIN)
    corpus = open_corpus(tmp_path / "out" / "train")
    assert corpus.text(0) == "x y" and corpus.speaker(0) == "s\\ud83d"
    (told,) = report["remarks"]["U+D83D dropped"]["examples"]
    assert told == "a.wav: half of a surrogate pair"


def test_paths_of_a_table_are_the_same_however_they_are_spelled(tmp_path):
    for name in ("a.wav", "b/c.wav", "d.wav"):
        put(tmp_path / name, 0)
    lines(tmp_path / "transcripts.tsv", ".//a.wav\tone", "b//./c.wav\ttwo", f"{tmp_path}/d.wav\tx")
    assert read(tmp_path) == ({"a.wav": "one", "b/c.wav": "two", "d.wav": "x"}, {})
    lines(tmp_path / "transcripts.tsv", "/elsewhere/a.wav\tone")
    with pytest.raises(InputError, match=r"'/elsewhere/a.wav' lies outside the folder"):
        read(tmp_path)


@pytest.mark.parametrize("names", ["path\ttext", "File\tTranscript\tsplit\tspeaker"])
def test_a_first_line_that_names_columns_is_no_recording(tmp_path, names):
    put(tmp_path / "a.wav", 0)
    lines(tmp_path / "transcripts.tsv", names, "a.wav\tone")
    assert read(tmp_path) == ({"a.wav": "one"}, {"a first line that names columns": 1})


@pytest.mark.parametrize("names", ["path\tspeaker\ttext", "path\ttext\tclient_id\tsplit"])
def test_a_first_line_that_names_other_columns_is_refused(tmp_path, names):
    put(tmp_path / "a.wav", 0)
    lines(tmp_path / "transcripts.tsv", names, "a.wav\tana\tone")
    with pytest.raises(InputError, match=r"tsv:1: the columns .* are not path<TAB>text"):
        read(tmp_path)


@pytest.mark.parametrize("columns", ["file_name,text,text", "file_name,text,Text"])
def test_two_columns_of_one_name_are_refused(tmp_path, columns):
    put(tmp_path / "a.wav", 0)
    lines(tmp_path / "metadata.csv", columns, "a.wav,one,two")
    with pytest.raises(InputError, match=r"metadata.csv:1: two columns are called 'text'"):
        read(tmp_path)


def test_columns_that_cut_a_recording_are_told(tmp_path):
    put(tmp_path / "a.wav", 0)
    lines(tmp_path / "metadata.csv", "file_name,text,start,end", "a.wav,one,0.1,0.5")
    texts, remarks = read(tmp_path)
    assert texts == {"a.wav": "one"} and remarks == {WHOLE: 1}


def test_each_object_of_json_lines_has_its_own_keys(tmp_path):
    for k, name in enumerate(("a.wav", "b.wav", "c.wav")):
        put(tmp_path / name, k)
    rows = ({"file_name": "a.wav"}, {"file_name": "b.wav", "text": "two"})
    objects(tmp_path / "metadata.jsonl", *rows, {"file": "c.wav", "sentence": "three"})
    assert read(tmp_path) == ({"a.wav": None, "b.wav": "two", "c.wav": "three"}, {})


@pytest.mark.parametrize("end", [".txt", ".TXT", ".Txt"])
def test_the_suffix_of_a_text_beside_a_recording_has_any_case(tmp_path, end):
    put(tmp_path / "A.wav", 0)
    (tmp_path / f"A{end}").write_text("one")
    assert read(tmp_path) == ({"A.wav": "one"}, {})


def test_labels_of_a_manifest_that_are_not_read_are_told(tmp_path):
    put(tmp_path / "a.wav", 0)
    lines(tmp_path / "train.tsv", tmp_path, "a.wav\t3200")
    lines(tmp_path / "train.phn", "W AH N")
    account = Account()
    list(open_source(f"manifest:{tmp_path}/train.tsv", account=account))
    assert dict(account.unread.counts) == {"*.phn": 1}
