"""Which words mean the same object, which are kinds of another, and how a noun loses its plural."""

from __future__ import annotations

from functools import cache

# name -> other names of the same thing
SAME: dict[str, tuple[str, ...]] = {
    "person": ("human", "human being", "somebody", "someone", "anybody", "anyone", "everybody", "everyone"),
    "bicycle": ("bike", "cycle", "pushbike"),
    "car": ("automobile",),
    "motorcycle": ("motorbike", "motor bike"),
    "airplane": ("plane", "aeroplane", "aircraft", "jet"),
    "train": ("locomotive",),
    "truck": ("lorry",),
    "boat": ("ship", "vessel"),
    "traffic light": ("traffic signal", "stoplight", "stop light"),
    "fire hydrant": ("hydrant",),
    "bench": ("park bench",),
    "cat": ("kitty",),
    "dog": ("doggy",),
    "sheep": ("lamb",),
    "cow": ("cattle",),
    "backpack": ("rucksack", "knapsack"),
    "umbrella": ("parasol", "brolly"),
    "handbag": ("purse",),
    "tie": ("necktie",),
    "suitcase": ("luggage", "valise"),
    "frisbee": ("flying disc", "flying disk"),
    "skis": ("ski",),
    "sports ball": ("ball",),
    "baseball bat": ("bat",),
    "baseball glove": ("mitt", "baseball mitt"),
    "surfboard": ("surf board",),
    "tennis racket": ("tennis racquet", "racket", "racquet"),
    "wine glass": ("glass", "wineglass", "goblet"),
    "knife": ("blade",),
    "donut": ("doughnut",),
    "couch": ("sofa", "settee", "loveseat"),
    "potted plant": ("plant", "pot plant", "pottedplant", "houseplant", "flowerpot"),
    "dining table": ("table", "diningtable"),
    "tv": ("television", "tv monitor", "tvmonitor", "telly", "monitor", "tv set"),
    "laptop": ("notebook computer", "laptop computer"),
    "mouse": ("computer mouse",),
    "remote": ("remote control", "controller"),
    "keyboard": ("computer keyboard",),
    "cell phone": ("phone", "mobile phone", "cellphone", "smartphone", "mobile", "telephone", "iphone"),
    "microwave": ("microwave oven",),
    "oven": ("stove", "cooker"),
    "refrigerator": ("fridge", "icebox"),
    "scissors": ("pair of scissors",),
    "teddy bear": ("teddy", "stuffed bear"),
    "hair drier": ("hair dryer", "hairdryer", "blow dryer"),
    "cross": ("plus", "plus sign"),
    "circle": ("disc", "disk", "dot"),
}

# name -> names of particular kinds of it; two kinds of one thing do not stand for each other
KINDS: dict[str, tuple[str, ...]] = {
    "person": (
        *("man", "woman", "boy", "girl", "child", "kid", "baby", "toddler", "adult", "lady", "gentleman", "guy"),
        *("teenager", "player", "rider", "skier", "snowboarder", "surfer", "skateboarder", "batter", "pitcher"),
        *("catcher", "umpire", "driver", "pedestrian", "cyclist", "biker", "motorcyclist", "chef", "waiter"),
        *("waitress", "worker", "policeman", "officer", "farmer", "fisherman", "student", "bride", "groom"),
        *("policewoman", "police officer", "fireman", "firefighter", "soldier", "cowboy", "goalie", "goalkeeper"),
        *("referee", "dancer", "doctor", "nurse", "teacher", "photographer", "passenger", "spectator", "swimmer"),
        *("jockey", "musician", "sailor", "pilot", "racer", "clown", "lifeguard", "priest"),
    ),
    "car": ("taxi", "cab", "suv", "jeep", "sedan", "minivan"),
    "motorcycle": ("scooter", "moped"),
    "airplane": ("airliner", "biplane", "jetliner"),
    "bus": ("coach", "minibus"),
    "truck": ("pickup", "pickup truck", "van", "fire engine", "fire truck"),
    "boat": ("canoe", "kayak", "sailboat", "rowboat", "ferry", "yacht", "gondola"),
    "bird": (
        *("seagull", "gull", "pigeon", "parrot", "duck", "goose", "chicken", "owl", "crow", "swan", "eagle"),
        *("hen", "rooster", "turkey", "penguin", "ostrich", "flamingo", "peacock", "stork", "hawk", "hummingbird"),
    ),
    "cat": ("kitten",),
    "dog": ("puppy", "poodle", "retriever", "terrier"),
    "horse": ("pony", "foal"),
    "cow": ("bull", "ox", "calf"),
    "handbag": ("bag",),
    "suitcase": ("briefcase",),
    "sports ball": ("football", "basketball", "soccer ball", "tennis ball", "baseball", "volleyball", "rugby ball"),
    "cup": ("mug", "teacup", "coffee cup", "tumbler", "beaker"),
    "bottle": ("beer bottle", "wine bottle", "water bottle"),
    "chair": ("armchair", "stool", "wheelchair", "office chair", "recliner"),
    "couch": ("armchair",),
    "dining table": ("desk", "coffee table", "countertop", "side table"),
    "cake": ("cupcake", "birthday cake", "cheesecake"),
    "bed": ("bunk bed", "cot", "crib"),
    "book": ("notebook", "magazine"),
    "clock": ("alarm clock", "wall clock"),
}

