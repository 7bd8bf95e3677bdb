"""The specification (TAXII 2.1, OASIS Standard), section by section."""

import re
import uuid

import pytest
import requests

from conftest import ORIGIN, ROOT, TAXII, TOKEN, Client, bearer, indicator, malware

STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json().get("objects", [])]


# 3.3 media types, 4.1 discovery, 4.2 API root


@pytest.mark.parametrize("path", ["/taxii2/", "/taxii2", "/taxii2/cryptomesh/", "/taxii2/cryptomesh/collections/", "/taxii2/cryptomesh/collections"])
@pytest.mark.parametrize("accept", [TAXII, "application/taxii+json", "*/*", "application/json, text/plain, */*", None])
def test_answers_are_of_the_media_type(admin, path, accept):
    answer = admin.get(ORIGIN + path, accept=accept)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == TAXII


@pytest.mark.parametrize("accept", ["application/json", "text/html", "application/taxii+json;version=2.0", "application/vnd.oasis.taxii+json", "application/taxii+json;q=0"])
def test_other_formats_are_not_acceptable(admin, accept):
    answer = admin.get(f"{ORIGIN}/taxii2/", accept=accept)
    assert answer.status_code == 406
    assert answer.json()["http_status"] == "406"
    assert answer.headers["Content-Type"] == TAXII


def test_discovery_names_the_root(admin):
    found = admin.get(f"{ORIGIN}/taxii2/").json()
    assert found["title"] and found["default"] in found["api_roots"]


def test_the_root_says_versions_and_its_limit(admin):
    found = admin.get("/").json()
    assert found["title"] and TAXII in found["versions"] and found["max_content_length"] > 0


@pytest.mark.parametrize("path", ["/taxii2/nothing/", "/taxii2/cryptomesh/nothing/", "/taxii2/cryptomesh/collections/nothing/", f"/taxii2/cryptomesh/collections/{uuid.uuid4()}/", f"/taxii2/cryptomesh/collections/{uuid.uuid4()}/objects/", f"/taxii2/cryptomesh/status/{uuid.uuid4()}/"])
def test_what_is_not_there_is_not_found(admin, path):
    answer = admin.get(ORIGIN + path)
    assert answer.status_code == 404
    assert answer.json()["title"] and answer.headers["Content-Type"] == TAXII


# 3.2, 3.6.1 authentication and errors


@pytest.mark.parametrize("auth", [None, ("nobody", "x"), ("", ""), bearer("cmk_x"), bearer("x.y.z")])
@pytest.mark.parametrize("path", ["/taxii2/", "/taxii2/cryptomesh/collections/", "/taxii2/cryptomesh/collections/nothing/"])
def test_nobody_is_told_anything_without_a_credential(auth, path):
    answer = Client(auth).get(ORIGIN + path)
    assert answer.status_code == 401
    assert "Basic" in answer.headers["WWW-Authenticate"]
    assert answer.json()["title"]


def test_basic_takes_an_api_key_as_password():
    assert Client(("anything", TOKEN)).get(f"{ORIGIN}/taxii2/").status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_other_methods_are_refused(admin, method):
    assert admin.ask(method, "/collections/").status_code == 405


# 5.1, 5.2 collections


def test_collections_say_what_the_caller_may(admin, reader, collection):
    name = collection.rsplit("/", 1)[1]
    for client, writes in [(admin, True), (reader, False)]:
        listed = client.get("/collections/").json()["collections"]
        found = next(each for each in listed if each["alias"] == name)
        uuid.UUID(found["id"])
        assert found["title"] and found["can_read"] is True and found["can_write"] is writes
        assert "application/stix+json;version=2.1" in found["media_types"]
        by_id = client.get(f"/collections/{found['id']}/").json()
        assert by_id == found == client.get(f"{collection}/").json()


