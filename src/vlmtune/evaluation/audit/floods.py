"""Answers of 100 kB: they must earn nothing, and must not stop the reward that reads them."""

from vlmtune.evaluation.audit.attack import Attack, Expect, Make, always, answered, fixed
from vlmtune.evaluation.audit.cases import Case

SIZE = 100_000
"""Characters."""
ROWS = 12
"""Rows that each flood is tried on: what it does, it does everywhere."""


def floods() -> list[Attack]:
    """List the attacks by sheer length."""
    wrong: dict[str, Make] = {
        "all answers": answered(lambda case: _filled(", ".join(case.everything) + ", ")),
        "wrong answer": answered(lambda case: _filled(case.wrong + " ")),
        "digits": answered(always("7" * SIZE)),
        "open tags": fixed(_filled("<answer>")),
        "pairs of tags": fixed(_filled("<think></think><answer></answer>")),
        "brackets": fixed("(" * SIZE),
        "boxes": fixed(_filled("\\boxed{")),
        "blank lines": fixed("\n" * SIZE),
        "one word": answered(always("a" * SIZE)),
        "combining marks": answered(always("e" + "\u0301" * SIZE)),
    }
    return [
        *(_flood(name, make, expects=Expect.WRONG) for name, make in wrong.items()),
        _flood("right answer", answered(lambda case: _filled(case.gold + " ")),
               expects=Expect.DOUBT),
        _flood("right after noise", _after_noise, expects=Expect.FORM),
    ]  # fmt: skip


def _flood(name: str, make: Make, *, expects: Expect) -> Attack:
    return Attack(name=name, family="100 kB", expects=expects, make=make, most_rows=ROWS)


def _filled(piece: str) -> str:
    return (piece * (SIZE // len(piece) + 1))[:SIZE]


def _after_noise(case: Case, form: object) -> str:
    noise = _filled("the quick brown thing went on and on ")
    return f"<think>{noise}</think>{noise}<answer>{case.gold}</answer>"
