"""An in-process Hugging Face Hub: its HTTP interface as far as creating, uploading and downloading
go."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeHub:
    """`with FakeHub() as hub:` serves at hub.address; hub.repositories is {id: {path: bytes}},
    hub.downloads the files that were read, hub.created the requests to create a repository,
    hub.refused the names that nobody may create."""

    def __init__(self):
        self.repositories, self.downloads, self.created = {}, [], []
        self.refused = set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                hub.post(self, self.path.split("?")[0], body)

            def do_GET(self):
                hub.get(self, self.path.split("?")[0], send_body=True)

            def do_HEAD(self):
                hub.get(self, self.path.split("?")[0], send_body=False)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()

    def commit_of(self, repository):
        state = sorted((p, hashlib.sha1(c).hexdigest()) for p, c in repository.items())
        return hashlib.sha1(json.dumps(state).encode()).hexdigest()

    def post(self, request, path, body):
        if path == "/api/validate-yaml":
            return reply(request, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            fields = json.loads(body)
            if fields["name"] in self.refused:
                return reply(request, {"error": "You may not write here"}, 403)
            self.created.append(fields)
            name = f"{fields.get('organization') or 'me'}/{fields['name']}"
            self.repositories.setdefault(name, {})
            return reply(request, {"url": f"{self.address}/{name}", "name": name, "id": name})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/[^/]+", path):
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                for f in json.loads(body)["files"]
            ]
            return reply(request, {"files": files})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/[^/]+", path):
            repository = self.repositories[found[1]]
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    repository[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            commit = self.commit_of(repository)
            url = f"{self.address}/{found[1]}/commit/{commit}"
            return reply(request, {"commitUrl": url, "commitOid": commit, "commitMessage": ""})
        return reply(request, {"error": f"unknown {path}"}, 404)

    def get(self, request, path, send_body):
        if path == "/api/whoami-v2":
            return reply(request, {"name": "me", "type": "user", "orgs": [], "auth": {}})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+)?", path):
            repository = self.repositories.get(found[1])
            if repository is None:
                return reply(request, {"error": "not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            siblings = [{"rfilename": name} for name in sorted(repository)]
            commit = self.commit_of(repository)
            if found[2] and found[2].removeprefix("/revision/") not in ("main", commit):
                missing = {"X-Error-Code": "RevisionNotFound"}
                return reply(request, {"error": "no such revision"}, 404, missing)
            info = {"id": found[1], "sha": commit, "siblings": siblings}
            return reply(request, info | {"private": False, "tags": [], "downloads": 0, "likes": 0})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+(/.*)?", path):
            entries = [
                {"type": "file", "path": p, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for p, c in sorted(self.repositories[found[1]].items())
            ]
            return reply(request, entries)
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            repository = self.repositories.get(found[1])
            if repository is None or found[3] not in repository:
                code = "RepoNotFound" if repository is None else "EntryNotFound"
                return reply(request, {"error": "not found"}, 404, {"X-Error-Code": code})
            content = repository[found[3]]
            if send_body:
                self.downloads.append(found[3])
            headers = {
                "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
                "X-Repo-Commit": self.commit_of(repository),
            }
            return reply(request, content, 200, headers, send_body)
        return reply(request, {"error": f"unknown {path}"}, 404)


def reply(request, content, status=200, headers=None, send_body=True):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    request.send_response(status)
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    if send_body:
        request.wfile.write(data)
