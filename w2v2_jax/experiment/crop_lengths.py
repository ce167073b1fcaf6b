"""Row lengths of the pretraining recipes in seconds, chosen so that all updates are alike.

fairseq fills each GPU with as many rows of similar length as fit into `max_tokens`, and crops them
to the shortest. Here an update has the rows of 64 or 128 groups, where a group is one GPU's batch,
over which the diversity loss is taken. A clip is cropped to the longest length that it fills. A
group should never hold much less than it may, so lengths are slightly below whole fractions of it:
the audio in a group varies by 5 % for BASE, and by 5 % around its middle for LARGE. Within these
bounds, the lengths are those that crop least from lengths like LibriSpeech's and Common Voice's
together (`tests/experiment/test_crop_lengths.py`).
"""

from __future__ import annotations

# 64 groups of 93.75 s: fairseq's 64 GPUs of 1.4 M samples (87.5 s). 89.1 to 93.75 s per group.
BASE = (
    2.0, 2.53, 2.95, 3.3, 3.62, 3.95, 4.28, 4.63, 5.01, 5.4, 5.81, 6.22, 6.68, 7.2, 7.81, 8.5,
    9.37, 10.4, 11.55, 12.75, 13.39, 14.87, 15.625,
)  # fmt: skip
# 128 groups of 78.75 s: fairseq's 128 GPUs of 1.2 M samples (75 s). 71.25 to 78.75 s per group;
# four rows of 20 s, fairseq's longest, would be 2.84 h per update.
LARGE = (
    2.0, 2.52, 2.94, 3.3, 3.63, 3.96, 4.28, 4.61, 4.99, 5.41, 5.82, 6.26, 6.74, 7.24, 7.82, 8.5,
    9.35, 10.26, 11.25, 12.31, 13.125, 14.25, 14.95, 15.75, 17.82, 19.6875,
)  # fmt: skip
