"""Detectors of transformers: RT-DETR and its kin with fixed classes, Grounding DINO with any words."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.detect.common import (
    Asked,
    checked_device,
    checked_share,
    clipped,
    keep_words,
    one_line,
    places_by,
    versions,
)
from interp.errors import DetectorError, InputError
from interp.image.boxes import Boxes
from interp.image.photos import ImageSource, load_image
from interp.store.names import given_path
from interp.store.parsing import parse_json

if TYPE_CHECKING:
    from PIL import Image
    from transformers import PreTrainedModel

OPEN_FAMILIES = ("grounding-dino", "mm-grounding-dino")
"""Model types that take any words, whose prompt and scores this module knows."""

_NOT_DIGESTED = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")


class TransformersDetector:
    """Find objects with a detection model of transformers: safetensors only, and nothing is fetched unless allowed.

    RT-DETR and others of `AutoModelForObjectDetection` know the classes of their configuration. Grounding DINO takes
    any words: they form the prompt `mug. dining table.`, and a box belongs to the word that has the token which is
    most probable for it, with that probability as its confidence. So no box is lost to a phrase that names a part of a
    word or runs over two.

    Attributes:
        name: hub name or folder's name; goes into results.
        labels: the classes of the model, in its order; empty where it takes any words.
        confidence: boxes that are not above it are dropped.

    Example:
        >>> detector = TransformersDetector("PekingU/rtdetr_r18vd", download=True)  # doctest: +SKIP
        >>> detector.detect(photo, ["mug"]).labels  # doctest: +SKIP
        ['cup']
    """

    def __init__(
        self,
        model: str | Path | PreTrainedModel,
        processor: Any = None,
        *,
        confidence: float = 0.3,
        device: str | None = None,
        revision: str | None = None,
        download: bool = False,
    ) -> None:
        """Load a model, or take one that is loaded.

        Args:
            model: a folder, a name on the hub, or the model itself, in eval mode.
            processor: the processor of a model that is given; its image processor, or for Grounding DINO its whole
                processor.
            confidence: boxes must be surer, 0 to 1.
            device: torch device that a model goes to when it is loaded here; `cpu` by default.
            revision: the revision of the model on the hub.
            download: whether a model of the hub may be fetched; without, it must be in the cache.

        Raises:
            DetectorError: no such model, files that are broken or do not fit, no detection model, or no such device.
            InputError: `confidence` is not between 0 and 1, or what is for loading was given with a loaded model.
        """
        self.confidence = checked_share(confidence)
        if isinstance(model, (str, Path)):
            if processor is not None:
                raise InputError("a processor goes with a loaded model: for a name or folder, leave it out")
            where = checked_device(device or "cpu")
            self._model, self._processor = _load(str(model), revision, download)
            self._model.to(where)
            self.name = Path(model).name if given_path(model).is_dir() else str(model)
        else:
            if processor is None or (device, revision, download) != (None, None, False) or model.training:
                raise InputError(
                    "a loaded model goes with its processor, in eval mode and where it is: give processor=..., call "
                    "model.eval(), and leave device, revision and download out"
                )
            self._model, self._processor = model, processor
            self.name = model.name_or_path or type(model).__name__
        self._takes_words = _takes_words(self._model.config, self.name)
        self._names = {} if self._takes_words else dict(self._model.config.id2label)
        self.labels = tuple(dict.fromkeys(str(self._names[number]) for number in sorted(self._names)))

    def detect(self, image: ImageSource, words: Sequence[str] | None = None) -> Boxes:
        """Find objects in an image.

        Args:
            image: a photo, whatever `load_image` takes.
            words: what to look for, matched to `labels` where there are some; None for everything.

        Returns:
            Boxes in pixels of the photo as `load_image` reads it, the surest first, with labels out of `labels`, or
            else out of `words`.

        Raises:
            DetectorError: the model failed on this image, or there are more words than it can read.
            InputError: a photo that can not be read, or a model that takes any words was given none.
        """
        return self.detect_batch([image], [words])[0]

    def detect_batch(self, images: Sequence[ImageSource], words: Sequence[Asked] | None = None) -> list[Boxes]:
        """Find objects in several images: together with fixed classes, one by one with any words.

        Args:
            images: photos, as in `detect`. Those that the processor brings to one size go through the model together.
            words: what to look for in each photo; None for everything in all of them.

        Returns:
            Boxes for each image, as `detect` gives them.

        Raises:
            DetectorError: the model failed, or there are more words than it can read.
            InputError: a photo that can not be read, or a model that takes any words was given none.
        """
        asked = [None] * len(images) if words is None else list(words)
        photos = [load_image(image) for image in images]
        try:
            if self._takes_words:
                return [self._with_words(photo, sought) for photo, sought in zip(photos, asked, strict=True)]
            found = self._with_classes(photos)
        except (RuntimeError, ValueError, TypeError, KeyError, IndexError) as error:
            sizes = ", ".join(f"{width} x {height}" for width, height in dict.fromkeys(photo.size for photo in photos))
            raise DetectorError(
                f"detector {self.name} failed on images of {sizes} pixels ({one_line(error)}): check "
                "model and processor"
            ) from error
        return [keep_words(boxes, sought, self.labels) for boxes, sought in zip(found, asked, strict=True)]

    @cached_property
    def _digest(self) -> str:
        """Of the weights, the configuration and the processor, wherever they lie."""
        config = {key: value for key, value in self._model.config.to_dict().items() if key not in _NOT_DIGESTED}
        digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
        digest.update(getattr(self._processor, "image_processor", self._processor).to_json_string().encode())
        if self._takes_words:
            tokens = parse_json(self._processor.tokenizer.backend_tokenizer.to_str())
            tokens.update(padding=None, truncation=None)  # which a call changes
            digest.update(json.dumps(tokens, sort_keys=True).encode())
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(_bytes(tensor))
        return digest.hexdigest()

    @property
    def settings(self) -> dict[str, Any]:
        """What the boxes depend on besides the photo: digest of weights and processor, confidence, versions."""
        return {"weights": self._digest, "confidence": self.confidence, **versions("transformers", "torch")}

    def _with_classes(self, photos: Sequence[Image.Image]) -> list[Boxes]:
        import torch

        inputs = [dict(self._processor(images=photo, return_tensors="pt")) for photo in photos]
        found: dict[int, Boxes] = {}
        for places in places_by(tuple(one["pixel_values"].shape) for one in inputs):
            batch = {name: torch.cat([inputs[place][name] for place in places]) for name in inputs[places[0]]}
            outputs = self._run(batch)
            results = self._processor.post_process_object_detection(
                outputs,
                threshold=self.confidence,
                target_sizes=torch.tensor([photos[place].size[::-1] for place in places]),
            )
            for place, result in zip(places, results, strict=True):
                labels = [str(self._names[int(number)]) for number in result["labels"]]
                found[place] = self._as_boxes(result["boxes"], result["scores"], labels, photos[place])
        return [found[place] for place in range(len(photos))]

    def _with_words(self, photo: Image.Image, words: Asked) -> Boxes:
        import torch

        if words is None:
            raise InputError(f"detector {self.name} looks for words and was given none: name what it should find")
        if not words:
            return Boxes(source=self.name)
        asked: dict[str, str] = {}
        for word in words:
            asked.setdefault(_in_prompt(word), word)
        prompt = " ".join(f"{text}." for text in asked)
        inputs = dict(self._processor(images=photo, text=prompt, return_tensors="pt"))
        ids = inputs["input_ids"][0].tolist()
        spans, most = self._spans(ids), self._model.config.max_text_len
        if len(spans) != len(asked) or len(ids) > most:
            raise DetectorError(
                f"detector {self.name} reads {len(spans)} of the {len(asked)} words {', '.join(words)[:80]} as "
                f"{len(ids)} tokens, of which it takes {most}: ask for fewer words, or for plainer ones"
            )
        outputs = self._run(inputs)
        shares = outputs.logits[0].float().cpu().sigmoid()
        every = self._processor.post_process_grounded_object_detection(
            outputs, inputs["input_ids"], threshold=-1.0, text_threshold=1.0, target_sizes=[photo.size[::-1]]
        )[0]["boxes"]
        sure, best = torch.stack([shares[:, span].amax(dim=-1) for span in spans], dim=-1).max(dim=-1)
        kept = torch.nonzero(sure > self.confidence)[:, 0]
        names = list(asked.values())
        return self._as_boxes(every.cpu()[kept], sure[kept], [names[place] for place in best[kept].tolist()], photo)

    def _spans(self, ids: Sequence[int]) -> list[list[int]]:
        """The positions of each phrase's tokens: what stands between the full stops of the prompt."""
        tokenizer = self._processor.tokenizer
        stops = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id}
        stops.add(tokenizer.convert_tokens_to_ids("."))
        spans: list[list[int]] = [[]]
        for position, number in enumerate(ids):
            if number in stops:
                spans.append([])
            else:
                spans[-1].append(position)
        return [span for span in spans if span]

    def _run(self, inputs: dict[str, Any]) -> Any:
        import torch

        where, dtype = self._model.device, self._model.dtype
        placed = {
            name: value.to(where, dtype) if value.is_floating_point() else value.to(where)
            for name, value in inputs.items()
        }
        with torch.no_grad():
            outputs = self._model(**placed)
        if outputs.logits.isnan().any() or not outputs.pred_boxes.isfinite().all():
            raise DetectorError(f"detector {self.name} gives what is no number, in {dtype}: load it in float32")
        return outputs

    def _as_boxes(self, corners: Any, confidences: Any, labels: Sequence[str], photo: Image.Image) -> Boxes:
        xyxy, sure = corners.float().cpu().numpy(), confidences.float().cpu().numpy()
        return Boxes(clipped(xyxy, sure, labels, photo.size), source=self.name)


