"""Import the package `shared` before pytest meets the folder `shared/`; choose how hard to try.

pytest names a test module by its path. `shared/tests/…` would make a package `shared` out of the
folder, if the real one were not there first.
"""

from hypothesis import settings

import shared  # noqa: F401
from tests.support.profiles import PROFILE

settings.load_profile(PROFILE)
