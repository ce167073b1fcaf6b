"""What an exported folder says of itself, the permissions of its files, and the hub's names."""

import importlib.util
import json
import stat

import pytest

import w2v2_jax
from tests.helpers.interop_cases import ENCODER, VOCABULARY, random_checkpoint
from w2v2_jax import convert
from w2v2_jax.errors import InputError
from w2v2_jax.export import command as export
from w2v2_jax.interop import hub, native

RUN = {
    "facts": {
        "config": {
            "data": {"train": ["/home/me/data/first:train", "gs://bucket/second"]},
            "init_from": "/home/me/runs/start",
        },
        "data": {"train": {"hours": 11.5, "clips": 4000, "used_hours": 9.625}},
    },
    "starts": [{"code": {"version": "0.1"}}, {"code": {"version": "0.2.0", "commit": "ab" * 20}}],
}
SPLIT = {
    "data": "/home/me/data/first:dev", "wer": 0.1234, "wer_interval": [0.11, 0.135],
    "cer": 0.04, "cer_interval": [0.03, 0.05], "num_utterances": 77,
}  # fmt: skip


@pytest.fixture
def checkpoint(tiny, tmp_path):
    made = random_checkpoint(tiny, parts=("encoder", "head"), vocabulary=VOCABULARY)
    native.write_initial(tmp_path / "run", made)
    return tmp_path / "run"


def exported(checkpoint, *options, form="hf"):
    out = checkpoint.parent / "out"
    export.main(["--checkpoint", str(checkpoint), "--to", form, "--out", str(out), *options])
    return out


def evaluation(path, **changes):
    path.write_text(
        json.dumps({**SPLIT, "checkpoint": str(path.parent / "run/checkpoints/0")} | changes)
    )
    return str(path)


def test_the_card_has_the_runs_data_hours_commit_and_rates_and_no_paths(checkpoint, tmp_path):
    (checkpoint / "run.json").write_text(json.dumps(RUN))
    steps = [path.name for path in (checkpoint / "checkpoints").iterdir() if path.name.isdigit()]
    place = str(checkpoint / "checkpoints" / steps[0])
    out = exported(
        checkpoint, "--licence", "mit", "--languages", "de, fr",
        "--evaluation", evaluation(tmp_path / "dev.json", checkpoint=place),
    )  # fmt: skip
    text = (out / "README.md").read_text()
    for line in (
        "license: mit", "- de", "| training data | first:train, second |",
        "| hours of it | 9.625 |",
        "| languages | de, fr |", "| started from | start |", "| licence | mit |",
        "| code of the training | w2v2_jax 0.2.0, commit abababababab |",
        "| first:dev | WER | 12.34 % | 11.00 to 13.50 % | 77 |",
        "| first:dev | CER | 4.00 % | 3.00 to 5.00 % | 77 |",
        'run = pipeline("automatic-speech-recognition", model=".")',
        'print(run({"array": waveform, "sampling_rate": rate}))',
    ):  # fmt: skip
        assert line in text, line
    assert "/home" not in text and "gs://" not in text


def test_the_hours_of_an_earlier_versions_record_are_a_bound(checkpoint):
    facts = {"config": {}, "data": {"train": {"hours": 11.5}}}
    (checkpoint / "run.json").write_text(json.dumps({"facts": facts}))
    assert "| hours of it | at most 11.5 |" in (exported(checkpoint) / "README.md").read_text()


def test_what_nothing_says_is_not_stated(checkpoint):
    text = (exported(checkpoint) / "README.md").read_text()
    for name in ("training data", "hours of it", "languages", "started from", "licence"):
        assert f"| {name} | not stated |" in text
    assert "license:" not in text and "Not evaluated" in text


