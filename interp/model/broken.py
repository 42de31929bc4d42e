"""What is missing or broken in a folder that a model could not be loaded from, and what mends it."""

from __future__ import annotations

from pathlib import Path

from interp.store.parsing import parse_json, read_json

CONFIG, ADAPTER, INDEX = "config.json", "adapter_config.json", "model.safetensors.index.json"

PICKLED = frozenset({".bin", ".pt", ".pth", ".ckpt"})
"""Endings of weights that are not read, as opening them can run code."""

PROCESSOR = ("processor_config.json", "preprocessor_config.json")
TOKENIZER = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")


def flaw(folder: Path) -> str:
    """What a folder lacks, or which of its files is broken, with what to do; the first that is found.

    Example:
        >>> flaw(Path("my-llava"))
        "it has no config.json: give the folder that the model's save_pretrained wrote"
    """
    weights = sorted(path for path in folder.glob("*.safetensors") if not path.name.startswith("adapter_"))
    if not (folder / CONFIG).is_file():
        return f"it has no {CONFIG}: give the folder that the model's save_pretrained wrote"
    return _broken_json(folder) or _unknown_kind(folder) or _weights(folder, weights) or _no_processor(folder) or _WHOLE


_WHOLE = "the files that a model needs are there, so mend what this error says"


def _broken_json(folder: Path) -> str:
    for path in sorted(folder.glob("*.json")):
        try:
            found = read_json(path)
        except (OSError, ValueError) as error:
            return f"its {path.name} can not be read as JSON ({error}): get that file anew"
        if path.name == CONFIG and not (isinstance(found, dict) and isinstance(found.get("model_type"), str)):
            return f"its {CONFIG} names no model_type: give the folder that the model's save_pretrained wrote"
    return ""


def _unknown_kind(folder: Path) -> str:
    from transformers import CONFIG_MAPPING

    config = parse_json((folder / CONFIG).read_text(encoding="utf-8"))
    if config["model_type"] in CONFIG_MAPPING or "auto_map" in config:
        return ""
    return (
        f"its model_type {config['model_type']!r:.40} is none that the transformers installed here know: install newer "
        "ones, or give a model of another kind"
    )


def _weights(folder: Path, weights: list[Path]) -> str:
    """What is wrong with the weights, which are opened, but not read."""
    from safetensors import SafetensorError, safe_open

    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
    if not weights and pickled:
        return (
            f"its weights are in {pickled[0]}, which is not read as it can run code: convert them to safetensors (load "
            "the model with transformers where you trust the file, and save it with save_pretrained)"
        )
    if not weights:
        return "it has no weights (model.safetensors): give the folder that the model's save_pretrained wrote"
    lost = _named(folder) - {path.name for path in weights}
    if lost:
        return f"its weights {min(lost)}, which {INDEX} names, are not there: get the missing files"
    for path in weights:
        try:
            with safe_open(path, framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            return f"its weights {path.name} are broken or cut off ({error}): get that file anew"
    return ""


def _named(folder: Path) -> set[str]:
    """The files that an index of weights names, which is known to be a good one."""
    path = folder / INDEX
    return set(parse_json(path.read_text(encoding="utf-8"))["weight_map"].values()) if path.is_file() else set()


def _no_processor(folder: Path) -> str:
    for what, files in (("processor", PROCESSOR), ("tokenizer", TOKENIZER)):
        if not any((folder / name).is_file() for name in files):
            return (
                f"it has no {what} ({' or '.join(files)}): save the processor that belongs to the model beside it, "
                "with its save_pretrained"
            )
    return ""
