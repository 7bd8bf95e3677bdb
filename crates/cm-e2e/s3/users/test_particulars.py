"""Particulars: what answers say besides, what documents must say, and ranges of what has changed."""

import base64
import hashlib

import pytest
import requests
from people import code, presign, put, refused, send
from test_access_web import form
from test_access_web import send as post


def md5(content):
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def test_files_of_forms_are_what_the_form_announces(main, bucket):
    assert code(post(bucket, form(main, bucket, **{"Content-MD5": md5(b"other")}))) == (400, "BadDigest")
    assert refused(main.s3.head_object, Bucket=bucket, Key="k")[0] == 404
    assert post(bucket, form(main, bucket, **{"Content-MD5": md5(b"content")})).status_code == 204


@pytest.mark.parametrize("name", ["y.txt", "dir/y.txt", "C:\\dir\\y.txt"])
def test_names_of_files_are_no_paths(main, bucket, name):
    policy = lambda policy: policy.update(conditions=[one for one in policy["conditions"] if "key" not in one] + [["starts-with", "$key", "u/"]])
    fields = form(main, bucket, key="u/${filename}", change=policy)
    assert post(bucket, fields, name=name).status_code == 204
    assert [found["Key"] for found in main.s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["u/y.txt"]


def test_answers_to_forms_say_what_was_stored(main, bucket):
    main.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    answer = post(bucket, form(main, bucket, **{"x-amz-server-side-encryption": "AES256"}))
    head = main.s3.head_object(Bucket=bucket, Key="k")
    said = ("etag", "x-amz-version-id", "x-amz-server-side-encryption")
    assert [answer.headers[name] for name in said] == [head["ETag"], head["VersionId"], "AES256"]


def test_ranges_of_what_has_changed_are_not_spliced(main, bucket):
    put(main, bucket)
    head = main.s3.head_object(Bucket=bucket, Key="k")
    written = send(main, "HEAD", f"/{bucket}/k").headers["last-modified"]
    for same in (head["ETag"], written):
        answer = send(main, "GET", f"/{bucket}/k", {"Range": "bytes=0-1", "If-Range": same})
        assert (answer.status_code, answer.content) == (206, b"co")
    for other in (f'"{"0" * 32}"', f'W/{head["ETag"]}', "Wed, 21 Oct 2015 07:28:00 GMT", "nonsense"):
        for asked in ("bytes=0-1", "bytes=100-"):
            answer = send(main, "GET", f"/{bucket}/k", {"Range": asked, "If-Range": other})
            assert (answer.status_code, answer.content) == (200, b"content"), other
    # What is there is judged by the range itself.
    answer = send(main, "GET", f"/{bucket}/k", {"Range": "bytes=100-", "If-Range": head["ETag"]})
    assert code(answer) == (416, "InvalidRange")


def test_heads_are_described_as_asked(main, bucket):
    put(main, bucket)
    asked = {"ResponseContentType": "a/b", "ResponseCacheControl": "no-cache", "ResponseContentDisposition": "inline",
             "ResponseContentEncoding": "x", "ResponseContentLanguage": "de"}
    for call in (main.s3.head_object, main.s3.get_object):
        found = call(Bucket=bucket, Key="k", **asked)
        assert [found[name[len("Response"):]] for name in asked] == list(asked.values())
    assert send(main, "HEAD", f"/{bucket}/k?response-expires=soon").headers["expires"] == "soon"
    main.s3.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    assert requests.head(presign(main, f"/{bucket}/k", 60)).status_code == 403, "signed for another method"


def test_earlier_versions_do_not_end_as_what_is_shown(main, bucket):
    main.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    rule = {"ID": "r", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 30}}
    main.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    earlier, shown = (put(main, bucket, body=body)["VersionId"] for body in (b"1", b"2"))
    for call in (main.s3.head_object, main.s3.get_object):
        assert "Expiration" not in call(Bucket=bucket, Key="k", VersionId=earlier)
        assert "rule-id=\"r\"" in call(Bucket=bucket, Key="k", VersionId=shown)["Expiration"]
        assert "rule-id=\"r\"" in call(Bucket=bucket, Key="k")["Expiration"]


@pytest.mark.parametrize("scope", ["", "<Filter><And></And></Filter>"])
def test_rules_say_what_they_are_about(main, bucket, scope):
    body = f"<LifecycleConfiguration><Rule><ID>x</ID><Status>Enabled</Status>{scope}<Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>".encode()
    assert code(send(main, "PUT", f"/{bucket}?lifecycle", {"Content-MD5": md5(body)}, body)) == (400, "MalformedXML")
    assert refused(main.s3.get_bucket_lifecycle_configuration, Bucket=bucket)[0] == 404


@pytest.mark.parametrize("what, body", [
    ("lifecycle", "<LifecycleConfiguration><Rule><ID>x</ID><Prefix/><Status>Enabled</Status><Expiration><Days>1.9</Days></Expiration></Rule></LifecycleConfiguration>"),
    ("cors", "<CORSConfiguration><CORSRule><AllowedOrigin>a</AllowedOrigin><AllowedMethod>GET</AllowedMethod><MaxAgeSeconds>1.5</MaxAgeSeconds></CORSRule></CORSConfiguration>"),
    ("tagging", "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>"),
    ("tagging", "<Tagging><TagSet><Tag><Value>a</Value></Tag></TagSet></Tagging>"),
])
def test_documents_that_are_none(main, bucket, what, body):
    body = body.encode()
    assert code(send(main, "PUT", f"/{bucket}?{what}", {"Content-MD5": md5(body)}, body)) == (400, "MalformedXML")


def test_an_empty_rule_takes_no_default_away(main, make):
    bucket = make(ObjectLockEnabledForBucket=True)
    default = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    main.s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=default)
    body = b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule></Rule></ObjectLockConfiguration>"
    assert code(send(main, "PUT", f"/{bucket}?object-lock", {"Content-MD5": md5(body)}, body)) == (400, "MalformedXML")
    assert main.s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"] == default


def test_signatures_are_of_a_moment(main, bucket):
    put(main, bucket)
    for changed in ({"drop": ("x-amz-date", "X-Amz-Date")}, {"after": {"X-Amz-Date": "yesterday"}}, {"after": {"X-Amz-Date": ""}}):
        assert code(send(main, "GET", f"/{bucket}/k", **changed)) == (403, "AccessDenied"), changed
    signed = send(main, "GET", f"/{bucket}/k").request.headers["Authorization"]
    cut = ", ".join(part for part in signed.split(", ") if "SignedHeaders" not in part)
    assert code(send(main, "GET", f"/{bucket}/k", after={"Authorization": cut})) == (400, "AuthorizationHeaderMalformed")


def test_refused_conditions_tell_no_tag(main, bucket):
    tag = put(main, bucket)["ETag"].strip('"')
    answer = send(main, "PUT", f"/{bucket}/k", {"If-Match": '"other"'}, b"x")
    assert code(answer) == (412, "PreconditionFailed") and tag not in answer.text and "Some(" not in answer.text


@pytest.mark.parametrize("upload", ["x", "00000000-0000-0000-0000-000000000000"])
def test_uploads_of_no_bucket(main, bucket, upload):
    for method, query in (("GET", ""), ("PUT", "partNumber=1&"), ("DELETE", "")):
        for place, found in ((bucket, "NoSuchUpload"), ("no-such-bucket-zzz", "NoSuchBucket")):
            assert code(send(main, method, f"/{place}/k?{query}uploadId={upload}", body=b"x" if query else b"")) == (404, found)
