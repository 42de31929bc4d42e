"""Which scenes the commands of the mechanisms ask about: pairs drawn for the model at hand, or of the user's photos."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from interp.cli import add_model_options, add_skip_option, load, note_domain, note_random_weights
from interp.errors import InputError
from interp.store.names import given_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from interp.datasets.synthetic.lines import LineGeometry
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.store.folder import OutputFolder
    from probes.mechanisms.scenes.both_right import BothRight
    from probes.mechanisms.scenes.pairs import Pair
    from probes.mechanisms.scenes.vocabulary import Vocabulary

DRAWN = ("known", "squares", "shapes", "objects")
"""Scenes by name; anything else is a folder."""

PHOTOS = {"controlled-a": "stitched photos of What'sUp", "coco-two": "mirrored photos of COCO-spatial"}
"""Benchmarks whose folder may be named, and what pairs are made of them."""

SCENES = """squares, shapes (three in a row or a column, as in the paper), objects (your own thumbnails, see --folder),
known (the shapes and colours that the embedded model was trained on), or a folder: of thumbnails, of What'sUp's
controlled images A (stitched), or of its COCO questions about two objects (mirrored). Default: known for shapes-vlm,
else squares"""


def add_scenes(parser: argparse.ArgumentParser, *, out: str, sorts: bool = True) -> None:
    """Add what pairs are asked, the folder for results, and the model's options.

    Args:
        parser: of the command.
        out: its usual folder.
        sorts: whether pairs that are answered wrongly are left out before the command measures; else all are kept.
    """
    group = parser.add_argument_group("scenes")
    group.add_argument("--scenes", metavar="NAME|FOLDER", help=SCENES)
    group.add_argument("--folder", help="where the thumbnails of --scenes objects lie, one picture of each object")
    group.add_argument(
        "--boxes", metavar="FILE", help="COCO's instances file, for the boxes of objects in mirrored photos"
    )
    group.add_argument("--pairs", type=int, default=50, help="pairs for each direction asked (default: %(default)s)")
    group.add_argument(
        "--form",
        choices=("item", "relation"),
        help="ask which item lies at a place, or where an item lies in relation to another (default: relation for "
        "known scenes and mirrored photos, else item)",
    )
    if sorts:
        group.add_argument(
            "--all-pairs",
            action="store_true",
            help="keep pairs that the model answers wrongly, which the paper leaves out",
        )
    else:
        parser.set_defaults(all_pairs=True)
    group.add_argument("--batch", type=int, default=16, help="samples that share one pass (default: %(default)s)")
    group.add_argument("--seed", type=int, default=0, help="of the draws and of the bootstrap (default: %(default)s)")
    group.add_argument("--resume", action="store_true", help="go on with what lies in --out")
    add_skip_option(group)
    parser.add_argument("--out", default=out, help="folder for the results (default: %(default)s)")
    add_model_options(parser)


@dataclass(frozen=True, eq=False)
class AskedPairs:
    """The pairs that a command asks about, and how."""

    folder: OutputFolder
    vlm: HookedVLM
    pairs: list[Pair]
    how: dict[str, Any]
    """Keywords of every function that measures pairs: folder, batch, resume, seed, prompt, and what to record."""
    scenes: str
    """What the scenes are, in words: items, canvas, and what was dropped."""
    asked: BothRight | None
    """Which pairs were answered rightly; None where all are kept."""
    photos: bool = False
    """Whether they are real photos, whose objects may be too small for some tokens."""


def asked_pairs(
    options: argparse.Namespace,
    *,
    kind: str = "reversed",
    parts: tuple[str, ...] = ("",),
    drawn: str = "",
    check: Callable[[HookedVLM], object] | None = None,
    says: bool = True,
) -> AskedPairs:
    """The folder, the model and the pairs; what can be refused without the model is refused before it is loaded.

    Args:
        options: what the command line says.
        kind: `reversed` or `last`, see `probes.mechanisms.scenes.line_pairs.line_pairs`.
        parts: the folders inside `--out` that studies are kept in; by default the folder itself.
        drawn: what puts scenes together item by item, so that photos are refused; nothing by default.
        check: refuses options that the model can not serve, before it is asked; none by default.
        says: whether answers are read, so that their words have to be one token each.

    Raises:
        InputError: options that do not fit, a folder that holds something else, photos that can not be read, words of
            several tokens, or no pair that the model answers rightly.
        RefusedError: a model whose image tokens can not be drawn for.
    """
    from interp.stats.draws import check_seed
    from interp.store.folder import OutputFolder
    from interp.store.guard import refuse_begun, refuse_foreign

    for name in ("pairs", "batch"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} {getattr(options, name)}: give at least 1")
    if options.prompt == "raw":
        raise InputError("--prompt raw: the questions of scenes hold no image placeholder, use chat or paper")
    check_seed(options.seed)
    name = options.scenes or ("known" if options.model == "shapes-vlm" else "squares")
    folder = OutputFolder(options.out)
    refuse_begun(folder.path, resume=options.resume, parts=parts, option="--resume")
    refuse_foreign(folder.path, parts)
    source = _Source.of(name, options, kind)
    if drawn and source.benchmark:
        raise InputError(
            f"for {drawn}, scenes are put together item by item, and {name!r} holds {PHOTOS[source.benchmark]}: use "
            f"one of {', '.join(DRAWN)}, or a folder of thumbnails"
        )
    if name != "known":
        note_domain(options.model, f"drawn {name}" if name in ("squares", "shapes") else "photos")
    note_random_weights(options.model)
    vlm = load(options)
    if check is not None:
        check(vlm)
    pairs, told = source.pairs(vlm, says=says)
    asked = None
    if not options.all_pairs:
        from probes.mechanisms.scenes.both_right import keep_both_right

        asked = keep_both_right(vlm, pairs, prompt=options.prompt, batch=options.batch)
        pairs, told = asked.pairs, f"{told}; {asked.describe()}"
        if not pairs:
            raise InputError(f"nothing is left to measure: {asked.describe()}; other scenes, or --all-pairs")
    print(told)
    record = {"scenes": name, "form": source.form, "kind": kind, "pairs": options.pairs, "all_pairs": options.all_pairs}
    record["described"] = told
    how = {
        "out": folder.path,
        "batch": options.batch,
        "resume": options.resume,
        "seed": options.seed,
        "prompt": options.prompt,
        "record": record,
    }
    return AskedPairs(folder, vlm, pairs, how, told, asked, bool(source.benchmark))


@dataclass(frozen=True)
class _Source:
    """Where pairs come from, checked as far as no model is needed."""

    name: str
    form: str
    kind: str
    n: int
    seed: int
    prompt: str
    setting: Any = None
    samples: tuple[Sample, ...] = ()
    benchmark: str = ""

    @classmethod
    def of(cls, name: str, options: argparse.Namespace, kind: str) -> _Source:
        """Read what is named: a setting, thumbnails, or samples with photos."""
        from probes.mechanisms.scenes.line_pairs import setting_of

        benchmark = "" if name in DRAWN else _benchmark_in(name)
        if options.folder is not None and name != "objects":
            raise InputError(f"--folder is where the thumbnails of --scenes objects lie: leave it out with {name}")
        if options.boxes is not None and benchmark != "coco-two":
            raise InputError("--boxes are those of mirrored photos: name the folder of COCO's questions by --scenes")
        if benchmark and kind != "reversed":
            raise InputError(f"{PHOTOS[benchmark]} make no pairs of five items: use drawn scenes for these")
        usual = "relation" if name == "known" or benchmark == "coco-two" else "item"
        form = options.form or usual
        if benchmark == "coco-two" and form != "relation":
            raise InputError("--form item: the questions of COCO-spatial are for relations, leave --form out")
        common = dict(
            name=name,
            form=form,
            kind=kind,
            n=options.pairs,
            seed=options.seed,
            prompt=options.prompt,
            benchmark=benchmark,
        )
        if benchmark:
            return cls(**common, samples=tuple(_samples(benchmark, name, options.boxes)))
        if name in DRAWN:
            return cls(**common, setting=setting_of(name, options.folder))
        try:
            return cls(**common, setting=setting_of("objects", name))
        except InputError as error:
            raise InputError(f"{error}; or name a folder that holds {_looked_for()}") from error

    def pairs(self, vlm: HookedVLM, *, says: bool = True) -> tuple[list[Pair], str]:
        """The pairs for a model, and what was drawn and dropped, in words.

        Raises:
            InputError: answers are read, and their words are several tokens; or scenes that can not be drawn.
        """
        from probes.mechanisms.scenes.geometry import geometry_of

        geometry = None if self.benchmark else geometry_of(vlm)  # without a canvas no words would help
        if not says:
            return self._made(vlm, None, geometry)
        try:
            vocabulary = self._vocabulary(vlm)
        except InputError as error:
            if self.form == "item" and self._speaks_of_sides(vlm):
                raise InputError(f"{error}; or ask for relations with --form relation") from error
            raise
        return self._made(vlm, vocabulary, geometry)

    def _vocabulary(self, vlm: HookedVLM) -> Vocabulary | None:
        """The words of answers that are one token for a model; None where each pair is looked at by itself."""
        from probes.mechanisms.scenes.line_pairs import said_by
        from probes.mechanisms.scenes.vocabulary import single_token_words

        if self.benchmark == "coco-two":
            return single_token_words(vlm, ("left", "right"), after=self._after(vlm))
        if self.benchmark:
            return single_token_words(vlm, self._named()) if self.form == "item" else None
        return said_by(vlm, self.setting, form=self.form, after=self._after(vlm))[1]

    def _speaks_of_sides(self, vlm: HookedVLM) -> bool:
        """Whether the same scenes can be asked for relations."""
        try:
            replace(self, form="relation")._vocabulary(vlm)
        except InputError:
            return False
        return True

    def _named(self) -> list[str]:
        """The objects that photos name first."""
        return list(dict.fromkeys(sample.objects[0].name for sample in self.samples if sample.objects))

    def _made(
        self, vlm: HookedVLM, vocabulary: Vocabulary | None, geometry: LineGeometry | None
    ) -> tuple[list[Pair], str]:
        """The pairs, of the words that are kept where answers are read; and what they are. Photos have no geometry."""
        if self.benchmark == "coco-two":
            return self._mirrored()
        from probes.mechanisms.scenes.geometry import geometry_of
        from probes.mechanisms.scenes.line_pairs import line_pairs

        if geometry is None:
            return self._stitched(vocabulary, geometry_of(vlm).size[0])
        setting = self.setting
        if vocabulary is not None and self.form == "item":
            setting = setting.only(vocabulary.words)
        pairs = line_pairs(setting, geometry, kind=self.kind, form=self.form, n=self.n, seed=self.seed)
        told = f"{setting.name}: {geometry.describe()}"
        return pairs, told if vocabulary is None else f"{told}; {vocabulary.describe()}"

    def _after(self, vlm: HookedVLM) -> str | None:
        """The embedded model knows each word in one spelling, so that the paper's rule would drop them all."""
        return vlm.prepare(_blank(), "Where?", prompt=self.prompt).prompts[0] if self.form == "relation" else None

    def _stitched(self, vocabulary: Vocabulary | None, side: int) -> tuple[list[Pair], str]:
        from interp.numeric import counted
        from probes.mechanisms.scenes.photo_pairs import stitched_pairs

        words, told = self._named(), counted(len(self._named()), "object")
        if vocabulary is not None and self.form == "item":
            words, told = list(vocabulary.words), vocabulary.describe()
        pairs = stitched_pairs(self.samples, side, words=words, form=self.form, n=self.n, seed=self.seed)
        return pairs, f"{PHOTOS[self.benchmark]}, {side} x {side} pixels; {told}"

    def _mirrored(self) -> tuple[list[Pair], str]:
        from interp.numeric import counted
        from probes.mechanisms.scenes.photo_pairs import mirrored_pairs

        pairs, left_out = mirrored_pairs(self.samples, n=self.n)
        told = "".join(f"; {count} left out: {why}" for why, count in left_out.items())
        return pairs, f"{PHOTOS[self.benchmark]}: {counted(len(pairs), 'pair')}{told}"


