"""How hard the tests try: a short form that is the same each time, and a long one that is not.

`HYPOTHESIS_PROFILE=long` (`make test-domain-long`) looks for what the short form has not met.
"""

import os
from typing import Any

from hypothesis import HealthCheck, Phase, settings

# A busy machine is no failure, and an example that took long is no fault.
_PATIENT: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}

settings.register_profile("ci", derandomize=True, print_blob=True, **_PATIENT)
settings.register_profile("long", max_examples=1000, print_blob=True, **_PATIENT)

PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or "ci"
LONG = PROFILE == "long"


def machine() -> settings:
    """Return the settings of a stateful test, each of whose steps is several transactions.

    A failure found by luck is made small; the explanation that Hypothesis would then look for
    costs more than it says.
    """
    phases = (Phase.explicit, Phase.generate, Phase.target, Phase.shrink)
    if LONG:
        return settings(max_examples=500, stateful_step_count=60, phases=phases)
    return settings(max_examples=25, stateful_step_count=35, phases=phases)
