"""The command `python -m interp datasets`: what can be asked, what is there of it, how to get the rest."""

from __future__ import annotations

import argparse
from typing import Any

from interp.cli import add_debug_option
from interp.errors import InputError

DATASETS = """List the data sets, or say of one what it holds, where to get it, and whether its files are complete.

Nothing is downloaded without --download. With --check, the exit code is 1 if something is missing.

examples:
  python -m interp datasets
  python -m interp datasets vg-two
  python -m interp datasets controlled-a --download --folder data
  python -m interp datasets controlled-a --check --folder data
  python -m interp datasets vg-two --prompts VG_QA_two_obj_with_answer_six_options.jsonl
"""


def add_datasets(commands: Any) -> None:
    """Add the command `datasets`."""
    parser = commands.add_parser("datasets", help="list, check and fetch data sets", description=DATASETS)
    parser.add_argument("name", nargs="?", metavar="NAME", help="one data set (default: list all)")
    parser.add_argument("--folder", help="where its files lie, or its annotation file (default: data)")
    parser.add_argument("--check", action="store_true", help="say what is there and what is missing")
    parser.add_argument("--prompts", metavar="FILE", help="compare a released prompt file with our template")
    parser.add_argument("--download", action="store_true", help="fetch what the Hugging Face Hub has into the folder")
    parser.add_argument("--json", action="store_true", help="print data instead of text")
    add_debug_option(parser)
    parser.set_defaults(command=datasets_command)


def datasets_command(options: argparse.Namespace) -> int:
    """Run `datasets`: list all, say what is known of one, or download, check and compare prompts, in this order."""
    from dataclasses import asdict

    from interp.datasets.benchmarks import check
    from interp.datasets.benchmarks.catalogue import benchmark

    asked = options.check or options.prompts or options.download
    if options.name is None:
        if asked or options.folder:
            raise InputError("--folder, --check, --prompts and --download are about one data set: name it")
        return _tell(options, check.list_benchmarks(), check.describe_benchmarks())
    if not asked:
        entry = asdict(benchmark(options.name))
        return _tell(options, entry, check.describe_benchmark(options.name, options.folder or "data"))
    return _work_on_dataset(options, options.folder or "data")


def _work_on_dataset(options: argparse.Namespace, folder: str) -> int:
    from dataclasses import asdict

    from interp.datasets.benchmarks import check, hub, prompts, reading

    data: dict[str, Any] = {}
    said: list[str] = []
    if options.download:
        data["written"] = [str(path) for path in hub.download_dataset(options.name, folder)]
        said.append(f"written: {', '.join(data['written'])}")
    if options.check or options.download:
        found = check.check_dataset(options.name, folder)
        data["check"] = {**asdict(found), "complete": found.complete}
        said.append(found.describe())
    if options.prompts:
        samples = reading.read_dataset(options.name, folder, missing="keep") if options.folder else None
        table = prompts.compare_prompts(samples, options.prompts, name=options.name)
        data["prompts"] = prompts.summarize_prompts(table)
        said.append(prompts.describe_prompts(table))
    _tell(options, data, "\n".join(said))
    return 0 if "check" not in data or data["check"]["complete"] else 1


def _tell(options: argparse.Namespace, data: Any, text: str) -> int:
    """Print data with --json and text without."""
    import json

    from interp.store.folder import plain

    print(json.dumps(plain(data), indent=2, ensure_ascii=False) if options.json else text)
    return 0
