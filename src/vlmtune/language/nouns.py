"""Which thing a count is of: 'four cats' is no answer to 'how many dogs'.

Only nouns of the list below are told apart; an unknown noun is taken for the asked one, because
people call a dog a puppy. A kind of thing answers for its parts: dogs may be counted as animals.
"""

import re
from collections.abc import Sequence
from types import MappingProxyType

from vlmtune.language.normalise import fold, word_set, words_of

# One thing a line: English singulars, '|', Vietnamese without classifier. First word is its name.
_THINGS = """
dog puppy doggy hound|chó|cún
cat kitten kitty|mèo
bird pigeon sparrow parrot|chim
duck|vịt
chicken hen rooster|gà
horse pony|ngựa
sheep lamb|cừu
goat|dê
cow bull ox calf cattle|bò
buffalo|trâu
pig hog|lợn|heo
elephant|voi
bear|gấu
zebra|ngựa vằn
giraffe|hươu cao cổ
monkey|khỉ
fish|cá
rabbit bunny|thỏ
mouse rat|chuột
man gentleman guy|đàn ông
woman lady|phụ nữ|đàn bà
boy|bé trai
girl|bé gái
child kid baby toddler children|trẻ em|đứa trẻ|em bé
person people human individual pedestrian worker player rider driver surfer skier|người
car automobile sedan|xe hơi|ô tô|xe ô tô
bus|xe buýt
truck lorry|xe tải
train|tàu hỏa|tàu hoả|xe lửa
bicycle bike|xe đạp
motorcycle motorbike|xe máy|xe mô tô
boat ship|thuyền|tàu thủy
airplane plane aeroplane jet|máy bay
table desk|bàn
chair stool|ghế
couch sofa|ghế sofa|ghế dài
bed|giường
bench|băng ghế|ghế đá
cup mug|cốc|tách|ly
bottle|chai
glass wineglass|ly rượu
bowl|bát|tô
plate dish|đĩa
fork|nĩa|dĩa
knife|dao
spoon|muỗng|thìa
apple|táo
banana|chuối
orange|cam
pizza|bánh pizza
cake|bánh ngọt|bánh kem
sandwich|bánh mì
donut doughnut|bánh vòng
carrot|cà rốt
book|sách
clock watch|đồng hồ
vase|bình hoa|lọ hoa
laptop notebook|máy tính xách tay
keyboard|bàn phím
monitor screen|màn hình
television tv|tivi|ti vi
phone cellphone smartphone|điện thoại
umbrella|ô dù|cái dù
backpack rucksack|ba lô
handbag purse|túi xách
suitcase|va li|vali
ball|bóng|quả bóng
kite|diều
frisbee|đĩa bay
skateboard|ván trượt
surfboard|ván lướt sóng
tree|cây
flower|hoa
door|cửa
window|cửa sổ
lamp|đèn
pillow|gối
hat cap|mũ|nón
box carton crate|hộp|thùng
cube|khối lập phương|hình lập phương
sphere|hình cầu|khối cầu
cylinder|hình trụ|khối trụ
cone|hình nón|khối nón
circle|hình tròn
square|hình vuông
triangle|hình tam giác
rectangle|hình chữ nhật
star|ngôi sao|hình ngôi sao
ring|nhẫn|chiếc nhẫn
house building|nhà|tòa nhà
toilet|bồn cầu
sink|bồn rửa
oven stove|lò nướng
microwave|lò vi sóng
refrigerator fridge|tủ lạnh
"""
_KINDS = MappingProxyType(
    {
        "animal": ("animal creature pet|con vật|động vật|thú", "dog bird"),
        "person": ("", "man woman boy girl child"),
        "adult": ("adult grownup|người lớn", "man woman"),
        "child": ("", "boy girl"),
        "vehicle": ("vehicle|phương tiện|xe cộ|xe", "car bus truck train bicycle motorcycle boat"),
        "furniture": ("furniture|đồ nội thất", "table chair couch bed bench"),
        "fruit": ("fruit|trái cây|hoa quả", "apple banana orange"),
        "chair": ("", "couch bench"),
    }
)
_ANIMALS = (
    "dog cat bird duck chicken horse sheep goat cow buffalo pig elephant bear zebra giraffe monkey "
    "fish rabbit mouse"
)
_COMPOUNDS = (
    "hot dog", "teddy bear", "wine glass", "cell phone", "mobile phone", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "baseball bat", "tennis racket", "hair drier",
    "coffee table", "dining table", "potted plant", "remote control", "computer mouse",
    "fire truck",
    "bus stop", "train station", "car wheel", "bird house", "horse cart", "dog house", "cat food",
)  # fmt: skip
COLOURS = MappingProxyType(
    {
        "red": "red", "blue": "blue", "green": "green", "yellow": "yellow", "orange": "orange",
        "purple": "purple", "pink": "pink", "brown": "brown", "black": "black", "white": "white",
        "silver": "silver",
        "gray": "gray", "grey": "gray", "violet": "purple", "cyan": "cyan", "golden": "gold",
        "gold": "gold", "đỏ": "red", "vàng": "yellow", "đen": "black", "trắng": "white",
        "xám": "gray", "nâu": "brown", "hồng": "pink", "tím": "purple",
    }
)  # fmt: skip
"""Colour words to one name each; Vietnamese xanh is both blue and green and therefore absent."""

