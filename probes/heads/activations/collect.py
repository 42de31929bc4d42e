"""Collect: what every head puts out at tokens of answers, item by item, streamed to a folder that can be resumed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.numeric import whole_number
from interp.store.names import given_path
from interp.store.shards import Shards
from interp.study.keys import check_ids
from interp.study.prompter import batches
from interp.study.run import read_study
from probes.heads.activations.measurement import GIVEN, HeadMeasurement
from probes.heads.activations.result import (
    STUDY,
    HeadActivations,
    activations_of,
    refuse_undigested,
    with_lists,
)
from probes.heads.activations.z_shards import ZShard, disk_needed, in_bytes, refuse_small_disk, shard_name
from probes.heads.functions import LABELS
from probes.study.run import measure_samples

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample


def collect_heads(
    vlm: HookedVLM,
    items: Sequence[Sample],
    *,
    out: str | Path,
    answers: str | Mapping[str, str] = "own",
    tokens: str = "topk",
    k: int = 3,
    alignment: str = "at",
    read: str = "z",
    store: str = "float32",
    max_new_tokens: int = 32,
    prompt: str = "chat",
    functions: Mapping[str, Sequence[str]] | None = None,
    batch: int = 16,
    resume: bool = False,
    progress: bool = True,
    record: Mapping[str, Any] | None = None,
) -> HeadActivations:
    """What every query head puts out at chosen tokens of the answers to some items, as features of probes.

        x_l^m = 1/|T| sum over j in T of z_l^m(j)

    where z is what a head mixes, before the output projection, and T are the chosen tokens ("Cognitive Mirrors", arXiv
    2512.10978; "Attention in Space", arXiv 2603.20662).

    Items are read batch by batch and what was heard goes to the disk at once, so that memory does not grow with their
    number. While a batch is heard, all tokens of its answers are held: batch x tokens x layers x heads x d_head
    numbers. A process that is killed is gone on with by `resume`, and gives the very same numbers.

    Args:
        vlm: the model.
        items: questions with their right answers, each with an id of its own, such as `step_samples` gives; `group` is
            what belongs together, and `meta["functions"]` lists what it takes to answer.
        out: the folder that keeps it all, and that the result reads from.
        answers: `own`, which the model gives, greedily; `reference`, the right ones, which it is made to give; or by
            id, texts that it is made to give.
        tokens: which tokens of an answer: `first`, `last`, `meaning_first`, `full` or `topk`; see
            `probes.heads.activations.positions.choose`.
        k: how many tokens `topk` takes at most.
        alignment: the activation `at` a token, or the one that `predicts` it, a position before. The code of "Cognitive
            Mirrors" takes the one at a token.
        read: `z`; `write`, what each head adds to the residual stream, z times its rows of the output projection, which
            takes d_model / d_head times the room; or `write_norm`, the length of that.
        store: what numbers are kept as, `float32` or `float16`; what is too large for the latter is refused.
        max_new_tokens: the most tokens that an answer has, own or given.
        prompt: prompt style.
        functions: by id, what it takes to answer an item, in place of what its `meta` says.
        batch: items that are heard together.
        resume: go on with what the folder holds.
        progress: show a progress bar, and before it how much room is needed.
        record: more to record beside the settings, such as the data set.

    Raises:
        InputError: items that can not be asked, answers that are empty or too long, prompts that are too long, a disk
            without room, a folder that another process writes to or that holds something else; all before the first
            pass. Later: an activation that `float16` does not hold.
        ModelError: activations that are not finite.
        RefusedError: an output projection that can not be read, where its writes are asked for.

    Example:
        >>> heads = collect_heads(vlm, step_samples(synthetic_steps(50)), out="out/heads")
        >>> heads.of(4, 2).shape  # item d_head
        (412, 16)
    """
    check_ids(items)
    kind = answers if isinstance(answers, str) else "given"
    if answers == "given":
        raise InputError("answers='given' names no answers: give them by id, as answers={id: text, ...}")
    own = _labelled(items, functions, None if isinstance(answers, str) else answers)
    batch = whole_number(batch, "batch", 1)
    folder = given_path(out)
    settings: dict[str, Any] = {"answers": kind, "tokens": tokens, "k": k, "alignment": alignment, "read": read}
    settings |= {"store": store, "max_new_tokens": max_new_tokens, "prompt": prompt, "folder": folder / "shards"}
    work = HeadMeasurement.of(vlm, own, batch=batch, **settings)
    _tell_room(work, len(own), folder, progress=progress)
    options: dict[str, Any] = {"resume": resume, "batch": batch, "progress": progress, "record": record}
    table, recorded = measure_samples(own, work, STUDY, out=folder, **options)
    refuse_undigested(folder, table)
    _measure_again(work, own, batch, folder, resume=resume)
    return activations_of(folder, table, recorded)


def _labelled(
    items: Sequence[Sample], functions: Mapping[str, Sequence[str]] | None, answers: Mapping[str, str] | None
) -> list[Sample]:
    """The items with their functions and given answers among what they say of themselves, and so in their keys.

    Raises:
        InputError: a name that is no item's, or an item without a name.
    """
    made = list(items)
    for what, name, given in (("functions", LABELS, functions), ("answers", GIVEN, answers)):
        if given is None:
            continue
        if not isinstance(given, Mapping):
            raise InputError(f"{what} are a {type(given).__name__}: give them by id, as {{id: ...}}")
        known = {item.id for item in made}
        strange, missing = [key for key in given if key not in known], [key for key in known if key not in given]
        if strange or missing:
            told = [f"{len(own)} {words}, such as {min(own, key=str)!r}" for words, own in
                    (("are of no item", strange), ("items have none", missing)) if own]  # fmt: skip
            raise InputError(f"{what} do not fit the {len(made)} items: {'; '.join(told)}: give one for each item")
        made = [replace(item, meta={**item.meta, name: _plain(given[item.id])}) for item in made]
    return made


def _plain(value: Any) -> Any:
    """A text as it is, a list of names as a list."""
    return value if isinstance(value, str) or not isinstance(value, Sequence) else list(value)


def _tell_room(work: HeadMeasurement, items: int, folder: Path, *, progress: bool) -> None:
    """Say how much room the activations need, and refuse a disk that lacks it.

    Raises:
        InputError: it lacks it.
    """
    needed = disk_needed(items, work.axes, work.store)
    there = sum(path.stat().st_size for path in (folder / "shards").glob("z-*.safetensors"))
    refuse_small_disk(folder, max(needed - there, 0))
    if progress:
        layers, heads, width = work.axes
        print(
            f"{items} items x {layers} layers x {heads} heads x {width} numbers ({work.store}) need {in_bytes(needed)} "
            f"in {str(folder)!r}",
            file=sys.stderr,
        )


def _measure_again(work: HeadMeasurement, items: Sequence[Sample], batch: int, folder: Path, *, resume: bool) -> None:
    """Hear those batches again whose rows are there and whose shard is gone or damaged.

    Shards that an earlier process has written are read whole, to be held to their digests.

    Raises:
        InputError: another process writes there, or answers or numbers are other ones than those that were kept.
    """
    rows = with_lists(read_study(folder)[0]).set_index("id")
    with Shards(folder / "shards").lock():
        for number, places in enumerate(batches(items, batch)):
            own = [items[place] for place in places]
            kept = [item.id for item in own if rows.loc[item.id, "why"] is None]
            if not kept:
                continue
            known_by, path = rows.loc[kept[0], "shard_sha256"], folder / "shards" / shard_name(number)
            if _is_whole(path, kept, work, known_by, read=resume):
                continue
            again, values = work.measure(own)
            for item, row in zip(own, again, strict=True):
                then = rows.loc[item.id]
                if (row["text"], row["chosen"]) != (then["text"], json.dumps(list(then["chosen"]))):
                    raise InputError(
                        f"{shard_name(number)} in {str(folder)!r} is gone or damaged, and {item.id!r} is now answered "
                        f"{row['text']!r:.60}, not {then['text']!r:.60}: collect anew in another folder"
                    )
            if work.keep(own, again, values)[0]["shard_sha256"] != known_by:
                raise InputError(
                    f"{shard_name(number)} in {str(folder)!r} was gone or damaged, and its numbers now come out "
                    "otherwise, as they do on another machine, or with another number of threads: collect anew in "
                    "another folder"
                )


def _is_whole(path: Path, ids: Sequence[str], work: HeadMeasurement, known_by: str, *, read: bool) -> bool:
    """Whether a shard is there, and holds these items; and, where it is read, the very numbers that were written."""
    try:
        shard = ZShard(path, dict(enumerate(ids)), work.axes, work.store, known_by)
        for layer in range(work.axes.layers if read else 0):
            shard.layer(layer)
    except InputError:
        return False
    return True
