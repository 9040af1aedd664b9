"""Do both engines compute the same? Each computes one assignment, in a process of its own.

    assignment.py    what is asked: rows of every layout, answers, losses, updates
    side.py          one engine's findings, written to a file
    lines.py         the findings of two engines, compared: what, how many, bound, measured
    page.py          docs/parity.md and its picture
    runs.py          two runs of one config, from what they left behind

An engine's part is `backends/<engine>/parity.py`; nothing here knows an engine. The two files of
findings may come from two machines.
"""