def test_the_events_of_the_mesh_are_there_for_who_may_see_them(admin, reader):
    aliases = lambda client: [each["alias"] for each in client.get("/collections/").json()["collections"]]
    assert "events" in aliases(admin) and "events" not in aliases(reader)
    assert reader.get("/collections/events/objects/").status_code in (403, 404)
    assert reader.post("/collections/events/objects/", [indicator()]).status_code in (403, 404)


# 5.5 adding objects, 4.3 status


def test_adding_is_accepted_and_its_status_kept(admin, collection):
    good, bad = indicator(), {"type": "indicator", "id": "indicator--x"}
    answer = admin.post(f"{collection}/objects/", [good, bad, 7])
    assert answer.status_code == 202
    status = answer.json()
    assert (status["status"], status["total_count"], status["success_count"], status["failure_count"], status["pending_count"]) == ("complete", 3, 1, 2, 0)
    assert status["successes"][0]["id"] == good["id"] and STAMP.match(status["successes"][0]["version"])
    assert {each["id"] for each in status["failures"]} == {"indicator--x", "unknown"}
    assert STAMP.match(status["request_timestamp"])
    assert admin.get(f"/status/{status['id']}/").json() == status


def test_a_status_is_for_whoever_posted(admin, reader, collection):
    status = admin.post(f"{collection}/objects/", [indicator()]).json()["id"]
    assert reader.get(f"/status/{status}/").status_code == 404


def test_the_same_version_again_changes_nothing(admin, collection):
    one = indicator()
    admin.post(f"{collection}/objects/", [one])
    assert admin.post(f"{collection}/objects/", [{**one, "name": "other"}]).json()["success_count"] == 1
    assert "name" not in admin.get(f"{collection}/objects/").json()["objects"][0]


@pytest.mark.parametrize("content", ["application/json", "application/stix+json;version=2.1", "application/taxii+json;version=2.0", "text/plain", "*/*"])
def test_other_bodies_are_unsupported(admin, collection, content):
    assert admin.post(f"{collection}/objects/", [indicator()], content=content).status_code == 415


def test_a_body_without_a_version_is_taken(admin, collection):
    assert admin.post(f"{collection}/objects/", [indicator()], content="application/taxii+json").status_code == 202


@pytest.mark.parametrize("body,status", [("{", 400), ("", 400), ("{}", 422), ('{"objects":[]}', 422), ("[]", 422), ('{"objects":{}}', 422)])
def test_what_is_no_envelope_is_refused(admin, collection, body, status):
    assert admin.ask("POST", f"{collection}/objects/", data=body).status_code == status


def test_a_reader_puts_nothing_in(reader, collection):
    assert reader.post(f"{collection}/objects/", [indicator()]).status_code == 403
    assert reader.ask("DELETE", f"{collection}/objects/{indicator()['id']}/").status_code in (403, 404)


def test_too_much_is_refused_before_it_is_sent(admin, collection):
    import http.client
    from urllib.parse import urlparse

    at = urlparse(ROOT)
    line = http.client.HTTPConnection(at.hostname, at.port, timeout=10)
    line.putrequest("POST", f"{at.path}{collection}/objects/")
    for name, value in [("Authorization", f"Bearer {TOKEN}"), ("Content-Type", TAXII), ("Accept", TAXII), ("Content-Length", str(1 << 40))]:
        line.putheader(name, value)
    line.endheaders()
    # Not a byte of the body was sent.
    assert line.getresponse().status == 413


def test_deep_nesting_is_the_objects_own_failure(admin, collection):
    deep = "[" * 5000 + "]" * 5000
    answer = admin.ask("POST", f"{collection}/objects/", data='{"objects":[' + deep + "]}")
    assert answer.status_code == 202 and answer.json()["failure_count"] == 1


# 5.4, 5.6 objects


def test_nothing_is_an_empty_object(admin, collection):
    for path in ["objects", "manifest"]:
        assert admin.get(f"{collection}/{path}/").json() == {}


