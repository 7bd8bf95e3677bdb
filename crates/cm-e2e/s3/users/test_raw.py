"""Plain requests, without a client: anonymous ones and presigned addresses."""

import time

import pytest
import requests
from people import ENDPOINT, PREFIX, code, denied, presign, put, refused


def at(bucket, key=""):
    return f"{ENDPOINT}/{bucket}/{key}"


LISTS = ["private", "public-read", "public-read-write", "authenticated-read"]


@pytest.mark.parametrize("of_object", LISTS)
@pytest.mark.parametrize("of_bucket", LISTS)
def test_objects_for_everybody(main, alt, anybody, make, of_bucket, of_object):
    bucket = make(ACL=of_bucket)
    put(main, bucket, ACL=of_object)
    answer = requests.get(at(bucket, "k"))
    is_open = of_object.startswith("public")
    assert answer.status_code == (200 if is_open else 403)
    if is_open:
        assert answer.content == b"content" and answer.headers["etag"]
    seen = lambda call, **more: call(Bucket=bucket, **more)
    if of_object == "private":
        denied(seen, alt.s3.get_object, Key="k")
    else:
        seen(alt.s3.get_object, Key="k")
    lists = of_bucket.startswith("public")
    assert requests.get(at(bucket)).status_code == (200 if lists else 403)
    if of_bucket == "private":
        denied(seen, alt.s3.list_objects)
    else:
        seen(alt.s3.list_objects)
    writes = of_bucket == "public-read-write"
    # Leave to write objects is no leave to overwrite an object's list of grants.
    assert requests.put(at(bucket, "theirs"), data=b"x").status_code == (200 if writes else 403)
    assert requests.delete(at(bucket, "k")).status_code == (204 if writes else 403)
    denied(anybody.put_object_acl, Bucket=bucket, Key="theirs" if writes else "k", ACL="public-read")


def test_what_is_gone(main, make):
    bucket = make(ACL="public-read")
    put(main, bucket, ACL="public-read")
    main.s3.delete_object(Bucket=bucket, Key="k")
    assert code(requests.get(at(bucket, "k"))) == (404, "NoSuchKey")
    main.s3.delete_bucket(Bucket=bucket)
    assert code(requests.get(at(bucket, "k"))) == (404, "NoSuchBucket")
    assert code(requests.get(at(bucket))) == (404, "NoSuchBucket")


def test_a_missing_key_is_told_to_who_lists(main, anybody, make):
    shown, hidden = make(ACL="public-read"), make()
    assert refused(anybody.get_object, Bucket=shown, Key="missing") == (404, "NoSuchKey")
    assert refused(anybody.get_object, Bucket=hidden, Key="missing") == (403, "AccessDenied")
    assert refused(anybody.head_object, Bucket=shown, Key="missing") == (404, "404")


def test_anonymous_calls(anybody, main, bucket):
    denied(anybody.create_bucket, Bucket=PREFIX + "nobody-makes-this")
    denied(anybody.put_object, Bucket=bucket, Key="k", Body=b"")
    denied(anybody.get_bucket_acl, Bucket=bucket)
    denied(anybody.get_bucket_policy, Bucket=bucket)
    put(main, bucket)
    [error] = anybody.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]})["Errors"]
    assert (error["Key"], error["Code"]) == ("k", "AccessDenied")


@pytest.mark.parametrize("seconds, expected", [(1000, 200), (604800, 200), (604801, 403), (0, 403), (-7, 400)])
def test_how_long_addresses_are_good(main, bucket, seconds, expected):
    put(main, bucket)
    assert requests.get(presign(main, f"/{bucket}/k", seconds)).status_code in (expected, 403)
    if seconds > 0:
        address = main.s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=seconds)
        assert requests.get(address).status_code == expected


def test_an_address_ends(main, bucket):
    put(main, bucket)
    address = main.s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=1)
    deadline = time.monotonic() + 20
    while (answer := requests.get(address)).status_code == 200:
        assert time.monotonic() < deadline
    assert code(answer) == (403, "AccessDenied")


@pytest.mark.parametrize("field, header, value", [
    ("ResponseContentType", "content-type", "foo/bar"), ("ResponseContentLanguage", "content-language", "esperanto"),
    ("ResponseExpires", "expires", "Thu, 01 Dec 1994 16:00:00 GMT"), ("ResponseCacheControl", "cache-control", "no-cache"),
    ("ResponseContentDisposition", "content-disposition", "bla"), ("ResponseContentEncoding", "content-encoding", "aaa"),
])
def test_answers_are_said_otherwise(main, bucket, field, header, value):
    put(main, bucket, ACL="public-read")
    address = main.s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k", field: value})
    assert requests.get(address, stream=True).headers[header] == value
    name = "response-" + header
    assert requests.get(at(bucket, "k"), params={name: value}).status_code == 400


@pytest.mark.parametrize("call, arguments, method, expected", [
    ("put_object", {"Key": "k"}, "put", 200), ("get_object", {"Key": "there"}, "get", 200),
    ("head_object", {"Key": "there"}, "head", 200), ("delete_object", {"Key": "there"}, "delete", 204),
    ("list_objects_v2", {}, "get", 200), ("list_objects", {}, "get", 200), ("get_bucket_acl", {}, "get", 200),
    ("get_object_acl", {"Key": "there"}, "get", 200), ("head_bucket", {}, "head", 200),
    ("create_multipart_upload", {"Key": "k"}, "post", 200), ("list_multipart_uploads", {}, "get", 200),
    ("get_object_tagging", {"Key": "there"}, "get", 200), ("list_object_versions", {}, "get", 200),
])
def test_presigned_calls(main, alt, bucket, call, arguments, method, expected):
    put(main, bucket, "there")
    sign = lambda person: person.s3.generate_presigned_url(call, Params={"Bucket": bucket, **arguments})
    assert getattr(requests, method)(sign(main)).status_code == expected
    assert getattr(requests, method)(sign(alt)).status_code == 403
    other = {"get": requests.delete, "put": requests.get}.get(method, requests.patch)
    assert other(sign(main)).status_code in (400, 403, 405, 501)


def test_presigned_puts_say_grants(main, alt, anybody, bucket):
    sign = lambda **more: main.s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k", **more})
    plain = sign()
    assert requests.put(plain, data=b"x", headers={"x-amz-acl": "public-read"}).status_code == 403
    said = sign(ACL="public-read")
    answer = requests.put(said, data=b"x", headers={"x-amz-acl": "public-read"})
    assert answer.status_code == 200, answer.text
    assert requests.get(at(bucket, "k")).content == b"x"


def test_presigned_parts(main, bucket):
    begun = main.s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    where = {"Bucket": bucket, "Key": "k", "UploadId": begun}
    address = main.s3.generate_presigned_url("upload_part", Params={**where, "PartNumber": 1})
    etag = requests.put(address, data=b"content").headers["etag"]
    main.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert requests.get(main.s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})).content == b"content"


def test_both_ways_of_proof_at_once(main, bucket):
    put(main, bucket)
    address = main.s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    answer = requests.get(address, headers={"Authorization": "AWS4-HMAC-SHA256 Credential=x"})
    assert answer.status_code == 400
