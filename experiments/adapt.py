"""CTC fine-tuning of a released model for a language of your own: `:language`, `:extend`,
`:adapter`, `:lora`.

language: starts from a pretrained model (or a step of a pretraining run, see
    continue_pretraining.py); the vocabulary is that of your transcripts.
extend: starts from a tuned model. Its symbols keep their rows of the head, and further characters
    of the transcripts get new rows. With `vocabulary.name` another vocabulary replaces it; rows of
    the symbols that both have still keep their weights.
lora: any start; trains low-rank updates of the attention's projections, and the head, in which
    known letters keep their rows (rank 16 of XLS-R 300M: 3.1 M parameters). `export --to peft`
    writes only these; other formats have them merged.
adapter: MMS-1B; trains only the adapters and the head (2.2 M parameters, and a row of 1280 per
    symbol).

Source: language and extend, `lv60k_10h` of finetune.py; adapter, the rate and warm-up of
transformers' `run_speech_recognition_ctc_adapter.py` example (1e-3, linear decay); lora, the same
rate, and the updates of arXiv 2106.09685 in PEFT's form, without their dropout.

Run:
    w2v2 prepare --source folder:recordings --out data/mine --holdout dev=0.05
    w2v2 train --config adapt:language --workdir runs/mine \\
        --config.init_from=wav2vec2-xls-r-300m
    For `adapter`, choose the language whose adapters to start from:
    w2v2 convert --from hf --input mms-1b-all --language fra --out runs/mms_fra
    w2v2 train --config adapt:adapter --workdir runs/mine \\
        --config.init_from=runs/mms_fra
    For `lora`, start from any Hugging Face folder or run, and export what it trained:
    w2v2 train --config adapt:lora --workdir runs/lora \\
        --config.init_from=wav2vec2-xls-r-300m
    w2v2 export --checkpoint runs/lora --to peft --out lora
    Append `,smoke` for the same recipe at toy size from scratch, without `init_from`.

Hardware and time: at most 800 s of audio per update including padding, on one 80 GB GPU (adapter:
400 s). With an hour of clips of 12 s on average, an epoch has 6 updates of 40 to 57 clips, with 2 %
of the rows of weight 0 (adapter: 14 updates of 16 to 22, 10 %); with ten hours, 59 updates of 40 to
56 (adapter: 131 of 16 to 23, 5 %). Each clip is used once per epoch.
Expected: no published result; it depends on the language.
Got: not run at full size.

Differences from the paper: its fine-tuning is on English and replaces the whole head.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from w2v2_jax.experiment.smoke import shrink

ADAPTERS_AND_HEAD = ("adapter/|^head/", 1.0), (".", 0.0)
LORA_AND_HEAD = ("/lora_|^head/", 1.0), (".", 0.0)
RECIPES = {
    "language": dict(
        model=dict(family="inherit", mask_start_prob=0.075, channel_mask_start_prob=0.25 / 64),
        freeze=2_000,
        schedule=dict(name="tri_stage", peak=1e-4),
        rates=(),
        vocabulary=dict(name="from_transcripts", case="lower", min_count=2),
        seconds=800.0,
    ),
    "extend": dict(
        model=dict(family="inherit", mask_start_prob=0.075, channel_mask_start_prob=0.25 / 64),
        freeze=500,
        schedule=dict(name="tri_stage", peak=3e-5),
        rates=(),
        vocabulary=dict(name="extend", min_count=2),
        seconds=800.0,
    ),
    "adapter": dict(
        model=dict(family="mms_1b_adapters", mask_start_prob=0.0),
        freeze=0,
        schedule=dict(name="polynomial", peak=1e-3, warmup=100),
        rates=ADAPTERS_AND_HEAD,
        vocabulary=dict(name="from_transcripts", case="lower", min_count=2),
        seconds=400.0,
    ),
    "lora": dict(
        model=dict(family="inherit", mask_start_prob=0.075, lora_rank=16, lora_alpha=32.0),
        freeze=0,
        schedule=dict(name="polynomial", peak=1e-3, warmup=100),
        rates=LORA_AND_HEAD,
        vocabulary=dict(name="from_transcripts", case="lower", min_count=2),
        seconds=400.0,
    ),
}


def get_config(arg: str = "language") -> ConfigDict:
    """arg: `language`, `extend`, `adapter` or `lora`, with `,smoke` for toy size."""
    name, _, size = arg.partition(",")
    name = name or "language"
    if name not in RECIPES or size not in ("", "smoke"):
        raise ValueError(f"{arg!r} is not known; use {', '.join(RECIPES)}, each also with ,smoke")
    recipe = RECIPES[name]
    config = ConfigDict(
        dict(
            seed=1,
            init_from="runs/released",
            model=dict(
                dropout=0.0,
                attention_dropout=0.0,
                activation_dropout=0.1,
                input_dropout=0.0,
                final_dropout=0.0,
                layer_drop=0.0 if name == "adapter" else 0.1,
                feature_grad_scale=0.0,
                mask_length=10,
                channel_mask_length=64,
                **recipe["model"],
            ),
            execution=dict(dtype="bfloat16", remat="dots", scan_layers=True),
            objective=dict(name="ctc", freeze_updates=recipe["freeze"]),
            schedule=recipe["schedule"],
            optimizer=dict(
                b1=0.9, b2=0.98, eps=1e-8, weight_decay=0.0, rate_by_path=recipe["rates"]
            ),
            vocabulary=recipe["vocabulary"],
            data=dict(
                train="data/mine:train",
                valid="data/mine:dev",
                mode="pad",
                bucket_seconds=(4.0, 8.0, 12.0, 16.0, 20.0),
                batch_seconds=recipe["seconds"],
                row_multiple=8,
                min_seconds=0.1,
                normalise=True,
            ),
            train=dict(
                steps=10_000,
                accumulate=1,
                log_every=50,
                eval_every=500,
                checkpoint_every=500,
                keep_last=2,
                best_metric="wer",
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),
        )
    )
    if size == "smoke":
        config.vocabulary = dict(name="from_transcripts", case="lower")
        return shrink(config)
    return config
