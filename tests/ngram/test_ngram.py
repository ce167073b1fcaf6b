"""N-gram models against lmplz's stored ones, the definitions, and themselves at other run sizes."""

import bz2
import gzip
import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from tests.helpers import places
from tests.helpers.corpora import write_split
from tests.helpers.decode_cases import LMPLZ_MODELS, lmplz_text, sentences, words
from tests.helpers.fuzz_cases import pretrained, tuned
from w2v2_jax import convert, lm
from w2v2_jax.errors import InputError
from w2v2_jax.interop import hugging_face
from w2v2_jax.ngram import arpa, counts, kneser_ney, text

GOLDEN = places.GOLDEN / "lmplz.npz"


def read_arpa(path):
    """{words: (log10 probability, log10 backoff)}"""
    rows = [line.split("\t") for line in path.read_text("utf-8").splitlines() if "\t" in line]
    return {
        tuple(row[1].split()): (float(row[0]), float(row[2]) if len(row) > 2 else 0.0)
        for row in rows
    }


def ask(model, history, word):
    """log10 p(word | history) of a backoff model."""
    gram = (*history, word)
    if gram in model:
        return model[gram][0]
    if not history:
        return model[("<unk>",)][0]
    return model.get(history, (0.0, 0.0))[1] + ask(model, history[1:], word)


def build(tmp_path, content, *options):
    source, out = tmp_path / "text.txt", tmp_path / "lm.arpa"
    source.write_text(content, "utf-8")
    lm.main(["--text", str(source), "--out", str(out), "--estimator", "own", *options])
    return read_arpa(out)


@pytest.mark.parametrize("name", LMPLZ_MODELS)
def test_models_are_those_of_lmplz(name, tmp_path):
    order, prune = LMPLZ_MODELS[name]
    options = ["--order", str(order), "--prune", *map(str, prune)]
    found = build(tmp_path, lmplz_text(), *options)
    with np.load(GOLDEN) as held:
        grams = [tuple(g.split()) for g in str(held[f"{name}_grams"]).split("\n")]
        expected = {
            gram: (float(p), float(b))
            for gram, p, b in zip(
                grams, held[f"{name}_probability"], held[f"{name}_backoff"], strict=True
            )
        }
    assert found.keys() == expected.keys()
    both = np.array([[found[g], expected[g]] for g in grams])  # [n, 2, 2]
    np.testing.assert_allclose(both[:, 0], both[:, 1], atol=2e-6)  # lmplz counts in float32


def reference(lines, order):
    """p(w | h) by Chen and Goodman's formulas over dictionaries, as a function of (h, w)."""
    grams = [Counter() for _ in range(order)]
    for line in lines:
        padded = ["<s>", *line, "</s>"]
        for k in range(1, order + 1):
            for i in range(len(padded) - k + 1):
                grams[k - 1][tuple(padded[i : i + k])] += 1
    adjusted = []
    for k in range(order):
        left = defaultdict(set)
        for gram in grams[k + 1] if k + 1 < order else ():
            left[gram[1:]].add(gram[0])
        own = k + 1 == order
        adjusted.append(
            {g: c if own or g[0] == "<s>" else len(left[g]) for g, c in grams[k].items()}
        )
    adjusted[0].pop(("<s>",))
    vocabulary = {g[0] for g in adjusted[0]} | {"<unk>"}

    def discount(k, count):
        n = Counter(adjusted[k].values())
        y = n[1] / (n[1] + 2 * n[2])
        j = min(count, 3)
        return j - (j + 1) * y * n[j + 1] / n[j]

    def probability(history, word):
        k = len(history)
        lower = probability(history[1:], word) if k else 1 / len(vocabulary)
        after = {g: c for g, c in adjusted[k].items() if g[:-1] == history}
        if not after:
            return lower
        total = sum(after.values())
        count = after.get((*history, word), 0)
        own = count - discount(k, count) if count else 0.0
        return own / total + sum(discount(k, c) for c in after.values()) / total * lower

    return probability, vocabulary


