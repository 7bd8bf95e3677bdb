"""Details in which services differ from S3: what is taken, passed over or refused, and what is said of it."""

import base64
import hashlib
import json
import re
import socket
import zlib
from urllib.parse import urlparse

import pytest
import requests
from people import ENDPOINT, code, presign, put, read, refused, send

HOST = urlparse(ENDPOINT).netloc


def crc32(body):
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


@pytest.mark.parametrize("text", ["0", "-1", "never", "Wed, 21 Oct 2065 07:28:00 GMT"])
def test_expires_is_any_text(main, bucket, text):
    assert send(main, "PUT", f"/{bucket}/k", {"Expires": text}, b"content").status_code == 200
    for method in ("GET", "HEAD"):
        answer = send(main, method, f"/{bucket}/k")
        assert answer.headers["expires"] == text and answer.headers["content-length"] == "7"
    begun = send(main, "POST", f"/{bucket}/parts?uploads", {"Expires": text})
    where = {"Bucket": bucket, "Key": "parts", "UploadId": re.search("<UploadId>(.*)</UploadId>", begun.text)[1]}
    tag = main.s3.upload_part(**where, PartNumber=1, Body=b"x")["ETag"]
    main.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    assert send(main, "HEAD", f"/{bucket}/parts").headers["expires"] == text
    said = {"x-amz-copy-source": f"{bucket}/k", "x-amz-metadata-directive": "REPLACE", "Expires": "soon"}
    assert send(main, "PUT", f"/{bucket}/copy", said).status_code == 200
    assert send(main, "HEAD", f"/{bucket}/copy").headers["expires"] == "soon"


def test_expires_with_chunks(main, bucket):
    """What is passed on otherwise keeps its trailers."""
    said = {"x-amz-trailer": "x-amz-checksum-crc32", "x-amz-decoded-content-length": "7", "Content-Encoding": "aws-chunked",
            "Expires": "0"}
    sent = lambda sum_: f"7\r\ncontent\r\n0\r\nx-amz-checksum-crc32:{sum_}\r\n\r\n".encode()
    assert code(send(main, "PUT", f"/{bucket}/k", said, sent("AAAAAA=="), framed=True)) == (400, "BadDigest")
    assert code(send(main, "PUT", f"/{bucket}/k", said, sent(crc32(b"content")), framed=True)) == (200, None)
    answer = send(main, "GET", f"/{bucket}/k")
    assert (answer.headers["expires"], answer.content) == ("0", b"content")


def test_answers_expire_as_asked(main, bucket):
    put(main, bucket)
    for text in ("123", "never", "Thu, 01 Dec 1994 16:00:00 GMT"):
        answer = send(main, "GET", f"/{bucket}/k?response-expires={requests.utils.quote(text)}")
        assert (answer.status_code, answer.headers["expires"]) == (200, text)
    assert requests.get(presign(main, f"/{bucket}/k?response-expires=x", 60)).headers["expires"] == "x"


@pytest.mark.parametrize("header", ["If-Modified-Since", "If-Unmodified-Since"])
def test_conditions_that_are_none(main, bucket, header):
    put(main, bucket)
    for text in ("garbage", "2020-01-01T00:00:00Z", "0"):
        for method in ("GET", "HEAD"):
            assert send(main, method, f"/{bucket}/k", {header: text}).status_code == 200
    expected = 412 if header == "If-Unmodified-Since" else 200
    for text in ("Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"):
        # A signature is over single spaces, which a date of this form has not always.
        assert requests.get(presign(main, f"/{bucket}/k", 60), headers={header: text}).status_code == expected


def test_ranges_beyond_numbers(main, bucket):
    put(main, bucket)
    many = "9" * 20
    for range_, expected in ((f"bytes=0-{many}", b"content"), (f"bytes=3-{many}", b"tent"), (f"bytes=-{many}", b"content")):
        answer = send(main, "GET", f"/{bucket}/k", {"Range": range_})
        assert (answer.status_code, answer.content) == (206, expected)
    assert code(send(main, "GET", f"/{bucket}/k", {"Range": f"bytes={many}-"})) == (416, "InvalidRange")


