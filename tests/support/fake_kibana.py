"""A stand-in for Kibana, which cannot be had here: an HTTP server that keeps to what Kibana's API
reference documents, and refuses what it would refuse.

It does not draw, and it does not migrate: what Kibana makes of an object's attributes beyond their
shape is not tested by it. What it holds to:

- every request that is not GET carries ``kbn-xsrf``; log-in by Basic or ApiKey (401 otherwise);
- ``GET /api/status``; ``GET`` and ``POST /api/spaces/space`` (409 for one that is there);
- ``POST [/s/SPACE]/api/saved_objects/_import``: multipart with one ``file`` called ``*.ndjson``
  (415 and 400 otherwise); every line an object of a known type whose ``coreMigrationVersion`` and
  ``typeMigrationVersion`` are not newer than its own; references that lead nowhere are
  ``missing_references``, an object that is there a ``conflict`` unless ``overwrite=true``, and one
  of another space gets an identifier of its own (``destinationId``);
- ``POST [/s/SPACE]/api/saved_objects/_export``: NDJSON, or 400 where an object is not there.
"""

import base64
import json
import threading
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]

NEWEST = {
    "index-pattern": (8, 0, 0),
    "search": (10, 5, 0),
    "visualization": (8, 5, 0),
    "map": (8, 4, 0),
    "lens": (8, 9, 0),
    "dashboard": (10, 3, 0),
}
"""The newest formats of Kibana 8.19."""
CORE = (8, 8, 0)


def faults_of(each: Any) -> list[str]:
    """What Kibana's import API would not take of an object, whatever else it imports."""
    if not isinstance(each, dict):
        return ["no object"]
    faults = [f"no {name}" for name in ("type", "id", "attributes") if name not in each]
    if faults:
        return faults
    if each["type"] not in NEWEST:
        return [f"unsupported_type {each['type']}"]
    for name, newest in (
        ("coreMigrationVersion", CORE),
        ("typeMigrationVersion", NEWEST[each["type"]]),
    ):
        if tuple(map(int, str(each.get(name, "")).split("."))) > newest:
            faults.append(f"{name} {each[name]} is newer than this Kibana")
    for reference in each.get("references", []):
        if set(reference) != {"type", "id", "name"}:
            faults.append(f"malformed reference {reference}")
    for name, value in _texts(each["attributes"]):
        try:
            json.loads(value)
        except ValueError:
            faults.append(f"{name} is not JSON")
    return faults


def _texts(attributes: Json, path: str = "") -> list[tuple[str, str]]:
    """The attributes that hold JSON as text."""
    found = []
    for name, value in attributes.items():
        if isinstance(value, dict):
            found += _texts(value, f"{path}{name}.")
        elif name.endswith(("JSON", "visState", "FormatMap", "fieldAttrs", "runtimeFieldMap")):
            found.append((f"{path}{name}", value))
    return found


