"""Loading saved objects into Kibana by its API.

What is asked of it is documented for 8.19 and 9.x: ``/api/status``, ``/api/spaces/space``,
``/api/saved_objects/_import`` and ``_export``.
"""

import base64
import json
import os
import ssl
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from webevents.errors import UserError
from webevents.kibana.objects import marked, ndjson
from webevents.spec.kibana import KibanaSpec

log = structlog.get_logger()

Json = Mapping[str, Any]

DEFAULT_SPACE = "default"


class KibanaUnavailable(UserError):
    """Kibana does not answer, or not yet; trying again may help."""


class Kibana:
    """One Kibana, and one space of it.

    :param spec: with ``url``.
    :param space: the space's identifier.
    :raises UserError: when a secret or certificate cannot be read.
    """

    def __init__(self, spec: KibanaSpec, space: str) -> None:
        if spec.url is None:
            raise UserError("spec.kibana.url is not set: name it, such as https://host:5601")
        self.url, self.space = spec.url, space
        self._timeout_s = spec.request_timeout.total_seconds()
        self._headers = {"kbn-xsrf": "webevents", "Accept": "application/json"}
        if secret := _authorization(spec):
            self._headers["Authorization"] = secret
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if spec.url.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=_context(spec)))
        self._open = urllib.request.build_opener(*handlers).open

    def version(self) -> str:
        """Kibana's version, such as 9.1.2.

        :raises UserError: when Kibana does not say it.
        """
        status = self._json("GET", "/api/status")
        try:
            return str(status["version"]["number"])
        except (KeyError, TypeError):
            raise UserError(
                f"What answers at {self.url} is not Kibana: correct spec.kibana.url"
            ) from None

    def ensure_space(self, name: str) -> bool:
        """Make the space if it is not there.

        :param name: for people.
        :returns: whether it was made.
        """
        if self.space == DEFAULT_SPACE:
            return False
        status, _ = self._call("GET", f"/api/spaces/space/{self.space}", allowed=(404,))
        if status != 404:
            return False
        body = {
            "id": self.space,
            "name": name,
            "description": f"What the pipeline {name} has to show",
            "disabledFeatures": [],
        }
        # 409: somebody else was faster.
        status, _ = self._call("POST", "/api/spaces/space", _json_body(body), allowed=(409,))
        return status != 409

    def has(self, objects: Sequence[Json]) -> bool:
        """Whether all these objects are there, with the mark of this definition.

        What people have changed in them since is not looked at.
        """
        wanted = [{"type": each["type"], "id": each["id"]} for each in objects]
        body = {"objects": wanted, "excludeExportDetails": True, "includeReferencesDeep": False}
        path = self._in_space("/api/saved_objects/_export")
        # 400 says that one of them is not there.
        status, answer = self._call("POST", path, _json_body(body), allowed=(400, 404))
        if status != 200:
            return False
        mark = objects[0]
        for line in answer.splitlines():
            found = json.loads(line)
            if (found["type"], found["id"]) == (mark["type"], mark["id"]):
                return bool(
                    found["attributes"].get("description") == mark["attributes"]["description"]
                )
        return False

    def load(self, objects: Sequence[Json]) -> int:
        """Import objects, over those of the same identifiers.

        :returns: how many were imported.
        :raises UserError: when Kibana does not take one.
        """
        boundary = uuid.uuid4().hex
        content = (
            f"--{boundary}\r\n"
            'Content-Disposition: form-data; name="file"; filename="webevents.ndjson"\r\n'
            "Content-Type: application/ndjson\r\n\r\n"
            f"{ndjson(objects)}\r\n--{boundary}--\r\n"
        ).encode()
        path = self._in_space("/api/saved_objects/_import?overwrite=true")
        kind = f"multipart/form-data; boundary={boundary}"
        _, answer = self._call("POST", path, (kind, content))
        result = json.loads(answer)
        if not result.get("success"):
            raise UserError(f"Kibana at {self.url} does not take {_refused(result)}")
        if any("destinationId" in each for each in result.get("successResults", ())):
            raise UserError(
                f"Kibana at {self.url} has objects of these identifiers in another space, and made "
                "copies: delete the others there, or give one of the pipelines another name"
            )
        return int(result["successCount"])

    def _in_space(self, path: str) -> str:
        return path if self.space == DEFAULT_SPACE else f"/s/{self.space}{path}"

    def _json(self, method: str, path: str) -> Any:
        _, answer = self._call(method, path)
        try:
            return json.loads(answer)
        except ValueError:
            raise UserError(
                f"What answers at {self.url} is not Kibana: correct spec.kibana.url"
            ) from None

    def _call(
        self,
        method: str,
        path: str,
        body: tuple[str, bytes] | None = None,
        allowed: tuple[int, ...] = (),
    ) -> tuple[int, bytes]:
        """Status and body of an answer.

        :param body: its type and bytes.
        :param allowed: statuses that are no error to the caller.
        """
        headers = self._headers | ({"Content-Type": body[0]} if body else {})
        request = urllib.request.Request(  # noqa: S310 - KibanaSpec.url is http or https
            f"{self.url}{path}", body[1] if body else None, headers, method=method
        )
        try:
            with self._open(request, timeout=self._timeout_s) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                content = error.read()
            if error.code in allowed:
                return error.code, content
            raise self._explained(error.code, content) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLError):
                raise KibanaUnavailable(
                    f"No trusted TLS connection to Kibana at {self.url}: set spec.kibana.tls."
                    "caFile to the authority that signed its certificate, and use the name in it"
                ) from None
            raise KibanaUnavailable(
                f"Kibana at {self.url} does not answer ({reason}): start it, or correct "
                "spec.kibana.url"
            ) from None

    def _explained(self, status: int, content: bytes) -> UserError:
        who = f"Kibana at {self.url}"
        if status == 401:
            return UserError(f"{who} refuses the credentials: correct those of spec.kibana")
        if status == 403:
            return UserError(
                f"{who} does not permit this: give the user of spec.kibana the privileges named in "
                "docs/kibana.md"
            )
        if status == 404 or 300 <= status < 400:
            return UserError(
                f"{who} has no such API (status {status}): correct spec.kibana.url, with its base "
                "path where it has one"
            )
        if status in (408, 429) or status >= 500:
            return KibanaUnavailable(f"{who} is not ready (status {status})")
        try:
            reason = str(json.loads(content)["message"])
        except (ValueError, KeyError, TypeError):
            reason = content[:200].decode(errors="replace")
        return UserError(f"{who} refuses (status {status}): {reason[:1000]}")


