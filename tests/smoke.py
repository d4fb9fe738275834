"""Try the files that `make dist` has built, in an environment with nothing else.

    python tests/smoke.py dist/*.whl dist/*.tar.gz

Each file is installed into an environment of its own, outside of the checkout, with a home that is
empty; then the first example of the README runs there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

IMPORTED = """\
import importlib.resources, pathlib, sys
import asynclive
assert pathlib.Path(asynclive.__file__).is_relative_to(sys.prefix), asynclive.__file__
assert importlib.resources.files("asynclive").joinpath("py.typed").is_file()
missing = [name for name in asynclive.__all__ if not hasattr(asynclive, name)]
assert not missing, missing
"""


def main(files: list[str]) -> int:
    if not files:
        print(__doc__, file=sys.stderr)
        return 2
    for each in files:
        file = Path(each).resolve()
        if file.name.endswith(".tar.gz"):
            check_source(file)
        with tempfile.TemporaryDirectory(prefix="asynclive-smoke-") as temp:
            check_installed(file, Path(temp).resolve())
        print(f"{file.name}: installed and tried")
    return 0


def check_source(file: Path) -> None:
    """Check that the source has all files for development, and no built ones."""
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        *("pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile"),
        *("mkdocs.yml", "docs/index.md", "src/asynclive/py.typed", "tests/conftest.py"),
        *("examples/quickstart.py", "perf/__main__.py"),
    }
    assert wanted <= names, wanted - names
    built = {name for name in names if re.match(r"(site|dist|\.venv[\w-]*)/", name)}
    assert not built, built


def check_installed(file: Path, temp: Path) -> None:
    home, work = temp / "home", temp / "work"
    home.mkdir()
    work.mkdir()
    venv.create(temp / "env", with_pip=True)
    scripts = temp / "env" / ("Scripts" if os.name == "nt" else "bin")
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("DVC", "GIT_", "PYTHON"))},
        "PATH": os.pathsep.join((str(scripts), os.environ["PATH"])),
        "HOME": str(home),
        "DVC_SITE_CACHE_DIR": str(home / "site-cache"),
        "DVC_NO_ANALYTICS": "1",
    }

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout

    run("python", "-m", "pip", "install", "--quiet", str(file))
    run("python", "-c", IMPORTED)

    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    (set_up,) = (code for language, code in blocks if "git init" in code)
    (use,) = (code for language, code in blocks if language == "sh" and "quickstart.py" in code)
    program = next(code for language, code in blocks if language == "python")
    (work / "quickstart.py").write_text(program)
    run("sh", "-ec", set_up)
    printed = run("sh", "-ec", use)
    assert printed.startswith("mymodel 879f4bba57ed37c9ec5e5aedf9864698 1000000 "), printed
    assert printed.endswith("Data and pipelines are up to date.\n"), printed

    version = file.name.split("-")[1].removesuffix(".tar.gz")
    assert run("asynclive", "--version").split()[-1] == version
    assert run("python", "-m", "asynclive", "--version").split()[-1] == version
    (work / "more.bin").write_bytes(b"more")
    run("asynclive", "log", "more.bin", "--type", "dataset")
    assert (work / "more.bin.dvc").is_file()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
