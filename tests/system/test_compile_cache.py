"""Compiled programs between runs: where they lie, when they are kept, and that they are used."""

import os
import subprocess
import sys

import jax
import pytest

from tests.helpers.places import ROOT
from w2v2_jax.errors import InputError
from w2v2_jax.system import compile_cache


@pytest.fixture
def unset():
    """JAX without a cache folder, and its own again afterwards."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", before)


def test_programs_are_kept_in_the_users_cache_folder_by_default(unset, tmp_path):
    folder = compile_cache.enable({"HOME": str(tmp_path)})
    assert folder.parent == tmp_path / ".cache" / "w2v2_jax" / "xla"
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_jax_was_given_is_kept(unset, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "given"))
    assert compile_cache.enable({"HOME": str(tmp_path)}) == tmp_path / "given"
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "given")
    assert not (tmp_path / ".cache").exists()


def test_the_switch_turns_it_off(unset, tmp_path):
    environ = {"HOME": str(tmp_path), "W2V2_COMPILATION_CACHE": "0"}
    assert compile_cache.enable(environ) is None
    assert jax.config.jax_compilation_cache_dir is None and not any(tmp_path.iterdir())


def test_an_unknown_switch_is_an_input_error(unset):
    with pytest.raises(InputError, match="use 0 or 1; a folder is JAX_COMPILATION_CACHE_DIR"):
        compile_cache.enable({"W2V2_COMPILATION_CACHE": "perhaps"})


def test_a_folder_that_others_can_write_is_not_used(unset, tmp_path, capsys):
    folder = tmp_path / ".cache" / "w2v2_jax" / "xla" / compile_cache.machine()
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert compile_cache.enable({"HOME": str(tmp_path)}) is None
    assert jax.config.jax_compilation_cache_dir is None
    assert "can be written by others" in capsys.readouterr().err


def test_several_cpu_processes_of_one_job_keep_nothing(unset, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert compile_cache.enable({"HOME": str(tmp_path)}) is None


def test_unlike_processors_have_unlike_folders(tmp_path):
    names = []
    for flags in ("avx2", "avx2 avx512f", "avx2"):
        (tmp_path / "cpuinfo").write_text(f"processor: 0\nmodel name: X\nflags: {flags}\n")
        names.append(compile_cache.machine(tmp_path / "cpuinfo"))
    assert names[0] == names[2] != names[1]


@pytest.mark.slow
def test_a_second_process_loads_what_the_first_compiled(tmp_path):
    code = """
import time, jax, jax.numpy as jnp
from w2v2_jax.system import compile_cache
folder = compile_cache.enable()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
with compile_cache.hits() as hits:
    jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((64, 64))).block_until_ready()
before = len(hits)
jax.jit(lambda x: jnp.cos(x) @ x)(jnp.ones((64, 64))).block_until_ready()  # outside
assert len(hits) == before
print(before)
"""
    environ = {**os.environ, "HOME": str(tmp_path), "W2V2_COMPILATION_CACHE": "1"}
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True
        )
        for _ in range(2)
    ]
    assert [run.returncode for run in runs] == [0, 0], runs[1].stderr
    assert int(runs[0].stdout) == 0 and int(runs[1].stdout) > 0
