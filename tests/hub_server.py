"""A server of this machine that speaks as much of the Hub's protocol as models and data sets need."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_test"


class Hub:
    """Repositories in memory: name → commits, each a mapping of file names to bytes, the newest last."""

    def __init__(self) -> None:
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.requests: list[str] = []

    def add(self, name: str, files: dict[str, bytes]) -> str:
        """Add a commit and return its hash."""
        self.commits.setdefault(name, []).append(files)
        return self.sha(name, len(self.commits[name]) - 1)

    def sha(self, name: str, number: int) -> str:
        return hashlib.sha1(f"{name} {number}".encode()).hexdigest()

    def find(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Return hash and files of a revision."""
        shas = [self.sha(name, number) for number in range(len(self.commits[name]))]
        if revision == "main":
            return (shas[-1], self.commits[name][-1]) if shas else ("0" * 40, {})
        return next(
            ((sha, files) for sha, files in zip(shas, self.commits[name], strict=True) if sha == revision), None
        )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes | dict | list = b"", **headers: str) -> None:
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def repository(self, name: str) -> bool:
        """Whether the caller may see a repository; answers if not."""
        known = name in self.hub.commits and (name not in self.hub.private or self.authorized())
        if not known:
            self.answer(401, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        return known

    def authorized(self) -> bool:
        return self.headers.get("authorization") == f"Bearer {TOKEN}"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if found := re.fullmatch(r"/api/(?:models|datasets)/([^/]+/[^/]+)/(?:revision|tree)/([^/]+)/?", path):
            name, revision = found.groups()
            if not self.repository(name):
                return
            if (commit := self.hub.find(name, revision)) is None:
                return self.answer(404, {"error": "Revision not found"}, X_Error_Code="RevisionNotFound")
            sha, files = commit
            if "/tree/" in path:
                tree = [
                    {"type": "file", "path": key, "size": len(data), "oid": _oid(data)} for key, data in files.items()
                ]
                return self.answer(200, tree)
            siblings = [{"rfilename": key} for key in files]
            return self.answer(200, {"id": name, "modelId": name, "sha": sha, "siblings": siblings, "private": False})
        if found := re.fullmatch(r"/(?:datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            name, revision, file = found.groups()
            if not self.repository(name):
                return
            commit = self.hub.find(name, revision)
            if commit is None or file not in commit[1]:
                return self.answer(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
            return self.answer(200, commit[1][file], ETag=f'"{_oid(commit[1][file])}"', X_Repo_Commit=commit[0])
        self.answer(404, {"error": path})

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"POST {path}")
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if not self.authorized():
            return self.answer(401, {"error": "Invalid credentials"})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            self.hub.commits.setdefault(name, [])
            return self.answer(200, {"url": f"{self.address()}/{name}", "id": name})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            return self.answer(200, {"files": [file | {"shouldIgnore": False} for file in files]})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            lines = [json.loads(line) for line in body.splitlines()]
            added = [line["value"] for line in lines if line["key"] == "file"]
            before = self.hub.commits[found[1]][-1] if self.hub.commits[found[1]] else {}
            sha = self.hub.add(found[1], before | {file["path"]: base64.b64decode(file["content"]) for file in added})
            url = f"{self.address()}/{found[1]}/commit/{sha}"
            return self.answer(200, {"commitUrl": url, "commitOid": sha, "success": True})
        self.answer(404, {"error": path})

    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def running_hub():
    """Serve a hub on a free port of this machine: yields the hub and its address."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