def _load(name: str, revision: str | None, download: bool) -> tuple[Any, Any]:
    """Model and processor of a folder or hub name, in float32, ready to run."""
    import torch
    from transformers import (
        AutoConfig,
        AutoImageProcessor,
        AutoModelForObjectDetection,
        AutoModelForZeroShotObjectDetection,
        AutoProcessor,
    )

    from interp.store.checkpoint import own_code, refuse_foreign_shards, split_options, unasked

    folder = given_path(name)
    place = str(folder) if folder.is_dir() else name
    options, _ = split_options({"revision": revision, "local_files_only": not download or folder.is_dir()})
    try:
        with unasked():
            config = AutoConfig.from_pretrained(place, **options)
    except Exception as error:
        raise DetectorError(own_code(name, error, helps=False) or _why_not(name, folder, download, error)) from error
    takes_words = _takes_words(config, name)
    kind = AutoModelForZeroShotObjectDetection if takes_words else AutoModelForObjectDetection
    try:
        with unasked():
            refuse_foreign_shards(place, config, options)
            model, report = kind.from_pretrained(
                place,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that the report names them; they are refused below
                **options,
            )
            processor = (AutoProcessor if takes_words else AutoImageProcessor).from_pretrained(place, **options)
    except Exception as error:
        raise DetectorError(
            own_code(name, error, helps=False)
            or f"detector {name!r} can not be loaded ({one_line(error)}): give whole files, weights as safetensors"
        ) from error
    unfit = sorted(map(str, (*report["missing_keys"], *report["mismatched_keys"])))
    if unfit:
        raise DetectorError(
            f"the weights of detector {name!r} do not fit its configuration ({len(unfit)} tensors, such as "
            f"{unfit[0]}): the files are not complete, or belong to another model"
        )
    return model.eval().requires_grad_(False), processor


