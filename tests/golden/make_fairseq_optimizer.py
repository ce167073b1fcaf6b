"""Writes tests/golden/fairseq_optimizer.npz: 20 updates of fairseq's Adam under its two schedules.

Run by hand as make_fairseq.py is. For "polynomial" (Adam as in pretraining) and "tri_stage" (as in
fine-tuning) the file holds two parameters, their gradients of every size, zero at first for the
second as while the encoder is frozen, and the rate and the parameters of every update.
"""

import numpy as np
import torch
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from fairseq.optim.lr_scheduler.polynomial_decay_schedule import PolynomialDecayLRSchedule
from fairseq.optim.lr_scheduler.tri_stage_lr_scheduler import TriStageLRSchedule
from omegaconf import OmegaConf

from tests.golden.make_fairseq import VERSIONS, write


def optimizer(name: str, schedule, adam: dict, plan: dict, rng) -> dict[str, np.ndarray]:
    """Rates and parameters of 20 updates, in the trainer's order of calls."""
    parameters = [
        torch.nn.Parameter(torch.tensor(rng.standard_normal(shape), dtype=torch.float32))
        for shape in ((3, 4), (5,))
    ]
    lr = [0.05]
    built = FairseqAdam(
        OmegaConf.structured(FairseqAdamConfig(adam_betas="(0.9, 0.98)", lr=lr, tpu=False, **adam)),
        parameters,
    )
    scheduler = schedule(OmegaConf.create({"lr": lr, **plan}), built)
    scheduler.step_update(0)
    found = {f"{name}/start/{i}": p.detach().numpy().copy() for i, p in enumerate(parameters)}
    rates, steps, given = [], ([], []), ([], [])
    for update in range(20):
        for i, parameter in enumerate(parameters):
            gradient = rng.standard_normal(tuple(parameter.shape)) * 10.0 ** rng.integers(-7, 2)
            if i == 1 and update < 3:
                gradient *= 0.0  # as while the encoder is frozen
            given[i].append(gradient.astype(np.float32))
            parameter.grad = torch.tensor(given[i][-1])
        rates.append(built.get_lr())
        built.step()
        for i, parameter in enumerate(parameters):
            steps[i].append(parameter.detach().numpy().copy())
        scheduler.step_update(update + 1)
    found[f"{name}/rates"] = np.array(rates)
    for i in range(2):
        found |= {f"{name}/gradients/{i}": np.stack(given[i])}
        found |= {f"{name}/parameters/{i}": np.stack(steps[i])}
    return found


def make_optimizer() -> None:
    rng = np.random.default_rng(0)
    polynomial = dict(
        warmup_updates=6, total_num_update=18, end_learning_rate=0.0, power=1.0, force_anneal=None
    )
    tri_stage = dict(
        max_update=18, phase_ratio=[0.1, 0.4, 0.5], init_lr_scale=0.01, final_lr_scale=0.05,
        warmup_steps=0, hold_steps=0, decay_steps=0,
    )  # fmt: skip
    pretraining_adam = dict(adam_eps=1e-6, weight_decay=0.01)
    write("fairseq_optimizer", {
        "versions": np.array(VERSIONS),
        **optimizer("polynomial", PolynomialDecayLRSchedule, pretraining_adam, polynomial, rng),
        **optimizer("tri_stage", TriStageLRSchedule, dict(adam_eps=1e-8), tri_stage, rng),
    })  # fmt: skip


if __name__ == "__main__":
    make_optimizer()
