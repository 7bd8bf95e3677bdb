"""Signatures of version 2, as boto3 makes them for addresses unless told otherwise."""

import time
from email.utils import formatdate
from urllib.parse import parse_qs, urlparse

import boto3
import pytest
import requests
from botocore.client import Config
from people import ENDPOINT, code, connect, put, read, refused


def second(person):
    """A client that signs everything with version 2."""
    config = Config(signature_version="s3", s3={"addressing_style": "path"}, retries={"max_attempts": 1})
    return boto3.client("s3", endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id=person.key,
                        aws_secret_access_key=person.secret, config=config)


def plain(person):
    """A client whose signatures are what boto3 chooses."""
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})
    return boto3.client("s3", endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id=person.key,
                        aws_secret_access_key=person.secret, config=config)


def test_objects(main, bucket):
    s3 = second(main)
    assert bucket in [found["Name"] for found in s3.list_buckets()["Buckets"]]
    s3.put_object(Bucket=bucket, Key="dir/a b+c.txt", Body=b"content", ContentType="text/plain", Metadata={"a": "b"})
    found = s3.get_object(Bucket=bucket, Key="dir/a b+c.txt")
    assert found["Body"].read() == b"content" and found["Metadata"] == {"a": "b"}
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix="dir/")["Contents"]] == ["dir/a b+c.txt"]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "dir/a b+c.txt"})
    assert read(main.s3, bucket, "copy") == b"content"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"part")
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload,
                                 MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert read(main.s3, bucket, "parts") == b"part"
    s3.put_object_tagging(Bucket=bucket, Key="copy", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    assert s3.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"] == [{"Key": "k", "Value": "v"}]
    assert s3.get_bucket_acl(Bucket=bucket)["Owner"]["ID"]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "copy"}, {"Key": "parts"}]})
    assert refused(s3.head_object, Bucket=bucket, Key="copy")[0] == 404


def test_addresses(main, bucket):
    s3 = plain(main)
    put(main, bucket, "a b", b"content")
    address = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b"})
    assert "AWSAccessKeyId" in parse_qs(urlparse(address).query), "boto3 signs addresses otherwise now"
    assert requests.get(address).content == b"content"
    assert requests.get(address, headers={"Range": "bytes=1-3"}).content == b"ont"
    assert code(requests.get(address + "x"))[0] == 403
    assert code(requests.get(address.replace("a%20b", "other")))[0] == 403
    assert code(requests.put(address, data=b"other"))[0] == 403
    assert code(requests.get(address + "&retention"))[0] == 403
    assert code(requests.get(address + "&versionId=a&versionId=b"))[0] == 403
    said = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b", "ResponseContentType": "text/x"})
    assert requests.get(said).headers["content-type"] == "text/x"
    assert code(requests.get(said.replace("text%2Fx", "text%2Fhtml")))[0] == 403
    write = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "new"})
    assert requests.put(write, data=b"new").status_code == 200
    assert read(main.s3, bucket, "new") == b"new"
    assert code(requests.put(write, data=b"x", headers={"x-amz-copy-source": f"{bucket}/new"}))[0] == 403


def test_addresses_end(main, bucket):
    s3 = plain(main)
    put(main, bucket)
    late = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=-1)
    assert code(requests.get(late)) == (403, "AccessDenied")
    endless = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=9 * 24 * 3600)
    assert code(requests.get(endless)) == (403, "AccessDenied")


@pytest.mark.parametrize("date, expected", [
    (lambda: formatdate(time.time() - 3600, usegmt=True), (403, "RequestTimeTooSkewed")),
    (lambda: "Tue, 07 Jul 2010 21:53:04 GMT", (403, "RequestTimeTooSkewed")),
    (lambda: "Tue, 07 Jul 9999 21:53:04 GMT", (403, "RequestTimeTooSkewed")),
    (lambda: "Tue, 07 Jul 1950 21:53:04 GMT", (403, "AccessDenied")),
    (lambda: "Bad Date", (403, "AccessDenied")),
])
def test_moments(main, bucket, date, expected):
    s3 = second(main)
    said = date()
    s3.meta.events.register_first("before-sign.s3.PutObject",
                                  lambda request, **_: request.headers.add_header("x-amz-date", said))
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"content") == expected


def test_strangers(main, alt, bucket):
    put(main, bucket)
    assert refused(second(alt).get_object, Bucket=bucket, Key="k")[0] == 403
    main_with_alts_secret = connect(main.key, alt.secret)
    assert refused(main_with_alts_secret.get_object, Bucket=bucket, Key="k") == (403, "SignatureDoesNotMatch")
    address = plain(alt).generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert code(requests.get(address))[0] == 403
