"""Compare prompts that the AdaptVis authors released, row by row, with those that this toolkit makes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.datasets.benchmarks.catalogue import BENCHMARKS, Benchmark, benchmark
from interp.datasets.benchmarks.files import bad_row, read_lines
from interp.errors import InputError
from interp.prompt.templates import (
    is_or_are,
    list_options,
    paper_prompt,
    paper_statement_prompt,
    where_in_own_words,
    where_in_photo,
    where_in_relation,
)
from interp.store.names import given_path

if TYPE_CHECKING:
    import pandas as pd

    from interp.objects.sample import Sample

_CHOICE = re.compile(
    r"<image>\nUSER: +Where (?P<verb>is|are) the (?P<first>.+?) in (?:the photo|relation to the (?P<second>.+?))\?"
    r"\s+Answer with (?P<options>[a-z]+(?:, [a-z]+)*,? or [a-z]+)\.{1,2}\n(?P<extra>.*?)\n*ASSISTANT:",
    re.DOTALL,
)
_OPEN = re.compile(
    r"<image>\nUSER: +Where (?P<verb>is|are) the (?P<first>.+?) in relation to (?P<second>.+?)\?"
    r"\s+Answer with one word or phrase\.\n(?P<extra>.*?)\n*ASSISTANT:",
    re.DOTALL,
)
_LAYOUT = {
    "double space": re.compile(r"USER:  "),
    "line break before the options": re.compile(r"\?\s*\n"),
    "empty line before the answer": re.compile(r"\n\nASSISTANT:"),
    "comma before 'or'": re.compile(r", or "),
    "double full stop": re.compile(r"\.\.\n"),
}


@dataclass(frozen=True)
class ReleasedPrompt:
    """A released prompt, taken apart.

    Attributes:
        row: its `id`: the row of the data file that it belongs to.
        text: the whole prompt.
        gold: the answer, in lower case.
        names: the names of the objects; empty where the prompt has an unknown form.
        verb: `is` or `are`.
        options: what it lists; empty for open questions.
        extra: text after the question that does not belong there.
    """

    row: int
    text: str
    gold: str
    names: tuple[str, ...] = ()
    verb: str = "is"
    options: tuple[str, ...] = ()
    extra: str = ""

    @property
    def leaks(self) -> bool:
        """Whether it states the answer after the question."""
        return re.search(rf"\b{re.escape(self.gold)}\b", self.extra, re.IGNORECASE) is not None


def read_prompts(path: str | Path) -> list[ReleasedPrompt]:
    """Read a released prompt file: JSON Lines with `id`, `question` (the whole prompt) and `answer`.

    Raises:
        InputError: the file can not be read, or a row is not of this form.
    """
    file = given_path(path)
    return [_released(file, number, item) for number, item in enumerate(read_lines(file))]


def compare_prompts(samples: Sequence[Sample] | None, path: str | Path, *, name: str | None = None) -> pd.DataFrame:
    """Render each released prompt with our template and say whether both agree, and if not, why.

    Args:
        samples: the benchmark's samples, paired by `meta["row"]`; None renders from the names in the prompts
            themselves, so that only the wording is compared.
        path: a released prompt file.
        name: the benchmark; by default the one whose prompt file is called so.

    Returns:
        One row per prompt: row, agrees, why (reasons, joined by `; `), gold, offered (whether the answer is among the
        options that the prompt lists), leaks (whether it states the answer), names, prompt, ours. With samples also
        same_answer. Rows without a sample are left out.

    Raises:
        InputError: the file can not be read, its benchmark is not known, or no prompt belongs to a sample.

    Example:
        >>> table = compare_prompts(None, "prompts/VG_QA_two_obj_with_answer_six_options.jsonl")
        >>> table.loc[table["leaks"], "row"].tolist()
        [84, 215]
    """
    import pandas as pd

    one = _benchmark_of(Path(path).name, samples, name)
    by_row = None if samples is None else {sample.meta["row"]: sample for sample in samples}
    prompts = [prompt for prompt in read_prompts(path) if by_row is None or prompt.row in by_row]
    if not prompts:
        raise InputError(f"no prompt of {str(path)!r} belongs to one of the samples: compare rows of the same data set")
    return pd.DataFrame([_compared(prompt, one, None if by_row is None else by_row[prompt.row]) for prompt in prompts])


def in_papers_words(name: str, prompt: str) -> bool:
    """Whether a benchmark was asked in the words of the AdaptVis evaluation, from the image to the last role word.

    Of the released prompts, those whose spaces, line breaks, commas and full stops differ count; those that offer other
    options or say more than the question do not.

    Args:
        name: the benchmark.
        prompt: the whole prompt, its image written `<image>`.

    Example:
        >>> in_papers_words("coco-one", paper_prompt(where_in_photo("mug")))
        True

    Raises:
        InputError: there is no such benchmark.
    """
    one = benchmark(name)
    if one.kind == "statements":
        before, _, behind = paper_statement_prompt("|").partition("|")
        return prompt.startswith(before) and prompt.endswith(behind) and len(prompt) > len(before + behind)
    names, _, options, extra = _taken_apart(prompt)
    said = one.kind == "open" or (options == one.options and len(names) == one.n_objects)
    return bool(names) and said and not extra


def asked_alike(one: Benchmark) -> list[str]:
    """The other benchmarks that read the same files and have released prompts.

    Example:
        >>> asked_alike(benchmark("vsr"))
        ['vsr-open']
    """
    same = (other for other in BENCHMARKS.values() if one.annotations and other.annotations == one.annotations)
    return [other.name for other in same if other.prompts and other.name != one.name]


def summarize_prompts(table: pd.DataFrame) -> dict[str, Any]:
    """Count what `compare_prompts` found.

    Returns:
        prompts, agree, differ, why (reason to number of rows), leaks and not_offered (rows), labels (answer to number).
    """
    reasons = Counter(reason for why in table["why"] if why for reason in why.split("; "))
    summary: dict[str, Any] = {
        "prompts": len(table),
        "agree": int(table["agrees"].sum()),
        "differ": int((~table["agrees"]).sum()),
        "why": dict(reasons.most_common()),
        "leaks": table.loc[table["leaks"], "row"].tolist(),
        "not_offered": table.loc[~table["offered"], "row"].tolist(),
        "labels": table["gold"].value_counts().to_dict(),
    }
    if "same_answer" in table:
        summary["other_answer"] = table.loc[~table["same_answer"], "row"].tolist()
    return summary


def describe_prompts(table: pd.DataFrame) -> str:
    """The summary as lines of text, with a few rows of each reason."""
    summary = summarize_prompts(table)
    lines = [f"{summary['agree']} of {summary['prompts']} prompts are ours, letter for letter"]
    for reason, count in summary["why"].items():
        rows = table.loc[[reason in why.split("; ") for why in table["why"]], "row"].tolist()
        lines.append(f"  {count:>5}  {reason}: rows {_some(rows)}")
    for key, what in (
        ("not_offered", "do not offer the answer"),
        ("other_answer", "have another answer than the data file"),
    ):
        if summary.get(key):
            lines.append(f"  {len(summary[key]):>5}  {what}: rows {_some(summary[key])}")
    labels = summary["labels"]
    if len(labels) <= 8:
        lines.append(f"  answers: {', '.join(f'{label} {count}' for label, count in labels.items())}")
    return "\n".join(lines)


def _released(path: Path, number: int, item: Mapping[str, Any]) -> ReleasedPrompt:
    """Take one line of a prompt file apart."""
    row, text, answer = (item.get(key) for key in ("id", "question", "answer"))
    gold = answer[0] if isinstance(answer, list) and len(answer) == 1 else answer
    if isinstance(row, bool) or not isinstance(row, int) or not isinstance(text, str) or not isinstance(gold, str):
        raise bad_row(path, number, f"holds {dict(item)!r}, not id, question and one answer")
    return ReleasedPrompt(row, text, gold.lower(), *_taken_apart(text))


def _taken_apart(text: str) -> tuple[tuple[str, ...], str, tuple[str, ...], str]:
    """The names, the verb, the options and what else a prompt says; no names where it has an unknown form."""
    match = _OPEN.fullmatch(text) or _CHOICE.fullmatch(text)
    if match is None:
        return (), "is", (), ""
    listed = match.groupdict().get("options") or ""
    names = (match["first"],) if match["second"] is None else (match["first"], match["second"])
    options = tuple(re.findall(r"\b(?!or\b)[a-z]+", listed))
    return names, match["verb"], options, match["extra"].strip()


def _compared(prompt: ReleasedPrompt, one: Benchmark, sample: Sample | None) -> dict[str, Any]:
    """One row of the comparison."""
    names = prompt.names if sample is None else tuple(item.name for item in sample.objects)
    ours = paper_prompt(_ask(one, names) if sample is None else sample.question) if names else ""
    row = {
        "row": prompt.row,
        "agrees": prompt.text == ours,
        "why": "" if prompt.text == ours else "; ".join(_why(prompt, one, names)),
        "gold": prompt.gold,
        "offered": not prompt.options or prompt.gold in prompt.options,
        "leaks": prompt.leaks,
        "names": "|".join(prompt.names),
        "prompt": prompt.text,
        "ours": ours,
    }
    return row if sample is None else {**row, "same_answer": prompt.gold == sample.answer}


def _ask(one: Benchmark, names: tuple[str, ...]) -> str:
    if one.kind == "open":
        return where_in_own_words(names[0], names[-1])
    if len(names) == 1:
        return where_in_photo(names[0], one.options)
    return where_in_relation(names[0], names[1], one.options)


def _why(prompt: ReleasedPrompt, one: Benchmark, names: tuple[str, ...]) -> list[str]:
    """Every way in which a released prompt differs from ours; there is always one."""
    if not prompt.names:
        return ["unknown form"]
    reasons = [reason for reason, pattern in _LAYOUT.items() if pattern.search(prompt.text)]
    if prompt.extra:
        reasons.append("states the answer" if prompt.leaks else "text after the question")
    if prompt.options != one.options:
        reasons.append(f"offers {list_options(prompt.options)}")
    if one.kind != "open" and prompt.verb != is_or_are(prompt.names[0]):
        reasons.append(f"says {prompt.verb} of a {'plural' if prompt.verb == 'is' else 'singular'}")
    if prompt.names != names:
        reasons.append("other names than the data file")
    return reasons or ["other wording"]


def _benchmark_of(file: str, samples: Sequence[Sample] | None, name: str | None) -> Benchmark:
    """The benchmark that a prompt file belongs to."""
    if name is None and samples:
        name = str(samples[0].meta.get("dataset", ""))
    if name is not None:
        one = benchmark(name)
        if not one.prompts:
            others = "".join(
                f"; {BENCHMARKS[other].prompts} holds those of {other}, which reads the same files"
                for other in asked_alike(one)
            )
            raise InputError(
                f"no prompts were released for {name}: their templates are in the code of the authors{others}"
            )
        return one
    found = [one for one in BENCHMARKS.values() if one.prompts == file]
    if not found:
        known = ", ".join(one.prompts for one in BENCHMARKS.values() if one.prompts)
        raise InputError(f"{file!r} is no released prompt file ({known}): say whose prompts they are with name=...")
    return found[0]


def _some(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")
