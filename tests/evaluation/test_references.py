"""Utterances without a reference: counted, never scored, and no file holds what is no number."""

import json
import math
import re

import pytest

from tests.helpers.corpora import write_split
from w2v2_jax import compare, evaluate
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.evaluation.result_files import difference, read_evaluation
from w2v2_jax.evaluation.scoring import ErrorCounts, bootstrap_interval
from w2v2_jax.inference import Model
from w2v2_jax.paths import json_text
from w2v2_jax.report import cells

NONE = ("", "7 8", "?!", "|")  # no transcript, or none of a character the model knows


@pytest.fixture
def heard(tuned, monkeypatch):
    """utterance id -> what the model hears in it; it never runs."""
    texts = {}
    model = Model(path=tuned.path, description=tuned.description, params={})
    monkeypatch.setattr("w2v2_jax.inference.load", lambda path, execution: model)

    def transcripts(model, corpus, **_):
        return [texts.get(corpus.id(i), "CAB") for i in range(len(corpus))]

    monkeypatch.setattr("w2v2_jax.recognition.corpus.transcripts", transcripts)
    return texts


def strict(path):
    """JSON as a parser reads it that knows no NaN and no Infinity."""

    def refuse(constant):
        raise ValueError(constant)

    return json.loads(path.read_text(), parse_constant=refuse)


def run(command, *arguments):
    return run_command(command.main, [str(a) for a in arguments])


def evaluated(data, out, *more):
    return run(evaluate, "--checkpoint", "x", "--data", data, "--json", out, *more)


@pytest.mark.parametrize("text", NONE)
def test_rates_are_over_the_references_that_exist(heard, tmp_path, capsys, text):
    write_split(tmp_path, "test", texts=("A B", text, "C"))
    heard.update({"test/u0": "A B", "test/u2": "B"})
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    assert evaluated(f"{tmp_path}:test", out, "--html", page) == 0
    result = strict(out)
    assert result["wer"] == 1 / 3 and result["num_words"] == 3
    assert (result["num_utterances"], result["without_reference"]) == (2, 1)
    assert result["outside_vocabulary"] == (text != "")
    assert [u["id"] for u in result["utterances"]] == ["test/u0", "test/u2"]
    assert [u["seconds"] for u in result["utterances"]] == [0.3, pytest.approx(0.9)]
    assert result["wer_interval"][1] <= 1 and result["by_speaker"][0]["utterances"] == 2
    told = capsys.readouterr().out
    assert "WER 33.33 %" in told and "1 without a reference" in told
    assert "1 utterances without a reference are not scored" in page.read_text()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("", ""), "has no transcripts to score against"),
        (("12", ""), "none of its 1 transcripts has a character of the vocabulary"),
        (("|", "??"), "none of its 2 transcripts has a character"),
    ],
)
def test_a_split_without_any_reference_is_one_clear_line(heard, tmp_path, capsys, texts, message):
    write_split(tmp_path, "dev", texts=("A",))
    write_split(tmp_path, "test", texts=texts)
    assert evaluated(f"{tmp_path}:dev+test", tmp_path / "out.json") == 2
    error = capsys.readouterr().err
    assert f"{tmp_path}:test" in error and message in error and error.count("\n") == 1
    assert not (tmp_path / "out.json").exists()


def test_phones_that_fold_to_nothing_give_a_rate_of_null_not_infinity(heard, tmp_path):
    write_split(tmp_path, "test", texts=("q", "sh ix", "q q"))
    heard.update({"test/u0": "AA", "test/u1": "SH IH", "test/u2": ""})
    out = tmp_path / "out.json"
    assert evaluated(f"{tmp_path}:test", out, "--phones", "timit") == 0
    result = strict(out)
    assert result["per"] == 1 / 2 and result["utterances"][0]["rate"] is None
    assert all(math.isfinite(bound) for bound in result["per_interval"])