def test_objects_come_back_as_they_were_written(admin, collection):
    one = indicator(name=None, x_note="ünï \u0000 </script>", x_number=1.50)
    admin.post(f"{collection}/objects/", [one])
    assert admin.get(f"{collection}/objects/").json() == {"objects": [one]}
    assert admin.get(f"{collection}/objects/{one['id']}/").json() == {"objects": [one]}


def test_an_object_that_is_not_there_is_not_found(admin, collection):
    for path in ["", "versions/"]:
        assert admin.get(f"{collection}/objects/{indicator()['id']}/{path}").status_code == 404
    assert admin.ask("DELETE", f"{collection}/objects/{indicator()['id']}/").status_code == 404


@pytest.fixture
def versioned(admin, collection):
    """One object in three versions, one in one, one of another type."""
    first = indicator()
    later = [{**first, "modified": f"2026-0{month}-01T00:00:00.000Z"} for month in (3, 2)]
    other, third = indicator(), malware()
    for one in [first, other, *later, third]:
        assert admin.post(f"{collection}/objects/", [one]).json()["success_count"] == 1
    return collection, first["id"], other["id"], third["id"]


@pytest.mark.parametrize("filter,expected", [
    ("", ["other@1", "first@3", "third@1"]),
    ("match[version]=last", ["other@1", "first@3", "third@1"]),
    ("match[version]=first", ["first@1", "other@1", "third@1"]),
    ("match[version]=all", ["first@1", "other@1", "first@3", "first@2", "third@1"]),
    ("match[version]=first,last", ["first@1", "other@1", "first@3", "third@1"]),
    ("match[version]=2026-02-01T00:00:00.000Z", ["first@2"]),
    ("match[version]=2026-02-01T00:00:00Z,last", ["other@1", "first@3", "first@2", "third@1"]),
    ("match[type]=malware", ["third@1"]),
    ("match[type]=malware,indicator", ["other@1", "first@3", "third@1"]),
    ("match[type]=report", []),
    ("match[spec_version]=2.1", ["other@1", "first@3", "third@1"]),
    ("match[spec_version]=2.0", []),
    ("match[spec_version]=9.9", []),
    ("match[type]=indicator&match[version]=first", ["first@1", "other@1"]),
])
def test_filters(admin, versioned, filter, expected):
    collection, first, other, third = versioned
    names = {first: "first", other: "other", third: "third"}
    objects = admin.get(f"{collection}/objects/?{filter}").json().get("objects", [])
    assert [f"{names[each['id']]}@{int(each['modified'][5:7])}" for each in objects] == expected
    manifest = admin.get(f"{collection}/manifest/?{filter}").json().get("objects", [])
    assert [f"{names[each['id']]}@{int(each['version'][5:7])}" for each in manifest] == expected


def test_ids_are_matched_exactly(admin, versioned):
    collection, first, other, _ = versioned
    assert ids(admin.get(f"{collection}/objects/", params={"match[id]": f"{first},{other}"})) == [other, first]
    assert ids(admin.get(f"{collection}/objects/", params={"match[id]": first[:-1]})) == []
    assert ids(admin.get(f"{collection}/objects/", params={"match[id]": first, "match[type]": "malware"})) == []


HOSTILE = ["' OR '1'='1", "*", "%", ".*", '{"$ne":null}', "a--b' --", "\x00", "../../etc/passwd", "indicator", "<script>", "1; DROP TABLE", "\u202e"]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_filter_is_a_value_whatever_it_looks_like(admin, versioned, value):
    for name in ["match[id]", "match[type]"]:
        if name == "match[type]" and value == "indicator":
            continue
        assert ids(admin.get(f"{versioned[0]}/objects/", params={name: value})) == []
    for name in ["match[version]", "added_after", "next", "limit"]:
        assert admin.get(f"{versioned[0]}/objects/", params={name: value}).status_code == 400


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "limit=", "limit=1.5", "next=x", "added_after=2026", "added_after=2026-01-01T00:00:00+01:00", "match[version]=newest", "match[id]=", "match[id]=a,,b", "match[id]=a&match[id]=b", "match[$where]=1", "match[id][$ne]=x", "match[name]=x"])
def test_what_a_filter_cannot_mean_is_refused(admin, collection, query):
    answer = admin.get(f"{collection}/objects/?{query}")
    assert answer.status_code == 400
    assert answer.json()["details"]["parameter"]


