"""The Prometheus operator's own CustomResourceDefinitions, which its Go module has."""

import json
import shutil
import subprocess
from pathlib import Path

MODULE = "github.com/prometheus-operator/prometheus-operator@v0.85.0"


class Unavailable(Exception):
    """Why they cannot be had here."""


def definitions(*plurals: str) -> list[Path]:
    """Files of definitions, such as ``podmonitors``; fetched once into Go's cache.

    :raises Unavailable: if Go is missing, or the module cannot be fetched.
    """
    go = shutil.which("go")
    if go is None:
        raise Unavailable(
            "the Prometheus operator's definitions come as a Go module: go is missing"
        )
    try:
        done = subprocess.run(
            [go, "mod", "download", "-json", MODULE],
            cwd="/", capture_output=True, text=True, check=False, timeout=180,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Unavailable("the Prometheus operator's Go module does not come") from error
    if done.returncode:
        told = json.loads(done.stdout or "{}").get("Error") or done.stderr
        raise Unavailable(f"the Prometheus operator's Go module cannot be fetched: {told}")
    folder = Path(json.loads(done.stdout)["Dir"]) / "example" / "prometheus-operator-crd"
    return [folder / f"monitoring.coreos.com_{each}.yaml" for each in plurals]
