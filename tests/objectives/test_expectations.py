"""What objectives say of themselves: healthy figures, and the batch a step is compiled with."""

import dataclasses

import numpy as np
import pytest

from w2v2_jax.models.families import model_config
from w2v2_jax.objectives.base import Objective
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC

BASE = model_config("base")


def expected(**changes):
    model = dataclasses.replace(BASE, **changes)
    return Contrastive(model, diversity_group_seconds=1.0, num_negatives=50).expectations()


def test_pretraining_expects_the_paper_s_masks_and_every_codebook():
    figures = expected()
    assert (figures.loss, figures.loss_spike, figures.slow_updates) == ("contrastive_loss", 1.15, 0)
    assert (figures.negatives, figures.codebooks, figures.codes) == (50, 2, 640)
    assert figures.masked == pytest.approx(0.489, abs=1e-3)
    assert figures.span == pytest.approx(14.7, abs=0.1)


def test_without_a_quantizer_no_codes_are_expected_and_with_one_of_the_two_they_are():
    assert expected(quantize_targets=False)[4:6] == (0, 0)
    assert expected(quantize_targets=False, quantize_input=True)[4:6] == (2, 640)


def test_rows_with_as_many_masks_each_have_no_expected_span():
    assert expected(mask_equalise_rows=2).span == 0.0


def test_fine_tuning_expects_a_longer_plateau_while_the_head_alone_learns():
    figures = CTC(BASE, num_classes=5, freeze_updates=100).expectations()
    assert (figures.loss, figures.loss_spike, figures.slow_updates) == ("loss_per_label", 8.0, 100)


@pytest.mark.parametrize(("seconds", "width"), [(0.1, 16), (1, 16), (2, 32), (10, 144)])
def test_a_batch_of_ctc_has_as_many_labels_as_english_speech_of_its_length(seconds, width):
    batch = CTC.abstract_batch(3, round(16_000 * seconds))
    assert batch.labels.shape == (3, width) and batch.labels.dtype == np.int32
    assert batch.num_labels.shape == batch.weights.shape == (3,)
    assert batch.waveforms.shape == (3, round(16_000 * seconds))


def test_where_the_network_alone_matters_a_group_is_a_second_and_rows_are_single():
    assert Contrastive.for_network(BASE).diversity_group_seconds == 1.0
    assert Objective().row_multiple(16_000) == 1