def test_an_evaluation_of_another_checkpoint_or_another_file_is_refused(checkpoint, tmp_path):
    other = evaluation(tmp_path / "a.json", checkpoint="runs/other/checkpoints/5")
    with pytest.raises(InputError, match=r"a\.json is of runs/other/checkpoints/5, not of"):
        exported(checkpoint, "--evaluation", other)
    (tmp_path / "b.json").write_text('{"loss": 1}')
    with pytest.raises(InputError, match="not a file of `w2v2 evaluate --json`"):
        exported(checkpoint, "--evaluation", str(tmp_path / "b.json"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(wer="0.1"), r"e\.json: wer='0\.1' must be a number"),
        (dict(wer_interval=0.1), r"e\.json: wer_interval=0\.1 must be a list of two numbers"),
        (dict(num_utterances="7"), r"e\.json: num_utterances='7' must be a whole number"),
        (dict(per=0.5), r"e\.json: per is there without per_interval"),
        (dict(splits=5), "not a file of `w2v2 evaluate --json`"),
    ],
)
def test_a_value_of_an_edited_evaluation_is_named(checkpoint, tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        exported(checkpoint, "--evaluation", evaluation(tmp_path / "e.json", **changes))


def test_an_infinite_rate_is_stated(checkpoint, tmp_path):
    file = evaluation(tmp_path / "e.json", wer=None, wer_interval=[0.1, None])
    text = (exported(checkpoint, "--evaluation", file) / "README.md").read_text()
    assert "| WER | infinite % | 10.00 to infinite % |" in text


def test_a_format_of_one_file_has_no_card(checkpoint):
    with pytest.raises(InputError, match="--to fairseq writes a file"):
        exported(checkpoint, "--licence", "mit", form="fairseq")


@pytest.mark.parametrize("form", ["hf", "fairseq", "safetensors"])
def test_files_have_the_permissions_of_any_new_file(checkpoint, form, tmp_path):
    (tmp_path / "new").write_text("")
    ordinary = stat.S_IMODE((tmp_path / "new").stat().st_mode)
    out = exported(checkpoint, form=form)
    for file in out.iterdir() if out.is_dir() else [out]:
        assert stat.S_IMODE(file.stat().st_mode) == ordinary, file.name


def test_a_bare_encoder_says_how_it_is_loaded(tiny, tmp_path):
    native.write_initial(tmp_path / "run", random_checkpoint(tiny, parts=ENCODER))
    text = (exported(tmp_path / "run") / "README.md").read_text()
    assert 'model = AutoModelForPreTraining.from_pretrained(".")' not in text
    assert 'model = AutoModel.from_pretrained(".")' in text


def without_the_package(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec",
        lambda name, *rest: None if name == "huggingface_hub" else find(name, *rest),
    )  # fmt: skip


def test_a_hubs_name_without_the_package_is_one_line_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    without_the_package(monkeypatch)
    with pytest.raises(InputError) as caught:
        hub.folder("facebook/wav2vec2-base")
    assert "pip install huggingface_hub" in str(caught.value)
    assert "https://huggingface.co/facebook/wav2vec2-base" in str(caught.value)
    with pytest.raises(InputError, match="no folder here; for a model of the hub pip install"):
        w2v2_jax.load("facebook/wav2vec2-base")
    with pytest.raises(InputError, match=r"wav2vec2-base does not exist; give .* by its whole nam"):
        w2v2_jax.load("wav2vec2-base")


def test_a_hubs_name_is_taken_by_all_that_takes_a_checkpoint(checkpoint, tmp_path, monkeypatch):
    exported(checkpoint)
    monkeypatch.setattr(hub, "folder", lambda name: str(tmp_path / "out"))
    assert w2v2_jax.load("facebook/wav2vec2-base").description.objective == "ctc"
    convert.main(["--from", "hf", "--input", "me/mine", "--out", str(tmp_path / "native")])
    assert (tmp_path / "native" / "checkpoints").is_dir()


def test_paths_are_never_taken_for_names_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    without_the_package(monkeypatch)
    (tmp_path / "runs").mkdir()
    for path in (
        "runs/mistyped",
        "/runs/mine",
        "./facebook/base",
        "mine",
        "gs://bucket/run",
        "a/b/c",
    ):
        assert hub.folder(path) == path


def test_pushing_without_the_package_is_refused_before_anything_is_written(
    checkpoint, monkeypatch, tmp_path
):
    without_the_package(monkeypatch)
    with pytest.raises(InputError, match="--push needs a package: pip install huggingface_hub"):
        exported(checkpoint, "--push", "me/mine")
    with pytest.raises(InputError, match="--push goes with --to hf"):
        exported(checkpoint, "--push", "me/mine", form="onnx")
    assert not (tmp_path / "out").exists()
