"""Labelled runs whose symbols are longer than a character, or whose texts follow rules."""

import dataclasses
import json
import shutil

import pytest

from tests.helpers.corpora import write_split
from tests.helpers.symbol_cases import PHONES, piece_model
from tests.helpers.train_runs import FINETUNE, options
from w2v2_jax import evaluate
from w2v2_jax.checkpoint.description import Description
from w2v2_jax.data.config import DataConfig
from w2v2_jax.data.feed import train_feed
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.experiment.recipe import load_config
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.models.config import ModelConfig
from w2v2_jax.texts.choice import unicode
from w2v2_jax.train import command as train
from w2v2_jax.train import run_record
from w2v2_jax.train.resume_check import check_resumed
from w2v2_jax.train.warm_start import choose_vocabulary, report_texts, report_unknown
from w2v2_jax.vocabulary import LIBRISPEECH, load_vocabulary, make_vocabulary

RAW = ("It costs $5!", "Don\u2019t stop.")


def chosen(folder, inherited=None, **vocabulary):
    raw = load_config(FINETUNE)
    raw["data"]["train"] = f"{folder}:train"
    raw["vocabulary"] = vocabulary
    return choose_vocabulary(read_settings(raw), inherited)


def feed_of(folder, vocabulary):
    fields = dict(
        train=f"{folder}:train", mode="pad", bucket_seconds=(1.0,), batch_seconds=2.0,
        row_multiple=1, verify=False, reader="threads", workers=1,
    )  # fmt: skip
    return train_feed(DataConfig(**fields), vocabulary, seed=1)


def test_a_vocabulary_takes_the_text_rules_of_its_corpus(tmp_path, capsys):
    write_split(tmp_path, "train", texts=RAW, rules=unicode())
    vocabulary = chosen(tmp_path, name="from_transcripts", case="lower")
    assert vocabulary.rules == unicode() and not {"!", "$", "D"} & set(vocabulary.symbols)
    report_texts(feed_of(tmp_path, vocabulary), None)
    assert "texts: --text unicode of prepare" in capsys.readouterr().err
    assert chosen(tmp_path, name="librispeech").rules == unicode()


def test_symbols_that_nobody_speaks_are_told_in_one_line(tmp_path, capsys):
    write_split(tmp_path, "train", texts=RAW)
    vocabulary = chosen(tmp_path, name="from_transcripts", case="lower")
    report_texts(feed_of(tmp_path, vocabulary), None)
    (line,) = capsys.readouterr().err.splitlines()
    assert "symbols that are not spoken (! $ . 5 \u2019); prepare --text english" in line
    report_texts(feed_of(tmp_path, LIBRISPEECH), None)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("name", "told"), [("librispeech", True), ("from_transcripts", False)])
def test_a_least_count_without_effect_is_told(tmp_path, capsys, name, told):
    write_split(tmp_path, "train", texts=("AB AB", "BA"))
    chosen(tmp_path, name=name, min_count=2, case="upper")
    said = f"min_count=2 changes nothing: the symbols of vocabulary.name={name} do not"
    assert (said in capsys.readouterr().err) == told


def test_letters_outside_the_languages_become_no_symbols(tmp_path):
    write_split(tmp_path, "train", texts=("abc \u5317", "cab"), rules=unicode("de"))
    vocabulary = chosen(tmp_path, name="from_transcripts", case="upper")
    assert vocabulary.symbols[5:] == ("A", "B", "C")
    assert vocabulary.encode("a\u5317").tolist() == [5, 3, 4]


def test_a_start_of_other_rules_is_refused_by_name(tmp_path):
    write_split(tmp_path, "train", texts=RAW, rules=unicode("de"))
    raw = load_config(FINETUNE)
    raw["data"]["train"], raw["init_from"] = f"{tmp_path}:train", "runs/old"
    del raw["vocabulary"]
    old = chosen(tmp_path, name="from_transcripts", case="lower")
    settings = read_settings(raw)
    assert choose_vocabulary(settings, LIBRISPEECH).rules == unicode("de")
    assert choose_vocabulary(settings, old) == old
    write_split(tmp_path / "b", "train", texts=RAW, rules=unicode())
    raw["data"]["train"] = f"{tmp_path}/b:train"
    with pytest.raises(InputError, match=r"init_from=runs/old has the text rules unicode:de.*--te"):
        choose_vocabulary(read_settings(raw), old)


def test_a_run_that_goes_on_with_another_file_of_symbols_is_refused_by_name(tmp_path):
    write_split(tmp_path, "train", texts=RAW)
    path, raw = tmp_path / "symbols.json", load_config(FINETUNE)
    raw["data"]["train"], raw["vocabulary"] = f"{tmp_path}:train", {"name": str(path)}
    started = chosen(tmp_path, name="from_transcripts", case="lower")
    started.save(path)
    settings = read_settings(raw)
    before = Description("ctc", ModelConfig(), started, normalise=True)
    check_resumed(settings, before, workdir="runs/a")
    LIBRISPEECH.save(path)
    message = f"vocabulary.name={path} has other symbols than .* runs/a .*put the file back"
    with pytest.raises(InputError, match=message):
        check_resumed(settings, before, workdir="runs/a")
    with pytest.raises(InputError, match="has other symbols"):
        train._build(settings, before, None, tmp_path / "run")
    path.unlink()  # a resumed run has its own
    check_resumed(settings, before, workdir="runs/a")


