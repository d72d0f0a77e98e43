"""The sites that may send, by their write keys; keys and sites change without a restart."""

import json
from collections.abc import Sequence
from pathlib import Path

import structlog
from pydantic import ValidationError

from webevents.errors import UserError
from webevents.sources.collector.origins import Origins
from webevents.sources.collector.rates import Bucket
from webevents.sources.collector.refusal import Refused
from webevents.spec.base import Model
from webevents.spec.collector import SiteSpec

log = structlog.get_logger()


class LiveSettings(Model):
    """What may change while the collector runs."""

    sites: tuple[SiteSpec, ...]
    replicas: int | None = None
    """Copies that share the sites' rates."""


class Site:
    """One site."""

    __slots__ = ("bucket", "name", "origins", "spec")

    def __init__(self, spec: SiteSpec | None, origins: Origins, replicas: int = 1) -> None:
        self.spec = spec
        self.name = spec.name if spec else None
        self.origins = origins
        rate = spec.events_per_second if spec else None
        self.bucket = None if rate is None else Bucket(rate / max(replicas, 1))


class Sites:
    """Finds the site of a key.

    :param live: JSON file ``{"sites": […], "replicas": 2}``, sites as spec.collector.sites has
        them.
    :param origins: spec.collector.allowedOrigins.
    :param replicas: copies that share a site's rate, where the file does not say.
    :raises UserError: when a file cannot be read.
    """

    def __init__(self, live: Path | None, origins: Sequence[str], replicas: int = 1) -> None:
        self._live = live
        self.default = Origins(origins)
        self._replicas = replicas
        self._anyone = Site(None, self.default)
        self._by_key: dict[str, Site] = {}
        self._sites: dict[str, Site] = {}
        self._seen: dict[Path, object] = {}
        self._complaint: str | None = None
        self._load()

    def __len__(self) -> int:
        return len(self._sites)

    @property
    def open(self) -> bool:
        """Whether anybody may send, because no site is named."""
        return not self._sites

    def find(self, key: str | None) -> Site:
        """The site of a write key.

        :raises Refused: with reason unknown_key; without sites whoever can reach us may send.
        """
        if not self._sites:
            return self._anyone
        site = self._by_key.get(key or "")
        if site is None:
            raise Refused("unknown_key", "no site has this write key" if key else "no write key")
        return site

    def allow_origin(self, origin: str) -> bool:
        """Whether some site's pages may be of this origin; a preflight request has no key."""
        if not self._sites:
            return self.default.allow(origin)
        return any(site.origins.allow(origin) for site in self._sites.values())

    def refresh(self) -> None:
        """Read the files again where they changed; what cannot be used changes nothing."""
        if all(_stamp(path) == stamp for path, stamp in self._seen.items()):
            return
        try:
            self._load()
        except UserError as error:
            if str(error) != self._complaint:
                log.error("sites not changed", problem=str(error))
            self._complaint = str(error)
        else:
            self._complaint = None
            log.info("sites changed", sites=len(self._sites), keys=len(self._by_key))

    def _load(self) -> None:
        seen: dict[Path, object] = {}
        read = LiveSettings(sites=())
        if self._live is not None:
            read = self._live_settings(_read(self._live, seen))
        replicas = read.replicas or self._replicas
        sites: dict[str, Site] = {}
        by_key: dict[str, Site] = {}
        for spec in read.sites:
            old = self._sites.get(spec.name)
            same = old is not None and old.spec == spec  # its bucket goes on
            patterns = spec.allowed_origins
            origins = self.default if patterns is None else Origins(patterns)
            site = old if old is not None and same else Site(spec, origins, replicas)
            if site.bucket is not None and spec.events_per_second is not None:
                site.bucket.change(spec.events_per_second / replicas)
            sites[spec.name] = site
            keys = list(spec.write_keys)
            if spec.write_keys_file is not None:
                text = _read(Path(spec.write_keys_file), seen)
                keys += [line.strip() for line in text.splitlines() if line.strip()]
            for key in keys:
                if by_key.setdefault(key, site) is not site:
                    raise UserError(
                        f"the sites {by_key[key].name} and {spec.name} have the same write key: "
                        "give each its own"
                    )
        self._sites, self._by_key, self._seen = sites, by_key, seen

    def _live_settings(self, text: str) -> LiveSettings:
        try:
            return LiveSettings.model_validate(json.loads(text))
        except (ValueError, ValidationError) as error:
            raise UserError(f"{self._live} is not {{'sites': […]}}: {error}") from None


def _read(path: Path, seen: dict[Path, object]) -> str:
    seen[path] = _stamp(path)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the sites' file {path}: {error}") from None


def _stamp(path: Path) -> object:
    """What changes when a file does; Kubernetes replaces it, an editor rewrites it."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