@pytest.mark.parametrize("header, expected", [
    ({"x-amz-checksum-foo": "AAAAAA=="}, (400, "InvalidRequest")), ({"x-amz-checksum-sha512": "AAAAAA=="}, (501, "NotImplemented")),
    ({"x-amz-checksum-xxhash64": "AAAAAA=="}, (501, "NotImplemented")), ({"x-amz-sdk-checksum-algorithm": "SHA1"}, (200, None)),
    ({"x-amz-sdk-checksum-algorithm": "CRC32", "x-amz-checksum-crc32": crc32(b"content")}, (200, None)),
    ({"x-amz-sdk-checksum-algorithm": "SHA1", "x-amz-checksum-crc32": crc32(b"content")}, (400, "InvalidRequest")),
])
def test_sums_that_nobody_compares(main, bucket, header, expected):
    assert code(send(main, "PUT", f"/{bucket}/k", header, b"content")) == expected
    begun = main.s3.create_multipart_upload(Bucket=bucket, Key="p")["UploadId"]
    assert code(send(main, "PUT", f"/{bucket}/p?partNumber=1&uploadId={begun}", header, b"content")) == expected


def test_trailers_that_nobody_compares(main, bucket):
    said = {"x-amz-trailer": "x-amz-checksum-foo", "x-amz-decoded-content-length": "7", "Content-Encoding": "aws-chunked"}
    body = b"7\r\ncontent\r\n0\r\nx-amz-checksum-foo:AAAAAA==\r\n\r\n"
    assert code(send(main, "PUT", f"/{bucket}/k", said, body, framed=True)) == (400, "InvalidRequest")


def test_sums_of_parts_that_are_read(main, bucket):
    where = {"Bucket": bucket, "Key": "k"}
    where["UploadId"] = main.s3.create_multipart_upload(**where, ChecksumAlgorithm="CRC32")["UploadId"]
    bodies = [b"a" * (5 << 20), b"tail"]
    parts = []
    for number, body in enumerate(bodies, 1):
        part = main.s3.upload_part(**where, PartNumber=number, Body=body, ChecksumAlgorithm="CRC32")
        parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]})
    main.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    for number, body in enumerate(bodies, 1):
        for call in (main.s3.head_object, main.s3.get_object):
            found = call(Bucket=bucket, Key="k", PartNumber=number, ChecksumMode="ENABLED")
            assert found["ChecksumCRC32"] == crc32(body), call
    assert main.s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC32"].endswith("-2")
    for number, expected in ((0, "InvalidArgument"), (10001, "InvalidArgument"), (3, "InvalidPart")):
        assert code(send(main, "GET", f"/{bucket}/k?partNumber={number}")) == (400, expected)
        assert send(main, "HEAD", f"/{bucket}/k?partNumber={number}").status_code == 400


def test_what_has_not_changed_is_described(main, bucket):
    main.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = put(main, bucket, CacheControl="max-age=7")["VersionId"]
    known = main.s3.head_object(Bucket=bucket, Key="k")
    for method in ("GET", "HEAD"):
        answer = send(main, method, f"/{bucket}/k", {"If-None-Match": known["ETag"]})
        found = {name: answer.headers.get(name) for name in ("etag", "last-modified", "x-amz-version-id", "cache-control")}
        modified = known["ResponseMetadata"]["HTTPHeaders"]["last-modified"]
        assert answer.status_code == 304 and found == {
            "etag": known["ETag"], "last-modified": modified, "x-amz-version-id": version, "cache-control": "max-age=7"}
    marker = main.s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    answer = send(main, "GET", f"/{bucket}/k?versionId={marker}")
    assert code(answer) == (405, "MethodNotAllowed") and answer.headers["last-modified"]
    where = {"Bucket": bucket, "Key": "k", "VersionId": marker}
    assert refused(main.s3.get_object_acl, **where) == (405, "MethodNotAllowed")
    assert refused(main.s3.put_object_acl, **where, ACL="private") == (405, "MethodNotAllowed")


