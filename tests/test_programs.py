"""No recipe's program changes unnoticed: hashes of the lowered steps against the stored ones."""

import json

import jax
import jax.numpy as jnp
import pytest

from tests.helpers.places import GOLDEN
from tests.helpers.program_cases import CASES, identity, programs, versions

STORED = json.loads((GOLDEN / "programs.json").read_text())
# One of each kind of network, objective and phase, and what toy size takes out of the recipes.
EVERYDAY = (
    "pretrain_base.py",
    "pretrain_xlsr.py:2b",
    "evidence.py:pretrain,quantized_input",
    "finetune.py:base_10h",
    "adapt.py:adapter",
    "pretrain_base.py execution.scan_layers=True execution.remat=dots execution.dtype=bfloat16",
    "pretrain_base.py mesh.data=2 mesh.fsdp=2 mesh.tensor=2 train.accumulate=2",
)


@pytest.mark.skipif(
    versions() != STORED["versions"],
    reason=f"the hashes were stored under {STORED['versions']}, installed are {versions()}",
)
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the hashes are those of a CPU")
@pytest.mark.parametrize(
    "name", [x if x in EVERYDAY else pytest.param(x, marks=pytest.mark.slow) for x in CASES]
)
def test_the_programs_of_a_recipe_are_the_stored_ones(name):
    now, stored = programs(*CASES[name]), STORED["programs"][name]
    changed = [step for step in now | stored if now.get(step) != stored.get(step)]
    assert not changed, (
        f"{name}: another program for {' and '.join(map(repr, changed))}. If that is meant, renew "
        "with `python -m tests.golden.make_programs` and let the commit say why"
    )


def test_every_recipe_has_stored_programs_and_nothing_else_has():
    assert set(STORED["programs"]) == set(CASES) and set(EVERYDAY) <= set(CASES)


def lowered(name: str, constant: float) -> str:
    """The text of a function that calls one of this name."""

    def inner(x):
        return x * constant

    inner.__name__ = inner.__qualname__ = name
    outer = lambda x: jax.jit(inner)(x) + jnp.where(x > 0, x, 1.0)  # noqa: E731
    return jax.jit(outer).lower(jnp.ones(3)).as_text()


def test_a_renamed_function_keeps_the_identity_and_another_constant_does_not():
    text, renamed, changed = (lowered(*x) for x in (("scaled", 2), ("_where", 2), ("scaled", 3)))
    assert "@scaled" in text and "@scaled" not in renamed
    assert identity(text) == identity(renamed) != identity(changed)