def test_draws_without_a_reference_unit_are_in_no_interval():
    counts = [ErrorCounts(0, 1, 0, 0)] * 3 + [ErrorCounts(1, 0, 0, 2)]
    low, high = bootstrap_interval(counts)
    assert 0.5 <= low <= high < math.inf
    assert bootstrap_interval([ErrorCounts(0, 1, 0, 0)]) == (math.inf, math.inf)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_no_number_is_null_in_files(value):
    text = json_text({"a": [1, (value, 2.5)], "b": {"c": value}, "d": "NaN", "e": True})
    assert text == '{"a": [1, [null, 2.5]], "b": {"c": null}, "d": "NaN", "e": true}'


def result_of(*utterances, **head):
    """An evaluation as another program, or an earlier version, may have written it."""
    rows = [
        {"id": name, "reference": reference, "hypothesis": hypothesis, "wer": 0.0}
        for name, reference, hypothesis in utterances
    ]
    rates = {"wer": 9.0, "cer": 9.0, "wer_interval": [0, 9], "cer_interval": [0, 9], "step": 1}
    return {"data": "test", **rates, "utterances": rows, **head}


def write(path, result):
    path.write_text(json.dumps(result))
    return path


@pytest.mark.parametrize("missing", ["", " ", None])
def test_listed_utterances_without_a_reference_are_not_compared(tmp_path, capsys, missing):
    first = write(tmp_path / "1", result_of(("a", "A B", "A"), ("b", missing, "X Y")))
    second = write(tmp_path / "2", result_of(("a", "A B", "A B"), without_reference=2))
    assert run(compare, first, second, "--json", tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert "without a reference and left out: 1 and 2" in told
    assert "WER 50.00 % -> 0.00 %" in told
    assert strict(tmp_path / "out")["splits"][0]["wer"]["first"] == 0.5


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ([("a", "A B", "")], "1 only in the first (b)"),
        ([("a", "A B", ""), ("b", "C", ""), ("c", "D", "")], "1 only in the second (c)"),
        ([("a", "A B", ""), ("b", "X", "")], "1 with another reference (b)"),
        ([("a", "A B", ""), ("b", "", "")], "1 only in the first (b)"),
        ([("a", "", ""), ("b", None, "")], "no utterance of test has a reference"),
    ],
)
def test_results_of_other_utterances_differ_in_one_line(tmp_path, capsys, other, message):
    first = write(tmp_path / "1", result_of(("a", "A B", "A"), ("b", "C", "C")))
    assert run(compare, first, write(tmp_path / "2", result_of(*other))) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_references_in_another_case_are_the_same(tmp_path, capsys):
    first = write(tmp_path / "1", result_of(("a", "A B", "A"), ("b", "C", "C")))
    second = write(tmp_path / "2", result_of(("a", "a b", "a b"), ("b", "c", "c")))
    assert run(compare, first, second) == 0
    assert "WER 33.33 % -> 0.00 %" in capsys.readouterr().out


def test_a_message_names_the_first_of_many():
    many = {f"u{k}": "A" for k in range(5)}
    assert difference(many, {}) == "5 only in the first (u0, u1, u2, ...)"
    assert difference(many, many) == ""


def test_reports_score_an_evaluation_that_lists_them_anew(tmp_path):
    path = write(tmp_path / "1", result_of(("a", "A B", "A"), ("b", "", "X"), ("c", None, "X")))
    found = read_evaluation(path)
    assert found["wer"] == 0.5 and found["cer"] == 2 / 3 and found["without_reference"] == 2
    assert [u["id"] for u in found["utterances"]] == ["a"]
    with pytest.raises(InputError, match="no utterance has a reference"):
        read_evaluation(write(tmp_path / "2", result_of(("a", "", "X"))))