def bring_dashboards(spec: KibanaSpec, space: str, name: str, objects: Sequence[Json]) -> list[str]:
    """Bring the saved objects of a pipeline about: they are loaded if one is not there, if the
    definition changed, or if Kibana's version did.

    :param name: the pipeline's.
    :param objects: those of :func:`webevents.kibana.objects.saved_objects`.
    :returns: what was done, a line each; empty where all was as wanted.
    :raises UserError: when Kibana does not answer or refuses.
    """
    kibana = Kibana(spec, space)
    wanted = marked(objects, kibana.version())
    done = []
    if kibana.ensure_space(name):
        done.append(f"made Kibana's space {space}")
    if done or not kibana.has(wanted):
        count = kibana.load(wanted)
        done.append(f"loaded {count} objects into Kibana's space {space}")
        log.info("dashboards loaded", space=space, objects=count)
    return done


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could send a secret elsewhere, and turns a POST into a GET."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _json_body(body: Json) -> tuple[str, bytes]:
    return "application/json", json.dumps(body).encode()


def _refused(result: Json) -> str:
    told = []
    for each in result.get("errors", ())[:3]:
        error = each.get("error", {})
        why = error.get("message") or error.get("type", "unknown")
        told.append(f"{each.get('type')} {each.get('id')}: {why}")
    return "; ".join(told) or "the objects"


def _context(spec: KibanaSpec) -> ssl.SSLContext:
    context = ssl.create_default_context()
    tls = spec.tls
    if tls and tls.ca_file is not None:
        try:
            context.load_verify_locations(tls.ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise UserError(
                f"spec.kibana.tls.caFile: {tls.ca_file} cannot be used: {error.strerror or error}"
            ) from None
    if tls and not tls.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _authorization(spec: KibanaSpec) -> str | None:
    file = spec.password_file or spec.api_key_file
    name = spec.password_env or spec.api_key_env
    if file is not None:
        field = "passwordFile" if spec.password_file else "apiKeyFile"
        try:
            secret = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"spec.kibana.{field}: {file} cannot be read: "
                f"{getattr(error, 'strerror', None) or 'it is no text'}"
            ) from None
        if not secret:
            raise UserError(f"spec.kibana.{field}: {file} is empty")
    elif name is not None:
        secret = os.environ.get(name, "").strip()
        if not secret:
            field = "passwordEnv" if spec.password_env else "apiKeyEnv"
            raise UserError(f"spec.kibana.{field}: the environment variable {name} is not set")
    else:
        return None
    if spec.username is None:
        return f"ApiKey {secret}"
    return "Basic " + base64.b64encode(f"{spec.username}:{secret}".encode()).decode()
