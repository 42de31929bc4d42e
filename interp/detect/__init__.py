"""Where the objects of a question are: detectors, boxes by hand, and the matching of words to labels."""

from interp.detect.batching import detect_many, find_many
from interp.detect.huggingface import TransformersDetector
from interp.detect.loading import load_detector
from interp.detect.onnx.detector import OnnxDetector
from interp.detect.yolo.detector import YoloDetector
from interp.objects.detector import Detector
from interp.objects.given import GivenBoxes, GroundTruth, read_yolo_labels
from interp.objects.label_files import read_coco_boxes, read_yolo_folder
from interp.objects.nouns import COCO_NAMES
from interp.objects.words import Found, Match, find_objects, match_words, objects_asked

__all__ = [
    "COCO_NAMES",
    "Detector",
    "Found",
    "GivenBoxes",
    "GroundTruth",
    "Match",
    "OnnxDetector",
    "TransformersDetector",
    "YoloDetector",
    "detect_many",
    "find_many",
    "find_objects",
    "load_detector",
    "match_words",
    "objects_asked",
    "read_coco_boxes",
    "read_yolo_folder",
    "read_yolo_labels",
]
