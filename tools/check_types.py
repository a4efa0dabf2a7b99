"""Check all types, strictly: `.venv/bin/python tools/check_types.py`.

One call of mypy cannot see everything: each service has a `tests.unit.test_domain`, and
LocalStack's types live in the local cloud's own environment.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLOUD = ROOT / ".local/venvs/cloud/bin/python"


def main() -> int:
    """Return how many calls found something, so that 0 is success."""
    calls: list[list[str]] = [[]]
    calls += [
        [str(tests.relative_to(ROOT))]
        for tests in sorted([*ROOT.glob("services/*/tests"), ROOT / "shared/tests"])
        if any(tests.rglob("*.py"))
    ]
    calls.append(["--python-executable", str(CLOUD), "localcloud/src"])
    failed = 0
    for arguments in calls:
        print("mypy", *arguments, flush=True)
        failed += bool(subprocess.call([sys.executable, "-m", "mypy", *arguments], cwd=ROOT))
    return failed


if __name__ == "__main__":
    sys.exit(main())