class FakeKibana:
    """The stand-in on a free port.

    :param authorization: the header that it asks for; none where it lets everybody in.
    """

    def __init__(self, authorization: str | None = None, version: str = "9.1.2") -> None:
        self.authorization, self.version = authorization, version
        self.spaces: dict[str, Json] = {"default": {"id": "default"}}
        self.objects: dict[tuple[str, str, str], Json] = {}
        """By space, type and identifier."""
        self.imports = 0
        self.broken: int | None = None
        """A status that it answers everything with."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake._answer(self)

            def do_POST(self) -> None:
                fake._answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @staticmethod
    def basic(user: str, password: str) -> str:
        """The header of a user."""
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def in_space(self, space: str) -> list[Json]:
        """What is there."""
        return [each for (where, _, _), each in self.objects.items() if where == space]

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        content = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        status, answer = self._decide(request, content)
        text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    def _decide(self, request: BaseHTTPRequestHandler, content: bytes) -> tuple[int, Any]:
        if self.broken:
            return self.broken, b"Kibana server is not ready yet"
        if self.authorization and request.headers.get("Authorization") != self.authorization:
            return 401, {"statusCode": 401, "message": "unable to authenticate"}
        if request.command != "GET" and not request.headers.get("kbn-xsrf"):
            return 400, {"statusCode": 400, "message": "Request must contain a kbn-xsrf header."}
        parts = urlsplit(request.path)
        path, space = parts.path, "default"
        if path.startswith("/s/"):
            _, _, space, path = path.split("/", 3)
            path = f"/{path}"
            if space not in self.spaces:
                return 404, {"statusCode": 404, "message": "Not Found"}
        match request.command, path:
            case "GET", "/api/status":
                return 200, {"name": "kibana", "version": {"number": self.version}}
            case "POST", "/api/spaces/space":
                return self._make_space(json.loads(content))
            case "POST", "/api/saved_objects/_import":
                overwrite = parse_qs(parts.query).get("overwrite") == ["true"]
                return self._import(space, request.headers, content, overwrite)
            case "POST", "/api/saved_objects/_export":
                return self._export(space, json.loads(content))
        if request.command == "GET" and path.startswith("/api/spaces/space/"):
            found = self.spaces.get(path.rpartition("/")[2])
            return (200, found) if found else (404, {"statusCode": 404, "message": "Not Found"})
        return 404, {"statusCode": 404, "message": "Not Found"}

    def _make_space(self, space: Json) -> tuple[int, Any]:
        if not {"id", "name"} <= set(space):
            return 400, {"statusCode": 400, "message": "[request body.id]: expected a string"}
        if space["id"] in self.spaces:
            return 409, {"statusCode": 409, "message": "A space with that identifier exists."}
        self.spaces[space["id"]] = space
        return 200, space

    def _import(
        self, space: str, headers: Message, content: bytes, overwrite: bool
    ) -> tuple[int, Any]:
        kind = headers.get("Content-Type", "")
        if not kind.startswith("multipart/form-data"):
            return 415, {"statusCode": 415, "message": "Unsupported Media Type"}
        head = f"Content-Type: {kind}\r\n\r\n".encode()
        parts = list(BytesParser(policy=HTTP).parsebytes(head + content).iter_parts())
        [part] = parts
        if part.get_param("name", header="content-disposition") != "file":
            return 400, {"statusCode": 400, "message": "[request body.file]: expected value"}
        if not str(part.get_filename()).endswith(".ndjson"):
            return 400, {"statusCode": 400, "message": "Invalid file extension"}
        lines = part.get_payload(decode=True).decode().splitlines()
        objects = [json.loads(line) for line in lines if line.strip()]
        return 200, self._take(space, objects, overwrite)

    def _take(self, space: str, objects: list[Json], overwrite: bool) -> Json:
        errors, taken = [], []
        coming = {(each.get("type"), each.get("id")) for each in objects}
        for each in objects:
            head = {"type": each.get("type"), "id": each.get("id")}
            lost = [
                reference
                for reference in each.get("references", [])
                if (reference["type"], reference["id"]) not in coming
                and (space, reference["type"], reference["id"]) not in self.objects
            ]
            if faults := faults_of(each):
                errors.append({**head, "error": {"type": "unknown", "message": "; ".join(faults)}})
            elif lost:
                errors.append({**head, "error": {"type": "missing_references", "references": lost}})
            elif (space, each["type"], each["id"]) in self.objects and not overwrite:
                errors.append({**head, "error": {"type": "conflict"}})
            else:
                taken.append(each)
        results = []
        for each in taken:
            result = {"type": each["type"], "id": each["id"], "managed": False}
            elsewhere = any(
                key[1:] == (each["type"], each["id"]) and key[0] != space for key in self.objects
            )
            if elsewhere:
                result["destinationId"] = f"copy-of-{each['id']}"
            name = result.get("destinationId", each["id"])
            self.objects[space, each["type"], name] = {**each, "id": name}
            results.append(result)
        self.imports += 1
        answer: Json = {
            "success": not errors,
            "successCount": len(results),
            "successResults": results,
            "warnings": [],
        }
        return {**answer, "errors": errors} if errors else answer

    def _export(self, space: str, asked: Json) -> tuple[int, Any]:
        keys = [(space, each["type"], each["id"]) for each in asked["objects"]]
        missing = [key for key in keys if key not in self.objects]
        if missing:
            return 400, {"statusCode": 400, "message": "Error fetching objects to export"}
        return 200, "\n".join(json.dumps(self.objects[key]) for key in keys).encode()
