"""The whole battery."""

from vlmtune.errors import ConfigError
from vlmtune.evaluation.audit.attack import Attack
from vlmtune.evaluation.audit.floods import floods
from vlmtune.evaluation.audit.hollow_explanations import hollow_explanations
from vlmtune.evaluation.audit.right_answers import right_answers
from vlmtune.evaluation.audit.wrong_answers import wrong_answers


def battery() -> tuple[Attack, ...]:
    """List every attack, in the order in which tables show them.

    Raises:
        ConfigError: Never for the battery as it is; a name that two attacks share is told.
    """
    attacks = (*wrong_answers(), *right_answers(), *hollow_explanations(), *floods())
    titles = [(attack.family, attack.name) for attack in attacks]
    if len(set(titles)) != len(titles):
        twice = next(title for title in titles if titles.count(title) > 1)
        raise ConfigError(f"two attacks are called {twice[0]}: {twice[1]}; rename one")
    return attacks
