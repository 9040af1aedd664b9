"""How a benchmark reads an answer with this project's own readers, the same that rewards use."""

import re

from vlmtune.rewards import grade
from vlmtune.types import Kind, Score

YES, NO = "yes", "no"
_PAIR = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)


def answer_content(completion: str) -> str:
    """Take what stands inside the answer tags.

    Args:
        completion: What the model wrote.

    Returns:
        The content of the one <answer> pair, or of several equal ones; "" when they differ; the
        whole completion when there is none.
    """
    found = {content.strip() for content in _PAIR.findall(completion)}
    if not found:
        return completion
    return found.pop() if len(found) == 1 else ""


def yes_or_no(question: str, completion: str) -> str:
    """Read a completion as "yes", "no" or ""."""
    for word in (YES, NO):
        score = grade(kind=Kind.YES_NO, question=question, answer=word, completion=completion)
        if score.parts["accuracy"] == 1.0:
            return word
    return ""


def choice(question: str, *, answer: str, choices: tuple[str, ...], completion: str) -> Score:
    """Grade a completion against the lettered gold answer."""
    return grade(
        kind=Kind.CHOICE, question=question, answer=answer, completion=completion, choices=choices
    )