_IRREGULAR = {
    **{"people": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot", "teeth": "tooth"},
    **{"mice": "mouse", "geese": "goose", "oxen": "ox", "calves": "calf", "knives": "knife", "wolves": "wolf"},
    **{"loaves": "loaf", "leaves": "leaf", "shelves": "shelf", "scarves": "scarf", "halves": "half", "hooves": "hoof"},
    **{"buses": "bus", "busses": "bus", "gases": "gas", "lenses": "lens", "lens": "lens", "skis": "skis"},
    **{"scissors": "scissors", "ties": "tie", "pies": "pie", "cookies": "cookie", "brownies": "brownie"},
    **{"hoodies": "hoodie"},
    **{"shoes": "shoe", "canoes": "canoe", "toes": "toe", "crosses": "cross", "series": "series"},
}
_PLURAL_ONLY = frozenset(
    "binoculars bleachers blinds clothes eyeglasses fireworks goggles headphones jeans overalls pajamas pants "
    "rhinoceros shorts slacks sunglasses thermos tights tongs trousers".split()
)
"""Nouns that end with an s and are not those of several."""

_NO_MEN = ("abdomen", "specimen")


def singular(noun: str) -> str:
    """Take the plural off an English noun, or off the last word of a compound.

    Example:
        >>> singular("wine glasses"), singular("people"), singular("bus")
        ('wine glass', 'person', 'bus')
    """
    *before, last = noun.split(" ")
    return " ".join([*before, _singular_word(last)])


def _singular_word(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _PLURAL_ONLY:
        return word
    if word.endswith("men") and len(word) > 4 and word not in _NO_MEN:
        return word[:-3] + "man"
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "zzes", "oes")):
        return word[:-2]
    if word.endswith(("ss", "us", "is")) or not word.endswith("s") or len(word) < 4:
        return word
    return word[:-1]


@cache
def meanings(name: str) -> frozenset[str]:
    """Give the entries of the table that a (singular) name stands for exactly, itself among them.

    Example:
        >>> sorted(meanings("sofa"))
        ['couch', 'sofa']
    """
    return frozenset({name, *(entry for entry, others in SAME.items() if name in others)})


@cache
def broader(name: str) -> frozenset[str]:
    """Give the entries of which a (singular) name is a kind.

    Example:
        >>> sorted(broader("mug")), sorted(broader("armchair"))
        (['cup'], ['chair', 'couch'])
    """
    names = meanings(name)
    return frozenset(entry for entry, kinds in KINDS.items() if names & set(kinds))


def known_names() -> frozenset[str]:
    """Give every name in the table."""
    tables = (*SAME.items(), *KINDS.items())
    return frozenset(name for entry, others in tables for name in (entry, *others))
