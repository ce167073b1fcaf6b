"""Writes tests/golden/families.json: tensor names and shapes of the released models.

Run by hand where torch and transformers are installed (stored: torch 2.13.0, transformers 5.23.0);
the test that reads the file needs neither. The sizes are those of the published configurations
(fairseq's YAMLs, arXiv 2111.09296 table 1 for XLS-R, arXiv 2305.13516 for MMS,
omnilingual-asr's own configurations); nothing is allocated.

    python -m tests.golden.make_families
"""

import json
import re
from collections import Counter
from pathlib import Path

import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC, Wav2Vec2ForPreTraining

LARGE = dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16,
             intermediate_size=4096, codevector_dim=768, proj_codevector_dim=768)  # fmt: skip
ONE_B = dict(hidden_size=1280, num_hidden_layers=48, num_attention_heads=16,
             intermediate_size=5120, codevector_dim=1024, proj_codevector_dim=1024)  # fmt: skip
THREE_B = ONE_B | dict(hidden_size=2048, num_hidden_layers=60, intermediate_size=8192)
LAYER = dict(feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True)
FAMILIES = {
    "base": {},
    "large": LARGE,
    "large_lv60k": LARGE | LAYER,
    "xlsr_53": LARGE | LAYER,
    "xls_r_300m": LARGE | LAYER,
    "xls_r_1b": ONE_B | LAYER,
    "xls_r_2b": ONE_B | LAYER | dict(hidden_size=1920, intermediate_size=7680),
    "mms_300m": LARGE | LAYER,
    "mms_1b": ONE_B | LAYER,
    "omni_300m": LARGE | LAYER,
    "omni_1b": ONE_B | LAYER,
    "omni_3b": THREE_B | LAYER,
    "omni_7b": THREE_B | LAYER | dict(num_hidden_layers=128),
    "mms_1b_adapters": ONE_B | LAYER | dict(adapter_attn_dim=16, vocab_size=154),
}


def described(values: dict) -> dict:
    """Total of the parameters, and {name with {i} for a number: [how many, shape]}."""
    made = Wav2Vec2ForCTC if "vocab_size" in values else Wav2Vec2ForPreTraining
    with torch.device("meta"):
        tensors = dict(made(Wav2Vec2Config(**values)).named_parameters())
    kinds = Counter(
        (re.sub(r"\.layers\.\d+\.", ".layers.{i}.", name), tuple(x.shape))
        for name, x in tensors.items()
    )
    total = sum(x.numel() for x in tensors.values())
    return {"parameters": total, "tensors": {n: [k, list(s)] for (n, s), k in kinds.items()}}


if __name__ == "__main__":
    lines = [f"{json.dumps(name)}: {json.dumps(described(x))}" for name, x in FAMILIES.items()]
    path = Path(__file__).with_name("families.json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    for name, values in json.loads(path.read_text()).items():
        print(f"{name} {values['parameters']:,}")
