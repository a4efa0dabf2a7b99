"""One file for each Lambda function."""

import shared.cold_start  # noqa: F401 (first, before what it makes faster)
