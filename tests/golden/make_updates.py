"""Stores loss and gradient norms of every update of two quickstart runs, cut short.

Made 2026-11-24 (2 CPU cores, jax 0.10.2) from the first 133 and 262 updates of
    w2v2 train --config experiments/quickstart.py:pretrain --config.train.log_every=1 ...
    w2v2 train --config experiments/quickstart.py:finetune --config.train.log_every=1 ...
python -m tests.golden.make_updates PRETRAIN_WORKDIR FINETUNE_WORKDIR
"""

import json
import sys
from pathlib import Path

import numpy as np

NAMES = ("gradient_norm", "feature_gradient_norm")
arrays = {}
for kind, loss, workdir in zip(
    ("pretrain", "finetune"), ("contrastive_loss", "loss_per_label"), sys.argv[1:], strict=True
):
    records = [json.loads(line) for line in (Path(workdir) / "metrics.jsonl").open()]
    for name in (loss, *NAMES):
        values = [r[name] for r in records if r["split"] == "train"]
        arrays[f"{kind}/{name if name in NAMES else 'loss'}"] = np.array(values, np.float32)
np.savez_compressed(Path(__file__).with_name("updates.npz"), **arrays)
