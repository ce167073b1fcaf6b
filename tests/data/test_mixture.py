"""Several corpora as the training data of one run: their shares, and what a person may write."""

import itertools
import re

import numpy as np
import pytest

from tests.helpers.corpora import write_split
from tests.helpers.recipes import smoke
from w2v2_jax.data.config import DataConfig
from w2v2_jax.data.feed import train_feed, valid_feed
from w2v2_jax.data.joined import each_corpus
from w2v2_jax.data.mixture import Mixture, open_members
from w2v2_jax.data.pipeline import host_rows
from w2v2_jax.data.plan import Plan
from w2v2_jax.errors import InputError
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.train.run_record import compare
from w2v2_jax.vocabulary import LIBRISPEECH

# Utterances of each language, from two of a small one to most of all; two corpora.
COUNTS = np.array([400, 2000, 60, 25, 900])
CORPORA = (0, 0, 0, 1, 1)
CELLS = np.repeat(np.arange(5, dtype=np.int32), COUNTS)
LENGTHS = np.random.default_rng(3).integers(4_000, 60_000, COUNTS.sum())
OPTIONS = dict(seed=5, bucket_samples=(5_000, 10_000, 30_000), batch_samples=240_000,
               row_multiple=8, min_samples=2_000)  # fmt: skip
AMOUNTS = np.array([6.0, 2.0, 12.0])


def mixture(alpha=0.5, weights=(1.0,) * 5):
    return Mixture(CELLS, tuple("abcde"), CORPORA, weights, alpha)


def make_plan(mode="crop", lengths=LENGTHS, mixture=mixture(), **options):  # noqa: B008
    buckets = (5_000, 10_000, 30_000, 60_000) if mode == "pad" else OPTIONS["bucket_samples"]
    chosen = OPTIONS | dict(mode=mode, bucket_samples=buckets) | options
    return Plan(lengths, mixture=mixture, **chosen)


def audio_of_cells(plan, steps):
    """[C] samples of each cell in the rows of the steps that have weight."""
    total = np.zeros(5)
    for step in steps:
        batch = plan.batch(step)
        for row, weight in zip(batch.rows, batch.weights, strict=True):
            for segment in row:
                total[CELLS[segment.utterance]] += weight * segment.length
    return total


def test_shares_of_one_corpus_are_hours_to_the_power_of_alpha():
    one = Mixture(np.zeros(0, np.int32), ("a", "b", "c"), (0, 0, 0), (1, 1, 1), 0.5)
    expected = np.sqrt(AMOUNTS) / np.sqrt(AMOUNTS).sum()
    np.testing.assert_allclose(one.shares(AMOUNTS), expected)
    np.testing.assert_allclose(one._replace(alpha=1.0).shares(AMOUNTS), AMOUNTS / 20)
    np.testing.assert_allclose(one._replace(alpha=0.0).shares(AMOUNTS), 1 / 3)
    weighted = one._replace(alpha=0.0, weights=(5.0, 3.0, 2.0))
    np.testing.assert_allclose(weighted.shares(AMOUNTS), (0.5, 0.3, 0.2))


def test_languages_are_balanced_within_their_corpus_and_then_the_corpora():
    two = Mixture(np.zeros(0, np.int32), ("a", "b", "c"), (0, 0, 1), (1, 1, 1), 0.5)
    corpora = np.sqrt([8.0, 12.0]) / np.sqrt([8.0, 12.0]).sum()
    inside = np.sqrt([6.0, 2.0]) / np.sqrt([6.0, 2.0]).sum()
    expected = [corpora[0] * inside[0], corpora[0] * inside[1], corpora[1]]
    np.testing.assert_allclose(two.shares(AMOUNTS), expected)


@pytest.mark.parametrize("mode", ["crop", "pad", "concatenate"])
def test_ten_thousand_steps_hold_each_language_within_a_hundredth_of_its_share(mode):
    plan = make_plan(mode)
    shortest = 5_000 if mode == "crop" else 1
    usable = shortest <= LENGTHS
    expected = mixture().shares(np.bincount(CELLS[usable], LENGTHS[usable]))
    audio = audio_of_cells(plan, range(10_000))
    np.testing.assert_allclose(audio / audio.sum(), expected, rtol=0.01)


@pytest.mark.parametrize("mode", ["crop", "pad", "concatenate"])
def test_a_few_epochs_hold_about_the_shares(mode):
    plan = make_plan(mode)
    audio = audio_of_cells(plan, range(3 * plan.steps_per_epoch))
    np.testing.assert_allclose(audio / audio.sum(), plan.repeats.shares, rtol=0.06)


