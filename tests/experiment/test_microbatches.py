"""Into how many microbatches rows divide, and which number of them fits."""

import pytest

from w2v2_jax.experiment.microbatches import divisions, fewest, parts_of_validation

POWERS = [1, 2, 4, 8, 16, 32, 64]


def test_rows_divide_over_devices_diversity_groups_and_all_shapes():
    assert divisions([(48, 9)], shards=4, row_multiple=lambda samples: 2) == [1, 2, 3, 6]
    shapes = [(48, 9), (32, 18)]
    assert divisions(shapes, shards=2, row_multiple=lambda samples: 18 // samples) == [1, 2, 4]
    assert divisions([(6, 9)], shards=4, row_multiple=lambda samples: 1) == []


@pytest.mark.parametrize(("samples", "parts"), [(10, 1), (11, 2), (20, 2), (21, 4), (1000, 8)])
def test_a_validation_batch_has_as_few_parts_as_hold_so_much_audio(samples, parts):
    assert parts_of_validation([1, 2, 4, 8], (8, samples), most_samples=80.0) == parts


def memory(state, activations, *, tried, refuses=0):
    """A compiler of steps of `activations` bytes in one microbatch, beside the state."""

    def needed(number):
        tried.append(number)
        return None if number < refuses else state + activations // number

    return needed


@pytest.mark.parametrize(("room", "number"), [(110, 1), (109, 2), (60, 2), (59, 4), (12, 64)])
def test_the_fewest_microbatches_that_fit_are_taken(room, number):
    assert fewest(POWERS, memory(10, 100, tried=[]), room=room, state=10) == (number, True)


def test_numbers_that_cannot_fit_are_not_compiled():
    tried = []
    assert fewest(POWERS, memory(10, 1000, tried=tried), room=60, state=10) == (32, True)
    assert tried == [1, 16, 32]  # 800 to 1000 bytes of activations in 16 may be 50 in each


def test_a_refusal_without_a_figure_doubles_the_microbatches():
    tried = []
    needed = memory(10, 100, tried=tried, refuses=4)
    assert fewest(POWERS, needed, room=200, state=10) == (4, True)
    assert tried == [1, 2, 4]


def test_where_none_fits_the_most_are_tried_and_it_is_said():
    tried = []
    assert fewest(POWERS, memory(100, 1000, tried=tried), room=90, state=100) == (64, False)
    assert tried[-1] == 64 and fewest([1], memory(9, 9, tried=[]), room=9, state=1) == (1, False)
