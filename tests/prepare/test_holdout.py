"""What --holdout takes: transcribed utterances that nobody put into a split."""

import re
import shlex

import numpy as np
import pytest
import soundfile

from tests.helpers.places import ROOT
from tests.helpers.prepare_cases import OPTIONS
from w2v2_jax.data.corpus import Entry, open_corpus
from w2v2_jax.data.splits import list_splits
from w2v2_jax.errors import InputError
from w2v2_jax.prepare import command, holdout
from w2v2_jax.prepare.holdout import Holdable, Holdout
from w2v2_jax.prepare.prepare import prepare
from w2v2_jax.prepare.source_tfds import Facts

HALF = {"dev": 0.5}


def clips(folder, rows):
    """`name<TAB>rest of its line`, or a name alone, which is not listed; every clip is its own."""
    folder.mkdir()
    for k, row in enumerate(rows):
        noise = 0.1 * np.random.default_rng(k).standard_normal(2000)
        soundfile.write(folder / row.split("\t")[0], noise, 16000)
    listed = [row for row in rows if "\t" in row]
    (folder / "transcripts.tsv").write_text("".join(f"{row}\n" for row in listed))
    return f"folder:{folder}"


def splits_of(source, out, **options):
    prepare(source, out, **(OPTIONS | {"holdout": HALF} | options))
    corpora = [open_corpus(f"{out}:{name}") for name in list_splits(out)]
    return {corpus.id(i): corpus.split for corpus in corpora for i in range(len(corpus))}


@pytest.mark.parametrize("options", [{}, {"resumable": True}])
def test_a_named_split_stands_and_only_transcribed_clips_are_held_out(tmp_path, capsys, options):
    named = [f"n{k}.wav\tsentence {k}\tunlabeled" for k in range(8)]
    mute = [f"m{k}.wav" for k in range(4)] + [f"e{k}.wav\t" for k in range(4)]
    free = [f"f{k}.wav\tspoken {k}" for k in range(12)]
    found = splits_of(clips(tmp_path / "in", named + mute + free), tmp_path / "out", **options)
    assert {found[row.split("\t")[0]] for row in named} == {"unlabeled"}
    assert {found[row.split("\t")[0]] for row in mute} == {"train"}
    held = sum(found[row.split("\t")[0]] == "dev" for row in free)
    assert 0 < held < 12
    assert (
        f"held out: dev {held} of 12 utterances with a transcript; 8 without a transcript stay; "
        "8 stay in the split that the source names" in capsys.readouterr().out
    )


@pytest.mark.parametrize("name", ["train", "test", "dev", "unlabeled"])
def test_every_name_in_the_column_stands(tmp_path, name):
    rows = [f"n{k}.wav\tsentence {k}\t{name}" for k in range(6)] + ["f.wav\tspoken"]
    found = splits_of(clips(tmp_path / "in", rows), tmp_path / "out")
    assert [found[f"n{k}.wav"] for k in range(6)] == [name] * 6


def test_a_folder_without_any_transcript_is_held_out_by_its_audio(tmp_path, capsys):
    found = splits_of(clips(tmp_path / "in", [f"{k}.wav" for k in range(12)]), tmp_path / "out")
    held = list(found.values()).count("dev")
    assert 0 < held < 12
    assert f"held out: dev {held} of 12 utterances\n" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "?!", "  ", "..."])
def test_a_text_without_a_letter_is_no_transcript(tmp_path, text):
    rows = [f"e{k}.wav\t{text}" for k in range(8)] + ["f.wav\tspoken"]
    found = splits_of(clips(tmp_path / "in", rows), tmp_path / "out")
    assert {found[f"e{k}.wav"] for k in range(8)} == {"train"}


def test_the_split_option_takes_everything_and_says_what_it_took(tmp_path, capsys):
    rows = [f"n{k}.wav\tsentence {k}\ttest" for k in range(3)] + ["f.wav\tspoken", "m.wav"]
    source = clips(tmp_path / "in", rows)
    found = splits_of(source, tmp_path / "out", holdout={}, split="all")
    assert set(found.values()) == {"all"}
    told = "--split all: has utterances that the source puts into others: test 3"
    assert told in capsys.readouterr().out


