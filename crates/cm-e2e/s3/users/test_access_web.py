"""Pages of the web: CORS and forms. Presigned addresses."""

import base64
import datetime
import hashlib
import hmac
import json

import pytest
import requests
from people import ENDPOINT, refused

RULE = {"AllowedOrigins": ["*.example"], "AllowedMethods": ["GET"], "AllowedHeaders": ["x-amz-*"], "ExposeHeaders": ["ETag"]}


def address(bucket, key=""):
    return f"{ENDPOINT}/{bucket}/{key}" if key else f"{ENDPOINT}/{bucket}"


def test_rules_read_back(main, bucket):
    assert refused(main.s3.get_bucket_cors, Bucket=bucket) == (404, "NoSuchCORSConfiguration")
    main.s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [RULE]})
    assert main.s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == [RULE]
    main.s3.delete_bucket_cors(Bucket=bucket)
    assert refused(main.s3.get_bucket_cors, Bucket=bucket)[0] == 404


def test_pages_see_what_they_may(main, make):
    bucket = make(ACL="public-read")
    main.s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [RULE]})

    def allowed(answer):
        return answer.headers.get("access-control-allow-origin")

    page = {"Origin": "a.example"}
    assert allowed(requests.get(address(bucket), headers=page)) == "a.example"
    assert allowed(requests.get(address(bucket), headers={"Origin": "a.other"})) is None
    missing = requests.get(address(bucket, "missing"), headers=page)
    assert (missing.status_code, allowed(missing)) == (404, "a.example")
    refusal = requests.put(address(bucket, "k"), headers=page)
    assert (refusal.status_code, allowed(refusal)) == (403, None)
    asked = {**page, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-amz-date"}
    answer = requests.options(address(bucket, "k"), headers=asked)
    assert (answer.status_code, allowed(answer), answer.headers["access-control-allow-methods"]) == (
        200, "a.example", "GET")
    for change in ({"Origin": "x"}, {"Access-Control-Request-Method": "PUT"}, {"Access-Control-Request-Headers": "x"}):
        assert requests.options(address(bucket, "k"), headers={**asked, **change}).status_code == 403
    assert requests.options(address(bucket), headers=page).status_code == 400


def form(person, bucket, second=False, seconds=600, drop=(), change=None, **fields):
    """A form with a policy that allows just this."""
    now = datetime.datetime.now(datetime.timezone.utc)
    fields = {"key": "k", "acl": "private", "Content-Type": "text/plain", **fields}
    if not second:
        day, moment = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
        fields.update({
            "x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-date": moment,
            "x-amz-credential": f"{person.key}/{day}/us-east-1/s3/aws4_request",
        })
    conditions = [{"bucket": bucket}, ["content-length-range", 2, 100]] + [{n: v} for n, v in fields.items()]
    until = (now + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    policy = {"expiration": until, "conditions": [c for c in conditions if not set(c) & set(drop)]}
    (change or (lambda p: None))(policy)
    encoded = base64.b64encode(json.dumps(policy).encode())
    fields["policy"] = encoded.decode()
    if second:
        fields["AWSAccessKeyId"] = person.key
        mac = hmac.new(person.secret.encode(), encoded, hashlib.sha1).digest()
        fields["signature"] = base64.b64encode(mac).decode()
    else:
        key = f"AWS4{person.secret}".encode()
        for part in (day, "us-east-1", "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        fields["x-amz-signature"] = hmac.new(key, encoded, hashlib.sha256).hexdigest()
    return fields


def send(bucket, fields, content=b"content", name="file.txt"):
    return requests.post(address(bucket), data=fields, files={"file": (name, content)}, allow_redirects=False)


@pytest.mark.parametrize("second", [False, True])
def test_signed_forms_store_their_file(main, bucket, second):
    fields = form(main, bucket, second, **{"x-amz-meta-colour": "red"})
    assert send(bucket, fields).status_code == 204
    found = main.s3.get_object(Bucket=bucket, Key="k")
    assert (found["Body"].read(), found["ContentType"], found["Metadata"]) == (b"content", "text/plain", {"colour": "red"})


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("spoil, status", [
    (lambda f: f.update(policy=f["policy"][:-4] + "AAA="), 403),
    (lambda f: f.update({"x-amz-meta-more": "1"}), 403),
    (lambda f: f.update(acl="public-read"), 403),
    (lambda f: f.update(key="other"), 403),
    (lambda f: f.pop("key"), 400),
    (lambda f: [f.pop(n, None) for n in ("signature", "x-amz-signature")], 400),
])
def test_forms_are_what_their_policy_says(main, bucket, second, spoil, status):
    fields = form(main, bucket, second)
    spoil(fields)
    assert send(bucket, fields).status_code == status
    assert refused(main.s3.head_object, Bucket=bucket, Key="k")[0] == 404


def test_policies_of_forms(main, alt, bucket):
    assert send(bucket, form(main, bucket, seconds=-1)).status_code == 403
    assert send(bucket, form(main, bucket, drop=["bucket"])).status_code == 403
    assert send(bucket, form(main, bucket, change=lambda p: p.pop("conditions"))).status_code == 400
    assert send(bucket, form(main, bucket, change=lambda p: p.pop("expiration"))).status_code == 400
    assert send(bucket, form(main, bucket), b"c").status_code == 400
    assert send(bucket, form(main, bucket), b"c" * 101).status_code == 400
    # Whoever signs must be allowed to write.
    assert send(bucket, form(alt, bucket)).status_code == 403
    assert main.s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_unsigned_forms_reach_what_is_open(main, make, bucket):
    fields = {"key": "up/${filename}", "acl": "public-read", "success_action_status": "201"}
    assert send(bucket, fields).status_code == 403
    is_open = make(ACL="public-read-write")
    answer = send(is_open, fields)
    assert answer.status_code == 201 and "<Key>up/file.txt</Key>" in answer.text
    assert requests.get(address(is_open, "up/file.txt")).content == b"content"
    answer = send(is_open, {"key": "k", "success_action_redirect": "http://h.example/p"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"http://h.example/p?bucket={is_open}&key=k&etag=%22")


def test_presigned_addresses(main, bucket):
    def sign(operation, seconds=60, **more):
        return main.s3.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": "k", **more}, ExpiresIn=seconds)

    assert requests.put(sign("put_object"), data=b"content").status_code == 200
    assert requests.get(sign("get_object")).content == b"content"
    good = sign("get_object")
    assert requests.get(good[:-1] + ("0" if good[-1] != "0" else "1")).status_code == 403
    assert requests.get(sign("get_object", seconds=604801)).status_code == 403
    assert requests.put(sign("get_object"), data=b"").status_code == 403
    assert requests.get(address(bucket, "k")).status_code == 403


@pytest.mark.parametrize("name", ["a", "aa", "Upper", "foo_bar", "foo-", "foo..bar", "foo.-bar", "192.168.5.123", "x" * 64])
def test_names_that_no_bucket_can_have(name):
    assert requests.put(address(name)).status_code in (400, 403)


def test_forms_drop_nothing(main, make):
    bucket = make(ObjectLockEnabledForBucket=True)
    until = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": until,
            "x-amz-object-lock-legal-hold": "OFF", "expires": "Wed, 21 Oct 2065 07:28:00 GMT"}
    assert send(bucket, form(main, bucket, **said)).status_code == 204
    found = main.s3.head_object(Bucket=bucket, Key="k")
    assert (found["ObjectLockMode"], found["ObjectLockLegalHoldStatus"]) == ("GOVERNANCE", "OFF")
    assert found["ExpiresString"] == said["expires"]
    for name in ("x-amz-tagging", "x-amz-copy-source", "x-amz-something-new"):
        assert send(bucket, form(main, bucket, **{name: "a=b"})).status_code == 400, name
    assert send(bucket, form(main, bucket, **{"x-amz-website-redirect-location": "/o"})).status_code == 501


def test_conditions_see_the_tags_of_forms(main, make):
    bucket = make()
    denial = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*",
              "Condition": {"StringEquals": {"s3:RequestObjectTag/a": "1"}}}
    main.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": denial}))

    def tagged(value):
        document = f"<Tagging><TagSet><Tag><Key>a</Key><Value>{value}</Value></Tag></TagSet></Tagging>"
        return send(bucket, form(main, bucket, tagging=document)).status_code

    assert (tagged(1), tagged(2)) == (403, 204)
