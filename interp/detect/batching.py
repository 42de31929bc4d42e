"""Detection over many photos: in batches, each photo once, and kept on disk under all that the boxes depend on."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.detect.common import Asked, keep_words
from interp.errors import DetectorError, InputError
from interp.image.boxes import Box, Boxes
from interp.image.digests import photo_digest
from interp.image.photos import ImageSource, load_image
from interp.objects.absence import is_absent
from interp.objects.given import GivenBoxes
from interp.objects.words import Found, Match, match_words, objects_asked
from interp.store.folder import OutputFolder, plain
from interp.store.parsing import parse_json

if TYPE_CHECKING:
    from PIL import Image

    from interp.objects.detector import Detector
    from interp.objects.sample import Sample

FORMAT = 1
"""Of a file in the cache; one with another number is not read."""

WINDOW = 8
"""Batches of photos that are read at a time, so that those of one size come together."""


def find_many(
    samples: Sequence[Sample],
    detector: Detector,
    *,
    batch: int = 8,
    cache: str | Path | None = None,
    progress: bool = True,
) -> list[Found]:
    """Look in the photo of each sample for the objects that it names, or that its question names if it lists none.

    Unlike `find_objects`, a sample whose words the detector has no class for is no error here: its `Found` says so, and
    `interp.detect.agreement.coverage` counts it.

    Args:
        samples: what is asked, and about which photos.
        detector: who looks; one with `for_sample`, such as `GroundTruth`, is asked for each sample's own boxes.
        batch: photos that go through the detector together.
        cache: a folder that keeps what was detected, see `detect_many`; not used with `for_sample`.
        progress: show a progress bar.

    Returns:
        A `Found` for each sample, in order, each of its words once; `absent` where its right answer says that what it
        asks after is not there.

    Raises:
        DetectorError: words were asked, and the detector has a class for none of them in any sample.
        InputError: what `detect_many` refuses.

    Example:
        >>> found = find_many(samples, YoloDetector("yolo11n.pt"), cache="out/boxes")  # doctest: +SKIP
        >>> found[0].missing  # doctest: +SKIP
        ('scarf',)
    """
    asked = [_asked(sample, detector.labels) for sample in samples]
    if hasattr(detector, "for_sample"):
        pairs = zip(_shown(samples, progress), asked, strict=True)
        found = [_found_in_sample(sample, words, detector) for sample, words in pairs]
        if any(asked) and not any(len(one.boxes) for one in found):
            raise InputError(
                f"{detector.name}: none of {len(samples)} samples carries boxes: use a detector, or label files"
            )
    else:
        photos = [sample.image for sample in samples]
        boxes = detect_many(detector, photos, asked, batch=batch, cache=cache, progress=progress)
        found = [
            _found(words, detector.labels or words, seen, detector.name)
            for words, seen in zip(asked, boxes, strict=True)
        ]
    found = [replace(one, absent=is_absent(sample)) for one, sample in zip(found, samples, strict=True)]
    words = list(dict.fromkeys(word for one in asked for word in one))
    if words and not any(match.labels for one in found for match in one.matches):
        raise DetectorError(
            f"detector {detector.name} has a class for none of the {len(words)} words that were asked, such as "
            f"{', '.join(words[:4])}: give another detector"
        )
    return found


def detect_many(
    detector: Detector,
    images: Sequence[ImageSource],
    words: Sequence[Asked] | None = None,
    *,
    batch: int = 8,
    cache: str | Path | None = None,
    progress: bool = True,
) -> list[Boxes]:
    """Detect in many photos, with the same boxes as one `detect` each.

    A detector that has `detect_batch(images, words)` is given photos in batches, others one by one. A detector with
    fixed classes is asked for everything, and the words are picked out afterwards, so that a photo about which several
    questions are asked is detected in once. With `cache`, what was found goes into one JSON file per photo, named by a
    digest of the pixels, the detector's name and its `settings` (weights, confidence and the like), and, for a detector
    that takes any words, the words. A file that does not match its own digest is detected anew, with a warning.

    Args:
        detector: who looks.
        images: paths, PIL images or arrays.
        words: what to look for in each photo, None for everything.
        batch: photos that go through the detector together.
        cache: a folder; None keeps nothing. The detector must have `settings`.
        progress: show a progress bar.

    Returns:
        Boxes for each photo, in order, in pixels of the upright photo.

    Raises:
        InputError: lists of different length, a batch below 1, a photo or folder that can not be used, or a cache for
            a detector that does not say what its boxes depend on.
        DetectorError: the detector failed.

    Example:
        >>> boxes = detect_many(detector, paths, [("mug", "table")] * len(paths), cache="out/boxes")  # doctest: +SKIP
    """
    asked: list[Asked] = [None] * len(images) if words is None else list(words)
    if batch < 1 or len(asked) != len(images) or any(isinstance(sought, str) for sought in asked):
        raise InputError(
            f"{len(asked)} lists of words for {len(images)} photos in batches of {batch}: give each photo a list of "
            "words or None, and a batch of at least 1"
        )
    known, keys = _KeptBoxes(detector, cache), []
    with _bar(len(images), progress) as bar:
        for start in range(0, len(images), WINDOW * batch):
            waiting: dict[str, tuple[Image.Image, Asked]] = {}
            window = range(start, min(start + WINDOW * batch, len(images)))
            for place in window:
                photo, sought = load_image(images[place]), None if detector.labels else asked[place]
                keys.append(known.key(photo, sought))
                if not known.has(keys[-1]):
                    waiting[keys[-1]] = (photo, sought)
            bar.update(len(window) - len(waiting))
            for group in _batches(waiting, batch):
                for key, boxes in zip(group, _detect(detector, [waiting[key] for key in group]), strict=True):
                    known.add(key, boxes)
                bar.update(len(group))
    labels = detector.labels
    pairs = zip(keys, asked, strict=True)
    return [keep_words(known[key], sought, labels) if labels else known[key] for key, sought in pairs]


class _KeptBoxes:
    """What has been detected: in memory, and in a folder where one is named."""

    def __init__(self, detector: Detector, cache: str | Path | None) -> None:
        settings = None if cache is None else getattr(detector, "settings", None)
        if cache is not None and not isinstance(settings, Mapping):
            raise InputError(
                f"detector {detector.name} does not say what its boxes depend on (it has no settings), so they can not "
                "be kept: leave the cache out"
            )
        self._detector = {"detector": detector.name, "settings": plain(settings)}
        self._folder = None if cache is None else OutputFolder(cache)
        self._about: dict[str, dict[str, Any]] = {}
        self._boxes: dict[str, Boxes] = {}

    def key(self, photo: Image.Image, words: Asked) -> str:
        """The digest of all that the boxes of a photo depend on."""
        about = {**self._detector, "pixels": photo_digest(photo), "words": None if words is None else list(words)}
        key = _digest(about)
        self._about[key] = about
        return key

    def has(self, key: str) -> bool:
        """Whether a photo's boxes are known, from this run or from the folder."""
        if key not in self._boxes and self._folder is not None:
            kept = _read_kept(self._folder.path / f"{key}.json", key)
            if kept is not None:
                self._boxes[key] = kept
        return key in self._boxes

    def add(self, key: str, boxes: Boxes) -> None:
        """Take a photo's boxes, and write them where there is a folder."""
        self._boxes[key] = boxes
        if self._folder is None:
            return
        rows = [[box.label, *map(float, box.xyxy), float(box.confidence)] for box in boxes]
        content = {"about": self._about[key], "source": boxes.source, "boxes": rows}
        entry = {"format": FORMAT, **content, "sha256": _digest(content)}
        self._folder.write_text(f"{key}.json", json.dumps(entry, ensure_ascii=False) + "\n")

    def __getitem__(self, key: str) -> Boxes:
        return self._boxes[key]


