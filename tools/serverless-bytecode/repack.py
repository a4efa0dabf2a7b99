"""Repack a Lambda zip: hash-based bytecode beside every module, fixed dates, sorted names.

    python repack.py ARTIFACT.zip [DROP_PATTERN ...]

A pattern (fnmatch, against the whole path in the zip) names what no function needs at run time.
The same input gives the same bytes, so that a deploy without a change changes nothing.
"""

import compileall
import fnmatch
import py_compile
import sys
import tempfile
import zipfile
from pathlib import Path

# The earliest date that the zip format can hold.
_DATE = (1980, 1, 1, 0, 0, 0)


def repack(artifact: Path, drop: list[str]) -> None:
    """Rewrite `artifact` in place; raise if a module does not compile."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with zipfile.ZipFile(artifact) as source:
            for name in source.namelist():
                if not any(fnmatch.fnmatchcase(name, pattern) for pattern in drop):
                    source.extract(name, root)
        compiled = compileall.compile_dir(
            root,
            quiet=1,
            force=True,
            stripdir=folder,
            prependdir="/var/task",
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        if not compiled:
            sys.exit(f"{artifact}: a module does not compile, see above")
        fresh = artifact.with_suffix(".repacked")
        with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
            for path in sorted(p for p in root.rglob("*") if p.is_file()):
                entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), _DATE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (0o755 if path.suffix == ".so" else 0o644) << 16
                target.writestr(entry, path.read_bytes())
        fresh.replace(artifact)


if __name__ == "__main__":
    repack(Path(sys.argv[1]), sys.argv[2:])
