"""What a workload's pods read: its settings and live settings, secrets where the pod has them."""

from pathlib import Path
from typing import Any

from webevents.plan.model import Workload
from webevents.sources.collector.settings import CollectorSettings
from webevents.spec.collector import SiteSpec
from webevents.spec.secrets import SecretRef, references, with_secrets_in
from webevents_operator.objects.frame import Frame, digest

SECRETS_FOLDER = Path("/etc/webevents/secrets")
"""Where pods find the secrets that their settings refer to, a folder each."""
SPOOL_FOLDER = "/var/lib/webevents/spool"
"""Where a collector's spool is, unless it names a folder."""


def settings_of(workload: Workload) -> Any:
    """A workload's settings as JSON, with secrets where the pod finds them."""
    placed = with_secrets_in(workload.settings, SECRETS_FOLDER)
    made = placed.model_dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(workload.settings, CollectorSettings):
        # The settings' own folder, its usual place, cannot be written to.
        made["collector"]["spool"].setdefault("path", SPOOL_FOLDER)
    return made


def live_settings(frame: Frame, workload: Workload) -> dict[str, Any]:
    """A workload's live settings as JSON, with secrets where the pod finds them."""
    made = dict(workload.live)
    if "sites" in made:
        placed = (with_secrets_in(site, SECRETS_FOLDER) for site in _sites(frame))
        made["sites"] = [site.model_dump(mode="json", by_alias=True) for site in placed]
        made["replicas"] = frame.replicas.get(workload.name, made["replicas"])
    return made


def live_references(frame: Frame, workload: Workload) -> list[SecretRef]:
    """The secrets that a workload's live settings refer to."""
    if "sites" not in workload.live:
        return []
    return sorted({ref for site in _sites(frame) for ref in references(site)})


def live_digest(frame: Frame, workload: Workload) -> str:
    """Hash of a workload's live settings and of the secrets that they refer to."""
    secrets = [[*ref, frame.secrets.get(ref, "")] for ref in live_references(frame, workload)]
    return digest([live_settings(frame, workload), secrets])


def _sites(frame: Frame) -> tuple[SiteSpec, ...]:
    collector = frame.pipeline.spec.collector
    return collector.sites if collector else ()
