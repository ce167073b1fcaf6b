"""Writes a checkpoint as files of another framework.

w2v2 export --checkpoint DIR --out PATH
    --to hf|fairseq|fairseq2|torchaudio|safetensors|onnx|stablehlo|savedmodel|peft
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
from collections.abc import Callable
from pathlib import Path

from w2v2_jax import trees
from w2v2_jax.checkpoint.description import Loaded
from w2v2_jax.data.tensorflow_host import import_tensorflow
from w2v2_jax.errors import InputError, run_command
from w2v2_jax.export import card, onnx_file, saved_model, stablehlo
from w2v2_jax.interop import (
    adapters,
    fairseq,
    fairseq2,
    hub,
    hugging_face,
    lora,
    safetensors_file,
    torchaudio_file,
    verify,
)
from w2v2_jax.interop.files import Exported, print_check, print_written
from w2v2_jax.interop.load import load_any
from w2v2_jax.system.arguments import CommandParser, add_checkpoint, add_overwrite
from w2v2_jax.system.new_output import new_output
from w2v2_jax.system.outputs import spare_inputs

# Each takes the loaded checkpoint and a path to write, and may return a note to print.
EXPORTERS: dict[str, Callable[..., Exported | None]] = {
    "hf": hugging_face.save,
    "fairseq": fairseq.save,
    "fairseq2": fairseq2.save,
    "torchaudio": torchaudio_file.save,
    "safetensors": safetensors_file.save,
    "onnx": onnx_file.save,
    "stablehlo": stablehlo.save,
    "savedmodel": saved_model.save,
    "peft": lora.save,
}
# These take low-rank updates as they are; for all others the updates are added to the weights.
WITH_LORA = {"peft", "safetensors"}
WITH_LEGACY_WEIGHT_NORM = {"hf", "torchaudio"}


def without_own_parts(loaded: Loaded) -> Loaded:
    """The checkpoint without the parts that only its objective needs: an ordinary encoder."""
    own_parts = loaded.description.objective_class.own_parts
    params = {name: tree for name, tree in loaded.params.items() if name not in own_parts}
    return loaded._replace(params=params)


def main(argv: list[str] | None = None) -> None:
    arguments = _parser().parse_args(argv)
    export = _exporter(arguments)
    facts = _facts(arguments)
    card.refuse_elsewhere(facts, arguments.to)
    card.check_evaluations(facts)
    verify.refuse_unable(arguments.verify, arguments.to)
    spare_inputs(arguments, ("out", "tokenizer"), ("checkpoint", "evaluation"))
    with contextlib.ExitStack() as outputs:
        partial = outputs.enter_context(new_output(arguments.out, overwrite=arguments.overwrite))
        if arguments.tokenizer is not None:
            file = outputs.enter_context(
                new_output(arguments.tokenizer, "--tokenizer", overwrite=arguments.overwrite)
            )
        loaded = load_any(arguments.checkpoint)
        if arguments.to not in WITH_LORA:
            loaded = lora.merged(loaded)
        whole = loaded
        if arguments.to != "safetensors":
            loaded = without_own_parts(loaded)
        said = export(loaded, partial) or Exported([], [])
        if arguments.tokenizer is not None:
            fairseq2.write_tokenizer(loaded, file)
        verified = verify.report(loaded, arguments.to, partial, arguments.verify)
        if partial.is_dir():
            card.write(partial, loaded, facts, form=arguments.to)
    print(f"read {loaded.path}")
    used = len(trees.flatten(loaded.params)) - len(said.left)
    left = sorted(
        {*said.left, *(trees.flatten(whole.params).keys() - trees.flatten(loaded.params))}
    )
    print_check(f"{used} parameters", left, said.notes + verified)
    for path in filter(None, (arguments.out, arguments.tokenizer)):
        print_written(path)
    if arguments.push is not None:
        print(f"sent to {hub.push(arguments.out, arguments.push)}")


def _parser() -> CommandParser:
    parser = CommandParser(prog="w2v2 export", description=__doc__.splitlines()[0])
    add_checkpoint(parser)
    parser.add_argument("--to", required=True, metavar="|".join(EXPORTERS), help="the form")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="PATH", help="the file or folder to write"
    )
    add_overwrite(parser)
    parser.add_argument(
        "--legacy-weight-norm",
        action="store_true",
        help="hf, torchaudio: name the positional convolution's weights weight_g and weight_v",
    )
    parser.add_argument(
        "--language", help="hf: also write adapter.LANGUAGE.safetensors (MMS), e.g. fra"
    )
    parser.add_argument(
        "--tokenizer",
        type=Path,
        metavar="FILE.model",
        help="fairseq2: write the tokenizer of the CTC head's symbols as well",
    )
    parser.add_argument("--int8", action="store_true", help="onnx: 8-bit weights")
    add = parser.add_argument_group("for the README.md of an exported folder").add_argument
    add("--licence", help="the model's licence, as `mit`; not stated without")
    add("--languages", metavar="de,fr", help="languages that it is for")
    add(
        "--evaluation",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.json",
        help="error rates of `w2v2 evaluate --json`; may be given several times",
    )
    parser.add_argument(
        "--push", metavar="OWNER/NAME", help="hf: send the folder to this model of the hub as well"
    )
    verify.add_argument(parser)
    return parser


def _exporter(arguments: argparse.Namespace) -> Callable[..., Exported | None]:
    """The exporter that the options ask for; InputError for options that do not go together."""
    if arguments.to not in EXPORTERS:
        raise InputError(f"--to {arguments.to} is not known; use one of {', '.join(EXPORTERS)}")
    export = EXPORTERS[arguments.to]
    for option, form in (("language", "hf"), ("push", "hf"), ("tokenizer", "fairseq2")):
        if getattr(arguments, option) is not None and arguments.to != form:
            raise InputError(f"--{option} goes with --to {form}")
    if arguments.push is not None:
        hub.refuse_without_package("--push")
    if arguments.legacy_weight_norm:
        if arguments.to not in WITH_LEGACY_WEIGHT_NORM:
            raise InputError("--legacy-weight-norm goes with --to hf or torchaudio")
        export = functools.partial(export, legacy_weight_norm=True)
    if arguments.language is not None:
        export = adapters.exporter(export, arguments.language)
    if arguments.int8:
        if arguments.to != "onnx":
            raise InputError("--int8 goes with --to onnx")
        export = functools.partial(export, int8=True)
    if arguments.to == "onnx":
        onnx_file.require(int8=arguments.int8)
    if arguments.to == "savedmodel":
        import_tensorflow("--to savedmodel")
    return export


def _facts(arguments: argparse.Namespace) -> card.CardFacts:
    languages = (arguments.languages or "").split(",")
    named = tuple(language.strip() for language in languages if language.strip())
    return card.CardFacts(arguments.licence, named, tuple(arguments.evaluation))


if __name__ == "__main__":
    sys.exit(run_command(main))
