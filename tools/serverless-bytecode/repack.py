"""Repack a Lambda zip: what a cold start reads, and nothing else; the same bytes each time.

    python repack.py ARTIFACT.zip --own orders --own shared --drop PATTERN ...

Our own modules (`--own`, top-level packages) keep their source, so that tracebacks show it, with
hash-based bytecode beside it. Of every other module only the bytecode stays, in the source's
place, without docstrings and column positions: half the size, and less to read in each cold
start. Assertions stay. From native libraries the debug information goes.

A pattern to drop (fnmatch, against the whole path in the zip) names what no function needs.
"""

import argparse
import ast
import fnmatch
import importlib.util
import io
import marshal
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from elftools.elf.elffile import ELFFile

# The earliest date that the zip format can hold.
_DATE = (1980, 1, 1, 0, 0, 0)
# PEP 552: a hash-based file that is never checked against its source.
_UNCHECKED_HASH = (1).to_bytes(4, "little")


def repack(artifact: Path, own: set[str], drop: list[str]) -> None:
    """Rewrite `artifact` in place; raise if a module does not compile."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with zipfile.ZipFile(artifact) as source:
            for name in source.namelist():
                if not any(fnmatch.fnmatchcase(name, pattern) for pattern in drop):
                    source.extract(name, root)
        fresh = artifact.with_suffix(".repacked")
        with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
            for path in sorted(p for p in root.rglob("*") if p.is_file()):
                inside = path.relative_to(root)
                for part, content in _parts(inside, path.read_bytes(), inside.parts[0] in own):
                    entry = zipfile.ZipInfo(part.as_posix(), _DATE)
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    entry.external_attr = (0o755 if part.suffix == ".so" else 0o644) << 16
                    target.writestr(entry, content)
        fresh.replace(artifact)


def _parts(name: Path, content: bytes, own: bool) -> list[tuple[Path, bytes]]:
    if name.suffix == ".py" and own:
        cached = Path(importlib.util.cache_from_source(str(name)))
        return [(name, content), (cached, _bytecode(name, content, ast.parse(content)))]
    if name.suffix == ".py":
        tree = ast.parse(content)
        _forget_docstrings(tree)
        return [(name.with_suffix(".pyc"), _bytecode(name, content, tree))]
    if name.suffix == ".so" or ".so." in name.name:
        return [(name, _without_debug_information(content))]
    if name.name == "METADATA":
        # The rest is the project's page; what is asked for at run time is the version.
        return [(name, content.partition(b"\n\n")[0] + b"\n\n")]
    return [(name, content)]


def _bytecode(name: Path, source: bytes, tree: ast.Module) -> bytes:
    file = f"/var/task/{name.as_posix()}"
    code = compile(tree, file, "exec", dont_inherit=True, optimize=0)
    flags = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH
    return flags + importlib.util.source_hash(source) + marshal.dumps(code)


def _forget_docstrings(node: ast.AST) -> None:
    """Remove them from `node` and all that is defined in it: only statements hold definitions."""
    scopes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if isinstance(node, scopes) and ast.get_docstring(node, clean=False) is not None:
        node.body[:1] = [] if node.body[1:] else [ast.copy_location(ast.Pass(), node.body[0])]
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        # A conditional expression's and a lambda's body is no list.
        children = getattr(node, block, [])
        for child in children if isinstance(children, list) else []:
            _forget_docstrings(child)


def _without_debug_information(content: bytes) -> bytes:
    """Blank the sections that only a debugger reads: nothing moves, and blanks weigh nothing."""
    blanked = bytearray(content)
    for section in ELFFile(io.BytesIO(content)).iter_sections():
        if section.name.startswith(".debug_") and section["sh_type"] != "SHT_NOBITS":
            start, size = section["sh_offset"], section["sh_size"]
            blanked[start : start + size] = bytes(size)
    return bytes(blanked)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--own", action="append", default=[])
    parser.add_argument("--drop", action="append", default=[])
    found = parser.parse_args()
    repack(found.artifact, set(found.own), found.drop)


if __name__ == "__main__":
    if "no_debug_ranges" not in sys._xoptions:  # noqa: SLF001
        # Column positions are a third of the bytecode, and only the interpreter can leave them out.
        again = [sys.executable, "-X", "no_debug_ranges", *sys.argv]
        sys.exit(subprocess.run(again, check=False).returncode)
    main()
