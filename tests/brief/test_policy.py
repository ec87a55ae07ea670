"""What a briefing prints as policy is the policy that judged."""

from loadpath.brief import certainty
from loadpath.diagnose import verdict


def test_printed_policy_is_the_one_that_judged():
    assert certainty.POLICY_RATIO == verdict.POLICY_RATIO
