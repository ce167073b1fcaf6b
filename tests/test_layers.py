"""Imports point one way, read from the sources; and what the training step does not need."""

import ast
import functools
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "w2v2_jax"

# Each layer may import itself and what stands before it; names are modules or folders.
ORDER = (
    {"batch", "metrics", "errors", "paths"},
    {"models", "optimizer", "partition"},
    {"objectives"},
    {"train_step", "health"},
    {"experiment"},
    {"loop"},
)
# Command lines and the Python interface stand above everything.
INTEROP_USERS = {"inference", "export", "convert", "evaluate", "transcribe", "train", "bench"}


@functools.cache
def modules():
    """Module name without the package ("data.plan") -> set of imported full names."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        imported = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"relative import in {path}"
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
        found[".".join(parts)] = imported
    return found


def inside(imports):
    """The package's own modules or folders at top level among the imports."""
    names = [name.split(".") for name in imports]
    return {parts[1] for parts in names if parts[0] == "w2v2_jax" and len(parts) > 1}


def outside(imports):
    return {name.split(".")[0] for name in imports}


def top(module):
    return module.split(".")[0]


def layer_of(name):
    return next((index for index, names in enumerate(ORDER) if name in names), None)


@pytest.mark.parametrize("module", sorted(m for m in modules() if layer_of(top(m)) is not None))
def test_a_layer_imports_only_itself_and_what_stands_before_it(module):
    for name in inside(modules()[module]):
        other = layer_of(name)
        if other is not None:
            assert other <= layer_of(top(module)), f"{module} imports {name}"


@pytest.mark.parametrize("module", ["batch", "metrics", "errors", "paths"])
def test_the_lowest_layer_imports_nothing_of_the_package(module):
    assert inside(modules()[module]) <= {"errors"}


def test_models_objectives_and_the_step_do_not_know_data():
    for names in ORDER[: layer_of("experiment")]:
        for module, imports in modules().items():
            assert top(module) not in names or "data" not in inside(imports), module


def test_data_imports_batch_errors_and_paths_alone():
    for module, imports in modules().items():
        if top(module) == "data":
            assert inside(imports) <= {"data", "batch", "errors", "paths"}, module


def test_only_command_lines_and_inference_import_interop():
    for module, imports in modules().items():
        if top(module) not in INTEROP_USERS | {"interop"}:
            assert "interop" not in inside(imports), module


def test_flax_lives_in_models_partition_and_axis_names():
    for module, imports in modules().items():
        if top(module) not in {"models", "partition", "experiment"}:
            assert "flax" not in outside(imports), module
    assert modules()["experiment"] & {"flax.linen"} == {"flax.linen"}


def test_no_module_of_the_package_needs_torch():
    for module, imports in modules().items():
        asked = {"decode.rescore", "bench.hugging_face"}  # where somebody asks for it
        allowed = top(module) == "interop" or module in asked
        assert not {"torch", "transformers"} & outside(imports) or allowed, module


def test_importing_the_experiment_needs_no_tensorflow_and_no_audio_library():
    code = (
        "import sys, w2v2_jax.experiment\n"
        "unwanted = {'tensorflow', 'librosa', 'soundfile', 'ml_collections', 'torch', 'orbax'}\n"
        "print(sorted(unwanted & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
