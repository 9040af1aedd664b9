"""The reward bench: can a reward be gamed?

Any reward, ours or the user's own, is asked about a battery of answers whose worth is known by
construction: answers that say nothing, copy, list everything, deny, doubt, flatter or flood, and
right answers in other words. What it pays for them is compared, row by row, with what it pays for
the plain right and the plain wrong answer.
"""

from vlmtune.evaluation.audit.run import Audit, audit
from vlmtune.evaluation.audit.subject import Subject, configured_reward, open_reward

__all__ = ["Audit", "Subject", "audit", "configured_reward", "open_reward"]
