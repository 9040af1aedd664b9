r"""multimodal-open-r1-8k-verified: 7,690 mathematical questions with thinking in the answers.

{"image": <PNG>, "problem": "Find x.", "solution": "<think>...</think>\n\n<answer>3</answer>",
 "original_question": "Find x. Choices: ...", "original_answer": "The answer is 3."}
"""

from vlmtune.data import published
from vlmtune.data.published import HubSource, Published

SOURCES = {
    "open_r1_8k": HubSource(
        repo="lmms-lab/multimodal-open-r1-8k-verified",
        columns=("image", "problem", "solution"),
        pictured=False,
        licence="see its card",
    )
}
OPTIONS = published.OPTIONS

load = Published(name="open_r1_8k", source=SOURCES["open_r1_8k"]).load