def test_policies_that_say_nothing(main, alt, bucket):
    put(main, bucket)
    here, inside = f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"

    def told(actions, resources, effect="Allow", **more):
        statement = {"Effect": effect, "Principal": "*", "Action": actions, "Resource": resources, **more}
        document = {"Version": "2012-10-17", "Statement": [statement, {**statement, "Sid": "other"}]}
        return send(main, "PUT", f"/{bucket}?policy", body=json.dumps(document).encode())

    malformed = (400, "MalformedPolicy")
    assert code(told("s3:Foo", inside)) == malformed
    assert code(told("s3:GetObject", here)) == malformed
    assert code(told("s3:ListBucket", inside)) == malformed
    assert code(told("s3:GetObject", inside, Sid="other")) == malformed
    assert code(told("s3:GetObject", f"arn:aws:s3::elsewhere:{bucket}/*")) == malformed
    for actions, resources in (("s3:*", here), ("s3:Get*", inside), (["s3:GetObject", "s3:ListBucket"], [here, inside])):
        assert told(actions, resources).status_code == 204
    assert told("s3:GetObject", f"arn:aws:s3::default:{bucket}/*").status_code == 204
    assert read(alt.s3, bucket) == b"content"


def test_lists_with_odd_names(main, bucket):
    put(main, bucket, ACL="aws-exec-read")
    assert [grant["Grantee"]["ID"] for grant in main.s3.get_object_acl(Bucket=bucket, Key="k")["Grants"]] == [main.id]
    grantee = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="{}"'
    document = lambda kind: (
        f"<AccessControlPolicy><Owner><ID>{main.id}</ID></Owner><AccessControlList><Grant><Grantee {grantee.format(kind)}>"
        f"<ID>{main.id}</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>").encode()
    assert code(send(main, "PUT", f"/{bucket}?acl", body=document("CanonicalUser"))) == (200, None)
    assert code(send(main, "PUT", f"/{bucket}?acl", body=document("Robot"))) == (400, "MalformedACLError")
    answer = send(main, "PUT", f"/{bucket}?acl", {"x-amz-acl": "private"}, document("CanonicalUser"))
    assert code(answer) == (400, "UnexpectedContent")


def test_nothing_is_logged(main, bucket):
    main.s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})


@pytest.mark.parametrize("key", ["<![CDATA[k]]>", "k<!-- -->", "&#107;"])
def test_keys_in_documents(main, bucket, key):
    put(main, bucket)
    body = f"<Delete><Object><Key>{key}</Key></Object></Delete>".encode()
    answer = send(main, "POST", f"/{bucket}?delete", body=body)
    assert "<Key>k</Key>" in answer.text and refused(main.s3.head_object, Bucket=bucket, Key="k")[0] == 404


@pytest.mark.parametrize("document, expected", [
    ('<s:Delete xmlns:s="http://s3.amazonaws.com/doc/2006-03-01/"><s:Object><s:Key>k</s:Key></s:Object></s:Delete>', (200, None)),
    ("<Delete><Object><Key>k</Key></Object></Delete>more", (400, "MalformedXML")), ("no document", (400, "MalformedXML")),
])
def test_documents_in_other_forms(main, bucket, document, expected):
    assert code(send(main, "POST", f"/{bucket}?delete", body=document.encode())) == expected


@pytest.mark.parametrize("filter_, ends, expected", [
    ("<Prefix>a</Prefix>", "", "InvalidRequest"),
    ("<Prefix>a</Prefix><Tag><Key>b</Key><Value>c</Value></Tag>", "<Expiration><Days>1</Days></Expiration>", "MalformedXML"),
])
def test_rules_that_are_none(main, bucket, filter_, ends, expected):
    rule = f"<Rule><ID>r</ID><Status>Enabled</Status><Filter>{filter_}</Filter>{ends}</Rule>"
    body = f"<LifecycleConfiguration>{rule}</LifecycleConfiguration>".encode()
    answer = send(main, "PUT", f"/{bucket}?lifecycle", {"Content-MD5": base64.b64encode(hashlib.md5(body).digest()).decode()}, body)
    assert code(answer) == (400, expected)


def test_proofs_are_refused_by_name(main, bucket):
    put(main, bucket)
    address = presign(main, f"/{bucket}/k", 60)
    both = requests.get(address, headers={"Authorization": "AWS4-HMAC-SHA256 Credential=x"})
    assert code(both) == (400, "InvalidArgument")
    lacking = [re.sub(f"&{name}=[^&]*", "", address) for name in ("X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders")]
    for changed in (address.replace("AWS4-HMAC-SHA256", "FOO"), address.replace("%2Fs3%2F", "%2Fec2%2F"), *lacking):
        assert code(requests.get(changed)) == (400, "AuthorizationQueryParametersError")
    token = send(main, "GET", f"/{bucket}/k", {"x-amz-security-token": "x"})
    assert code(token) == (400, "InvalidToken")