def test_a_run_that_goes_on_with_other_rules_is_refused_by_name(tmp_path):
    names = []
    for rules in (None, unicode(), unicode("de")):
        folder = tmp_path / str(len(names))
        write_split(folder, "train", texts=("a b",), rules=rules)
        names.append(run_record.text_rules(feed_of(folder, LIBRISPEECH)))
    assert names[0] == "none" and names[1].startswith("unicode ")
    facts = [{"data": {"train": {"text": name}}} for name in names]
    (refused,), _ = run_record.compare(facts[0], facts[2])
    assert refused.startswith("data.train.text: none there, unicode:de ")
    assert run_record.compare(facts[1], facts[1]) == ([], [])


def trained(folder, workdir, name, capsys):
    """A run of a few updates with a vocabulary of that name."""
    more = [f"--config.vocabulary.name={name}", "--config.train.steps=4"]
    more += ["--config.data.bucket_seconds=(1.0,)", "--config.data.min_seconds=0.1"]
    assert run_command(train.main, ["--config", FINETUNE, *options(folder, workdir, *more)]) == 0
    return capsys.readouterr()


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
def test_phonemes_are_trained_and_scored_as_timits_39(tmp_path, capsys):
    for name in ("train", "dev"):
        write_split(tmp_path, name, texts=PHONES, seconds=0.4)
    trained(tmp_path, tmp_path / "run", "phonemes", capsys)
    rows = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    (valid,) = [row for row in rows if row["split"] == "valid"][-1:]
    assert valid["per"] == valid["wer"]
    vocabulary = load_vocabulary(tmp_path / "run/vocabulary.json")
    assert vocabulary.units == "phonemes" and "h#" in vocabulary.symbols
    out = tmp_path / "out.json"
    arguments = ["--checkpoint", str(tmp_path / "run"), "--data", f"{tmp_path}:dev"]
    assert run_command(evaluate.main, [*arguments, "--json", str(out), "--phones", "timit"]) == 0
    result = json.loads(out.read_text())
    assert result["unit"] == "phone" and result["phone_errors"]["reference_length"] == 26


@pytest.fixture
def pronounced(tmp_path):
    """A corpus of words and the name of a vocabulary that has pronunciations of most of them."""
    for name in ("train", "dev"):
        write_split(tmp_path, name, texts=("the cat sat", "a mat and a hat"), seconds=0.4)
    (tmp_path / "words.txt").write_text("the dh ax\ncat k ae t\nsat s ae t\nmat m ae t\na ax\n")
    return f"pronunciations:{tmp_path}/words.txt"


def test_words_without_a_pronunciation_are_told_before_the_first_update(
    tmp_path, pronounced, capsys
):
    vocabulary = chosen(tmp_path, name=pronounced)
    report_unknown(feed_of(tmp_path, vocabulary))
    assert "2 words of" in (told := capsys.readouterr().err)
    assert "have no pronunciation and become <unk>: {'and': 1, 'hat': 1}" in told
    assert "left out" not in told


def test_words_of_clips_that_have_no_others_are_told_as_well(tmp_path, pronounced, capsys):
    texts = ("the cat sat", "a mat and a hat", "hat hat")
    other = tmp_path / "other"
    for name in ("train", "dev"):
        write_split(other, name, texts=texts, seconds=0.4)
    report_unknown(feed_of(other, chosen(other, name=pronounced)))
    assert "4 words of" in (told := capsys.readouterr().err)
    assert "{'hat': 3, 'and': 1}; 1 of 3 utterances have nothing else and are left out" in told


@pytest.mark.parametrize(
    ("texts", "told"), [(("CO JE", "VODA ŠÍP"), True), (("IT IS 5 %",), False)]
)
def test_letters_that_english_lacks_are_told_with_the_vocabulary_that_has_them(
    tmp_path, capsys, texts, told
):
    for name in ("train", "dev"):
        write_split(tmp_path, name, texts=texts, seconds=0.4)
    report_unknown(feed_of(tmp_path, chosen(tmp_path, name="librispeech")))
    shown = capsys.readouterr().err
    assert "become <unk>: {" in shown
    assert (
        "--config.vocabulary.name=from_transcripts --config.vocabulary.case=low" in shown
    ) == told


