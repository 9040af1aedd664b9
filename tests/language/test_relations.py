"""Relations: the groups, their inverses, and all the names of VSR."""

import itertools

import pytest

from vlmtune.language import ontology
from vlmtune.language.arguments import Arguments, arguments_of
from vlmtune.language.found import agree
from vlmtune.language.relations import read_relation

# The 66 relation names that occur in VSR's files, the four that only its category table has, and
# "congruent", which only its files have.
VSR = (
    "adjacent to", "alongside", "at the side of", "at the right side of", "at the left side of",
    "attached to", "at the back of", "ahead of", "against", "at the edge of", "off", "past",
    "toward", "down", "deep down", "up", "away from", "along", "around", "from", "into", "to",
    "across", "across from", "through", "down from", "facing", "facing away from", "parallel to",
    "perpendicular to", "on top of", "beneath", "beside", "behind", "left of", "right of", "under",
    "in front of", "below", "above", "over", "in the middle of", "by", "close to", "near",
    "far from", "far away from", "connected to", "detached from", "has as a part", "part of",
    "contains", "within", "at", "on", "in", "with", "surrounding", "among", "consists of",
    "out of", "between", "inside", "outside", "touching", "beyond", "next to", "opposite to",
    "after", "enclosed by", "congruent",
)  # fmt: skip
SAME = (
    {"adjacent to", "alongside", "at the side of", "beside", "next to"},
    {"at the right side of", "right of"},
    {"at the left side of", "left of"},
    {"on top of", "on"},
    {"beneath", "under", "below"},
    {"above", "over"},
    {"close to", "near"},
    {"far from", "far away from"},
    {"within", "in", "inside"},
)
CV_BENCH = (
    "Considering the relative positions of the lamp and the bed in the image provided, where is "
    "the lamp located with respect to the bed?"
)
PAIR = Arguments(subject=("cat",), object=("dog",))


def read(text: str, arguments: Arguments = PAIR):
    return read_relation(text, arguments)


@pytest.mark.parametrize("name", VSR)
def test_every_relation_of_vsr_is_read_alone_and_in_its_caption(name) -> None:
    verb = "" if name in {"contains", "consists of", "has as a part"} else "is "
    alone, caption = read(name), read(f"The cat {verb}{name} the dog.")
    assert len(alone.claims) == 1
    assert agree(alone, caption), caption.problem


def test_only_names_of_one_group_mean_the_same() -> None:
    for first, second in itertools.combinations(VSR, 2):
        expected = any({first, second} <= group for group in SAME)
        assert agree(read(first), read(second)) == expected, (first, second)


def test_no_relation_is_found_inside_a_longer_one_or_inside_a_word() -> None:
    for text in ("person", "cleft", "brighton", "finger", "undertaker", "batch", "rupture"):
        assert not read(text).readable
    assert read("facing away from").value == "facing away from"
    assert read("in front of").value == "in front of"
    assert read("enclosed by").value == "enclosed by"


@pytest.mark.parametrize("name", sorted(ontology.INVERSE))
def test_an_inverse_is_mutual(name) -> None:
    for other in ontology.INVERSE[name]:
        assert name in ontology.INVERSE[other] or name == "consists of"


@pytest.mark.parametrize(
    ("one", "other"),
    [("left of", "right of"), ("above", "below"), ("in front of", "behind"), ("on", "under"),
     ("inside", "contains"), ("part of", "has as a part"), ("next to", "next to"),
     ("touching", "touching"), ("near", "near"), ("far from", "far from"),
     ("parallel to", "parallel to"), ("perpendicular to", "perpendicular to")],
)  # fmt: skip
def test_swapping_the_things_takes_the_inverse(one, other) -> None:
    verb = "" if other in {"contains", "has as a part"} else "is "
    assert agree(read(one), read(f"The dog {verb}{other} the cat"))


@pytest.mark.parametrize("name", ["facing", "facing away from", "outside", "against", "across"])
def test_a_relation_without_inverse_says_nothing_when_swapped(name) -> None:
    assert not read(f"The dog is {name} the cat").readable


@pytest.mark.parametrize(
    ("question", "subject", "other"),
    [
        ("Where is the cat relative to the dog?", "cat", "dog"),
        ("Relative to the dog, where is the cat?", "cat", "dog"),
        ("What is the position of the red ring with respect to the yellow star?", "red ring",
         "yellow star"),
        ("What is the spatial relationship between the cup and the laptop?", "cup", "laptop"),
        ("Is the red cube left or right of the blue ball?", "red cube", "blue ball"),
        (CV_BENCH, "lamp", "bed"),
        ("Where is the person in the red beanie relative to the pallet truck loaded with boxes?",
         "person in the red beanie", "pallet truck loaded with boxes"),
        ("Which side of the dog is the cat on?", "cat", "dog"),
        ("Where is the cat?", "cat", ""),
        ("Con mèo ở đâu so với con chó?", "mèo", "chó"),
        ("So với con chó, con mèo nằm ở phía nào?", "mèo", "chó"),
        ("Con mèo nằm ở phía nào của con chó?", "mèo", "chó"),
        ("Vị trí của cái cốc so với cái bàn là gì?", "cốc", "bàn"),
        ("Mối quan hệ không gian giữa cái cốc và cái bàn là gì?", "cốc", "bàn"),
    ],
)  # fmt: skip
def test_the_two_things_are_taken_from_the_question_in_its_order(question, subject, other) -> None:
    found = arguments_of(question)
    assert (" ".join(found.subject), " ".join(found.object)) == (subject, other)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The cat is to the left of the dog", "left of"),
        ("The dog is to the left of the cat", "right of"),
        ("To the left of the cat is the dog", "right of"),
        ("The cat is on the dog's left", "left of"),
        ("The dog is on the cat's left", "right of"),
        ("The kitten is left of the puppy", "left of"),
        ("Con chó ở bên trái con mèo", "right of"),
        ("The cat is on the left and the dog is on the right", "left of"),
        ("The bird is to the left of the dog", None),
        ("left of the bird", None),
        ("The cat is left of the cat", None),
        ("The cat left the dog", None),
    ],
)  # fmt: skip
def test_who_stands_where_decides(answer, expected) -> None:
    assert read(answer).value == expected
