"""Several tools over one data set: what each found, or why it could not measure, and one page of them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.errors import InputError, RefusedError
from interp.report.page import Section, render_report
from interp.reprs import fits_a_cell
from interp.store.folder import OutputFolder
from probes.study.findings import READ_FIRST, Findings, write_findings

if TYPE_CHECKING:
    import pandas as pd


@fits_a_cell("names found refused")
@dataclass(frozen=True, eq=False)
class ToolFindings:
    """What several tools found over one data set.

    Attributes:
        names: the tools, in order.
        found: by tool, what it found.
        refused: by tool, why this model can not be measured by it.
    """

    names: tuple[str, ...]
    found: Mapping[str, Findings] = field(repr=False)
    refused: Mapping[str, str]

    @property
    def remarks(self) -> tuple[str, ...]:
        """Why the numbers may mean nothing, each line once."""
        return tuple(dict.fromkeys(line for own in self.found.values() for line in own.remarks))

    @property
    def few(self) -> tuple[str, ...]:
        """What has to be known of intervals where groups are few, each line once, with the tools that it is of."""
        return _named_lines({name: own.few for name, own in self.found.items()})

    def sentences(self) -> tuple[str, ...]:
        """One sentence a tool, with its interval, in the order of the tools; or why there is none."""
        told = {name: own.sentences[0] for name, own in self.found.items()}
        told |= {name: f"{name.capitalize()} was not measured: {why}" for name, why in self.refused.items()}
        return tuple(told[name] for name in self.names)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per tool: `tool`, `measured` (false where the model can not be), `sentence`."""
        import pandas as pd

        measured = [name in self.found for name in self.names]
        return pd.DataFrame({"tool": self.names, "measured": measured, "sentence": self.sentences()})


def run_tools(tools: Mapping[str, Callable[[Path | None], Findings]], out: str | Path | None) -> ToolFindings:
    """Run tools one after another; each gets a folder of its name inside `out`, so that its study can be resumed.

    Raises:
        RefusedError: none of them can measure this model.
    """
    found: dict[str, Findings] = {}
    refused: dict[str, str] = {}
    for name, tool in tools.items():
        try:
            found[name] = tool(None if out is None else Path(out) / name)
        except RefusedError as error:
            refused[name] = str(error)
    if not found:
        raise RefusedError("; ".join(f"{name}: {why}" for name, why in refused.items()))
    return ToolFindings(tuple(tools), found, refused)


def check_tools(names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The tools that are asked for, in the order of those that are known.

    Raises:
        InputError: there is none, or one is not known.
    """
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InputError(f"there is no tool {unknown[0] if unknown else ''!r}: use some of {', '.join(known)}")
    return tuple(name for name in known if name in names)


def write_tools(
    folder: OutputFolder,
    every: ToolFindings,
    settings: Mapping[str, Any],
    *,
    title: str,
    sentences: Sequence[str] | None = None,
) -> list[Path]:
    """Write each tool's files into a folder of its name, then `summary.json` and one page of them all.

    Args:
        folder: where to.
        every: what was found.
        settings: the record of the run.
        title: of the page.
        sentences: what all of it says together; by default, one sentence a tool.

    Raises:
        InputError: a file can not be written.
    """
    told = every.sentences() if sentences is None else tuple(sentences)
    parts = [*([Section(READ_FIRST, every.remarks)] if every.remarks else []), Section("In a few sentences", told)]
    drawn: dict[str, Any]
    for name, own in every.found.items():
        more = (*own.sentences, f"More in {name}/report.html.")
        first = next(iter(own.figures.values()), None)
        drawn = {} if first is None else {"figure": first.figure, "caption": first.caption}
        parts.append(Section(own.title, more, **drawn))
    parts.append(
        Section("What this does not show", _named_lines({name: own.limits for name, own in every.found.items()}))
    )
    lead = "Each sentence stands with its interval; each tool has a page of its own."
    page = render_report(title, lead, parts, dict(settings))
    paths = [
        path for name, own in every.found.items() for path in write_findings(OutputFolder(folder.path / name), own)
    ]
    summary = {name: own.summary for name, own in every.found.items()}
    whole = {"sentences": told, "refused": every.refused, **summary, "settings": settings}
    return [*paths, folder.write_json("summary.json", whole), folder.write_text("report.html", page)]


def _named_lines(of: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The lines of tools, each line once, with the names of the tools that say it."""
    by_line: dict[str, list[str]] = {}
    for name, lines in of.items():
        for line in lines:
            by_line.setdefault(line, []).append(name)
    return tuple(f"{', '.join(names).capitalize()}: {line}" for line, names in by_line.items())
