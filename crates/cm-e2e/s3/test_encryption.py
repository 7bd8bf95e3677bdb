"""Encryption by the server: keys of the node, keys of customers, defaults of buckets."""

import base64
import hashlib
import os

import pytest
from botocore.exceptions import ClientError

MiB = 1 << 20


class Key:
    """A customer's key, as requests bring it."""

    def __init__(self):
        self.raw = os.urandom(32)
        self.md5 = base64.b64encode(hashlib.md5(self.raw).digest()).decode()

    @property
    def own(self):
        return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": self.raw}

    @property
    def source(self):
        return {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": self.raw}


@pytest.fixture
def key():
    return Key()


@pytest.mark.parametrize("size", [0, 1, 13, 1000, MiB - 16, MiB - 15, MiB, 3 * MiB + 5])
def test_keys_of_the_node(s3, bucket, size):
    body = os.urandom(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, ServerSideEncryption="AES256")
    assert put["ServerSideEncryption"] == "AES256"
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["ServerSideEncryption"], got["Body"].read()) == ("AES256", body)
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ServerSideEncryption"], head["ContentLength"]) == ("AES256", size)


@pytest.mark.parametrize("size", [0, 1, 13, 1000, MiB - 16, MiB - 15, MiB, 3 * MiB + 5])
def test_keys_of_customers(s3, bucket, key, size):
    body = os.urandom(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, **key.own)
    assert (put["SSECustomerAlgorithm"], put["SSECustomerKeyMD5"]) == ("AES256", key.md5)
    got = s3.get_object(Bucket=bucket, Key="k", **key.own)
    assert (got["SSECustomerKeyMD5"], got["Body"].read()) == (key.md5, body)
    assert s3.head_object(Bucket=bucket, Key="k", **key.own)["ContentLength"] == size


def test_without_the_key_nothing_is_shown(s3, bucket, key, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"content", **key.own)
    for read in (s3.get_object, s3.head_object):
        for brought in ({}, Key().own):
            with refused(400):
                read(Bucket=bucket, Key="k", **brought)
    with refused(400, "InvalidRequest"):
        s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ETag"])
    s3.put_object(Bucket=bucket, Key="open", Body=b"content")
    with refused(400, "InvalidRequest"):
        s3.get_object(Bucket=bucket, Key="open", **key.own)
    assert "k" in [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    s3.delete_object(Bucket=bucket, Key="k")


def test_keys_that_are_none(s3, bucket, key, refused):
    for wrong in (
        {"SSECustomerAlgorithm": "AES256"},
        {"SSECustomerAlgorithm": "DES", "SSECustomerKey": key.raw},
        {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"short"},
        {**key.own, "SSECustomerKey": base64.b64encode(key.raw).decode(), "SSECustomerKeyMD5": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {**key.own, "ServerSideEncryption": "AES256"},
    ):
        with pytest.raises(ClientError) as error:
            s3.put_object(Bucket=bucket, Key="k", Body=b"x", **wrong)
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400, wrong
    with refused(501, "NotImplemented"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms")
    with refused(404):
        s3.head_object(Bucket=bucket, Key="k")


def test_ranges_across_frames(s3, bucket, key):
    body = os.urandom(2 * MiB + 100)
    s3.put_object(Bucket=bucket, Key="k", Body=body, **key.own)
    for first, last in ((0, 0), (MiB - 17, MiB + 1), (MiB - 16, MiB - 16), (5, 2 * MiB + 99), (2 * MiB, 2 * MiB + 99)):
        got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{last}", **key.own)
        assert got["ContentRange"] == f"bytes {first}-{last}/{len(body)}"
        assert got["Body"].read() == body[first:last + 1]


@pytest.mark.parametrize("of_customer", [False, True])
def test_parts(s3, bucket, key, refused, of_customer):
    own = key.own if of_customer else {}
    asked = own or {"ServerSideEncryption": "AES256"}
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", **asked)
    same = {"Bucket": bucket, "Key": "k", "UploadId": upload["UploadId"]}
    if of_customer:
        assert upload["SSECustomerKeyMD5"] == key.md5
        for wrong in ({}, Key().own):
            with refused(400):
                s3.upload_part(**same, PartNumber=1, Body=b"x", **wrong)
    else:
        assert upload["ServerSideEncryption"] == "AES256"
    bodies = [os.urandom(5 * MiB + 3), os.urandom(1000)]
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(**same, PartNumber=number, Body=body, **own)["ETag"]}
        for number, body in enumerate(bodies, 1)
    ]
    s3.complete_multipart_upload(**same, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key="k", **own)["Body"].read() == b"".join(bodies)
    second = s3.get_object(Bucket=bucket, Key="k", PartNumber=2, **own)
    assert second["Body"].read() == bodies[1]
    if of_customer:
        with refused(400):
            s3.get_object(Bucket=bucket, Key="k")


def test_copies_change_keys(s3, bucket, key, refused):
    other = Key()
    s3.put_object(Bucket=bucket, Key="a", Body=b"content", **key.own)
    source = {"CopySource": {"Bucket": bucket, "Key": "a"}}
    with refused(400):
        s3.copy_object(Bucket=bucket, Key="b", **source)
    s3.copy_object(Bucket=bucket, Key="b", **source, **key.source, **other.own)
    assert s3.get_object(Bucket=bucket, Key="b", **other.own)["Body"].read() == b"content"
    s3.copy_object(Bucket=bucket, Key="c", **source, **key.source)
    assert s3.get_object(Bucket=bucket, Key="c")["Body"].read() == b"content"
    copied = s3.copy_object(Bucket=bucket, Key="d", **source, **key.source, ServerSideEncryption="AES256")
    assert copied["ServerSideEncryption"] == "AES256"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="e", **other.own)["UploadId"]
    same = {"Bucket": bucket, "Key": "e", "UploadId": upload}
    part = s3.upload_part_copy(**same, PartNumber=1, **source, **key.source, **other.own)
    tag = part["CopyPartResult"]["ETag"]
    s3.complete_multipart_upload(**same, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    assert s3.get_object(Bucket=bucket, Key="e", **other.own)["Body"].read() == b"content"


def test_defaults_of_buckets(s3, bucket, refused):
    with refused(404, "ServerSideEncryptionConfigurationNotFoundError"):
        s3.get_bucket_encryption(Bucket=bucket)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    found = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert found[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ServerSideEncryption"] == "AES256"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")
    assert upload["ServerSideEncryption"] == "AES256"
    s3.abort_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload["UploadId"])
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "k"}}
    with refused(501, "NotImplemented"):
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.delete_bucket_encryption(Bucket=bucket)
    assert "ServerSideEncryption" not in s3.put_object(Bucket=bucket, Key="k", Body=b"x")


def test_policies_may_demand_encryption(s3, bucket, refused):
    import json

    denial = {
        "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}},
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [denial]}))
    with refused(403, "AccessDenied"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="AES256")
    s3.delete_bucket_policy(Bucket=bucket)
