"""Conditions, ranges and what answers say of an object."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta


def put(s3, bucket, key="k", body=b"hello", **options):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **options)["ETag"]


def test_writes(s3, bucket, refused):
    where = {"Bucket": bucket, "Key": "k"}
    with refused(404, "NoSuchKey"):
        s3.put_object(**where, Body=b"x", IfMatch='"abc"')
    tag = s3.put_object(**where, Body=b"x", IfNoneMatch="*")["ETag"]
    with refused(412, "PreconditionFailed"):
        s3.put_object(**where, Body=b"y", IfNoneMatch="*")
    with refused(412, "PreconditionFailed"):
        s3.put_object(**where, Body=b"y", IfMatch='"abc"')
    s3.put_object(**where, Body=b"y", IfMatch=tag)
    assert s3.get_object(**where)["Body"].read() == b"y"


def test_one_of_many_creates(s3, bucket):
    def create(n):
        try:
            s3.put_object(Bucket=bucket, Key="k", Body=str(n), IfNoneMatch="*")
            return n
        except s3.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed"

    with ThreadPoolExecutor(8) as pool:
        [won] = [n for n in pool.map(create, range(8)) if n is not None]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == str(won).encode()


def test_completions(s3, bucket, refused):
    put(s3, bucket)

    def complete(**conditions):
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        where = {"Bucket": bucket, "Key": "k", "UploadId": upload}
        parts = [{"PartNumber": 1, "ETag": s3.upload_part(**where, PartNumber=1, Body=b"x")["ETag"]}]
        return s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}, **conditions)

    with refused(412, "PreconditionFailed"):
        complete(IfNoneMatch="*")
    with refused(412, "PreconditionFailed"):
        complete(IfMatch='"abc"')
    complete(IfMatch=s3.head_object(Bucket=bucket, Key="k")["ETag"])


def test_deletions(s3, bucket, refused):
    where = {"Bucket": bucket, "Key": "k"}
    s3.delete_object(**where, IfMatch='"abc"')
    tag = put(s3, bucket)
    found = s3.head_object(**where)
    with refused(412, "PreconditionFailed"):
        s3.delete_object(**where, IfMatch='"abc"')
    with refused(412, "PreconditionFailed"):
        s3.delete_object(**where, IfMatchSize=9)
    with refused(412, "PreconditionFailed"):
        s3.delete_object(**where, IfMatchLastModifiedTime=found["LastModified"] - timedelta(hours=1))
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "ETag": '"abc"'}]})
    assert answer["Errors"][0]["Code"] == "PreconditionFailed"
    s3.delete_object(**where, IfMatch=tag, IfMatchSize=5, IfMatchLastModifiedTime=found["LastModified"])
    with refused(404):
        s3.head_object(**where)


def test_reads(s3, bucket, refused):
    where = {"Bucket": bucket, "Key": "k"}
    tag = put(s3, bucket)
    at = s3.head_object(**where)["LastModified"]
    hour = timedelta(hours=1)
    s3.get_object(**where, IfMatch=tag)
    s3.get_object(**where, IfNoneMatch='"abc"')
    s3.get_object(**where, IfModifiedSince=at - hour)
    s3.get_object(**where, IfUnmodifiedSince=at + hour)
    for status, condition in (
        (412, {"IfMatch": '"abc"'}),
        (304, {"IfNoneMatch": tag}),
        (304, {"IfModifiedSince": at}),
        (412, {"IfUnmodifiedSince": at - hour}),
    ):
        with refused(status):
            s3.get_object(**where, **condition)
        with refused(status):
            s3.head_object(**where, **condition)


def test_copies(s3, bucket, refused):
    tag = put(s3, bucket)
    copy = {"Bucket": bucket, "Key": "other", "CopySource": {"Bucket": bucket, "Key": "k"}}
    s3.copy_object(**copy, CopySourceIfMatch=tag)
    s3.copy_object(**copy, CopySourceIfNoneMatch='"abc"')
    with refused(412, "PreconditionFailed"):
        s3.copy_object(**copy, CopySourceIfMatch='"abc"')
    with refused(412, "PreconditionFailed"):
        s3.copy_object(**copy, CopySourceIfNoneMatch=tag)
    with refused(400, "InvalidRequest"):
        s3.copy_object(Bucket=bucket, Key="k", CopySource={"Bucket": bucket, "Key": "k"})
    s3.copy_object(
        Bucket=bucket,
        Key="k",
        CopySource={"Bucket": bucket, "Key": "k"},
        MetadataDirective="REPLACE",
        Metadata={"a": "b"},
        ContentType="text/x-new",
    )
    found = s3.head_object(Bucket=bucket, Key="k")
    assert (found["Metadata"], found["ContentType"], found["ETag"]) == ({"a": "b"}, "text/x-new", tag)


def test_ranges(s3, bucket, refused):
    put(s3, bucket, body=b"0123456789")
    where = {"Bucket": bucket, "Key": "k"}
    for wanted, expected, said in (
        ("bytes=4-7", b"4567", "bytes 4-7/10"),
        ("bytes=4-", b"456789", "bytes 4-9/10"),
        ("bytes=-4", b"6789", "bytes 6-9/10"),
        ("bytes=4-99", b"456789", "bytes 4-9/10"),
        ("bytes=-99", b"0123456789", "bytes 0-9/10"),
    ):
        found = s3.get_object(**where, Range=wanted)
        assert (found["Body"].read(), found["ContentRange"]) == (expected, said)
        assert found["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert s3.head_object(**where, Range=wanted)["ContentLength"] == len(expected)
    with refused(416, "InvalidRange"):
        s3.get_object(**where, Range="bytes=40-50")
    put(s3, bucket, key="empty", body=b"")
    with refused(416, "InvalidRange"):
        s3.get_object(Bucket=bucket, Key="empty", Range="bytes=40-50")


def test_answers_are_said_otherwise(s3, bucket):
    put(s3, bucket)
    found = s3.get_object(
        Bucket=bucket,
        Key="k",
        ResponseCacheControl="no-cache",
        ResponseContentDisposition="bla",
        ResponseContentEncoding="aaa",
        ResponseContentLanguage="esperanto",
        ResponseContentType="foo/bar",
    )
    assert (found["CacheControl"], found["ContentDisposition"]) == ("no-cache", "bla")
    assert (found["ContentEncoding"], found["ContentLanguage"]) == ("aaa", "esperanto")
    assert found["ContentType"] == "foo/bar"


def test_reads_during_overwrites_see_one_object(s3, bucket):
    size = 3 << 20
    put(s3, bucket, body=b"A" * size)

    def write(letter):
        for _ in range(6):
            put(s3, bucket, body=letter * size)

    def read(_):
        for _ in range(6):
            found = s3.get_object(Bucket=bucket, Key="k")["Body"].read()
            assert len(found) == size and len(set(found)) == 1

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(write, letter) for letter in (b"A", b"B")] + [pool.submit(read, n) for n in range(2)]
        for job in work:
            job.result()
