"""Import the package `shared` before pytest meets the folder `shared/`.

pytest names a test module by its path. `shared/tests/…` would make a package `shared` out of the
folder, if the real one were not there first.
"""

import shared  # noqa: F401