@pytest.mark.parametrize("query", ["?list-type=3", "?versions&key-marker=k&version-id-marker="])
def test_questions_that_are_none(main, bucket, query):
    assert code(send(main, "GET", f"/{bucket}{query}")) == (400, "InvalidArgument")


def test_pages_of_buckets(main, make):
    names = {make() for _ in range(3)}
    found, turn = set(), {}
    while True:
        page = main.s3.list_buckets(MaxBuckets=1, **turn)
        found |= {bucket["Name"] for bucket in page["Buckets"]}
        if "ContinuationToken" not in page:
            break
        turn = {"ContinuationToken": page["ContinuationToken"]}
    assert names <= found
    for foreign in ("abc", next(iter(names))):
        assert refused(main.s3.list_buckets, ContinuationToken=foreign) == (400, "InvalidArgument")


def test_addresses_that_are_none(main, bucket):
    assert code(send(main, "PUT", f"/{bucket}/k", {"x-amz-copy-source": ""})) == (400, "InvalidArgument")
    where = urlparse(ENDPOINT)
    for head, expected in ((f"GET /{bucket}/a%ZZ HTTP/1.1\r\nHost: x\r\n", b"InvalidURI"), (f"GET /{bucket}/k HTTP/1.1\r\n", b"400")):
        with socket.create_connection((where.hostname, where.port), timeout=20) as link:
            link.sendall(head.encode() + b"Connection: close\r\n\r\n")
            answer = link.recv(4096)
            assert answer.split(b" ")[1] == b"400" and expected in answer


def test_refusals_say_what_they_are_about(main, bucket):
    put(main, bucket)
    for path, headers, detail in (
        (f"/{bucket}/none", {}, "<Key>none</Key>"), (f"/{bucket}-none", {}, f"<BucketName>{bucket}-none</BucketName>"),
        (f"/{bucket}/k", {"If-Match": '"x"'}, "<Condition>If-Match</Condition>"),
    ):
        answer = send(main, "GET", path, headers)
        assert detail in answer.text and f"<Resource>{path}</Resource>" in answer.text
    wrong = send(main, "PUT", f"/{bucket}/k", {"x-amz-storage-class": "GLACIER"}, b"x")
    assert code(wrong) == (400, "InvalidStorageClass") and "STANDARD" in wrong.text


def test_objects_are_where_they_were_sent_to(main, bucket):
    form = main.s3.generate_presigned_post(bucket, "a/b c", Fields={"success_action_status": "201", "Expires": "0"},
                                           Conditions=[{"success_action_status": "201"}, {"Expires": "0"}])
    answer = requests.post(f"{ENDPOINT}/{bucket}", data=form["fields"], files={"file": b"content"})
    address = f"http://{HOST}/{bucket}/a/b%20c"
    assert answer.status_code == 201 and answer.headers["location"] == address and f"<Location>{address}</Location>" in answer.text
    assert send(main, "GET", f"/{bucket}/a/b%20c").headers["expires"] == "0"
    where = {"Bucket": bucket, "Key": "a/b c"}
    where["UploadId"] = main.s3.create_multipart_upload(**where)["UploadId"]
    tag = main.s3.upload_part(**where, PartNumber=1, Body=b"x")["ETag"]
    done = main.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    assert done["Location"] == address


def test_uploads_are_those_of_who_began_them(main, alt, anybody, make):
    bucket = make(ACL="public-read-write")
    assert refused(anybody.create_multipart_upload, Bucket=bucket, Key="k") == (403, "AccessDenied")
    where = {"Bucket": bucket, "Key": "k"}
    begun = main.s3.create_multipart_upload(**where)["UploadId"]
    for s3 in (alt.s3, anybody):
        for call in (s3.list_parts, s3.abort_multipart_upload):
            assert refused(call, **where, UploadId=begun) == (403, "AccessDenied")
    theirs = alt.s3.create_multipart_upload(**where)["UploadId"]
    for person in (main, alt):
        person.s3.list_parts(**where, UploadId=theirs)
    alt.s3.abort_multipart_upload(**where, UploadId=theirs)
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:AbortMultipartUpload", "Resource": f"arn:aws:s3:::{bucket}/*"}
    main.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statement}))
    alt.s3.abort_multipart_upload(**where, UploadId=begun)