# 3.4, 3.5 pages


def test_pages_are_stable_under_inserts(admin, collection):
    first = [indicator() for _ in range(25)]
    admin.post(f"{collection}/objects/", first)
    seen, next_ = [], None
    while True:
        answer = admin.get(f"{collection}/objects/", params={"limit": 4, **({"next": next_} if next_ else {})})
        body = answer.json()
        seen += [each["id"] for each in body["objects"]]
        if len(seen) < 25:
            assert body["more"] is True and len(body["objects"]) == 4
            admin.post(f"{collection}/objects/", [malware()])
        if not body.get("more"):
            break
        next_ = body["next"]
    assert seen[:25] == [each["id"] for each in first] and len(seen) == len(set(seen))


def test_added_after_is_strict_and_moments_are_unique(admin, collection):
    admin.post(f"{collection}/objects/", [indicator() for _ in range(10)])
    answer = admin.get(f"{collection}/manifest/")
    moments = [each["date_added"] for each in answer.json()["objects"]]
    assert all(STAMP.match(moment) for moment in moments) and moments == sorted(set(moments))
    assert answer.headers["X-TAXII-Date-Added-First"] == moments[0] and answer.headers["X-TAXII-Date-Added-Last"] == moments[-1]
    after = admin.get(f"{collection}/manifest/", params={"added_after": moments[3]}).json()["objects"]
    assert [each["date_added"] for each in after] == moments[4:]
    assert admin.get(f"{collection}/objects/", params={"added_after": moments[-1]}).json() == {}


def test_a_full_page_promises_nothing_behind_the_last(admin, collection):
    admin.post(f"{collection}/objects/", [indicator() for _ in range(3)])
    body = admin.get(f"{collection}/objects/", params={"limit": 3}).json()
    assert len(body["objects"]) == 3 and not body.get("more") and "next" not in body


# 5.7, 5.8 deleting, versions


def test_versions_are_the_newest_first_and_paged(admin, versioned):
    collection, first, *_ = versioned
    path = f"{collection}/objects/{first}/versions/"
    all_ = admin.get(path).json()["versions"]
    assert [int(each[5:7]) for each in all_] == [3, 2, 1]
    page = admin.get(path, params={"limit": 2}).json()
    assert page["versions"] == all_[:2] and page["more"] is True
    assert admin.get(path, params={"limit": 2, "next": page["next"]}).json() == {"versions": all_[2:]}
    assert admin.get(path, params={"match[version]": "all"}).status_code == 400


def test_deleting_takes_the_newest_version_or_those_asked_for(admin, versioned):
    collection, first, *_ = versioned
    path = f"{collection}/objects/{first}/"
    left = lambda: [int(each[5:7]) for each in admin.get(f"{path}versions/").json()["versions"]]
    assert admin.ask("DELETE", path).status_code == 200 and left() == [2, 1]
    assert admin.ask("DELETE", path, params={"match[version]": "first"}).status_code == 200 and left() == [2]
    assert admin.ask("DELETE", path, params={"match[version]": "all"}).status_code == 200
    assert admin.get(path).status_code == 404
    assert admin.ask("DELETE", path, params={"match[id]": "x"}).status_code == 400


def test_events_are_not_deleted(admin):
    assert admin.ask("DELETE", f"/collections/events/objects/{indicator()['id']}/").status_code in (403, 404)
