"""Configuration from the environment: read once, in the init phase, failing by name."""

import os

from shared.errors import MissingSetting


def setting(name: str) -> str:
    """Return the environment variable `name`; raise MissingSetting(name) if unset or empty."""
    value = os.environ.get(name, "")
    if not value:
        raise MissingSetting(name)
    return value
