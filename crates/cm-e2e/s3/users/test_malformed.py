"""Headers that are missing, empty or wrong."""

import base64
import datetime
import hashlib
import hmac
import socket
import zlib
from urllib.parse import urlparse

import pytest
import requests
from people import ENDPOINT, PREFIX, code, connect, put, read, refused, send


@pytest.mark.parametrize("value, expected", [
    ("AAAAAAAAAAAAAAAAAAAAAA==", "BadDigest"), ("YWJyYWNhZGFicmE=", "InvalidDigest"), ("", "InvalidDigest"),
    ("not base 64", "InvalidDigest"),
])
def test_digests_of_bodies(main, bucket, value, expected):
    answer = send(main, "PUT", f"/{bucket}/k", {"Content-MD5": value}, b"content")
    assert code(answer) == (400, expected)


def test_a_good_digest(main, bucket):
    digest = base64.b64encode(hashlib.md5(b"content").digest()).decode()
    assert send(main, "PUT", f"/{bucket}/k", {"Content-MD5": digest}, b"content").status_code == 200


def test_a_body_that_was_not_signed(main, bucket):
    put(main, bucket, body=b"before")
    answer = send(main, "PUT", f"/{bucket}/k", body=b"signed!", sent=b"another")
    assert code(answer) == (400, "XAmzContentSHA256Mismatch")
    assert read(main.s3, bucket) == b"before"


CRC32 = base64.b64encode(zlib.crc32(b"content").to_bytes(4, "big")).decode()


@pytest.mark.parametrize("trailer, expected", [
    (f"x-amz-checksum-crc32:{CRC32}\r\n", (200, None)), ("", (400, "MalformedTrailerError")),
    ("x-amz-checksum-crc32c:AAAAAA==\r\n", (400, "MalformedTrailerError")),
    ("x-amz-checksum-crc32:AAAAAA==\r\n", (400, "BadDigest")),
])
def test_trailers(main, bucket, trailer, expected):
    headers = {"x-amz-trailer": "x-amz-checksum-crc32", "x-amz-decoded-content-length": "7", "Content-Encoding": "aws-chunked"}
    body = f"7\r\ncontent\r\n0\r\n{trailer}\r\n".encode()
    answer = send(main, "PUT", f"/{bucket}/k", headers, body, framed=True)
    assert code(answer) == expected, answer.text


@pytest.mark.parametrize("value, expected", [
    ("", (403, "AccessDenied")),
    ("AWS4-HMAC-SHA256", (400, None)),
    ("AWS4-HMAC-SHA256 Credential=x", (400, None)),
    ("AWS HAHAHA", (400, "InvalidArgument")),
    ("FOO bar", (400, "InvalidArgument")),
    ("Bearer x", (400, "InvalidArgument")),
])
def test_proofs_that_are_none(main, bucket, value, expected):
    answer = send(main, "PUT", f"/{bucket}/k", body=b"x", after={"Authorization": value})
    found = code(answer)
    assert found[0] == expected[0] and expected[1] in (None, found[1]), found


def test_without_a_proof(main, bucket):
    assert code(send(main, "PUT", f"/{bucket}/k", body=b"x", drop=["authorization"])) == (403, "AccessDenied")
    assert code(send(main, "PUT", f"/{PREFIX}none-of-it", drop=["authorization"])) == (403, "AccessDenied")


@pytest.mark.parametrize("header, value", [
    ("X-Amz-Date", "20200101T000000Z"), ("X-Amz-Date", "20990101T000000Z"), ("X-Amz-Date", "yesterday"), ("X-Amz-Date", ""),
    ("x-amz-content-sha256", "0" * 64), ("Host", "elsewhere.example"),
])
def test_signed_headers_are_not_changed(main, bucket, header, value):
    assert send(main, "PUT", f"/{bucket}/k", body=b"x", after={header: value}).status_code in (400, 403)
    assert refused(main.s3.head_object, Bucket=bucket, Key="k")[0] == 404


