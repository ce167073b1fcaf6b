"""Row lengths of the pretraining recipes, in seconds: what makes every update alike.

fairseq fills each GPU with as many rows of similar length as its `max_tokens` hold, and crops them
to the shortest. Here the rows of an update are 64 or 128 times as many as a group holds, a group
being one GPU's batch, over which the diversity loss is taken; and a clip is cropped to the longest
length that it fills. So that a group never holds much less than it may, lengths are close below
whole fractions of it: BASE's are within 5 % of one another, LARGE's within 5 % of their middle.
Between them and within those bounds they are where they crop least away from lengths like
LibriSpeech's and Common Voice's together (`tests/experiment/test_crop_lengths.py`).
"""

from __future__ import annotations

# 64 groups of 93.75 s: fairseq's 64 GPUs of 1.4 M samples (87.5 s). 89.1 to 93.75 s a group.
BASE = (
    2.0, 2.53, 2.95, 3.3, 3.62, 3.95, 4.28, 4.63, 5.01, 5.4, 5.81, 6.22, 6.68, 7.2, 7.81, 8.5,
    9.37, 10.4, 11.55, 12.75, 13.39, 14.87, 15.625,
)  # fmt: skip
# 128 groups of 78.75 s: fairseq's 128 GPUs of 1.2 M samples (75 s). 71.25 to 78.75 s a group; four
# rows of 20 s, fairseq's longest, would be 2.84 h an update.
LARGE = (
    2.0, 2.52, 2.94, 3.3, 3.63, 3.96, 4.28, 4.61, 4.99, 5.41, 5.82, 6.26, 6.74, 7.24, 7.82, 8.5,
    9.35, 10.26, 11.25, 12.31, 13.125, 14.25, 14.95, 15.75, 17.82, 19.6875,
)  # fmt: skip
