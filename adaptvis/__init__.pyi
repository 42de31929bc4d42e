from adaptvis.answer import Answer as Answer
from adaptvis.answer import answer as answer
from adaptvis.evaluate import evaluate as evaluate
from adaptvis.policies import AdaptVis as AdaptVis
from adaptvis.policies import Baseline as Baseline
from adaptvis.policies import ScalingVis as ScalingVis
