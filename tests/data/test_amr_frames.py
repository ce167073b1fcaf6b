"""Where the frames of an AMR file end."""

import pytest

from w2v2_jax.data.amr_frames import NARROW, walk_amr
from w2v2_jax.data.containers import Damaged

FRAME = b"\x3c" + bytes(31)


@pytest.mark.parametrize("zeros", [1, 12, 100])
def test_zeros_that_fill_up_the_file_are_no_frame_cut_short(zeros):
    data = NARROW + 3 * FRAME + bytes(zeros)
    walked = walk_amr(data, 0)
    assert walked is not None and walked.stop == len(data) - zeros % 13


def test_a_frame_that_is_cut_short_is_told():
    with pytest.raises(Damaged, match="cut short"):
        walk_amr(NARROW + 3 * FRAME + FRAME[:20], 0)