_ASKED = re.compile(
    r"\b(?:how many|(?:the )?(?:total )?(?:number|count|amount|quantity) of|count (?:all )?(?:of )?"
    r"(?:the )?)\s+(?P<english>.{1,80})"
    r"|\b(?:bao nhiêu|mấy|số lượng|đếm(?: số)?)\s+(?P<vietnamese>.{1,80})"
)
PHRASE_ENDS = word_set(
    "are is was were do does did can could have has in on at of near with that who which there "
    "under behind above below next to inside visible appear shown seen present you between by "
    "from around total exist be ở trong trên dưới có đang được xuất nằm tại bên gần vậy thế này "
    "trước sau và hay hoặc là so"
)
"""Words that no noun phrase goes across."""
_CLASSIFIERS = word_set(
    "con cái chiếc quả trái bức tấm cây người ngôi tòa toà cô vị đứa các những số lượng loại"
)


def _singular(word: str) -> str:
    irregular = {
        "people": "person", "men": "man", "women": "woman", "children": "child", "mice": "mouse",
        "geese": "goose", "knives": "knife", "oxen": "ox", "calves": "calf", "buses": "bus",
    }  # fmt: skip
    if word in irregular:
        return irregular[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ses", "xes", "ches", "shes", "zzes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 2 else word


def _build() -> dict[tuple[str, ...], str]:
    names: dict[tuple[str, ...], str] = {}
    rows = [*_THINGS.strip().splitlines(), *(words for words, _ in _KINDS.values() if words)]
    for row in rows:
        english, *vietnamese = row.split("|")
        name = english.split()[0]
        for word in english.split():
            names[(_singular(word),)] = name
        for phrase in vietnamese:
            if phrase:
                names[tuple(phrase.split())] = name
    return names | {tuple(phrase.split()): phrase for phrase in _COMPOUNDS}


_NAMES = MappingProxyType(_build())
_PARTS = MappingProxyType(
    {
        name: frozenset((_ANIMALS if name == "animal" else parts).split())
        for name, (_, parts) in _KINDS.items()
    }
)


def thing_at(words: Sequence[str], start: int) -> tuple[str, int] | None:
    """Find the longest known noun that starts at a word: (name, end), or None."""
    for length in (3, 2, 1):
        part = list(words[start : start + length])
        if len(part) < length:
            continue
        name = _NAMES.get(tuple(part)) or _NAMES.get((*part[:-1], _singular(part[-1])))
        if name is not None:
            return name, start + length
    return None


def last_thing(words: Sequence[str]) -> str | None:
    """Name the last known noun of a phrase, its head in English; None when none is known."""
    found, index = None, 0
    while index < len(words):
        match = thing_at(words, index)
        if match is None:
            index += 1
        else:
            found, index = match
    return found


def asked_words(question: str) -> list[str]:
    """Take the noun phrase out of 'How many red cubes are there?': red cubes."""
    match = _ASKED.search(fold(question[:2000]))
    if match is None:
        return []
    phrase: list[str] = []
    for word in words_of(match["english"] or match["vietnamese"]):
        if word in PHRASE_ENDS and not (word == "trái" and phrase):
            break
        phrase.append(word)
    return phrase


def is_other(phrase: Sequence[str], asked: Sequence[str]) -> bool:
    """Tell whether a counted noun phrase is plainly not the asked one.

    Args:
        phrase: The words behind the number in the answer.
        asked: `asked_words` of the question.
    """
    if not asked:
        return False
    colours = {COLOURS[word] for word in phrase if word in COLOURS}
    wanted = {COLOURS[word] for word in asked if word in COLOURS}
    if colours and wanted and not colours & wanted:
        return True
    head = _first_known(phrase) if set(phrase) & _CLASSIFIERS else last_thing(phrase)
    name, target = head, _first_known(asked) if set(asked) & _CLASSIFIERS else last_thing(asked)
    if name is None or target is None or name == target:
        return False
    return target not in _PARTS.get(name, ()) and name not in _PARTS.get(target, ())


def _first_known(words: Sequence[str]) -> str | None:
    return next((m[0] for i in range(len(words)) if (m := thing_at(words, i)) is not None), None)


def is_asked(words: Sequence[str], asked: Sequence[str]) -> bool:
    """Tell whether a phrase ends in the asked noun: for 'a dog' when dogs are asked."""
    if not asked or not words:
        return False
    if _singular(words[-1]) == _singular(asked[-1]):
        return True
    name = last_thing(words)
    return name is not None and name == last_thing(asked)
