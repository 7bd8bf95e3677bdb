"""What every check of TAXII needs: a running node, its administrator, somebody with few rights, and a collection.

`cargo xtask taxii` starts a node and sets the variables; see docs/guide/taxii.md.
"""

import itertools
import os
import uuid

import pytest
import requests

ORIGIN = os.environ["CRYPTOMESH_URL"]
TOKEN = os.environ["CRYPTOMESH_TOKEN"]
ROOT = f"{ORIGIN}/taxii2/cryptomesh"
TAXII = "application/taxii+json;version=2.1"
RUN = uuid.uuid4().hex[:8]
NAMES = itertools.count()


class Client:
    """Speaks TAXII with a credential."""

    def __init__(self, auth):
        self.session = requests.Session()
        self.session.auth = auth

    def ask(self, method, path, *, accept=TAXII, content=TAXII, **more):
        url = path if path.startswith("http") else f"{ROOT}{path}"
        headers = {"Accept": accept, **({"Content-Type": content} if "data" in more or "json" in more else {}), **more.pop("headers", {})}
        return self.session.request(method, url, headers={name: value for name, value in headers.items() if value is not None}, timeout=30, **more)

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def post(self, path, objects, **more):
        return self.ask("POST", path, json={"objects": objects}, **more)


def bearer(token):
    def add(request):
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return add


def api(method, path, body=None):
    answer = requests.request(method, f"{ORIGIN}/api/v1{path}", json=body, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
    assert answer.ok, (method, path, answer.status_code, answer.text)
    return answer.json() if answer.content else None


@pytest.fixture(scope="session")
def admin():
    return Client(bearer(TOKEN))


@pytest.fixture(scope="session")
def reader():
    """Reads collections, and nothing else; comes by name and password."""
    role, name, password = f"reader-{RUN}", f"reader-{RUN}", "a password of some length"
    api("POST", "/roles", {"id": role, "permissions": ["threat-collection:read", "threat-collection:list"]})
    api("POST", "/principals", {"id": name, "roles": [role]})
    api("PUT", f"/principals/{name}/password", {"password": password})
    return Client((name, password))


@pytest.fixture
def collection():
    """A new collection; its path below the API root."""
    name = f"feed-{RUN}-{next(NAMES)}"
    api("POST", "/threat-collections", {"id": name, "description": "for checks"})
    return f"/collections/{name}"


def indicator(*, name=None, modified="2026-01-01T00:00:00.000Z", **more):
    return {
        "type": "indicator", "spec_version": "2.1", "id": name or f"indicator--{uuid.uuid4()}", "created": "2026-01-01T00:00:00.000Z", "modified": modified,
        "pattern": "[ipv4-addr:value = '198.51.100.1']", "pattern_type": "stix", "valid_from": "2026-01-01T00:00:00Z", **more,
    }


def malware():
    return {"type": "malware", "spec_version": "2.1", "id": f"malware--{uuid.uuid4()}", "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z", "is_family": False, "name": "x"}