def test_ids_decide_whether_the_source_has_transcripts(tmp_path):
    rows = [f"m{k}.wav" for k in range(8)] + ["f.wav\tspoken"]
    (tmp_path / "ids").write_text("\n".join(f"m{k}.wav" for k in range(8)))
    found = splits_of(clips(tmp_path / "in", rows), tmp_path / "out", ids=tmp_path / "ids")
    assert sorted(set(found.values())) == ["dev", "train"]


@pytest.mark.parametrize(
    ("source", "split", "facts", "expected"),
    [
        ("tfds:x", None, Facts(["dev", "train"], "text"), Holdable(False, False)),
        ("tfds:x", None, Facts(["train"], None), Holdable(True, True)),
        ("tfds:x:train", None, Facts(["train"], "text"), Holdable(True, False)),
        ("tfds:x", "all", Facts(["dev", "train"], "text"), Holdable(True, False)),
    ],
)
def test_the_splits_of_tfds_stand_where_there_are_several(
    monkeypatch, source, split, facts, expected
):
    monkeypatch.setattr(holdout, "tfds_facts", lambda *_, **__: facts)
    assert holdout.holdable(source, split=split, tfds_data_dir=None, ids=None) == expected


def test_shares_are_taken_from_a_manifest_whose_stem_names_its_split(tmp_path):
    rows = [f"{k}.wav" for k in range(12)]
    clips(tmp_path / "in", rows)
    lines = "".join(f"{name}\t2000\n" for name in rows)
    (tmp_path / "train.tsv").write_text(f"{tmp_path}/in\n{lines}")
    (tmp_path / "train.wrd").write_text("".join(f"words {k}\n" for k in range(12)))
    found = splits_of(f"manifest:{tmp_path}/train.tsv", tmp_path / "out")
    assert sorted(set(found.values())) == ["dev", "train"]


def keywords(folder, *, classes, each, speakers=0):
    """A corpus whose texts are classes, `each` clips of every one."""
    column = "\t\ts{}" if speakers else ""
    return clips(
        folder,
        [
            f"{word}{k}.wav\t{word}" + column.format(k % max(speakers, 1))
            for word in classes
            for k in range(each)
        ],
    )


def of_split(found, name):
    return {clip.rstrip(".wav0123456789") for clip, split in found.items() if split == name}


def test_by_clip_every_class_is_on_both_sides(tmp_path, capsys):
    source = keywords(tmp_path / "in", classes=["yes", "no"], each=40)
    found = splits_of(source, tmp_path / "out", holdout={"dev": 0.2}, holdout_by="clip")
    assert of_split(found, "dev") == of_split(found, "train") == {"yes", "no"}
    assert 6 <= list(found.values()).count("dev") <= 28
    told = capsys.readouterr().out
    warnings = [line for line in told.splitlines() if "WARNING" in line]
    assert all(line.startswith("WARNING: dev has only ") for line in warnings)  # short clips
    assert "share their transcript with split dev, as recordings of a class do, e.g." in told


def test_sentences_that_splits_share_are_warned_of_however_often_they_come(tmp_path, capsys):
    rows = [f"f{k}.wav\tshe had her dark suit" for k in range(40)]
    splits_of(clips(tmp_path / "in", rows), tmp_path / "out", holdout_by="clip")
    assert "WARNING: " in (told := capsys.readouterr().out)
    assert "share their transcript with split dev, e.g." in told


def test_a_short_text_that_two_splits_share_once_is_warned_of(tmp_path, capsys):
    rows = [f"f{k}.wav\tword{k // 2}" for k in range(40)]
    splits_of(clips(tmp_path / "in", rows), tmp_path / "out", holdout_by="clip")
    assert "share their transcript with split dev, e.g." in capsys.readouterr().out


def test_the_line_that_the_recipe_for_classes_prints_leaves_every_class_in_training(
    tmp_path, monkeypatch
):
    keywords(tmp_path / "keywords", classes=[f"class{c}" for c in "abcdefghijklm"], each=12)
    (line,) = re.findall("w2v2 prepare (.*)", (ROOT / "experiments/classify.py").read_text())
    monkeypatch.chdir(tmp_path)
    command.main(shlex.split(line))
    corpora = {name: open_corpus(f"data/keywords:{name}") for name in list_splits("data/keywords")}
    assert len(set(corpora["train"].texts())) == 13
    assert 6 < len(corpora["dev"]) < 30


