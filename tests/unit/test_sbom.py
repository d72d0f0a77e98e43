"""What the images are made of, from the lock files and without a network; the word of an audit that
could not be made."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(1500)
TOOLS = ROOT / "build" / "security-tools" / ".lock"
LOCKS = {
    "dataflows": "images/dataflows.lock",
    "operator": "images/operator.lock",
    "development": "dataflows/requirements/dev.lock",
}


def _script(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    if not TOOLS.is_file():
        pytest.skip("the tools are not installed: run make sbom once, with a network")
    # Whatever asks the network meets a proxy that is not there.
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    nowhere |= {name.lower(): value for name, value in nowhere.items()} | {"NO_PROXY": ""}
    return subprocess.run(
        [ROOT / "scripts" / name, *arguments],
        capture_output=True,
        text=True,
        timeout=1200,
        env=os.environ | nowhere | environment,
    )


def test_every_pinned_package_is_in_the_sbom(tmp_path: Path) -> None:
    done = _script("sbom", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for name, lock in LOCKS.items():
        document = json.loads((tmp_path / f"{name}.cdx.json").read_text())
        assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
        pinned = set(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / lock).read_text(), re.MULTILINE))
        components = {(each["name"], each["version"]) for each in document["components"]}
        assert components == pinned
        for each in document["components"]:
            assert each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}"
            hashes = [one for ref in each["externalReferences"] for one in ref["hashes"]]
            assert {one["alg"] for one in hashes} == {"SHA-256"}, each["name"]


def test_an_audit_that_cannot_be_made_says_so() -> None:
    done = _script("audit")
    assert done.returncode == 3
    assert "NOT AUDITED" in done.stderr
    assert "No known vulnerabilities" not in done.stdout


def test_scripts_are_run_by_the_workflow() -> None:
    workflow = (ROOT / ".github" / "workflows" / "security.yaml").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in ("sbom", "audit"):
        assert f"make {target}" in workflow
        assert f"scripts/{target}" in makefile
        assert shutil.which(str(ROOT / "scripts" / target))
