"""Models of the Hugging Face hub by name, down and up, where `huggingface_hub` is installed."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from w2v2_jax.errors import InputError
from w2v2_jax.paths import is_remote, to_path

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FILES = ["*.json", "*.safetensors", "*.bin", "*.txt", "*.model"]
REMEDY = "pip install huggingface_hub"


def folder(name: str) -> str:
    """Where the files of a model lie: the name itself where it is a path, else the folder that
    `huggingface_hub` fetches them to. "owner/model" is a hub's name where no folder is called
    "owner". Raises InputError that says how to get the folder where it cannot be fetched."""
    path = to_path(name)
    if not NAME.fullmatch(name) or is_remote(path) or path.exists() or path.parent.exists():
        return name
    by_hand = f"fetch https://huggingface.co/{name} into a folder and name that"
    if importlib.util.find_spec("huggingface_hub") is None:
        raise InputError(f"{name} is no folder here; for a model of the hub {REMEDY}, or {by_hand}")
    import huggingface_hub

    try:
        return huggingface_hub.snapshot_download(name, allow_patterns=FILES)
    except Exception as error:  # of requests, httpx and the hub's own, by version
        reason = str(error).strip().split("\n")[0][:200].removeprefix("Got: ")
        raise InputError(
            f"{name} is no folder here, and the hub cannot be reached or does not have it "
            f"({reason}); elsewhere, {by_hand}"
        ) from error


def refuse_without_package(option: str) -> None:
    """InputError, before the work is done, where a folder could not be sent."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise InputError(f"{option} needs a package: {REMEDY}")


def push(path: Path, name: str) -> str:
    """Sends a folder to the model `name` of the hub, which is made, for its owner's eyes alone,
    where it is not there; returns its address. The token is the one that `hf auth login` stored."""
    import huggingface_hub

    try:
        hub = huggingface_hub.HfApi()
        address = hub.create_repo(name, private=True, exist_ok=True)
        hub.upload_folder(folder_path=path, repo_id=name, commit_message="Export of w2v2_jax")
    except Exception as error:  # as in `folder`
        reason = str(error).strip().split("\n")[0][:200]
        raise InputError(f"--push {name}: {path} is written, but not sent: {reason}") from error
    return str(address)