def test_by_speaker_nobody_is_on_both_sides(tmp_path, capsys):
    source = keywords(tmp_path / "in", classes=["yes", "no"], each=30, speakers=15)
    found = splits_of(source, tmp_path / "out", holdout={"dev": 0.3}, holdout_by="speaker")
    voices = {name: set() for name in found.values()}
    for clip, split in found.items():
        voices[split].add(int(clip.strip("yesno.wav")) % 15)
    assert sorted(voices) == ["dev", "train"] and not voices["dev"] & voices["train"]
    assert "without a speaker" not in capsys.readouterr().out


def test_by_speaker_a_clip_without_one_goes_by_its_audio_and_is_counted(tmp_path, capsys):
    source = keywords(tmp_path / "in", classes=["yes"], each=20)
    found = splits_of(source, tmp_path / "out", holdout_by="speaker")
    assert 0 < list(found.values()).count("dev") < 20
    assert "; 20 without a speaker go by their audio" in capsys.readouterr().out


def test_shares_that_few_texts_cannot_give_are_told_with_the_remedy(tmp_path, capsys):
    source = keywords(tmp_path / "in", classes=["yes", "no"], each=40)
    splits_of(source, tmp_path / "out", holdout={"dev": 0.001})
    assert (
        "WARNING: dev got 0 of 80 where 0.1 % was asked for: equal texts stay on one side, and "
        "there are only 2 different ones; --holdout-by clip divides them\n"
    ) in capsys.readouterr().out
    splits_of(source, tmp_path / "other", holdout={"dev": 0.3, "test": 0.69})
    told = [line for line in capsys.readouterr().out.splitlines() if "was asked for" in line]
    assert {line.split(" where")[0] for line in told} == {
        "WARNING: dev got 0 of 80",
        "WARNING: test got 80 of 80",
    }


def test_a_corpus_too_small_for_its_share_is_told_without_another_way_to_divide(tmp_path, capsys):
    rows = [f"f{k}.wav\tspoken {k}" for k in range(4)]
    splits_of(clips(tmp_path / "in", rows), tmp_path / "out", holdout={"dev": 0.0001})
    assert (
        "WARNING: dev got 0 of 4 where 0.01 % was asked for; give it a larger share\n"
        in capsys.readouterr().out
    )


def test_shares_within_chance_are_not_told(tmp_path, capsys):
    rows = [f"f{k}.wav\tspoken {k}" for k in range(60)]
    splits_of(clips(tmp_path / "in", rows), tmp_path / "out", holdout={"dev": 0.2})
    assert "was asked for" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("clips", "seconds", "told"),
    [
        (1, 600.0, "dev has only 1 utterance, 600.0 s"),
        (9, 60.0, "dev has only 9 utterances, 540.0 s"),
        (20, 1.0, "dev has only 20 utterances, 20.0 s"),
        (10, 3.0, ""),
        (0, 0.0, "dev got 0 of 40 where 0.0001 % was asked for; give it a larger share"),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_a_split_with_so_little_that_a_rate_means_little_is_told(clips, seconds, told, named):
    """named: the source itself puts the clips into the split, and no share can."""
    taken = Holdout({"dev": 1e-6 if named or not clips else 1 - 1e-9}, Holdable(True, True))
    for k in range(clips):
        entry = Entry(f"{k}", f"text {k}", "", round(16000 * seconds), 0, 0, 0, k)
        assert taken.split_of(entry, "dev" if named else "train", named=named) == "dev"
    for k in range(0 if clips else 40):
        entry = Entry(f"{k}", f"other {k}", "", 16000, 0, 0, 0, k)
        assert taken.split_of(entry, "train", named=False) == "train"
    warnings = [line for line in taken.told() if line.startswith("WARNING: ")]
    assert len(warnings) == bool(told) and all(told in line for line in warnings)


def test_the_option_goes_with_holdout_and_names_what_it_knows(tmp_path):
    source = clips(tmp_path / "in", ["f.wav\tspoken"])
    with pytest.raises(InputError, match="--holdout-by clip changes nothing without --holdout"):
        splits_of(source, tmp_path / "out", holdout={}, holdout_by="clip")
    with pytest.raises(InputError, match="--holdout-by 'voice': use text, speaker, clip"):
        splits_of(source, tmp_path / "out", holdout_by="voice")


def test_nothing_is_said_where_nothing_is_to_be_held_out():
    silent = Holdout({}, Holdable(True, True))
    assert silent.split_of(Entry("a", "b", "", 1, 0, 0, 0, 0), "train", named=False) == "train"
    assert list(silent.told()) == []
