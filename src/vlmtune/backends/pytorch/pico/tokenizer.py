"""pico's tokenizer: byte-level BPE over the words of scenes, with Qwen2.5-VL's special tokens.

Any text can be written with it, because every byte is a token; what scenes never say just takes
more of them. Digits stay single tokens, as in Qwen, so that a count or a cell is read digit by
digit.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from vlmtune.language.prompts import DIRECT, HINT, SPATIAL, SYSTEM, question_text, target_text
from vlmtune.scenes.dataset import KINDS, Scenes
from vlmtune.types import Kind

END_OF_TEXT = "<|endoftext|>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
SPECIAL = (
    END_OF_TEXT,
    TURN_START,
    TURN_END,
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
SPECIAL_ID: Mapping[str, int] = MappingProxyType({word: i for i, word in enumerate(SPECIAL)})

VOCABULARY = 704
"""Rows of the embedding: bytes, specials and about 430 merges."""

# Words, single digits, punctuation and white space apart, as byte-level tokenizers of this family.
SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

CHAT_TEMPLATE = """\
{%- if messages and messages[0]['role'] != 'system' -%}
<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif -%}
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% if message['content'] is string -%}
{{ message['content'] }}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' or 'image' in part or 'image_url' in part -%}
<|vision_start|><|image_pad|><|vision_end|>
{%- elif part['type'] == 'video' or 'video' in part -%}
<|vision_start|><|video_pad|><|vision_end|>
{%- elif 'text' in part -%}
{{ part['text'] }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""

PLAIN_ENGLISH = (
    "Is there a person to the left of the chair in this photo? Answer yes or no.",
    "How many people are there? There are three people and two dogs.",
    "Which object is closer to the camera taking this photo? The table is behind the cup.",
    "Describe the spatial relationships in this image. What is on top of the desk?",
    (
        "Select from the following choices. Answer with the option's letter from the given choices "
        "directly. Based on the image, is this statement true or false? Answer:"
    ),
    "You are a helpful assistant. system user assistant",
    "0 1 2 3 4 5 6 7 8 9 one two three four five six seven eight nine ten none true false",
)


def corpus(rows: int) -> Iterator[str]:
    """All wordings that pico will meet, from a split that neither trains nor tests."""
    # Repeated, so that each of its words becomes a token or two and prompts stay short.
    yield from (*PLAIN_ENGLISH, *SYSTEM.values(), *HINT.values()) * 40
    scenes = Scenes(split="tokenizer", kinds=(*KINDS, Kind.CAPTION))
    for index in range(rows):
        example = scenes[index]
        answer = str(example.answer)
        yield question_text(example)
        style = DIRECT if example.kind is Kind.CAPTION else SPATIAL
        yield target_text(style=style, answer=answer, rationale=example.rationale)


def train_tokenizer(*, rows: int = 4000) -> PreTrainedTokenizerFast:
    """Learn the merges.

    Args:
        rows: Scenes to read.

    Returns:
        A fast tokenizer with the chat template, special tokens at ids 0..13, left padding.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=2,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(rows), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        padding_side="left",
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
        additional_special_tokens=list(SPECIAL[1:]),
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
