"""A recogniser from your transcripts alone, without pretraining, for two CPU cores: `:hours`.

For some hours of transcripts and no released model at hand. It is also the opponent that
pretraining has to beat (docs/results/evidence.md).

Source: no paper; put together for speed on a CPU. The first convolution starts as a mel filterbank
(arXiv 1711.01161 does so with other functions) and two convolutions replace seven: 1.6 times as
much audio per second as the five of evidence.py ("Got" has machine, date and commit). A frame is 30
ms; six pre-LN blocks of width 192.

Run:
    w2v2 prepare --source folder:recordings --out data/mine --text english --holdout dev=0.05
    w2v2 train --config from_scratch --workdir runs/scratch
    Append a number of updates, which sets the schedule with it (`:hours,3000`), or `,smoke` for toy
    size. For another language, add
    --config.vocabulary.name=from_transcripts --config.vocabulary.case=lower (docs/texts.md).
    Phonemes instead of letters are the largest gain: docs/texts.md has the commands, from the
    lexicon to the evaluation, docs/results/evidence.md ("More updates, then one voice") the best.

Hardware and time: 2 CPU cores (AMD EPYC), busy with other work: 51 min for 12 000 updates of 24 to
32 s, 49 of processor time, at 120 audio-s/s (2026-11-29, recorded in commit e074683).
Expected: no published result for this speech. 20 % of words wrong with a language model was hoped
for, in seven times this time.
Got (2026-11-29, the same cores, recorded in commit e074683; 4.3 h of prompts and acted speech, 17
    epochs, seed 1; docs/results/evidence.md has the commands):
    test CER 43.6 % (prompts), 45.0 (acted); WER 95.0 and 96.0 %, with a 3-gram of the training
    transcripts 67.4 and 67.4 (67.7 and 62.3 by a wider search).
    With phonemes instead of letters (`--config.vocabulary.name=pronunciations:FILE`; 2026-12-01,
    one core of an Intel Xeon, bfloat16, 42 min, commit 25fd5f6): PER 36.5 and 39.2 %, WER with the
    3-gram 55.8 and 51.9 %.
    `:hours,28000` with phonemes (2026-12-01, one core of an AMD EPYC, 73 min beside other work,
    commit ca5ace1): PER 30.3 and 32.9 %, WER 47.2 (its weights tuned) and 43.8 %; 5000 more updates
    of the prompts alone: PER 24.0 %, WER 41.9.

Differences from the paper: 3 M parameters; frames of 30 ms; speed perturbation of 10 %; masks of
120 ms over 11 % of the frames; everything is trained, from the first update on.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from w2v2_jax.experiment.smoke import shrink

STEPS = 12_000
MODEL = dict(
    family="small",
    conv_layers=((160, 480, 160), (256, 5, 3)),
    filterbank_init=True,
    num_layers=6,
    norm_order="pre",
    feature_grad_scale=1.0,
    mask_start_prob=0.02,
    mask_length=4,
    dropout=0.1,
    attention_dropout=0.1,
    activation_dropout=0.1,
    input_dropout=0.0,
    final_dropout=0.1,
    layer_drop=0.0,
)


def hours(steps: int) -> dict:
    """CTC on whole utterances, from random parameters."""
    return dict(
        model=dict(MODEL),
        execution=dict(dtype="float32", scan_layers=True),
        objective=dict(name="ctc"),
        schedule=dict(name="tri_stage", peak=1e-3),
        optimizer=dict(b1=0.9, b2=0.98, eps=1e-8, weight_decay=0.01),
        vocabulary=dict(name="librispeech"),
        data=dict(
            train="data/mine:train",
            valid="data/mine:dev",
            mode="pad",
            bucket_seconds=(1.5, 2.5, 4.0, 7.0, 12.0),
            batch_seconds=32.0,
            row_multiple=2,
            valid_batch_seconds=64.0,
            normalise=True,
            augment=dict(speed=(0.9, 1.0, 1.1)),
        ),
        train=dict(
            steps=steps,
            log_every=max(1, steps // 100),
            eval_every=max(1, steps // 12),
            checkpoint_every=max(1, steps // 24),
            keep_last=1,
            best_metric="cer",
        ),
    )


def get_config(arg: str = "hours") -> ConfigDict:
    """arg: "hours", with a number of updates and ",smoke"."""
    name, *words = f"hours,{arg}".split(",") if arg == "smoke" else arg.split(",")
    numbers = [word for word in words if word.isdecimal() and int(word) > 0]
    odd = [word for word in words if word not in ("smoke", *numbers)]
    if odd and odd[0].lstrip("+-").replace(".", "", 1).isdecimal():
        raise ValueError(f"{arg!r}: {odd[0]} is no number of updates; give a whole one from 1 on")
    if name not in ("", "hours") or len(numbers) > 1 or odd:
        raise ValueError(f"{arg!r} is not known; use hours[,a number of updates][,smoke]")
    steps = int(numbers[0]) if numbers else STEPS
    config = ConfigDict(
        dict(
            seed=1,
            init_from="",
            **hours(steps),
            mesh=dict(data=-1, fsdp=1, tensor=1),
        )
    )
    return shrink(config, steps=steps if numbers else None) if "smoke" in words else config
