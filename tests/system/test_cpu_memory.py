"""The heap of a CPU program: where it is kept, and that the kernel is asked for memory once."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from w2v2_jax.errors import InputError
from w2v2_jax.system import cpu_memory

# A block as XLA takes one for a step's temporaries, taken and given back; the second time is
# counted in page faults.
TWICE = """
import resource, sys
import numpy as np
from w2v2_jax.system import cpu_memory

kept = cpu_memory.keep({"JAX_PLATFORMS": "cpu", "W2V2_KEEP_MEMORY": sys.argv[1]})
faults = []
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.full(200 << 20, 1, np.uint8)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(int(kept), faults[1])
"""


def second_time(switch: str) -> tuple[int, int]:
    done = subprocess.run(
        [sys.executable, "-c", TWICE, switch], capture_output=True, text=True, check=True
    )
    kept, faults = map(int, done.stdout.split())
    return kept, faults


@pytest.mark.skipif(not cpu_memory.wanted({"JAX_PLATFORMS": "cpu"}), reason="not glibc")
def test_freed_memory_is_taken_again_without_asking_the_kernel():
    assert second_time("1") == (1, pytest.approx(0, abs=8))
    kept, faults = second_time("0")
    assert not kept and faults >= 100  # 200 MiB are 100 huge pages, or 51200 small ones


# Temporaries of three updates. A batch is made during each, and one that stays between two.
BETWEEN = """
import numpy as np
from w2v2_jax.bench.child import resident_peak_bytes
from w2v2_jax.system import cpu_memory

assert cpu_memory.keep({"JAX_PLATFORMS": "cpu"})
cpu_memory.trim()
batches = []
for _ in range(3):
    temporaries = np.full(400 << 20, 1, np.uint8)
    batches.append(np.full(8 << 20, 1, np.uint8))
    del temporaries
    batches.append(np.full(8 << 20, 1, np.uint8))
print(resident_peak_bytes() >> 20)
"""


@pytest.mark.skipif(not cpu_memory.wanted({"JAX_PLATFORMS": "cpu"}), reason="not glibc")
def test_a_batch_between_two_updates_leaves_their_block_whole():
    done = subprocess.run(
        [sys.executable, "-c", BETWEEN], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 750  # MiB: 400, 48 of batches, the interpreter; two blocks are 960


# A call that is not waited for.
CALL = """
import sys
import jax
import jax.numpy as jnp
from w2v2_jax.system import cpu_memory

getattr(cpu_memory, sys.argv[1])()
row = jnp.arange(8192.0)
program = jax.jit(lambda x: jnp.sin(x + row[:, None] * row) @ jnp.ones((8192, 8)))
compiled = program.lower(1.0).compile()
x = jax.block_until_ready(jnp.float32(1))
print(int(compiled(x).is_ready()))
"""


@pytest.mark.parametrize(("chosen", "ready"), [("keep", 0), ("keep_for_training", 1)])
def test_a_step_of_training_ends_before_the_next_one_takes_memory(chosen, ready):
    environ = {**os.environ, "JAX_PLATFORMS": "cpu"}
    arguments = [sys.executable, "-c", CALL, chosen]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environ)
    assert int(done.stdout) == ready


def aligned(values: np.ndarray, offset: int) -> np.ndarray:
    """The values at an address that many bytes after one that JAX takes over."""
    room = np.zeros(values.nbytes + 128, np.uint8)
    start = -room.ctypes.data % 64 + offset
    array = room[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    array[...] = values
    return array


def test_an_update_writes_where_the_arrays_are_that_came_from_numpy():
    values = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    sources = {"taken_over": aligned(values, 0), "copied": aligned(values, 4)}
    update = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)

    def places(tree):
        return {name: array.unsafe_buffer_pointer() for name, array in tree.items()}

    given = jax.tree.map(jax.device_put, sources)
    before = places(given)
    assert before["taken_over"] == sources["taken_over"].ctypes.data
    assert places(update(given))["taken_over"] != before["taken_over"]  # further memory

    tree = cpu_memory.owned(jax.tree.map(jax.device_put, sources))
    before = places(tree)
    tree = update(tree)
    assert places(tree) == before
    for name, array in tree.items():
        np.testing.assert_array_equal(array, values + 1)
        np.testing.assert_array_equal(sources[name], values)


def test_the_heap_of_an_accelerators_host_stays_as_it_is():
    assert not cpu_memory.wanted({"JAX_PLATFORMS": "cuda"})
    assert not cpu_memory.keep({"JAX_PLATFORMS": "tpu,cpu"})


def test_a_riddle_is_refused():
    with pytest.raises(InputError, match="W2V2_KEEP_MEMORY='perhaps'; use 0 or 1"):
        cpu_memory.keep({"W2V2_KEEP_MEMORY": "perhaps"})
