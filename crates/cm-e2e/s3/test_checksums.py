"""Checksums and attributes."""

import base64
import hashlib
import zlib

import pytest
from botocore.exceptions import ClientError

PART = 5 * 1024 * 1024


def sha256(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_objects(s3, bucket, algorithm):
    answer = s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ChecksumAlgorithm=algorithm)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head["Checksum" + algorithm] == answer["Checksum" + algorithm]
    assert head["ChecksumType"] == "FULL_OBJECT"
    found = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum", "ObjectSize", "ETag"])
    assert found["Checksum"]["Checksum" + algorithm] == answer["Checksum" + algorithm]
    assert found["ObjectSize"] == 5 and "ObjectParts" not in found


def test_wrong_sums_are_refused(s3, bucket, refused):
    with refused(400, "BadDigest"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ChecksumSHA256=sha256(b"other"))
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    with refused(400, "BadDigest"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ContentMD5=wrong)
    with refused(400, "InvalidDigest"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ContentMD5="YWJyYWNhZGFicmE=")
    with refused(404):
        s3.head_object(Bucket=bucket, Key="k")


def upload(s3, bucket, parts, algorithm, **options):
    begun = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, **options)
    where = {"Bucket": bucket, "Key": "k", "UploadId": begun["UploadId"]}
    done = []
    for number, data in enumerate(parts, 1):
        answer = s3.upload_part(**where, PartNumber=number, Body=data, ChecksumAlgorithm=algorithm)
        sum = "Checksum" + algorithm
        done.append({"PartNumber": number, "ETag": answer["ETag"], sum: answer[sum]})
    return where, done


def test_sums_of_parts(s3, bucket):
    parts = [b"a" * PART, b"b" * PART, b"c"]
    where, done = upload(s3, bucket, parts, "SHA256")
    listed = s3.list_parts(**where)
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == ("SHA256", "COMPOSITE")
    answer = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done})
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    expected = sha256(digests) + "-3"
    assert (answer["ChecksumSHA256"], answer["ChecksumType"]) == (expected, "COMPOSITE")
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head["ChecksumSHA256"], head["ChecksumType"]) == (expected, "COMPOSITE")
    found = s3.get_object_attributes(
        Bucket=bucket, Key="k", ObjectAttributes=["Checksum", "ObjectParts", "ObjectSize", "StorageClass"]
    )
    assert found["ObjectParts"]["TotalPartsCount"] == 3
    assert [part["Size"] for part in found["ObjectParts"]["Parts"]] == [PART, PART, 1]
    assert [part["ChecksumSHA256"] for part in found["ObjectParts"]["Parts"]] == [sha256(part) for part in parts]
    page = s3.get_object_attributes(
        Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"], MaxParts=1, PartNumberMarker=1
    )["ObjectParts"]
    assert page["IsTruncated"] and [part["PartNumber"] for part in page["Parts"]] == [2]


def test_sums_of_the_whole(s3, bucket, refused):
    parts = [b"a" * PART, b"b"]
    where, done = upload(s3, bucket, parts, "CRC32", ChecksumType="FULL_OBJECT")
    with refused(400, "BadDigest"):
        s3.complete_multipart_upload(
            **where, MultipartUpload={"Parts": done}, ChecksumCRC32=crc32(b"x"), ChecksumType="FULL_OBJECT"
        )
    answer = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done}, ChecksumType="FULL_OBJECT")
    assert (answer["ChecksumCRC32"], answer["ChecksumType"]) == (crc32(b"".join(parts)), "FULL_OBJECT")


def test_a_copy_of_parts_is_summed_anew(s3, bucket):
    where, done = upload(s3, bucket, [b"a" * PART, b"b"], "SHA256")
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done})
    answer = s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    assert answer["CopyObjectResult"]["ChecksumSHA256"] == sha256(b"a" * PART + b"b")
    answer = s3.copy_object(
        Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"}, ChecksumAlgorithm="CRC32"
    )
    assert answer["CopyObjectResult"]["ChecksumCRC32"] == crc32(b"a" * PART + b"b")


def test_algorithms_have_their_types(s3, bucket):
    for algorithm, kind in (("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE")):
        with pytest.raises(ClientError):
            s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)
