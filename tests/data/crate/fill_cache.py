"""Fill the HTTP cache of roc-validator from files, so that it asks no network: CACHE URL=FILE ... Runs in the environment of the tools."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from urllib3 import HTTPResponse


class Files(HTTPAdapter):
    """Answers with a file."""

    def __init__(self, files: dict[str, str]) -> None:
        super().__init__()
        self.files = files

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        headers = {"Content-Type": "application/ld+json"}
        body = io.BytesIO(Path(self.files[str(request.url)]).read_bytes())
        raw = HTTPResponse(body=body, headers=headers, status=200, preload_content=False, request_url=request.url)
        return self.build_response(request, raw)


files = dict(pair.split("=", 1) for pair in sys.argv[2:])
session = CachedSession(cache_name=sys.argv[1], expire_after=-1, backend="sqlite", allowable_methods=("GET",))
session.mount("https://", Files(files))
for url in files:
    for headers in ({}, {"Accept": "application/ld+json, application/json"}):
        session.get(url, headers=headers).raise_for_status()
