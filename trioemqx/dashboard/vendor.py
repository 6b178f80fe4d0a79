"""The browser libraries in `static/vendor`: released files, fetched from npm and checked.

`python -m trioemqx.dashboard.vendor` (or `./dev vendor`) fetches each package of `manifest.json`, takes the files named
there out of it and compares their hashes; `--update` writes the hashes of what it got instead, for a new version.
Nothing of this runs on a user's machine: what is checked in is what is served.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "static" / "vendor"
MANIFEST = FOLDER / "manifest.json"
REGISTRY = "https://registry.npmjs.org"
LARGEST = 64 << 20  # bytes of a package, before it is read


def manifest() -> list[dict[str, Any]]:
    """The vendored packages: name, version, licence, source (URL of the tarball) and files (path in it → {"as",
    "sha256"})."""
    packages: list[dict[str, Any]] = json.loads(MANIFEST.read_text())
    return packages


def folder_of(package: dict[str, Any]) -> Path:
    """Where the files of *package* are: `vendor/<name>-<version>`."""
    return FOLDER / f"{package['name'].replace('/', '-').lstrip('@')}-{package['version']}"


def wrong_files() -> list[str]:
    """Files that are missing, changed or not in the manifest, as lines to print; empty when all is as released."""
    wrong = []
    known = {MANIFEST}
    for package in manifest():
        for name, entry in package["files"].items():
            path = folder_of(package) / entry["as"]
            known.add(path)
            if not path.is_file():
                wrong.append(f"{path.relative_to(FOLDER)} is missing: run ./dev vendor")
            elif hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
                wrong.append(f"{path.relative_to(FOLDER)} is not {name} of {package['name']} {package['version']}")
    extra = sorted(path for path in FOLDER.rglob("*") if path.is_file() and path not in known)
    return wrong + [f"{path.relative_to(FOLDER)} is not in the manifest" for path in extra]


def fetch(package: dict[str, Any], *, update: bool) -> None:
    """Write the files of *package* from its tarball. Raises ValueError when a hash is another one and not *update*."""
    base = package["name"].rsplit("/", 1)[-1]
    package["source"] = f"{REGISTRY}/{package['name']}/-/{base}-{package['version']}.tgz"
    with urllib.request.urlopen(package["source"]) as answer:
        tarball = answer.read(LARGEST)
    with tarfile.open(fileobj=io.BytesIO(tarball)) as archive:
        for name, entry in package["files"].items():
            member = archive.extractfile(f"package/{name}")
            if member is None:
                raise ValueError(f"{package['name']} {package['version']} has no file {name}")
            data = member.read()
            digest = hashlib.sha256(data).hexdigest()
            if update:
                entry["sha256"] = digest
            elif digest != entry["sha256"]:
                raise ValueError(
                    f"{name} of {package['source']} has the hash {digest}, the manifest says {entry['sha256']}"
                )
            path = folder_of(package) / entry["as"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def main(arguments: list[str]) -> int:
    """Fetch every package and compare it with the manifest, or write that with `--update`; 1 when files differ."""
    update = "--update" in arguments
    packages = manifest()
    for package in packages:
        fetch(package, update=update)
    if update:
        MANIFEST.write_text(json.dumps(packages, indent=2) + "\n")
    wrong = wrong_files()
    print("\n".join(wrong) or "vendored files are as released")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
