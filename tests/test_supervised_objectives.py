"""Supervised and preference losses, worked by hand."""

import numpy as np
import pytest

from vlmtune.objectives import preference_loss, supervised_loss

# One pair: chosen gained 1 over the reference and rejected lost 1, so the margin is 2.
POLICY, REFERENCE = [[-3.0], [-6.0]], [[-4.0], [-5.0]]


def test_the_supervised_loss_is_the_mean_over_answer_tokens_of_all_rows():
    logps = [[-1.0, -9.0, -2.0], [-3.0, -9.0, -9.0]]
    answer = [[1, 0, 1], [1, 0, 0]]
    assert supervised_loss(logps, answer) == pytest.approx((1 + 2 + 3) / 3)


def test_rows_without_answers_have_no_loss():
    with pytest.raises(ValueError, match="mark tokens"):
        supervised_loss([[-1.0]], [[0]])


def test_a_policy_that_is_its_reference_loses_log_two():
    assert preference_loss(POLICY, POLICY, beta=0.3) == pytest.approx(np.log(2))


def test_the_sigmoid_loss_of_a_margin_of_two_tenths():
    # beta 0.1 times 2: log(1 + exp(-0.2)).
    assert preference_loss(POLICY, REFERENCE, beta=0.1) == pytest.approx(0.5981389)


def test_conservative_dpo_mixes_both_directions_and_robust_unmixes_them():
    right, wrong = np.log1p(np.exp(-0.2)), np.log1p(np.exp(0.2))
    found = preference_loss(POLICY, REFERENCE, beta=0.1, label_smoothing=0.25)
    assert found == pytest.approx(0.75 * right + 0.25 * wrong)
    found = preference_loss(POLICY, REFERENCE, beta=0.1, kind="robust", label_smoothing=0.25)
    assert found == pytest.approx((0.75 * right - 0.25 * wrong) / 0.5)


def test_hinge_falls_to_nothing_at_a_margin_of_one():
    assert preference_loss(POLICY, REFERENCE, beta=0.1, kind="hinge") == pytest.approx(0.8)
    assert preference_loss(POLICY, REFERENCE, beta=0.5, kind="hinge") == 0.0


def test_ipo_takes_means_over_tokens():
    # Ratios 1 over 2 tokens and -1 over 4: a margin of 0.75 against 1 / (2 beta) = 0.5.
    found = preference_loss(POLICY, REFERENCE, beta=1.0, kind="ipo", lengths_CB=[[2], [4]])
    assert found == pytest.approx(0.0625)


def test_the_chosen_answers_own_loss_is_a_mean_over_their_tokens():
    policy, reference = [[-3.0, -1.0], [-4.0, -4.0]], [[-3.0, -1.0], [-4.0, -4.0]]
    # Three and one tokens of a sum of -4: one a token, beside the log 2 of an even margin.
    found = preference_loss(
        policy, reference, beta=0.1, sft_weight=0.5, lengths_CB=[[3, 1], [9, 9]]
    )
    assert found == pytest.approx(np.log(2) + 0.5)
    with pytest.raises(ValueError, match="lengths"):
        preference_loss(policy, reference, beta=0.1, sft_weight=0.5)


@pytest.mark.parametrize("kind", ["hinge", "ipo"])
def test_smoothing_has_no_meaning_in_hinge_and_ipo(kind):
    with pytest.raises(ValueError, match="no meaning"):
        preference_loss(POLICY, REFERENCE, beta=1.0, kind=kind, label_smoothing=0.1)