def test_probabilities_follow_the_formulas_of_chen_and_goodman(tmp_path):
    lines = sentences(150, words(80), seed=1)
    model = build(tmp_path, "".join(" ".join(line) + "\n" for line in lines), "--order", "3")
    probability, _ = reference(lines, 3)
    rng = np.random.default_rng(0)
    asked = [tuple(gram) for gram in itertools.islice((g for g in model if len(g) == 3), 60)]
    known = sorted(g[0] for g in model if len(g) == 1 and g[0] != "<s>")
    asked += [tuple(rng.choice(known, 3)) for _ in range(20)]
    for *history, word in asked:
        expected = math.log10(probability(tuple(history), word))
        assert ask(model, tuple(history), word) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("prune", [["0"], ["1", "1", "2"]])
def test_the_words_after_any_history_sum_to_one(prune, tmp_path):
    lines = sentences(400, words(150), seed=2)
    content = "".join(" ".join(line) + "\n" for line in lines)
    model = build(tmp_path, content, "--order", "3", "--prune", *prune)
    vocabulary = [g[0] for g in model if len(g) == 1 and g[0] != "<s>"]
    histories = [(), ("<s>",), *[g for g in model if len(g) == 2 and g[1] != "</s>"][:20]]
    histories.append(("<unk>", vocabulary[5]))
    for history in histories:
        total = sum(10 ** ask(model, history, word) for word in vocabulary)
        assert total == pytest.approx(1, abs=1e-5), history


def test_discounts_are_those_computed_by_hand():
    # n1 = 6, n2 = 3, n3 = 2, n4 = 1: Y = 6 / 12, D = 1 - 2Y 3/6, 2 - 3Y 2/3, 3 - 4Y 1/2
    adjusted = np.array([1] * 6 + [2] * 3 + [3] * 2 + [4] + [9] * 2)
    found = kneser_ney.discounts(adjusted, order=2, fallback=False)
    assert found == pytest.approx((0.5, 1.0, 2.0))


def test_run_and_block_sizes_change_nothing(tmp_path):
    lines = sentences(300, words(60), seed=5)
    with (tmp_path / "ids").open("wb") as file:
        names = text.spool(lines, file)
    ids = np.fromfile(tmp_path / "ids", np.int32)
    folders = [tmp_path / "many", tmp_path / "one"]
    for folder in folders:
        folder.mkdir()
    common = {"order": 4, "vocabulary": len(names)}
    many = counts.count(ids, **common, folder=folders[0], rows=200)
    one = counts.count(ids, **common, folder=folders[1], rows=10**6)
    assert len(list(folders[0].iterdir())) > 5 and len(list(folders[1].iterdir())) == 1
    for a, b in zip(many, one, strict=True):
        for left, right in zip(a, b, strict=True):
            np.testing.assert_array_equal(left, right)


def test_counts_are_those_of_a_dictionary(tmp_path):
    lines = sentences(100, words(30), seed=6)
    with (tmp_path / "ids").open("wb") as file:
        names = text.spool(lines, file)
    ids = np.fromfile(tmp_path / "ids", np.int32)
    orders = counts.count(ids, order=3, vocabulary=len(names), folder=tmp_path, rows=64)
    expected = Counter()
    for line in lines:
        padded = ["<s>", *line, "</s>"]
        expected.update(zip(padded, padded[1:], padded[2:], strict=False))
    top, middle = orders[2], orders[1]
    found = {
        (names[top.first[i]], names[middle.first[s]], names[middle.suffix[s]]): int(top.count[i])
        for i, s in enumerate(top.suffix)
    }
    assert found == dict(expected)


@pytest.mark.parametrize(("vocabulary", "keys"), [(12, 1), (70_000, 2), (3_000_000, 2)])
def test_packed_rows_sort_as_their_words_do(vocabulary, keys):
    layout = counts.packing(5 if vocabulary < 10**6 else 4, vocabulary)
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, vocabulary, 200) for _ in range(layout.order)]
    columns[0] %= 3  # ties
    packed = layout.pack(columns)
    assert len(packed) == keys
    for column, back in zip(columns, layout.unpack(packed), strict=True):
        np.testing.assert_array_equal(column, back)
    order = sorted(range(200), key=lambda i: [c[i] for c in columns])
    assert sorted(range(200), key=lambda i: [k[i] for k in packed]) == order


