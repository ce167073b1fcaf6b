"""Twenty updates on one device and on meshes of eight: the same losses, every objective."""

import numpy as np
import pytest

from tests.helpers.step_runs import run
from w2v2_jax.objectives.contrastive import Contrastive
from w2v2_jax.objectives.ctc import CTC
from w2v2_jax.objectives.ema_teacher import EMATeacher
from w2v2_jax.objectives.random_targets import RandomTargets
from w2v2_jax.optimizer import adam, constant

pytestmark = pytest.mark.slow
STEPS = 20
TX = adam(constant(peak=1e-3), eps=1e-6)  # the recipes' eps: small gradients move weights too
MESHES = {"8 data": (8, 1, 1), "4 data x 2 fsdp": (4, 2, 1), "2 x 2 fsdp x 2 tensor": (2, 2, 2)}


@pytest.mark.parametrize("name", ["contrastive", "ctc", "random_targets", "ema_teacher"])
def test_losses_of_twenty_steps_do_not_depend_on_the_mesh(name, noisy, random_params, make_batch):
    objective = {
        "contrastive": Contrastive(noisy, diversity_group_seconds=0.1, num_negatives=10),
        "ctc": CTC(noisy, num_classes=5),
        "random_targets": RandomTargets(noisy, entries=32, code_dim=4, mel_bands=6),
        "ema_teacher": EMATeacher(noisy, top_layers=2, decay=0.9, end_decay=0.9),
    }[name]
    batches = [make_batch(labels=name == "ctc", seed=seed) for seed in range(STEPS)]
    params = random_params(objective)

    def losses(mesh):
        history = run(objective, params, batches, mesh=mesh, tx=TX)
        return [float(metrics["loss"].total / metrics["loss"].weight) for _, metrics in history]

    expected = losses((1, 1, 1))
    assert np.std(expected) > 0.02 * np.mean(expected)  # the updates change something
    for title, mesh in MESHES.items():
        found = losses(mesh)
        print(f"{name} on {title}: {np.abs(np.divide(found, expected) - 1).max():.1e}")
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=title)