def _read_kept(path: Path, key: str) -> Boxes | None:
    """The boxes of a file of the cache; None where it is absent, or is not what was written."""
    try:
        entry = parse_json(path.read_text(encoding="utf-8"))
        content = {name: entry[name] for name in ("about", "source", "boxes")}
        if entry["format"] != FORMAT or entry["sha256"] != _digest(content) or _digest(content["about"]) != key:
            raise ValueError("its digest is another")
        rows = [Box(label, (x0, y0, x1, y1), sure) for label, x0, y0, x1, y1, sure in content["boxes"]]
        return Boxes(tuple(rows), content["source"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, InputError) as error:
        why = " ".join(str(error).split())[:120]
        warnings.warn(f"{str(path)!r} is not as it was written ({why}); the photo is detected in anew", stacklevel=4)
        return None


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _batches(waiting: Mapping[str, tuple[Image.Image, Asked]], batch: int) -> Iterator[list[str]]:
    """Keys that are detected together; photos of one size lie side by side, so that models can stack them."""
    order = sorted(waiting, key=lambda key: waiting[key][0].size)
    for start in range(0, len(order), batch):
        yield order[start : start + batch]


def _detect(detector: Detector, items: Sequence[tuple[Image.Image, Asked]]) -> list[Boxes]:
    together = getattr(detector, "detect_batch", None)
    if together is None:
        return [detector.detect(photo, words) for photo, words in items]
    found = list(together([photo for photo, _ in items], [words for _, words in items]))
    if len(found) != len(items):
        raise DetectorError(f"detector {detector.name} gave {len(found)} results for a batch of {len(items)} photos")
    return found


def _asked(sample: Sample, labels: Sequence[str]) -> tuple[str, ...]:
    """The names of a sample's objects, or what its question names, each once: two dogs are one word."""
    return tuple(dict.fromkeys([item.name for item in sample.objects] or objects_asked(sample.question, labels)))


def _found(words: Sequence[str], labels: Sequence[str], boxes: Boxes, name: str) -> Found:
    matched = match_words(words, labels)
    return Found(tuple(Match(word, matched[word], boxes.named(matched[word])) for word in words), name)


def _found_in_sample(sample: Sample, words: Sequence[str], detector: Any) -> Found:
    own = detector.for_sample(sample)
    photo = sample.image if isinstance(own, GivenBoxes) or not words else load_image(sample.image)
    boxes = own.detect(photo, words) if words else Boxes(source=own.name)
    return _found(words, own.labels or words, boxes, own.name)


def _bar(total: int, progress: bool) -> Any:
    from interp.store.progress import ProgressBar

    return ProgressBar(total=total, desc="detecting", unit="photo", disable=not progress)


def _shown(samples: Sequence[Sample], progress: bool) -> Iterable[Sample]:
    from interp.store.progress import ProgressBar

    return ProgressBar(samples, desc="reading boxes", unit="sample", disable=not progress)
