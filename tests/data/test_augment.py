"""Augmentation: what it does to samples, that rows decide about it, and that they stay theirs."""

import itertools
import re

import numpy as np
import pytest
import soundfile

from tests.helpers.corpora import write_split
from tests.helpers.places import ROOT
from w2v2_jax.data import effects
from w2v2_jax.data.augment import AugmentConfig, Row, open_augmentation
from w2v2_jax.data.clips import open_clips
from w2v2_jax.data.config import DataConfig
from w2v2_jax.data.feed import train_feed, valid_feed
from w2v2_jax.errors import InputError
from w2v2_jax.experiment.recipe import load_config, override
from w2v2_jax.experiment.settings import read_settings
from w2v2_jax.train.run_record import check_facts, compare
from w2v2_jax.train.workdir import save_record
from w2v2_jax.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("<s>", "<pad>", "</s>", "<unk>", "|", *"ABC"), "upper")
TIME = np.arange(16_000) / 16_000


def tone(hertz, amplitude=0.3):
    return (amplitude * np.sin(2 * np.pi * hertz * TIME)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus, and folders of noise and of impulse responses as recordings and prepared."""
    folder = tmp_path_factory.mktemp("augment")
    write_split(folder / "corpus", "train", seconds=0.5, texts=("AB CA", "B A", "CAB", "A") * 2)
    write_split(folder / "corpus", "dev", seconds=0.5)
    rng = np.random.default_rng(0)
    for name, seconds in (("noise/a.wav", 3.0), ("noise/deep/b.flac", 0.2)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.normal(0, 0.1, int(16_000 * seconds)), 16_000)
    (folder / "rooms").mkdir()
    response = rng.normal(0, 1, 4000) * np.exp(-np.arange(4000) / 600) * 0.1
    response[40] = 0.9
    soundfile.write(folder / "rooms/r.wav", response, 16_000)
    (folder / "empty").mkdir()
    return folder


def config(folder, mode="pad", **changes):
    fields = dict(
        train=f"{folder}/corpus:train", valid=f"{folder}/corpus:dev", mode=mode, verify=False,
        bucket_seconds=(0.5, 1.0, 2.0, 4.0), batch_seconds=4.0, row_multiple=2, reader="threads",
        workers=1, min_seconds=0.4,
    )  # fmt: skip
    return DataConfig(**(fields | changes))


def everything(folder, **changes):
    return AugmentConfig(**dict(
        speed=(0.9, 1.0, 1.1), noise=f"{folder}/noise", noise_probability=0.8, gain_db=(-6, 6),
        rooms=f"{folder}/rooms", rooms_probability=0.5, telephone_probability=0.3,
    ) | changes)  # fmt: skip


def batches_of(feed, first=0, count=8, **parts):
    return list(itertools.islice(feed.batches(first, count, **parts), count))


def equal(a, b):
    return all(x is None or np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("snr", [-5.0, 0.0, 10.0, 35.5])
def test_noise_is_as_loud_as_its_ratio_says(snr):
    rng = np.random.default_rng(1)
    speech, noise = (rng.normal(0, s, 16_000).astype(np.float32) for s in (0.1, 0.7))
    added = effects.with_noise(speech, noise, snr) - speech
    reached = 10 * np.log10(effects.power(speech) / effects.power(added))
    assert reached == pytest.approx(snr, abs=0.1)


def test_rows_reach_the_ratio_that_they_drew(folder):
    augment = AugmentConfig(noise=f"{folder}/noise", noise_snr=(3.0, 9.0))
    changed = train_feed(config(folder, augment=augment), None, seed=1)
    plain, drawn = train_feed(config(folder), None, seed=1), []
    for step, (a, b) in enumerate(zip(batches_of(changed), batches_of(plain), strict=True)):
        for number, n in enumerate(a.num_samples):
            speech, noisy = b.waveforms[number, :n], a.waveforms[number, :n]
            reached = 10 * np.log10(effects.power(speech) / effects.power(noisy - speech))
            drawn.append(changed.augmentation.row(step, number).snr)
            assert reached == pytest.approx(drawn[-1], abs=0.1)
    assert 3 <= min(drawn) < 4 and 8 < max(drawn) <= 9


def test_silence_and_silent_noise_stay_as_they_are():
    silence = np.zeros(100, np.float32)
    assert np.array_equal(effects.with_noise(silence, tone(100)[:100], 5.0), silence)
    assert np.array_equal(effects.with_noise(tone(100), np.zeros(16_000), 5.0), tone(100))
    assert np.array_equal(effects.in_room(silence, tone(100)[:50]), silence)


@pytest.mark.parametrize(
    ("hertz", "passes"), [(50, False), (600, True), (3000, True), (3900, False), (6000, False)]
)
def test_a_telephone_passes_300_to_3400_hertz(hertz, passes):
    heard = effects.over_telephone(tone(hertz))[1000:-1000]
    level = np.sqrt(effects.power(heard) / effects.power(tone(hertz)))
    assert level == pytest.approx(1, abs=0.02) if passes else level < 0.02


def test_a_telephone_keeps_time_and_adds_the_noise_of_eight_bits():
    samples = tone(1000)
    heard = effects.over_telephone(samples)
    noise = effects.power((heard - samples)[1000:-1000])
    assert 33 < 10 * np.log10(effects.power(samples) / noise) < 45
    assert heard.dtype == np.float32 and heard.shape == samples.shape


def test_a_room_keeps_loudness_and_time():
    response = np.zeros(500, np.float32)
    response[[100, 400]] = 0.5, 0.2
    click = np.zeros(4000, np.float32)
    click[1000] = 0.5
    wet = effects.in_room(click, response)
    assert int(np.argmax(wet)) == 1000 and wet[1300] == pytest.approx(0.4 * wet[1000], rel=1e-4)
    assert effects.power(wet) == pytest.approx(effects.power(click), rel=1e-4)


@pytest.mark.parametrize("length", [8000, 14_545, 17_778])
def test_speed_moves_pitch_with_length(length):
    fast = effects.resampled(tone(500), length)
    spectrum = np.abs(np.fft.rfft(fast))
    assert fast.shape == (length,)
    assert np.argmax(spectrum) * 16_000 / length == pytest.approx(500 * 16_000 / length, rel=0.01)


@pytest.mark.parametrize("mode", ["pad", "crop", "concatenate"])
@pytest.mark.parametrize("normalise", [False, True])
def test_a_later_start_gives_the_same_rows_bit_for_bit(folder, mode, normalise):
    chosen = config(folder, mode, normalise=normalise, augment=everything(folder))
    run = batches_of(train_feed(chosen, None, seed=3), 0, 8)
    later = batches_of(train_feed(chosen, None, seed=3), 5, 3)
    assert all(equal(a, b) for a, b in zip(run[5:], later, strict=True))
    other = batches_of(train_feed(chosen, None, seed=4), 5, 3)
    assert not any(equal(a, b) for a, b in zip(later, other, strict=True))


@pytest.mark.parametrize("mode", ["pad", "crop", "concatenate"])
def test_any_number_of_hosts_hears_the_same(folder, mode):
    feed = train_feed(config(folder, mode, augment=everything(folder)), None, seed=3)
    whole = batches_of(feed)
    halves = [batches_of(feed, parts=(p,), num_parts=2) for p in (0, 1)]
    for step, batch in enumerate(whole):
        together = [np.concatenate([h[step][k] for h in halves]) for k in range(3)]
        assert equal(batch[:3], together)


@pytest.mark.parametrize("normalise", [False, True])
def test_off_is_bit_for_bit_what_it_was(folder, normalise):
    plain = batches_of(train_feed(config(folder, normalise=normalise), VOCABULARY, seed=3), count=4)
    off = AugmentConfig(speed=(1.0,), noise=f"{folder}/none", noise_probability=0.0)
    assert train_feed(config(folder, augment=off), None, seed=3).augmentation is None
    # Nothing but rows that are on the telephone change, and here nearly none is.
    rare = AugmentConfig(telephone_probability=1e-9)
    feed = train_feed(config(folder, augment=rare, normalise=normalise), VOCABULARY, seed=3)
    assert all(equal(a, b) for a, b in zip(plain, batches_of(feed, count=4), strict=True))


@pytest.mark.parametrize("mode", ["pad", "crop", "concatenate"])
def test_steps_keep_their_rows_shapes_weights_and_labels(folder, mode):
    vocabulary = VOCABULARY if mode == "pad" else None
    plain = train_feed(config(folder, mode), vocabulary, seed=3)
    changed = train_feed(config(folder, mode, augment=everything(folder)), vocabulary, seed=3)
    assert [plain.row_sources(k) for k in (1, 9)] == [changed.row_sources(k) for k in (1, 9)]
    lengths = set()
    for a, b in zip(batches_of(plain, count=20), batches_of(changed, count=20), strict=True):
        assert a.waveforms.shape == b.waveforms.shape
        assert equal(a[2:], b[2:])
        assert np.isfinite(b.waveforms).all()
        lengths |= set(zip(a.num_samples.tolist(), b.num_samples.tolist(), strict=True))
        for row, n in zip(b.waveforms, b.num_samples, strict=True):
            assert not row[n:].any() and row[:n].any()
    if mode == "pad":  # 4 s fill their row, and cannot become longer
        assert {(64_000, 64_000), (64_000, 58_182)} <= lengths
        assert all(new in (n, round(n / 1.1), round(n / 0.9)) for n, new in lengths)
        assert max(new - n for n, new in lengths) > 0
    else:
        assert all(n == new for n, new in lengths)


def test_a_fast_crop_takes_more_of_its_file_and_no_silence(folder):
    augment = AugmentConfig(speed=(1.1,))
    feed = train_feed(config(folder, "crop", augment=augment), None, seed=3)
    for batch in batches_of(feed):
        tail = batch.waveforms[:, -160:]
        assert (np.abs(tail).max(1) > 0.01).all()


@pytest.mark.parametrize("mode", ["pad", "crop"])
def test_normalised_rows_stay_normalised(folder, mode, monkeypatch):
    augment = everything(folder, gain_db=(0.0, 0.0))
    chosen = config(folder, mode, normalise=True, augment=augment, bucket_seconds=(0.5, 4.0))
    feed = train_feed(chosen, None, seed=3)
    lengths = feed.corpus.num_samples.tolist()
    whole = [feed.corpus.read(k, 0, n).astype(np.float64) / 32768 for k, n in enumerate(lengths)]
    for name in ("mean", "std"):  # its index says 0 and 1, which is not so
        values = np.array([getattr(samples, name)() for samples in whole])
        monkeypatch.setattr(type(feed.corpus), name, values)
    for batch in batches_of(feed):
        for row, n in zip(batch.waveforms, batch.num_samples, strict=True):
            assert row[:n].mean() == pytest.approx(0, abs=0.05)
            assert row[:n].std() == pytest.approx(1, abs=0.01 if mode == "pad" else 0.1)


def test_validation_is_never_augmented(folder):
    plain, chosen = config(folder), config(folder, augment=everything(folder))
    a, b = (batches_of(valid_feed(one, VOCABULARY), count=3) for one in (plain, chosen))
    assert all(equal(x, y) for x, y in zip(a, b, strict=True))


def test_each_draw_is_its_own_whatever_else_is_on(folder):
    both = open_augmentation(everything(folder), seed=1, whole=True)
    noise = open_augmentation(
        AugmentConfig(noise=f"{folder}/noise", noise_probability=0.8), seed=1, whole=True
    )
    rows = [(both.row(5, k), noise.row(5, k)) for k in range(50)]
    assert all((a.noise, a.snr) == (b.noise, b.snr) for a, b in rows)
    assert 30 < sum(a.noise is not None for a, _ in rows) < 50
    assert {a.speed for a, _ in rows} == {0.9, 1.0, 1.1}
    assert noise.row(5, 0) != noise.row(6, 0) and Row() in [b for _, b in rows]


def test_recordings_and_a_corpus_of_them_are_clips(folder):
    clips = open_clips(f"{folder}/noise", "x")
    assert sorted(clips.lengths.tolist()) == [3200, 48_000]
    assert clips.stretch(0.999, 16_000).shape == (16_000,)
    short = clips.stretch(0.97, 16_000)  # of the clip of 0.2 s, which is repeated
    assert np.array_equal(short[:3200], short[3200:6400])
    prepared = open_clips(f"{folder}/corpus:dev", "x")
    assert len(prepared.lengths) == 4 and prepared.fingerprint != clips.fingerprint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(noise="{0}/none"), "config.data.augment.noise: {0}/none: no such directory"),
        (dict(rooms="{0}/empty"), "config.data.augment.rooms: {0}/empty: neither a prepared"),
        (dict(rooms="{0}/broken"), "config.data.augment.rooms: {0}/broken/a.wav: "),
        (dict(rooms="{0}/long"), "one of its clips is 11.0 s long, and impulse responses are at"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_line(folder, settings, message):
    (folder / "broken").mkdir(exist_ok=True)
    (folder / "broken/a.wav").write_bytes(b"RIFF nothing")
    (folder / "long").mkdir(exist_ok=True)
    soundfile.write(folder / "long/a.wav", np.ones(11 * 16_000) * 0.1, 16_000)
    augment = AugmentConfig(**{k: v.format(folder) for k, v in settings.items()})
    with pytest.raises(InputError, match=re.escape(message.format(folder))) as raised:
        train_feed(config(folder, augment=augment), None, seed=1)
    assert "\n" not in str(raised.value)


RECIPE = f"{ROOT}/experiments/quickstart.py:finetune,smoke"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("speed=(3.0,)", "config.data.augment.speed=(3.0,): factors are from 0.5 to 2"),
        ("speed=fast", "config.data.augment.speed=fast must be a list, each a number"),
        ("noise_snr=(9,3)", "config.data.augment.noise_snr=(9, 3) must be (least, most)"),
        ("noise_snr=5", "config.data.augment.noise_snr=5 must be (a number, a number)"),
        ("rooms_probability=2", "config.data.augment.rooms_probability=2 must be in 0 to 1"),
        ("reverb=x", "config.data.augment.reverb is not a setting; known: speed, rooms"),
    ],
)
def test_a_setting_that_is_wrong_is_named(option, message):
    with pytest.raises(InputError, match=re.escape(message)):
        raw = load_config(RECIPE)
        override(raw, [f"--config.data.augment.{option}"])
        read_settings(raw)


def test_settings_are_written_on_the_command_line():
    raw = load_config(RECIPE)
    options = ("speed=0.9,1.1", "noise=data/musan", "noise_snr=(0,30)", "telephone_probability=.1")
    override(raw, [f"--config.data.augment.{option}" for option in options])
    assert read_settings(raw).data.augment == AugmentConfig(
        speed=(0.9, 1.1), noise="data/musan", noise_snr=(0, 30), telephone_probability=0.1
    )


def test_gain_is_refused_where_every_row_is_brought_to_one_level(folder):
    with pytest.raises(InputError, match=r"data\.augment\.gain_db changes nothing because"):
        config(folder, normalise=True, augment=AugmentConfig(gain_db=(-3.0, 3.0)))


def facts(print_, **augment):
    plain = dict(speed=[], noise="", noise_snr=[5.0, 20.0], rooms="", rooms_probability=1.0,
                 noise_probability=1.0, gain_db=[0.0, 0.0], telephone_probability=0.0)  # fmt: skip
    data = {"augment": plain | augment, "mode": "pad"}
    return {"config": {"data": data}, "data": {"train": {"noise": print_, "rooms": ""}}}


def test_a_resume_with_another_augmentation_is_refused_wherever_its_clips_lie(tmp_path):
    before = facts("abc", noise="here")
    assert compare(before, facts("abc", noise="there")) == ([], [])
    refused, _ = compare(before, facts("xyz", noise="here"))
    assert refused == ["data.train.noise: abc there, xyz now (other noise in the same rows)"]
    refused, _ = compare(before, facts("abc", noise="here", noise_snr=[0.0, 9.0]))
    assert refused[0].startswith("config.data.augment.noise_snr: [5.0, 20.0] there, [0.0, 9.0] now")
    del before["config"]["data"]["augment"]  # a run of a version that had none
    save_record(tmp_path, {"seed": 0}, before)
    assert check_facts(tmp_path, facts("abc")) == []
    with pytest.raises(InputError, match=r"another config\.data\.augment\.speed: \[\] there"):
        check_facts(tmp_path, facts("abc", speed=[1.1]))