def test_a_clock_that_is_wrong(main, bucket):
    """Signed, and signed rightly, but long ago."""
    moment = "20200101T000000Z"
    empty = hashlib.sha256(b"").hexdigest()
    host = urlparse(ENDPOINT).netloc
    canonical = f"GET\n/{bucket}\n\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{moment}\n\n" \
        f"host;x-amz-content-sha256;x-amz-date\n{empty}"
    scope = "20200101/us-east-1/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{main.secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    proof = f"AWS4-HMAC-SHA256 Credential={main.key}/{scope}, " \
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"
    headers = {"x-amz-date": moment, "x-amz-content-sha256": empty, "Authorization": proof}
    assert code(requests.get(f"{ENDPOINT}/{bucket}", headers=headers)) == (403, "RequestTimeTooSkewed")


def raw(head, body=b""):
    """What is answered to bytes: the status."""
    where = urlparse(ENDPOINT)
    with socket.create_connection((where.hostname, where.port), timeout=20) as link:
        link.sendall(head.encode() + body)
        link.settimeout(20)
        return int(link.recv(4096).split(b" ", 2)[1])


@pytest.mark.parametrize("length, expected", [(None, 411), ("-1", 400), ("abc", 400), ("", 400)])
def test_lengths_that_are_none(make, length, expected):
    bucket = make(ACL="public-read-write")
    line = "" if length is None else f"Content-Length: {length}\r\n"
    head = f"PUT /{bucket}/k HTTP/1.1\r\nHost: {urlparse(ENDPOINT).netloc}\r\n{line}Connection: close\r\n\r\n"
    assert raw(head) == expected


@pytest.mark.parametrize("value, expected", [("100-continue", 200), ("200", 417), ("", 200)])
def test_expectations(make, value, expected):
    bucket = make(ACL="public-read-write")
    answer = requests.put(f"{ENDPOINT}/{bucket}/k", data=b"content", headers={"Expect": value})
    assert answer.status_code in (expected, 200)


@pytest.mark.parametrize("headers", [
    {"Content-Type": ""}, {"Content-Type": "text/plain"}, {"Content-Type": "garbage"}, {"Date": ""}, {"Date": "Bad Date"},
    {"Date": "Tue, 07 Jul 2010 21:53:04 GMT"}, {"User-Agent": ""}, {"Cache-Control": "public, max-age=14400"},
    {"x-amz-meta-empty": ""},
])
def test_headers_that_change_nothing(main, bucket, headers):
    assert send(main, "PUT", f"/{bucket}/k", headers, b"content").status_code == 200
    assert read(main.s3, bucket) == b"content"


@pytest.mark.parametrize("name, value", [
    ("x-amz-acl", "no-such-list"), ("x-amz-grant-read", "nobody"), ("x-amz-tagging", "a=b&a=c"), ("x-amz-tagging", "=b"),
    ("x-amz-object-lock-mode", "FOREVER"), ("x-amz-server-side-encryption", "ROT13"), ("x-amz-storage-class", "BRONZE"),
    ("x-amz-checksum-crc32", "bad"), ("x-amz-checksum-sha256", "AAAA"),
    ("x-amz-sdk-checksum-algorithm", "MD4"), ("x-amz-object-lock-legal-hold", "MAYBE"),
    ("x-amz-server-side-encryption-customer-algorithm", "AES256"), ("x-amz-server-side-encryption-customer-key", "AAAA"),
    ("x-amz-website-redirect-location", "/other"), ("x-amz-copy-source", "nothing"),
])
def test_headers_that_are_wrong(main, bucket, name, value):
    answer = send(main, "PUT", f"/{bucket}/k", {name: value}, b"content")
    assert answer.status_code in (400, 404, 501), answer.text
    assert refused(main.s3.head_object, Bucket=bucket, Key="k")[0] == 404


def test_metadata(main, bucket):
    said = {"plain": "x", "spaced": "a  b", "empty": "", "Mixed-Case": "Kept", "number": "1", "punctuation": "!#$%&'*+-.^_`|~,;:=?@[]{}"}
    put(main, bucket, Metadata=said)
    found = main.s3.head_object(Bucket=bucket, Key="k")["Metadata"]
    assert found == {name.lower(): value for name, value in said.items()}
    put(main, bucket)
    assert main.s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {}


