#!/usr/bin/env bash
# Names a missing or wrong Python or Node at once, with the fix. `check_versions.sh python` prints
# the interpreter to use.
set -euo pipefail

python=
for candidate in "${ORDERFLOW_BOOTSTRAP_PYTHON:-}" python3.13 python3 python; do
    [ -n "$candidate" ] || continue
    if [ "$("$candidate" -c 'import sys; print(sys.version_info[:2] == (3, 13))' 2>/dev/null)" = True ]; then
        python=$(command -v "$candidate")
        break
    fi
done
if [ -z "$python" ]; then
    found=$(python3 --version 2>/dev/null || echo none)
    echo "Orderflow needs Python 3.13 (found: $found)." >&2
    echo "  Fix: pyenv install 3.13   or   uv python install 3.13   or   apt install python3.13-venv" >&2
    echo "  If it is installed but not on PATH: ORDERFLOW_BOOTSTRAP_PYTHON=/path/to/python3.13 make …" >&2
    exit 1
fi

if [ "${1:-}" = python ]; then
    echo "$python"
    exit
fi

if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null; then
    echo "Orderflow needs Node 20.19 or newer (found: $(node --version 2>/dev/null || echo none))." >&2
    echo "  Fix: nvm install 22   or   see nodejs.org" >&2
    exit 1
fi
