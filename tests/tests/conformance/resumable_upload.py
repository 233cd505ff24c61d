"""Uploads a file by tuspy, with two interruptions: one between two parts, one within a part."""

import hashlib
import http.client
import json
import os
import sys
import time
import urllib.parse

import requests
from tusclient.client import TusClient

path, url, key = sys.argv[1:]
PART = 1 << 20
authorization = {"Authorization": f"Bearer {key}"}
options = {"csv": {"nullValues": ["NA"], "compression": "gzip"}}
metadata = {"name": "nyc-flights", "format": "csv", "options": json.dumps(options)}
size = os.path.getsize(path)
assert size > 6 * PART, size

first = TusClient(f"{url}/v1/uploads", headers=dict(authorization)).uploader(path, chunk_size=PART, metadata=metadata)
for _ in range(3):
    first.upload_chunk()
assert first.offset == 3 * PART, first.offset
address = first.url

# A part of which half comes before the connection breaks.
host = urllib.parse.urlsplit(address)
broken = http.client.HTTPConnection(host.hostname, host.port or 80, timeout=30)
broken.putrequest("PATCH", host.path)
for name, value in {
    **authorization,
    "Tus-Resumable": "1.0.0",
    "Upload-Offset": str(3 * PART),
    "Content-Type": "application/offset+octet-stream",
    "Content-Length": str(PART),
}.items():
    broken.putheader(name, value)
broken.endheaders()
with open(path, "rb") as file:
    file.seek(3 * PART)
    broken.send(file.read(PART // 2))
time.sleep(0.5)
broken.close()

# Another client knows the address and nothing else. What came of the half is kept, at most a moment later.
until = time.monotonic() + 30
while True:
    second = TusClient(f"{url}/v1/uploads", headers=dict(authorization)).uploader(path, url=address, chunk_size=2 * PART)
    if second.offset > 3 * PART:
        break
    assert time.monotonic() < until, second.offset
    time.sleep(0.2)
assert second.offset <= 3 * PART + PART // 2, second.offset
second.upload()
assert second.offset == size, second.offset

session = requests.Session()
session.headers.update(authorization)
until = time.monotonic() + 120
while (upload := session.get(address, timeout=60).json())["status"] == "finishing":
    assert time.monotonic() < until, upload
    time.sleep(0.2)
assert upload["version"] == 1, upload
version = session.get(f"{url}/v1/datasets/nyc-flights/versions/1", timeout=60).json()
with open(path, "rb") as file:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
assert (version["sha256"], version["bytes"]) == (digest, size), version
content = session.get(f"{url}/v1/datasets/nyc-flights/versions/1/content", timeout=60)
assert content.status_code == 200 and hashlib.sha256(content.content).hexdigest() == digest, content.headers
