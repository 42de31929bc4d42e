"""A question that rightly says that something is not there is told from one about how things lie."""

import pytest

from interp.image.boxes import Box
from interp.objects.absence import is_absent, says_absent
from interp.objects.sample import Object, Sample


@pytest.mark.parametrize(
    ("question", "answer", "absent"),
    [
        ("Is there a snowboard in the image?", "no", True),
        ("Is there a snowboard in the image?", "yes", False),
        ("Is there a snowboard in the image? Answer with yes or no.", "No", True),
        ("Are there any people?", "No, there are none.", True),
        ("Isn’t there a dog?", "no", True),
        ("Do you see a cat in this picture?", "no", True),
        ("Does the image contain a bus?", "no", True),
        ("Is a dog visible?", "no", True),
        ("Is a dog visible in the photo?", "no", True),
        ("Is the dog in the picture?", "no", True),
        ("There is a dog in the photo. True or false?", "false", True),
        ("Are there no people in the photo?", "yes", True),
        ("Are there no people in the photo?", "no", False),
        ("How many zebras are there?", "0", True),
        ("How many zebras are there?", "none", True),
        ("How many zebras are there?", "2", False),
        # its "no" leaves open whether one is there
        ("Are there two dogs?", "no", False),
        ("Is there another dog?", "no", False),
        ("Are there more dogs than cats?", "no", False),
        # about how things lie or what they do
        ("Is the cat left of the dog?", "no", False),
        ("Is the man in the picture smiling?", "no", False),
        ("Is the dog sitting on the sofa in the picture?", "no", False),
        ("Is the banana part of the sandwich?", "no", False),
        ("Determine whether the description is correct. Answer with yes or no: The cat is under it.", "no", False),
    ],
)
def test_what_says_that_something_is_not_there(question, answer, absent):
    assert says_absent(question, answer) is absent


def test_what_has_a_box_of_its_own_is_there():
    sample = Sample("a", "photo.jpg", "Is there a dog?", ("yes", "no"), "no", (Object("dog"),))
    assert is_absent(sample)
    box = Box("dog", (0, 0, 5, 5))
    assert not is_absent(Sample("a", "photo.jpg", "Is there a dog?", ("yes", "no"), "no", (Object("dog", box),)))