def test_cells_of_an_evaluation_that_lists_them_are_finite_and_other_sets_are_named(tmp_path):
    rows = [("s/a", "A B", "A"), ("s/b", "C", "C"), ("t/c", "", "X")]
    folder = tmp_path / "cells"
    folder.mkdir()
    for start in ("scratch", "pretrain"):
        write(folder / f"{start}@10m@1.json", result_of(*rows))
    assert run(cells, folder, "--json", tmp_path / "out") == 0
    assert strict(tmp_path / "out")[0]["wer"] == 1 / 3
    write(folder / "short@10m@1.json", result_of(*rows[:1]))
    with pytest.raises(InputError, match=r"2 different test sets in 3 .* \(s/b\)"):
        cells.read_cells(folder)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("wer", "0.5", "wer='0.5' must be a number, at least 0, or null"),
        ("cer", True, "cer=True must be a number"),
        ("wer", -0.1, "wer=-0.1 must be a number, at least 0"),
        ("cer", [0.5], r"cer=\[0.5\] must be a number"),
        ("wer_interval", 0.5, "wer_interval=0.5 must be a list of two numbers"),
        ("cer_interval", [0.1], r"cer_interval=\[0.1\] must be a list of two numbers"),
        ("cer_interval", ["a", 1], r"cer_interval=\['a', 1\] must be a list of two numbers"),
        ("step", "500", "step='500' must be a whole number or null"),
        ("without_reference", None, "without_reference=None must be a whole number"),
        ("data", 5, "data=5 must be a text"),
        ("utterances", {"a": 1}, "utterances={'a': 1} must be a list"),
        ("utterances.0", "a", r"utterances\[0\]='a' must be an object"),
        ("utterances.1.id", 7, r"utterances\[1\].id=7 must be a text"),
        ("utterances.1.reference", 7, r"utterances\[1\].reference=7 must be a text or null"),
        ("utterances.0.hypothesis", None, r"utterances\[0\].hypothesis=None must be a text"),
        ("utterances.1.wer", "x", r"utterances\[1\].wer='x' must be a number"),
        ("utterances.1.speaker", ["s"], r"utterances\[1\].speaker=\['s'\] must be a text or null"),
        ("utterances.0.phones_reference", "a b", r"phones_reference='a b' must be a list of texts"),
        ("utterances.1.phones_reference", ["a"], "lacks phones_hypothesis, but has phones_ref"),
        ("utterances.1.id", "a", "2 utterances have one id, 'a'"),
    ],
)
def test_a_value_of_an_edited_result_is_named_with_its_file(tmp_path, capsys, key, value, said):
    """compare, report and the cells of the evidence raised what Python raises, or said nothing."""
    good = result_of(("a", "A B", "A"), ("b", "C", "C"))
    edited = json.loads(json.dumps(good))
    place, *rest = edited, *key.split(".")
    *above, last = (int(name) if name.isdecimal() else name for name in rest)
    for name in above:
        place = place[name]
    place[last] = value
    first, second = write(tmp_path / "good.json", good), write(tmp_path / "edited.json", edited)
    assert run(compare, first, second) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(f"{second}: .*{said}", line)
    with pytest.raises(InputError, match=said) as error:
        read_evaluation(second)
    assert str(second) in str(error.value)
    several = write(tmp_path / "several.json", {"splits": [good, edited]})
    assert run(compare, first, several) == 2
    assert re.search(r"several.json: splits\[1\]", capsys.readouterr().err)


def test_an_utterance_without_a_key_is_named(tmp_path):
    result = result_of(("a", "A B", "A"), ("b", "C", "C"))
    del result["utterances"][1]["hypothesis"]
    with pytest.raises(InputError, match=r"utterances\[1\] lacks hypothesis; each has hypothesis,"):
        read_evaluation(write(tmp_path / "1", result))


@pytest.mark.parametrize("splits", [[], {}, "a", [5]])
def test_splits_that_are_no_results_are_named(tmp_path, capsys, splits):
    file = write(tmp_path / "1.json", {"splits": splits})
    assert run(compare, file, file) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"1.json: splits(=.* must be a list of results|\[0\]: not a result)", line)
