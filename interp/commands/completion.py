"""The command `spatial-lens completion`: a script by which a shell completes commands, options and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

SHELLS = ("bash", "zsh", "fish")

FILES = ("photo", "model", "detector", "dataset", "prompts")
"""Options and arguments that can be a file or folder."""

FOLDERS = ("out", "folder", "images")
"""Options that are a folder."""

COMPLETION = """Print a script by which your shell completes commands, options and files.

for this shell alone:
  source <(spatial-lens completion bash)
  eval "$(spatial-lens completion zsh)"
  spatial-lens completion fish | source

for good:
  spatial-lens completion bash > ~/.local/share/bash-completion/completions/spatial-lens
  spatial-lens completion zsh > FOLDER/_spatial-lens       (FOLDER is one of $fpath, before compinit)
  spatial-lens completion fish > ~/.config/fish/completions/spatial-lens.fish
"""


def add_completion(commands: Any, whole: argparse.ArgumentParser) -> None:
    """Add the command `completion`.

    Args:
        commands: where to add it.
        whole: the parser whose commands and options are completed.
    """
    parser = commands.add_parser("completion", help="let a shell complete commands", description=COMPLETION)
    parser.add_argument("shell", choices=SHELLS, help="which shell")
    parser.set_defaults(command=lambda options: completion_command(options, whole))


def completion_command(options: argparse.Namespace, whole: argparse.ArgumentParser) -> int:
    """Run `completion`."""
    import shtab

    for action in _actions(whole):
        if action.dest in FILES + FOLDERS and action.choices is None and action.nargs != 0:
            vars(action)["complete"] = shtab.FILE if action.dest in FILES else shtab.DIRECTORY
    print(shtab.complete(whole, shell=options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of a parser, and of the parsers of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
