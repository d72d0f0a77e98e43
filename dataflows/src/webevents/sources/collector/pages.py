"""What browsers fetch beside sending: the settings of Segment's tracker, and the demo's shop."""

from collections.abc import Mapping
from importlib.resources import files

import msgspec

from webevents.sources.collector.hints import WANTED
from webevents.sources.collector.origins import Headers
from webevents.spec.collector import CollectorSpec

Page = tuple[int, str, bytes, Headers]
_JSON = "application/json"
HTML = "text/html; charset=utf-8"


class Pages:
    """Finds pages."""

    def __init__(self, spec: CollectorSpec) -> None:
        self._demo = (
            files(__package__).joinpath("demo.html").read_bytes() if spec.demo_page else None
        )

    def find(
        self, method: str, path: str, headers: Mapping[str, str], *, secure: bool
    ) -> Page | None:
        """The page at a path; None where there is none.

        :param secure: whether the browser came by HTTPS.
        """
        match path.split("/"):
            case ["", "v1", "projects", key, "settings"] if method in ("GET", "OPTIONS"):
                return 200, _JSON, _settings(key, headers.get("host", ""), secure), []
            case ["", "v1", "m"] if method in ("POST", "OPTIONS"):
                return 200, _JSON, b'{"success":true}', []  # how the tracker itself fares
            case ["", "demo", *_] if self._demo is not None and method in ("GET", "HEAD"):
                hints = [("accept-ch", WANTED)]
                return 200, HTML, self._demo, hints
        return None


def _settings(key: str, host: str, secure: bool) -> bytes:
    """What analytics.js asks its CDN for: only where to send."""
    destination = {
        "apiKey": key,
        "apiHost": f"{host}/v1",
        "protocol": "https" if secure else "http",
    }
    return msgspec.json.encode(
        {
            "integrations": {"Segment.io": destination},
            "metrics": {"sampleRate": 0},
            "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}},
        }
    )