def _why_not(name: str, folder: Path, download: bool, error: Exception) -> str:
    if folder.is_dir():
        return f"folder {name!r} holds no model of transformers ({one_line(error)}): give one with a config.json"
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        return f"there is no detector {name!r}: give a folder, or a name on the hub such as PekingU/rtdetr_r18vd"
    if not download and isinstance(error, OSError):
        return f"{name} is not on this machine: allow the download (--download, or download=True), or give a folder"
    return f"{name} can not be had from the hub ({one_line(error)}): check name and network, or give a folder"


def _takes_words(config: Any, name: str) -> bool:
    """Whether a model takes any words; refuses one that is no detector, or of a family whose prompt is not known."""
    from transformers import AutoModelForObjectDetection, AutoModelForZeroShotObjectDetection

    if config.model_type in OPEN_FAMILIES:
        return True
    if type(config) in AutoModelForZeroShotObjectDetection._model_mapping:
        raise DetectorError(
            f"{name!r} is a {config.model_type} model; of those that take any words, give Grounding DINO"
        )
    if type(config) not in AutoModelForObjectDetection._model_mapping:
        raise DetectorError(
            f"{name!r} holds a {config.model_type!r} model, which is no detector: give RT-DETR or the like"
        )
    return False


def _in_prompt(word: str) -> str:
    """A word as it stands in a prompt: in small letters, without the signs that end a phrase."""
    text = " ".join(re.sub(r"[.?]", " ", word).split()).lower()
    if not text:
        raise InputError(f"{word!r} is no word to look for: name an object")
    return text


def _bytes(tensor: Any) -> bytes:
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