def test_a_resumed_run_of_another_lexicon_is_refused_by_name(tmp_path, pronounced):
    raw = load_config(FINETUNE)
    raw["vocabulary"] = {"name": pronounced}
    settings, started = read_settings(raw), chosen(tmp_path, name=pronounced)
    before = Description("ctc", ModelConfig(), started, normalise=True)
    check_resumed(settings, before, workdir="runs/a")
    (tmp_path / "words.txt").write_text("the dh ah\n")
    with pytest.raises(InputError, match=r"words\.txt has other symbols than"):
        check_resumed(settings, before, workdir="runs/a")
    (tmp_path / "words.txt").write_text("the dh ax\ncat k ae t\nsat s ae t\nmat ax m t\na ax\n")
    with pytest.raises(
        InputError, match=r"words\.txt has other pronunciations than .* 'mat' ax m t is only now"
    ):
        check_resumed(settings, before, workdir="runs/a")
    (tmp_path / "words.txt").unlink()
    check_resumed(settings, before, workdir="runs/a")


def test_a_resumed_run_whose_words_have_another_first_pronunciation_is_refused(tmp_path):
    lexicon = tmp_path / "words.txt"
    lexicon.write_text("read r iy d\nred r eh d\nread r eh d\n")
    raw = load_config(FINETUNE)
    raw["vocabulary"] = {"name": f"pronunciations:{lexicon}"}
    started = make_vocabulary(raw["vocabulary"]["name"])
    before, settings = (
        Description("ctc", ModelConfig(), started, normalise=True),
        read_settings(raw),
    )
    lexicon.write_text("red r eh d\nread r iy d\nread r eh d\n")
    check_resumed(settings, before, workdir="runs/a")  # another order of words changes nothing
    lexicon.write_text("read r eh d\nred r eh d\nread r iy d\n")
    with pytest.raises(InputError, match="'read' is first r iy d there, r eh d now"):
        check_resumed(settings, before, workdir="runs/a")


def test_a_run_goes_on_with_the_same_lexicon_in_another_place(tmp_path, pronounced):
    """Its path was compared, and a run whose data had moved was refused."""
    (tmp_path / "moved").mkdir()
    moved = shutil.copy(tmp_path / "words.txt", tmp_path / "moved")
    raw = load_config(FINETUNE)
    raw["vocabulary"] = {"name": f"pronunciations:{moved}"}
    before = Description("ctc", ModelConfig(), chosen(tmp_path, name=pronounced), normalise=True)
    check_resumed(read_settings(raw), before, workdir="runs/a")
    facts = [
        {"config": {"vocabulary": dict(name=n)}} for n in (pronounced, *raw["vocabulary"].values())
    ]
    assert run_record.compare(*facts) == ([], [])
    (tmp_path / "moved/words.txt").unlink()  # nobody can say what it had
    (refused,), _ = run_record.compare(*facts)
    assert refused.startswith(f"config.vocabulary.name: {pronounced[:20]}")


@pytest.mark.parametrize("name", ["from_transcripts", "librispeech"])
def test_another_kind_of_symbols_is_refused_though_a_folder_has_its_name(
    tmp_path, pronounced, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "from_transcripts").mkdir()
    facts = [{"config": {"vocabulary": dict(name=n)}} for n in (pronounced, name)]
    assert len(run_record.compare(*facts)[0]) == 1


def test_a_run_that_goes_on_with_a_file_of_another_case_is_refused(tmp_path):
    path, raw = tmp_path / "symbols.json", load_config(FINETUNE)
    LIBRISPEECH.save(path)
    raw["vocabulary"] = {"name": str(path)}
    started = dataclasses.replace(LIBRISPEECH, case="keep")
    before = Description("ctc", ModelConfig(), started, normalise=True)
    with pytest.raises(InputError, match=r"symbols\.json has another case than when"):
        check_resumed(read_settings(raw), before, workdir="runs/a")


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
def test_words_are_trained_by_their_phonemes_and_scored_as_such(tmp_path, pronounced, capsys):
    trained(tmp_path, tmp_path / "run", pronounced, capsys)
    out = tmp_path / "out.json"
    arguments = ["--checkpoint", str(tmp_path / "run"), "--data", f"{tmp_path}:dev"]
    assert run_command(evaluate.main, [*arguments, "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result["unit"] == "phone" and result["num_words"] == 15
    assert result["utterances"][1]["reference"] == "ax m ae t <unk> ax <unk>"
    search = ["--lexicon", f"{tmp_path}/words.txt", "--engine", "numpy"]
    assert run_command(evaluate.main, [*arguments, *search, "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result["unit"] == "word" and result["num_words"] == 8
    assert {*result["utterances"][0]["hypothesis"].split()} <= {"the", "cat", "sat", "mat", "a"}


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
def test_pieces_are_trained_and_scored_by_words(tmp_path, capsys):
    for name in ("train", "dev"):
        write_split(tmp_path, name, texts=("the cat sat", "a mat and a hat"), seconds=0.4)
    model = piece_model(tmp_path)
    trained(tmp_path, tmp_path / "run", f"sentencepiece:{model}", capsys)
    model.unlink()  # the checkpoint has it
    out = tmp_path / "out.json"
    arguments = ["--checkpoint", str(tmp_path / "run"), "--data", f"{tmp_path}:dev"]
    assert run_command(evaluate.main, [*arguments, "--json", str(out)]) == 0
    assert json.loads(out.read_text())["num_words"] == 8