def test_metadata_has_a_limit(main, bucket):
    assert refused(put, main, bucket, Metadata={"long": "x" * 3000}) == (400, "MetadataTooLarge")
    put(main, bucket, Metadata={"long": "x" * 1900})


@pytest.mark.parametrize("said, shown", [
    ({"CacheControl": "no-cache"}, "CacheControl"), ({"ContentDisposition": "inline"}, "ContentDisposition"),
    ({"ContentEncoding": "gzip"}, "ContentEncoding"), ({"ContentLanguage": "de"}, "ContentLanguage"),
    ({"ContentType": "text/x"}, "ContentType"),
])
def test_headers_are_kept(main, bucket, said, shown):
    put(main, bucket, **said)
    for answer in (main.s3.head_object(Bucket=bucket, Key="k"), main.s3.get_object(Bucket=bucket, Key="k")):
        assert answer[shown] == said[shown]


def test_chunked_framing_is_no_encoding(main, bucket):
    put(main, bucket, ContentEncoding="aws-chunked")
    assert "ContentEncoding" not in main.s3.head_object(Bucket=bucket, Key="k")
    put(main, bucket, ContentEncoding="gzip,aws-chunked")
    assert main.s3.head_object(Bucket=bucket, Key="k")["ContentEncoding"] == "gzip"
    put(main, bucket, ContentEncoding="aws-chunked, gzip")
    assert main.s3.head_object(Bucket=bucket, Key="k")["ContentEncoding"] == "gzip"


def test_expires(main, bucket):
    put(main, bucket, Expires=datetime.datetime(2031, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc))
    assert main.s3.head_object(Bucket=bucket, Key="k")["ExpiresString"] == "Thu, 02 Jan 2031 03:04:05 GMT"


@pytest.mark.parametrize("path, body", [
    ("?tagging", b"<Tagging>"), ("?acl", b"<AccessControlPolicy><x/>"), ("?cors", b"no xml"), ("?lifecycle", b"<a></b>"),
    ("?versioning", b"<VersioningConfiguration><Status>Maybe</Status></VersioningConfiguration>"), ("?object-lock", b"x"),
    ("?publicAccessBlock", b"<>"), ("?ownershipControls", b"<OwnershipControls/>"), ("?encryption", b"<x/>"),
])
def test_documents_that_are_none(main, make, path, body):
    bucket = make(ObjectLockEnabledForBucket=True)
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    answer = send(main, "PUT", f"/{bucket}{path}", {"Content-MD5": digest}, body)
    assert code(answer) in [(400, "MalformedXML"), (400, "MalformedACLError"), (400, "IllegalVersioningConfigurationException")]


def test_refusals_are_documents(main, bucket):
    answer = send(main, "GET", f"/{bucket}/missing")
    assert answer.status_code == 404 and answer.headers["content-type"] == "application/xml"
    for part in ("<Code>NoSuchKey</Code>", "<Message>", "<RequestId>"):
        assert part in answer.text
    assert answer.headers["x-amz-request-id"] in answer.text


def test_a_head_has_no_body(main, bucket):
    put(main, bucket)
    found = send(main, "HEAD", f"/{bucket}/k")
    assert (found.status_code, found.content, found.headers["content-length"]) == (200, b"", "7")
    missing = send(main, "HEAD", f"/{bucket}/missing")
    assert (missing.status_code, missing.content) == (404, b"")


def test_ways_that_do_not_exist(main, bucket):
    assert send(main, "PATCH", f"/{bucket}/k").status_code in (400, 405, 501)
    assert send(main, "PUT", "/").status_code in (400, 405, 501)
    assert send(main, "DELETE", "/").status_code in (400, 405, 501)
    assert send(main, "POST", f"/{bucket}/k").status_code in (400, 405, 501)


def test_wrong_secrets(main):
    assert refused(connect(main.key, "x" * 40).list_buckets) == (403, "SignatureDoesNotMatch")
    assert refused(connect("x" * 20, main.secret).list_buckets) == (403, "InvalidAccessKeyId")