def _benchmark_in(name: str) -> str:
    """The benchmark whose file lies in a folder; nothing where there is none.

    Raises:
        InputError: it is no folder.
    """
    from interp.datasets.benchmarks.catalogue import BENCHMARKS

    place = given_path(name)
    if not place.is_dir():
        raise InputError(f"--scenes {name!r} is no folder, and none of {', '.join(DRAWN)}: use one of them")
    found = [one for one in PHOTOS if any((place / file).is_file() for file in BENCHMARKS[one].annotations)]
    return found[0] if found else ""


def _looked_for() -> str:
    """The files by which folders of photos are known."""
    from interp.datasets.benchmarks.catalogue import BENCHMARKS

    return " or ".join(f"{BENCHMARKS[one].annotations[0]} ({what})" for one, what in PHOTOS.items())


def _samples(benchmark: str, folder: str, boxes: str | None) -> list[Sample]:
    from interp.datasets.benchmarks.reading import read_dataset
    from interp.objects.refusals import refuse_noted, skipped, tell_skipped
    from interp.study.sample_checks import askable

    samples = askable(read_dataset(benchmark, folder))
    refuse_noted(len(samples))
    print(tell_skipped(skipped().get("skipped", ())), end="\n" if skipped() else "")
    if boxes is None:
        return samples
    from interp.objects.label_files import read_coco_boxes
    from probes.mechanisms.scenes.photo_pairs import with_boxes

    return with_boxes(samples, read_coco_boxes(boxes))


def _blank() -> Any:
    from PIL import Image

    return Image.new("RGB", (64, 64), (128, 128, 128))
