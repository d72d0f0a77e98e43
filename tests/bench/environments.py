"""The Python environments of the peers, apart from the project's own, and Flink's connector."""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from webevents.local.jar_lock import Jar
from webevents.local.jars import ensure_jars

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".bench"
REQUIREMENTS = Path(__file__).resolve().parent / "requirements"

FLINK_CONNECTOR = Jar(
    "org.apache.flink", "flink-sql-connector-kafka", "5.0.0-2.2",
    "5605c691d11a501382c383fecba37a7a552467da5ab7ba904ef5d6f3d62c5616", 10_666_527,
)  # fmt: skip
"""The connector with all that it needs; the newest, made for Flink 2.2 and newer."""


@cache
def python_of(name: str) -> str:
    """The interpreter of an environment, made when it is missing: own, or a peer's name."""
    if name == "own":
        return sys.executable
    home, lock = HOME / name, REQUIREMENTS / f"{name}.lock"
    python, ready = home / "bin" / "python", home / "ready"
    if not ready.exists() or ready.read_text() != lock.read_text():
        print(f"Making the environment of {name} …", flush=True)
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "--require-hashes", "--requirement", lock], check=True)
        # The project's logic without its engine and clients.
        packages = subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        Path(packages, "webevents.pth").write_text(f"{ROOT / 'dataflows' / 'src'}\n")
        ready.write_text(lock.read_text())
    return str(python)


def flink_jars() -> str:
    """Paths of Flink's Kafka connector, separated by commas; fetched when missing."""
    found = ensure_jars("flink", say=print, lock={"flink": [FLINK_CONNECTOR]})["flink"]
    return ",".join(str(jar) for jar in found)
