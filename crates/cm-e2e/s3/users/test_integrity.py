"""Digests of documents, and digests that are none."""

import base64
import hashlib
import zlib

import pytest
from people import code, put, read, refused, send
from test_copying import begun

LIST = b"<Delete><Object><Key>k</Key></Object></Delete>"
TAGS = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
ALGORITHMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]


def md5(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


WRONG = [
    ({"Content-MD5": md5(b"other")}, "BadDigest"), ({"Content-MD5": "garbage"}, "InvalidDigest"),
    ({"Content-MD5": "AAAA"}, "InvalidDigest"), ({"x-amz-checksum-crc32": crc32(b"other")}, "BadDigest"),
    ({"x-amz-checksum-crc32": "bad"}, "InvalidRequest"),
    ({"x-amz-checksum-sha256": base64.b64encode(bytes(32)).decode()}, "BadDigest"),
]


@pytest.mark.parametrize("headers, expected", WRONG)
def test_lists_of_keys_that_are_others(main, bucket, headers, expected):
    put(main, bucket)
    assert code(send(main, "POST", f"/{bucket}?delete", headers, LIST)) == (400, expected)
    assert read(main.s3, bucket) == b"content"


@pytest.mark.parametrize("path", ["?tagging", "/k?tagging"])
@pytest.mark.parametrize("headers, expected", WRONG)
def test_documents_that_are_others(main, bucket, path, headers, expected):
    put(main, bucket)
    assert code(send(main, "PUT", f"/{bucket}{path}", headers, TAGS)) == (400, expected)
    assert refused(main.s3.get_bucket_tagging, Bucket=bucket) == (404, "NoSuchTagSet")
    assert main.s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []


def test_documents_that_are_the_same(main, bucket):
    put(main, bucket)
    for headers in ({}, {"Content-MD5": md5(TAGS)}, {"x-amz-checksum-crc32": crc32(TAGS)}):
        assert send(main, "PUT", f"/{bucket}/k?tagging", headers, TAGS).status_code == 200
    assert send(main, "POST", f"/{bucket}?delete", {"Content-MD5": md5(LIST)}, LIST).status_code == 200
    assert refused(main.s3.head_object, Bucket=bucket, Key="k")[0] == 404


def test_a_document_that_was_not_signed(main, bucket):
    put(main, bucket)
    answer = send(main, "POST", f"/{bucket}?delete", body=LIST.replace(b">k<", b">x<"), sent=LIST)
    assert code(answer) == (400, "XAmzContentSHA256Mismatch")
    assert read(main.s3, bucket) == b"content"


@pytest.mark.parametrize("value", ["zz", "0" * 63, "z" * 64])
def test_digests_of_contents_that_are_none(main, bucket, value):
    answer = send(main, "PUT", f"/{bucket}/k", body=b"x", after={"x-amz-content-sha256": value}, drop=["x-amz-content-sha256"])
    assert code(answer) == (400, "InvalidArgument")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("value", ["bad", "AAAA", "not base 64"])
def test_checksums_that_are_none(main, bucket, algorithm, value):
    given = {"Checksum" + algorithm: value}
    assert refused(put, main, bucket, **given) == (400, "InvalidRequest")
    where = begun(main, bucket, ChecksumAlgorithm=algorithm)
    assert refused(main.s3.upload_part, **where, PartNumber=1, Body=b"x", **given) == (400, "InvalidRequest")
    etag = main.s3.upload_part(**where, PartNumber=1, Body=b"x", ChecksumAlgorithm=algorithm)["ETag"]
    part = {"PartNumber": 1, "ETag": etag}
    complete = main.s3.complete_multipart_upload
    assert refused(complete, **where, MultipartUpload={"Parts": [part]}, **given) == (400, "InvalidRequest")
    assert refused(complete, **where, MultipartUpload={"Parts": [{**part, **given}]}) == (400, "InvalidRequest")
    assert refused(main.s3.head_object, Bucket=bucket, Key="whole")[0] == 404
