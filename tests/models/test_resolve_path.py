"""A model is downloaded once: only what is needed, from a hub that runs on this machine."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from support.tiny_models import tiny_bert

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = """
import sys
from tunesmith.models import heads
from tunesmith.errors import TunesmithError
from tunesmith.models.spec import resolve_model

for path in sys.argv[1:]:
    name, _, revision = path.partition("@")
    options = {"labels": ["a", "b"], "head": heads.SINGLE_LABEL}
    try:
        source = resolve_model(name, revision=revision or None, **options)
        print(source.revision, *sorted(file.name for file in source.folder.iterdir()))
    except TunesmithError as error:
        print(error)
"""


class Hub(BaseHTTPRequestHandler):
    """Answers as huggingface.co does for one repository, some/bert."""

    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        name = path.rpartition("/")[2]
        if path.startswith("/api/models/some/bert/tree/"):
            self.answer(json.dumps([self.entry(file) for file in self.files]).encode())
        elif path in ("/api/models/some/bert", "/api/models/some/bert/revision/main"):
            names = [{"rfilename": file} for file in self.files]
            self.answer(json.dumps({"id": "some/bert", "sha": COMMIT, "siblings": names}).encode())
        elif path == f"/some/bert/resolve/{COMMIT}/{name}":
            self.answer(self.files[name])
        elif path.startswith("/api/models/some/broken"):
            self.refuse(503, "")
        else:
            known = path.startswith("/api/models/some/bert")
            self.refuse(404, "RevisionNotFound" if known else "RepoNotFound")

    def entry(self, file: str) -> dict[str, object]:
        content = self.files[file]
        oid = hashlib.sha1(content).hexdigest()
        return {"type": "file", "path": file, "size": len(content), "oid": oid}

    def answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path) -> Iterator[tuple[str, list[str]]]:
    folder = tiny_bert(tmp_path / "m")
    unwanted = ("pytorch_model.bin", "model.onnx", "modeling.py", "README.md")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    handler = type("Handler", (Hub,), {"files": files | dict.fromkeys(unwanted, b"x"), "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler.asked
    server.shutdown()
    server.server_close()


def test_a_model_is_downloaded_once_and_only_its_safe_files(hub, tmp_path: Path):
    address, asked = hub
    environment = os.environ | {
        "HF_ENDPOINT": address,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "0",
        "TRANSFORMERS_OFFLINE": "0",
        "no_proxy": "127.0.0.1",
    }
    paths = ["some/bert", "some/bert", "some/other", "some/bert@nope", "some/broken"]
    program = [sys.executable, "-c", PROGRAM, *paths]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    taken = f"{COMMIT} config.json model.safetensors tokenizer.json tokenizer_config.json"
    assert done.stdout.splitlines() == [
        taken,
        taken,
        "error[MODEL-404] some/other: neither a directory here nor on the hub",
        "error[MODEL-404] some/bert: has no revision 'nope'",
        "error[MODEL-404] some/broken: not in the local cache; the hub answered 503",
    ]
    assert asked.count("/api/models/some/bert") == 1  # the second time from the cache
    assert not [path for path in asked if "pytorch_model" in path or "modeling" in path]
