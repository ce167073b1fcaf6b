"""Imports point one way, read from the sources; and what the training step does not need."""

import ast
import functools
import io
import subprocess
import sys
import tokenize

import pytest

from tests.helpers.places import ROOT

PACKAGE = ROOT / "w2v2_jax"

# Every module and folder at the package's root, in floors: one may import its own folder and
# what lies on the floors before it.
FLOORS = (
    {"batch", "errors", "input_scale", "metrics", "trees"},
    {"texts", "paths"},
    {"evaluation", "models", "ngram", "optimizer", "partition", "system"},
    {"objectives", "vocabulary"},
    {"data", "health", "train_step"},
    {"checkpoint", "decode", "experiment"},
    {"recognition"},
    {"interop"},
    {"inference"},
)
# Above them the commands, none of which imports another. `decode` is a library with a command.
COMMANDS = {
    "align", "aot", "bench", "compare", "convert", "emit", "evaluate", "export", "extract", "lm",
    "prepare", "report", "sample_speech", "stage", "sweep", "train", "transcribe", "units",
}  # fmt: skip
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}


@functools.cache
def modules():
    """Module name without the package ("data.plan") -> set of imported full names, those inside
    functions and under TYPE_CHECKING too."""
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


def graph(found):
    """Module -> the modules of the package it imports; a name of a module is the module's."""
    edges = {}
    for module, imports in found.items():
        inner = [name.removeprefix("w2v2_jax.") for name in imports if name.startswith("w2v2_jax.")]
        ends = {name if name in found else name.rpartition(".")[0] for name in inner}
        edges[module] = {end for end in ends if end in found and end != module}
    return edges


def circle(edges):
    """One circle of a graph as a list, empty where there is none."""
    done, path = set(), []

    def walk(module):
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return []
        path.append(module)
        for other in sorted(edges[module]):
            if around := walk(other):
                return around
        done.add(path.pop())
        return []

    return next((around for module in sorted(edges) if (around := walk(module))), [])


def test_every_name_at_the_root_has_its_place():
    names = {top(module) for module in modules()} - {"__init__", "__main__"}
    assert names == set(FLOOR) | COMMANDS


def code_lines(source):
    """Lines with code or docstring: neither blank nor comment alone."""
    beside = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return len({t.start[0] for t in tokens if t.type not in beside | {tokenize.ENDMARKER}})


def test_files_functions_and_the_root_stay_small_enough_to_read():
    root = [path for path in PACKAGE.iterdir() if path.suffix in ("", ".py")]
    assert len({path.stem for path in root} - {"__init__", "__main__", "__pycache__"}) <= 42
    long = []
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text()
        if (lines := code_lines(source)) > 250:
            long.append(f"{path}: {lines} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > 60:
                    long.append(f"{path}: {node.name} has {lines} lines")
    assert long == []


def test_few_statements_opt_out_of_the_formatter():
    tables = sum(path.read_text().count("# fmt: skip") for path in PACKAGE.rglob("*.py"))
    assert tables < 40


def test_no_module_imports_itself_through_others():
    assert circle(graph(modules())) == []


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_imports_its_own_folder_and_the_floors_below(module):
    here = top(module)
    if here in ("__init__", "__main__"):
        return
    for name in {top(end) for end in graph(modules())[module]} - {here}:
        assert name in FLOOR and FLOOR[name] < FLOOR.get(here, len(FLOORS)), (
            f"{module} imports {name}"
        )


def test_data_imports_the_ground_alone():
    for module, imports in modules().items():
        if top(module) == "data":
            ground = {"data", "batch", "errors", "input_scale", "paths", "trees", "vocabulary"}
            assert inside(imports) <= ground, module


def test_flax_lives_in_models_and_partition():
    for module, imports in modules().items():
        if top(module) not in {"models", "partition"}:
            assert "flax" not in outside(imports), module


def test_no_module_of_the_package_needs_torch():
    for module, imports in modules().items():
        asked = {"decode.rescore", "bench.hugging_face"}  # where somebody asks for it
        allowed = top(module) == "interop" or module in asked
        assert not {"torch", "transformers"} & outside(imports) or allowed, module


def test_no_test_module_imports_another():
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert ".test_" not in f".{node.module}", path


def test_importing_the_experiment_needs_no_tensorflow_and_no_audio_library():
    code = (
        "import sys, w2v2_jax.experiment.build\n"
        "unwanted = {'tensorflow', 'librosa', 'soundfile', 'ml_collections', 'torch', 'orbax'}\n"
        "print(sorted(unwanted & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
