"""What answers say, and what they do not: headers, names of versions, letters, things that are not there."""

import json
import re

import pytest
import requests
from people import ENDPOINT, code, denied, presign, put, read, refused, send

CACHE = "cache-control"


def headers(answer):
    return answer["ResponseMetadata"]["HTTPHeaders"]


def test_objects_are_kept_as_their_writers_said(main, anybody, bucket):
    put(main, bucket, ACL="public-read")
    put(main, bucket, "said", CacheControl="max-age=7", ACL="public-read")
    for s3 in (main.s3, anybody):
        for call in (s3.get_object, s3.head_object):
            assert CACHE not in headers(call(Bucket=bucket, Key="k"))
            assert headers(call(Bucket=bucket, Key="said"))[CACHE] == "max-age=7"
    etag = main.s3.head_object(Bucket=bucket, Key="k")["ETag"]
    fresh = requests.get(f"{ENDPOINT}/{bucket}/k", headers={"If-None-Match": etag})
    assert fresh.status_code == 304 and CACHE not in fresh.headers
    assert CACHE not in requests.get(f"{ENDPOINT}/{bucket}/k", headers={"Range": "bytes=0-0"}).headers
    missing = requests.get(presign(main, f"/{bucket}/missing", 60))
    assert missing.status_code == 404 and missing.headers[CACHE] == "no-store"
    assert headers(main.s3.list_objects_v2(Bucket=bucket))[CACHE] == "no-store"


def test_what_is_not_there_is_told_to_those_who_may_list(main, alt, anybody, bucket):
    put(main, bucket)
    statement = {
        "Effect": "Allow", "Principal": "*", "Resource": f"arn:aws:s3:::{bucket}/*",
        "Action": ["s3:GetObject", "s3:GetObjectTagging", "s3:GetObjectAttributes"],
    }
    tell = lambda *statements: main.s3.put_bucket_policy(
        Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    )
    tell(statement)
    where = {"Bucket": bucket, "Key": "missing"}
    calls = lambda s3: (
        lambda: s3.get_object(**where), lambda: s3.head_object(**where), lambda: s3.get_object_tagging(**where),
        lambda: s3.get_object_attributes(**where, ObjectAttributes=["ETag"]), lambda: s3.get_object(**where, PartNumber=1),
    )
    for s3 in (alt.s3, anybody):
        assert read(s3, bucket) == b"content"
        for call in calls(s3):
            denied(call)
    assert refused(alt.s3.get_object, **where) == (403, "AccessDenied")
    assert refused(alt.s3.copy_object, Bucket=bucket, Key="copy", CopySource=f"{bucket}/missing")[0] == 403
    listing = {"Effect": "Allow", "Principal": "*", "Resource": f"arn:aws:s3:::{bucket}", "Action": "s3:ListBucket"}
    tell(statement, listing)
    for s3 in (main.s3, alt.s3, anybody):
        for call in calls(s3):
            assert refused(call)[0] == 404


def test_listings_name_checksums(main, bucket):
    main.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    put(main, bucket, ChecksumAlgorithm="SHA256")
    main.fresh(request_checksum_calculation="when_required").put_object(Bucket=bucket, Key="plain", Body=b"x")
    for call, items in (("list_objects", "Contents"), ("list_objects_v2", "Contents"), ("list_object_versions", "Versions")):
        summed, plain = getattr(main.s3, call)(Bucket=bucket)[items]
        assert (summed["ChecksumAlgorithm"], summed["ChecksumType"]) == (["SHA256"], "FULL_OBJECT"), call
        assert "ChecksumAlgorithm" not in plain and "ChecksumType" not in plain


@pytest.mark.parametrize("status", ["Enabled", "Suspended"])
def test_what_was_written_before_is_the_null_version(main, bucket, status):
    put(main, bucket)
    assert "VersionId" not in main.s3.get_object(Bucket=bucket, Key="k")
    main.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
    tags = {"Tagging": {"TagSet": [{"Key": "a", "Value": "b"}]}}
    for call, more in (
        ("get_object", {}), ("head_object", {}), ("put_object_tagging", tags), ("get_object_tagging", {}), ("delete_object_tagging", {}),
        ("get_object_attributes", {"ObjectAttributes": ["ETag"]}),
    ):
        assert getattr(main.s3, call)(Bucket=bucket, Key="k", **more)["VersionId"] == "null", call
    copied = main.s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    assert copied["CopySourceVersionId"] == "null"
    assert (copied.get("VersionId", "null") != "null") == (status == "Enabled")


def test_a_policy_that_denies_all_others_hides_no_version(main, bucket):
    """It denies the node, too, what it looks up for itself."""
    put(main, bucket)
    main.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    statement = {
        "Effect": "Deny", "NotPrincipal": {"AWS": f"arn:aws:iam:::user/{main.id}"}, "Action": "s3:*", "Resource": "*",
    }
    main.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statement}))
    assert main.s3.head_object(Bucket=bucket, Key="k")["VersionId"] == "null"


@pytest.mark.parametrize("letter", ["\r", "\x01", "\x1f"])
def test_letters_that_xml_has_no_place_for(main, bucket, letter):
    encoded = f"%{ord(letter):02X}"
    answer = send(main, "GET", f"/{bucket}?list-type=2&prefix=a{encoded}b")
    reference = "&#13;" if letter == "\r" else f"&#x{ord(letter):X};"
    assert answer.status_code == 200 and f"<Prefix>a{reference}b</Prefix>" in answer.text
    if letter != "\r":
        body = f"<Tagging><TagSet><Tag><Key>a{letter}</Key><Value>b</Value></Tag></TagSet></Tagging>".encode()
        assert code(send(main, "PUT", f"/{bucket}?tagging", body=body)) == (400, "MalformedXML")


def test_what_objects_hold_is_sent_as_it_is(main, bucket):
    put(main, bucket, body=b"<a>\r\x01</a>", ContentType="application/xml")
    assert read(main.s3, bucket) == b"<a>\r\x01</a>"


def test_refusals_say_why_and_whose(main, bucket):
    for path in (f"/{bucket}?max-keys=x", f"/{bucket}/k?partNumber=x"):
        answer = send(main, "GET", path)
        assert answer.status_code == 400 and re.search("<Message>.+</Message>", answer.text)
        assert f"<RequestId>{answer.headers['x-amz-request-id']}</RequestId>" in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_version_has_a_name(main, bucket, method):
    put(main, bucket)
    answer = send(main, method, f"/{bucket}/k?versionId=")
    assert answer.status_code == 400
    assert method == "HEAD" or code(answer) == (400, "InvalidArgument")
    assert read(main.s3, bucket) == b"content"


def test_no_tags_are_no_set_of_tags(main, bucket):
    main.s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": []})
    assert refused(main.s3.get_bucket_tagging, Bucket=bucket) == (404, "NoSuchTagSet")


def test_an_upload_to_begin_behind_needs_its_key(main, bucket):
    main.s3.create_multipart_upload(Bucket=bucket, Key="k")
    for marker in ("anything", "ffffffff-ffff-ffff-ffff-ffffffffffff"):
        assert len(main.s3.list_multipart_uploads(Bucket=bucket, UploadIdMarker=marker)["Uploads"]) == 1
