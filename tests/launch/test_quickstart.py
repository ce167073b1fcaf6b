"""launch/quickstart.sh with other sources and other sizes."""

import pytest

from tests.helpers.launchers import PREPARE_STUB, launch

PREPARES = f"""
[ "$1" != -c ] || exit 1
{PREPARE_STUB}
"""


@pytest.mark.parametrize(
    ("splits", "options", "spoken", "held_out"),
    [
        ("train dev test unlabeled", [], "train+unlabeled", False),
        ("train dev test", ["--source", "folder:mine"], "train", True),
        (
            "train dev test other unlabeled",
            ["--source", "folder:mine"],
            "other+train+unlabeled",
            True,
        ),
    ],
)
def test_the_quickstart_pretrains_on_whatever_splits_a_source_has(
    project, splits, options, spoken, held_out
):
    stubs = {"python": PREPARES}
    status, _, stderr, calls = launch(
        project, "quickstart.sh", *options, stubs=stubs, environment={"SPLITS": splits}
    )
    assert status == 0, stderr
    (prepare,) = [call for call in calls if "w2v2_jax.prepare" in call]
    assert ("--holdout" in prepare) is held_out
    pretrain = next(call for call in calls if "w2v2_jax.train" in call)
    assert f"--config.data.train=data/quickstart/corpus:{spoken}" in pretrain
    assert "--config.data.valid=data/quickstart/corpus:dev+test" in pretrain


def test_the_quickstart_of_an_hour_tunes_on_all_five_languages_beside_the_other_corpus(project):
    stubs, environment = {"python": PREPARES}, {"SPLITS": "train dev test unlabeled"}
    assert launch(project, "quickstart.sh", stubs=stubs, environment=environment)[0] == 0
    status, _, stderr, calls = launch(
        project, "quickstart.sh", "--minutes", "60", stubs=stubs, environment=environment
    )
    assert status == 0, stderr
    assert (project / "data/quickstart/corpus/train").exists()
    speech = next(call for call in calls if "w2v2_jax.sample_speech" in call)
    assert "--out data/quickstart/speech-all --texts all" in speech
    pretrain, scratch, tuned = (call for call in calls if "w2v2_jax.train " in call)
    assert "quickstart.py:pretrain\\,hour " in pretrain and "vocabulary" not in pretrain
    assert "--config.data.train=data/quickstart/corpus-all:train+unlabeled" in pretrain
    for call, recipe in ((scratch, "scratch"), (tuned, "finetune")):
        assert f"quickstart.py:{recipe}\\,hour " in call
        assert "--config.data.train=data/quickstart/corpus-all:train " in call
        assert "--config.vocabulary.name=from_transcripts" in call
    assert "--config.init_from=runs/quickstart/hour1/pretrain" in tuned
    assert not any("report.codebook" in call for call in calls)
    assert not any("--units" in call for call in calls)


def test_the_quickstart_says_which_split_a_source_lacks_and_forgets_another_sources(project):
    stubs, splits = {"python": PREPARES}, {"SPLITS": "train dev test unlabeled"}
    assert launch(project, "quickstart.sh", stubs=stubs, environment=splits)[0] == 0
    source = ["--source", "folder:mine"]
    status, _, stderr, _ = launch(
        project, "quickstart.sh", *source, stubs=stubs, environment={"SPLITS": "train dev"}
    )
    assert (status, stderr.count("\n")) == (2, 1) and "folder:mine gave no split test" in stderr
    assert not (project / "data/quickstart/corpus/unlabeled").exists()
    status, _, stderr, _ = launch(  # where it has the split now, the same command goes on
        project, "quickstart.sh", *source, stubs=stubs, environment={"SPLITS": "train dev test"}
    )
    assert status == 0, stderr