def test_a_lexicon_spells_the_texts_words_and_leaves_out_what_cannot_be_spelled(tmp_path, capsys):
    lexicon = tmp_path / "lexicon.txt"
    options = ["--vocabulary", "librispeech", "--lexicon", str(lexicon), "--discount-fallback"]
    build(tmp_path, "hello you\nyou café\nyou\n", "--order", "1", *options)
    assert lexicon.read_text().splitlines() == ["YOU\tY O U |", "HELLO\tH E L L O |"]
    told = capsys.readouterr().out.splitlines()[-1]
    assert "1 left out: 1 of 3 different words has symbols that --vocabulary" in told


def test_the_folder_of_any_checkpoint_names_its_vocabulary(tmp_path, capsys):
    """Hugging Face's folders, and what `convert` and `average` write, have no vocabulary.json."""
    hugging_face.save(tuned(), tmp_path / "hf")
    convert.main(["--from", "hf", "--input", f"{tmp_path}/hf", "--out", f"{tmp_path}/native"])
    hugging_face.save(pretrained(), tmp_path / "no_head")
    lexicon = tmp_path / "lexicon.txt"
    common = ["--order", "1", "--discount-fallback", "--lexicon", str(lexicon), "--vocabulary"]
    for name in ("hf", "native"):
        build(tmp_path, "ba 'c\n", *common, f"{tmp_path}/{name}")
        assert sorted(lexicon.read_text().splitlines()) == ["'C\t' C |", "BA\tB A |"]
    with pytest.raises(InputError, match=r"--vocabulary \S+no_head is a pretraining checkpoint"):
        build(tmp_path, "ba\n", *common, f"{tmp_path}/no_head")


@pytest.mark.parametrize("options", [[], ["--characters"]])
def test_words_that_the_vocabulary_cannot_spell_are_told_without_a_lexicon_too(
    tmp_path, capsys, options
):
    """They are in the model all the same: the vocabulary chooses case and rules, no words."""
    common = ["--order", "1", "--vocabulary", "librispeech", "--discount-fallback"]
    build(tmp_path, "hello invalid. you\nen/en_tt.flac you\n3 4 you\n", *common, *options)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2 and told[1] == (
        "4 of 6 different words have symbols that --vocabulary librispeech lacks, such as "
        "INVALID., EN/EN_TT.FLAC, 3; text rules turn them into spoken words (prepare --text, or "
        "the vocabulary of a run that was trained with them)"
    )
    build(tmp_path, "hello you\nyou\n", *common)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_characters_give_a_model_of_letters_and_boundaries(tmp_path):
    model = build(tmp_path, "AB BA\nBAD A\n", "--characters", "--order", "2", "--discount-fallback")
    assert {g[0] for g in model if len(g) == 1} == {"<unk>", "<s>", "</s>", *"ABD|"}
    assert ("|", "</s>") in model and ("B", "</s>") not in model


def test_a_model_of_single_words_has_a_pair_that_changes_nothing(tmp_path):
    """KenLM refuses models of order 1, and `decode` reads with it."""
    build(tmp_path, "A B\nB\nB\n", "--order", "1", "--discount-fallback")
    lines = (tmp_path / "lm.arpa").read_text().splitlines()
    assert lines[:3] == ["\\data\\", "ngram 1=5", "ngram 2=1"]
    singles = [line.split("\t") for line in lines[lines.index("\\1-grams:") + 1 :] if "\t" in line]
    (pair,) = [fields for fields in singles if fields[1] == "<s> </s>"]
    (end,) = [fields for fields in singles if fields[1] == "</s>"]
    assert pair[0] == end[0] and {fields[2] for fields in singles if len(fields) > 2} == {"0"}
    assert arpa.vocabulary(tmp_path / "lm.arpa") == ["<unk>", "<s>", "</s>", "A", "B"]


def test_a_binary_model_is_told_by_its_first_bytes(tmp_path):
    for name, content, binary in (
        ("lm.arpa", arpa.BINARY.encode() + b" version 5", True),
        ("lm.bin", b"\\data\\\nngram 1=1\n", False),
        ("lm", gzip.compress(b"\\data\\\n"), False),
        ("empty", b"", False),
    ):
        (tmp_path / name).write_bytes(content)
        assert arpa.is_binary(tmp_path / name) is binary


