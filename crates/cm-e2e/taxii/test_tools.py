"""The libraries of the field: taxii2-client, stix2, stix2-validator, pymisp."""

import json

import pytest
import stix2
from pymisp import MISPEvent
from stix2validator import ValidationOptions, validate_string
from taxii2client.v21 import Server, as_pages

from conftest import ORIGIN, TOKEN, api, indicator


@pytest.fixture(scope="module")
def root():
    server = Server(f"{ORIGIN}/taxii2/", user="anything", password=TOKEN)
    assert server.default is server.api_roots[0]
    return server.default


@pytest.fixture(scope="module")
def reported():
    sources = ["198.51.100.23", "2001:db8::1", "evil.example", "https://evil.example/?a='b'", "edge <script>alert(1)</script>"]
    return [api("POST", "/intel/events", {"source_ip": source, "threat_type": 'SSH "Brute" Force', "severity": "high"}) for source in sources]


def find(root, alias):
    return next(each for each in root.collections if each.alias == alias)


def test_a_client_puts_in_and_takes_out(root, collection):
    found = find(root, collection.rsplit("/", 1)[1])
    assert found.can_read and found.can_write
    objects = [indicator() for _ in range(30)]
    status = found.add_objects({"objects": objects})
    assert status.status == "complete" and status.success_count == 30
    status.refresh()
    pages = list(as_pages(found.get_objects, per_request=7))
    assert [each["id"] for page in pages for each in page["objects"]] == [each["id"] for each in objects]
    assert len(found.get_manifest()["objects"]) == 30
    one = objects[0]["id"]
    assert found.get_object(one)["objects"][0]["id"] == one
    assert len(found.object_versions(one)["versions"]) == 1
    found.delete_object(one)
    assert found.get_objects(id=one) == {}


def test_events_are_valid_stix(root, reported):
    events = find(root, "events")
    objects = [each for page in as_pages(events.get_objects, per_request=100) for each in page["objects"]]
    kinds = {each["type"] for each in objects}
    assert {"identity", "indicator", "sighting", "extension-definition"} <= kinds
    for each in objects:
        # Check 103 recommends random ids; ours are derived from the event.
        result = validate_string(json.dumps(each), ValidationOptions(version="2.1", strict=True, disabled="103"))
        assert result.is_valid, (each, [str(error) for error in result.errors])
        stix2.parse(each, allow_custom=True)
    numbers = [each for each in objects if each["type"] == "indicator"]
    assert len({each["id"] for each in numbers}) == len(numbers) >= len(reported)


def test_an_exported_event_is_valid_and_comes_back(admin, reported):
    for event in reported:
        bundle = api("GET", f"/intel/events/{event['seq']}/stix")
        result = validate_string(json.dumps(bundle), ValidationOptions(version="2.1", strict=True, disabled="103"))
        assert result.is_valid, [str(error) for error in result.errors]
        stix2.parse(bundle, allow_custom=True)
        status = admin.post("/collections/events/objects/", bundle["objects"]).json()
        assert status["failure_count"] == 0
        indicator_ = next(each for each in bundle["objects"] if each["type"] == "indicator")
        forged = json.loads(json.dumps(indicator_))
        extension = next(iter(forged["extensions"].values()))
        extension["severity"] = "low"
        extension["event_id"] = "0" * 64
        assert admin.post("/collections/events/objects/", [forged]).json()["failure_count"] == 1


def test_an_exported_event_is_one_of_misp(reported):
    for event in reported:
        exported = MISPEvent()
        exported.load(api("GET", f"/intel/events/{event['seq']}/misp"))
        assert exported.info and any(each.to_ids for each in exported.attributes) or "script" in event["source_ip"]


def test_foreign_objects_are_refused_among_the_events(admin):
    status = admin.post("/collections/events/objects/", [indicator()]).json()
    assert status["failure_count"] == 1
