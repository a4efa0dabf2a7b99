"""One file per Lambda function, named as the function: parse, one use case, answer."""

import shared.cold_start  # noqa: F401 (first, before what it makes faster)