def test_text_may_be_gzip(tmp_path):
    with gzip.open(tmp_path / "a.gz", "wt") as file:
        file.write("A B\n\nC\n")
    assert list(text.sentences([str(tmp_path / "a.gz")], str)) == [["A", "B"], ["C"]]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", [], "no words"),
        ("A B\n", [], "too small or too uniform to estimate 1-grams"),
        ("A <s> B\n", [], "line 1: <s> is reserved"),
        ("A\nB\n", ["--order", "4", "--discount-fallback"], "no sentence has that many words"),
        (
            "en/a.flac\tA B\ttrain\n",
            [],
            r"text\.txt is a table and no text: 'en/a\.flac' is the name",
        ),
        ("A\n", ["--order", "9"], "outside 1..6"),
        ("A\n", ["--prune", "2", "1"], "must not fall"),
        ("A\n", ["--lexicon", "x"], "--lexicon needs --vocabulary"),
        ("A\n", ["--vocabulary", "runs/tuend"], "'runs/tuend' is unknown.* or a run's folder"),
        ("A\n", ["--lexicon-min-count", "2"], "--lexicon-min-count changes nothing without --lex"),
    ],
)
def test_bad_input_is_one_clear_line_and_writes_nothing(content, options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        build(tmp_path, content, *options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["text.txt"]


def test_what_is_not_text_or_not_there_is_named(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    for name, message in (("latin.txt", "not UTF-8"), ("none.txt", "No such file")):
        with pytest.raises(InputError, match=rf"{name}: .*{message}"):
            list(text.sentences([str(tmp_path / name)], str))


def test_the_transcripts_of_a_prepared_corpus_are_read_beside_text_files(tmp_path):
    texts = ("AB CA", "", "B A", "CAB CAB A")
    write_split(tmp_path / "mine", "train", texts=texts)
    (tmp_path / "more.txt").write_text("D B\n")
    (tmp_path / "same.txt").write_text("\n".join(texts) + "\nD B\n")
    both = [f"{tmp_path}/mine:train", str(tmp_path / "more.txt")], [str(tmp_path / "same.txt")]
    models = []
    for number, names in enumerate(both):
        out = tmp_path / f"{number}.arpa"
        more = ["--order", "2", "--discount-fallback", "--estimator", "own"]
        lm.main(["--text", *names, "--out", str(out), *more])
        models.append(out.read_bytes())
    assert models[0] == models[1]


@pytest.mark.parametrize("name", ["mine:dev", "mine", "elsewhere:train", "none.txt"])
def test_a_corpus_without_that_split_is_named(name, tmp_path):
    for split in ("train", "test"):
        write_split(tmp_path / "mine", split)
    with pytest.raises(InputError, match=str(tmp_path / name.partition(":")[0])):
        lm.main(["--text", str(tmp_path / name), "--out", str(tmp_path / "lm.arpa")])


def test_the_words_of_an_arpa_file_are_read_and_broken_ones_named(tmp_path):
    build(tmp_path, "A B\n", "--order", "2", "--discount-fallback")
    assert arpa.vocabulary(tmp_path / "lm.arpa") == ["<unk>", "<s>", "</s>", "A", "B"]
    for content in ("hello\n", "\\data\\\nngram 1=3\n", ""):
        (tmp_path / "bad.arpa").write_text(content)
        with pytest.raises(InputError, match=r"bad\.arpa: .*ARPA language model"):
            arpa.vocabulary(tmp_path / "bad.arpa")
    (tmp_path / "bad.arpa").write_text("\\data\\\nngram 1=1\n\n\\1-grams:\n-1 A\n\n\\end\\\n")
    with pytest.raises(InputError, match=r"'-1 A.*' is no n-gram; write probability<TAB>words"):
        arpa.vocabulary(tmp_path / "bad.arpa")
    (tmp_path / "bad.arpa").write_bytes(bz2.compress((tmp_path / "lm.arpa").read_bytes()))
    with pytest.raises(InputError, match="packed by bzip2; unpack it first, or pack it by gzip"):
        arpa.vocabulary(tmp_path / "bad.arpa")