@pytest.mark.parametrize("mode", ["crop", "pad", "concatenate"])
def test_a_step_of_a_mixture_is_the_same_from_a_fresh_plan(mode):
    plan, far = make_plan(mode), 1_000_003
    walked = [plan.batch(k) for k in (0, 7, far, 1)]
    for step, before in zip((0, 7, far, 1), walked, strict=True):
        batch = make_plan(mode).batch(step)
        assert (batch.samples, batch.rows) == (before.samples, before.rows)
        assert np.array_equal(batch.weights, before.weights)


@pytest.mark.parametrize("hosts", [1, 2, 4, 8])
def test_the_hosts_rows_together_are_the_step(hosts):
    batch = make_plan().batch(11)
    parts = [host_rows(batch, parts=(p,), num_parts=hosts) for p in range(hosts)]
    assert tuple(itertools.chain(*(part.rows for part in parts))) == batch.rows


def test_utterances_of_one_language_are_heard_as_often_as_each_other():
    plan = make_plan("pad")
    heard = np.zeros(len(LENGTHS), int)
    for step in range(6 * plan.steps_per_epoch):
        batch = plan.batch(step)
        for ((utterance, _, _),), weight in zip(batch.rows, batch.weights, strict=True):
            heard[utterance] += int(weight)
    for pools in plan.repeats.pools:
        for pool in pools:
            times = heard[pool.utterances]
            # Each of the epochs' ends may be off by one utterance; drawn with replacement, the
            # counts of a pool would be ten apart.
            assert times.max() - times.min() <= 2 + -(-6 // len(times))
            assert times.mean() == pytest.approx(6 * pool.rate / len(times), rel=0.2, abs=0.2)


def test_copies_of_an_utterance_are_cropped_at_places_of_their_own():
    cells = np.array([0] * 40 + [1], np.int32)
    mix = Mixture(cells, ("large", "small"), (0, 0), (1.0, 1.0), 0.0)
    plan = Plan(np.full(41, 50_000), mixture=mix, mode="crop",
                **OPTIONS | dict(bucket_samples=(10_000,), batch_samples=80_000))  # fmt: skip
    rows = [s for k in range(plan.steps_per_epoch) for (s,) in plan.batch(k).rows]
    starts = [s.start for s in rows if s.utterance == 40]
    assert len(starts) >= 18 and len(set(starts)) > 15


def test_all_epochs_have_as_many_batches_of_each_shape():
    plan = make_plan()
    shapes = [
        sorted((len(plan.batch(k).rows), plan.batch(k).samples) for k in range(n, n + size))
        for size in [plan.steps_per_epoch]
        for n in (0, size, 2 * size)
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    assert set(shapes[0]) == set(plan.shapes)


def test_a_language_without_a_usable_utterance_is_named():
    lengths = np.where(CELLS == 2, 100, LENGTHS)
    with pytest.raises(InputError, match=r"config\.data\.train: c has no utterance that"):
        make_plan(lengths=lengths)


TEXTS = ("THE CAT", "A HAT", "MY MAT SAT", "IT IS")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Three folders of one split, of other lengths; one has no transcript, one is Greek."""
    folder = tmp_path_factory.mktemp("corpora")
    write_split(folder / "lang_a", "train", texts=TEXTS * 4, seconds=0.02)
    write_split(folder / "lang_b", "train", texts=TEXTS, seconds=0.05)
    write_split(folder / "silent", "train", texts=("",) * 4, seconds=0.05)
    write_split(folder / "greek", "train", texts=("μια A", "γατα"), seconds=0.1)
    write_split(folder / "lang_a", "dev", texts=TEXTS, seconds=0.05)
    write_split(folder / "lang_b", "dev", texts=TEXTS, seconds=0.05)
    return folder


def config(train, **changes):
    fields = dict(
        train=train, mode="pad", bucket_seconds=(0.2, 0.4), batch_seconds=0.8, row_multiple=2,
        min_seconds=0.01, verify=False, reader="threads", workers=1,
    )  # fmt: skip
    return DataConfig(**(fields | changes))


def plan_of(train, **changes):
    return train_feed(config(train, **changes), None, seed=1).plan


def rows(plan):
    return [plan.batch(k).rows for k in range(2 * plan.steps_per_epoch)]


def test_a_list_a_text_with_commas_and_a_star_name_the_same_corpora(corpora):
    a, b = f"{corpora}/lang_a:train", f"{corpora}/lang_b:train"
    expected = rows(plan_of((a, b), alpha=0.5))
    assert rows(plan_of(f"{a},{b}", alpha=0.5)) == expected
    assert rows(plan_of(f"{corpora}/lang_*:train", alpha=0.5)) == expected
    tables = ({"path": a, "language": "x"}, {"path": b, "language": "y"})
    assert rows(plan_of(tables, alpha=0.5)) == expected
    assert rows(plan_of((a, b))) != expected


def test_without_alpha_and_weights_every_utterance_is_in_an_epoch_once(corpora):
    a, b = f"{corpora}/lang_a:train", f"{corpora}/lang_b:train"
    plan = plan_of((a, b))
    assert plan.repeats is None
    lengths = open_members((a, b)).corpus.num_samples
    fields = dict(mode="pad", bucket_samples=(3200, 6400), batch_samples=12_800, row_multiple=2)
    assert rows(plan) == rows(Plan(lengths, seed=1, min_samples=160, **fields))
    twice = ({"path": a, "weight": 2}, {"path": b, "weight": 2})
    assert plan_of(twice).repeats is None
    assert plan_of(({"path": a, "weight": 2}, b)).repeats is not None


def test_entries_of_one_corpus_and_language_have_one_share(corpora):
    a, b = f"{corpora}/lang_a:train", f"{corpora}/lang_b:train"
    same = ({"path": a, "language": "x"}, {"path": b, "language": "x"})
    assert open_members(same).mixture(0.5) is None
    with pytest.raises(InputError, match="have different weights, 3 and 1"):
        open_members(({**same[0]}, {**same[1], "weight": 3})).mixture(0.5)


def test_languages_are_those_that_the_corpora_know_else_entries_are_languages(tmp_path):
    write_split(tmp_path / "a", "train", languages=("de", "fr", ""), seconds=0.05)
    write_split(tmp_path / "b", "train", languages=("fr",), seconds=0.05)
    a, b = f"{tmp_path}/a:train", f"{tmp_path}/b:train"
    mixture = open_members((a, b)).mixture(0.5)
    assert sorted(mixture.names) == sorted((a, "de", "fr"))
    of_each = [mixture.names[cell] for cell in mixture.cells]
    assert of_each == ["de", "fr", a, "de", *["fr"] * 4]
    assert open_members(a).mixture(0.5).names == mixture.names
    assert open_members(a).mixture(1.0) is None and open_members(b).mixture(0.5) is None
    starred = open_members(f"{tmp_path}/*:train").mixture(0.5)
    assert sorted(starred.names) == ["a", "de", "fr"]
    named = open_members(({"path": a, "language": "x"}, b)).mixture(0.5)
    assert named.names == ("x", "fr")


def test_ids_and_speakers_of_several_folders_are_told_apart(corpora):
    joined = open_members((f"{corpora}/lang_a:train", f"{corpora}/lang_b:train")).corpus
    assert joined.id(0) == f"{corpora}/lang_a:train/u0"
    assert joined.id(16) == f"{corpora}/lang_b:train/u0"
    assert len(set(joined.speakers.tolist())) == 4
    splits = open_members(f"{corpora}/lang_a:train+dev").corpus
    assert len(set(splits.speakers.tolist())) == 2 and splits.id(16) == "dev/u0"


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ((), "data.train is empty"),
        ((5,), "data.train[0]=5 must be text, or a table"),
        (
            ({"pth": "a"},),
            "data.train[0].pth is not a setting; did you mean path? Known: path, ",
        ),
        (("a", {"path": "b", "weight": 0}), "data.train[1].weight=0 must be above 0"),
        (("a", {"path": "b", "weight": "x"}), "data.train[1].weight='x' must be a number"),
        (("a", {"weight": 1}), "data.train[1] has no path"),
        (("a", {"path": 5}), "data.train[1].path=5 must be text"),
        (("a", {"path": "b", "corpus": "c"}), "data.train[1]: name the corpus of every entry"),
    ],
)
def test_an_entry_that_is_wrong_is_named_by_its_place(train, message):
    with pytest.raises(InputError, match=re.escape(message)):
        config(train)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("{0}/lang_a:train,{0}/lang_a:train", "names {0}/lang_a:train twice; give it a weight"),
        ("{0}/lang_a:train,", "names a corpus that is empty"),
        ("{0}/none_*:train", "{0}/none_*: no folder has such a name"),
        ("{0}/lang_a:train,{0}/none:train", "{0}/none: no such directory"),
        ("{0}/lang_*:test", "no split 'test'; use one of {0}/lang_a:dev, {0}/lang_a:train"),
        ("{0}/lang_a:trian", "'trian'; did you mean train? It has {0}/lang_a:dev, {0}/lang_a:t"),
        ("{0}/lnag_a:train", "{0}/lnag_a: no such directory of a prepared corpus; did you mean la"),
    ],
)
def test_what_cannot_be_opened_is_one_line(corpora, train, message):
    with pytest.raises(InputError, match=re.escape(message.format(corpora))) as raised:
        open_members(train.format(corpora))
    assert "\n" not in str(raised.value)


def test_alpha_is_between_0_and_1():
    with pytest.raises(InputError, match=r"data\.alpha=2 must be between 0 and 1"):
        config("a", alpha=2.0)


def test_a_folder_with_a_comma_or_a_star_in_its_name_is_itself(corpora):
    for name in ("a,b", "a*"):
        write_split(corpora / "odd" / name, "train", seconds=0.01)
        for text in (f"{corpora}/odd/{name}:train", f"{corpora}/odd/{name}"):
            assert each_corpus(text) == [(text, "")]


def test_labels_of_several_corpora_are_of_one_vocabulary(corpora):
    a, b = f"{corpora}/lang_a:train", f"{corpora}/lang_b:train"
    feed = train_feed(config((a, b), alpha=0.0), LIBRISPEECH, seed=1)
    assert [round(share, 6) for share, _ in feed.shares().values()] == [0.5, 0.5]
    batch = next(feed.batches(0, 1))
    assert batch.num_labels.min() > 0
    for other, message in (("silent", "none of its 4 utterances"), ("greek", "7 of its 8 char")):
        where = f"config.data.train: {corpora}/{other}:train: {message}"
        with pytest.raises(InputError, match=re.escape(where)):
            train_feed(config((a, f"{corpora}/{other}:train")), LIBRISPEECH, seed=1)


def test_validation_may_be_of_several_corpora(corpora):
    both = (f"{corpora}/lang_a:dev", f"{corpora}/lang_b:dev")
    for valid in (both, ",".join(both), f"{corpora}/lang_*:dev"):
        feed = valid_feed(config(both[0], valid=valid), LIBRISPEECH)
        assert feed.utterances == 8


def test_a_resume_with_other_shares_is_refused_wherever_the_corpora_lie():
    def facts(shares, parts="x", **data):
        return {"config": {"data": data}, "data": {"train": {"shares": shares, "parts": parts}}}

    before = facts("0.5 0.5", alpha=0.0, train=["a", "b"])
    assert compare(before, facts("0.5 0.5", alpha=0.5, train="c,d")) == ([], [])
    refused, _ = compare(before, facts("0.6 0.4", alpha=0.0, train=["a", "b"]))
    assert refused[0].startswith("data.train.shares: 0.5 0.5 there, 0.6 0.4 now")
    refused, _ = compare(before, facts("0.5 0.5", "y", alpha=0.0, train=["a", "b"]))
    assert refused[0].startswith("data.train.parts: x there, y now")


def test_the_recipe_of_xls_r_balances_languages_within_corpora_and_then_these(
    tmp_path, monkeypatch
):
    for corpus in ("voxpopuli", "mls", "common_voice", "voxlingua107", "babel"):
        for k, language in enumerate(("de", "fr")):
            folder = tmp_path / "data/xlsr" / corpus / language
            write_split(folder, "train", texts=("",) * 4 * (k + 1), seconds=2.0)
            write_split(folder, "dev", texts=("",) * 2, seconds=1.0)
    monkeypatch.chdir(tmp_path)
    data = read_settings(smoke("pretrain_xlsr.py:300m")).data
    feed = train_feed(data, None, seed=1)
    assert list(feed.shares())[:3] == ["voxpopuli: de", "voxpopuli: fr", "mls: de"]
    german, french = 20.0, 72.0  # seconds: 2 * (1 + ... + 4) and 2 * (1 + ... + 8)
    expected = np.sqrt(german) / (np.sqrt(german) + np.sqrt(french)) / 5
    assert feed.shares()["babel: de"][0] == pytest.approx(expected)
    assert valid_feed(data, None).utterances == 20
