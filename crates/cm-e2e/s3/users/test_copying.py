"""Copies: of objects, versions and parts."""

import pytest
from people import denied, put, read, refused

PART = 5 * 1024 * 1024


def copy(person, bucket, source, key="copy", **more):
    return person.s3.copy_object(Bucket=bucket, Key=key, CopySource=source, **more)


def test_a_copy(main, bucket, make):
    first = put(main, bucket, ContentType="text/x", Metadata={"a": "b"}, CacheControl="no-cache", Tagging="t=1")
    other = make()
    answer = copy(main, other, {"Bucket": bucket, "Key": "k"})["CopyObjectResult"]
    assert answer["ETag"] == first["ETag"] and answer["LastModified"]
    found = main.s3.head_object(Bucket=other, Key="copy")
    assert (found["ContentType"], found["Metadata"], found["CacheControl"]) == ("text/x", {"a": "b"}, "no-cache")
    assert main.s3.get_object_tagging(Bucket=other, Key="copy")["TagSet"] == [{"Key": "t", "Value": "1"}]


@pytest.mark.parametrize("size", [0, 1, 1024, 16 * 1024 * 1024])
def test_sizes(main, bucket, size):
    put(main, bucket, body=b"a" * size, ContentType="audio/ogg")
    copy(main, bucket, f"{bucket}/k")
    found = main.s3.get_object(Bucket=bucket, Key="copy")
    assert (found["ContentLength"], found["ContentType"], len(found["Body"].read())) == (size, "audio/ogg", size)


def test_onto_itself(main, bucket):
    put(main, bucket, Metadata={"a": "b"}, ContentType="text/x")
    assert refused(copy, main, bucket, f"{bucket}/k", "k") == (400, "InvalidRequest")
    copy(main, bucket, f"{bucket}/k", "k", MetadataDirective="REPLACE", Metadata={"c": "d"})
    found = main.s3.head_object(Bucket=bucket, Key="k")
    assert found["Metadata"] == {"c": "d"} and found["ContentType"] != "text/x"
    assert read(main.s3, bucket) == b"content"


def test_onto_itself_encrypted_otherwise(main, bucket):
    put(main, bucket)
    copy(main, bucket, f"{bucket}/k", "k", ServerSideEncryption="AES256")
    assert main.s3.head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "AES256"
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    copy(main, bucket, f"{bucket}/k", "k", **key)
    assert read(main.s3, bucket, **key) == b"content"
    copy(main, bucket, f"{bucket}/k", "k", StorageClass="STANDARD", **{"CopySource" + name: value for name, value in key.items()})
    assert read(main.s3, bucket) == b"content"


def test_marks_of_deletion_are_not_copied(main, bucket):
    main.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    put(main, bucket)
    mark = main.s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    assert refused(copy, main, bucket, f"{bucket}/k") == (404, "NoSuchKey")
    assert refused(copy, main, bucket, f"{bucket}/k?versionId={mark}") == (400, "InvalidRequest")


def test_metadata_is_kept_unless_replaced(main, bucket):
    put(main, bucket, Metadata={"a": "b"}, ContentType="text/x")
    copy(main, bucket, f"{bucket}/k", "kept", Metadata={"ignored": "1"})
    assert main.s3.head_object(Bucket=bucket, Key="kept")["Metadata"] == {"a": "b"}
    copy(main, bucket, f"{bucket}/k", "new", MetadataDirective="REPLACE", Metadata={"c": "d"}, ContentType="text/y")
    found = main.s3.head_object(Bucket=bucket, Key="new")
    assert (found["Metadata"], found["ContentType"]) == ({"c": "d"}, "text/y")
    assert refused(copy, main, bucket, f"{bucket}/k", "x", MetadataDirective="SOMETIMES") == (400, "InvalidArgument")


def test_tags_are_kept_unless_replaced(main, bucket):
    put(main, bucket, Tagging="a=1")
    copy(main, bucket, f"{bucket}/k", "new", TaggingDirective="REPLACE", Tagging="b=2")
    assert main.s3.get_object_tagging(Bucket=bucket, Key="new")["TagSet"] == [{"Key": "b", "Value": "2"}]
    copy(main, bucket, f"{bucket}/k", "none", TaggingDirective="REPLACE")
    assert main.s3.get_object_tagging(Bucket=bucket, Key="none")["TagSet"] == []


@pytest.mark.parametrize("source, expected", [
    ("{0}/missing", (404, "NoSuchKey")), ("{0}-missing/k", (404, "NoSuchBucket")), ("{0}", (400, "InvalidArgument")),
    ("/{0}/k", None), ("{0}/k?versionId=null", None),
])
def test_sources(main, bucket, source, expected):
    put(main, bucket)
    if expected:
        assert refused(copy, main, bucket, source.format(bucket)) == expected
    else:
        copy(main, bucket, source.format(bucket))
        assert read(main.s3, bucket, "copy") == b"content"


def test_from_and_to_others(main, alt, bucket, make):
    put(main, bucket)
    theirs = make(alt)
    denied(copy, alt, theirs, f"{bucket}/k")
    denied(copy, main, theirs, f"{bucket}/k")
    main.s3.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    copy(alt, theirs, f"{bucket}/k")
    # The list of grants is not copied.
    denied(main.s3.get_object, Bucket=theirs, Key="copy")
    copy(alt, theirs, f"{bucket}/k", "open", ACL="public-read")
    assert read(main.s3, theirs, "open") == b"content"


def test_grants_of_copies(main, alt, bucket):
    put(main, bucket)
    copy(main, bucket, f"{bucket}/k", "k", MetadataDirective="REPLACE", ACL="public-read", Metadata={"abc": "def"})
    assert read(alt.s3, bucket) == b"content"
    copy(main, bucket, f"{bucket}/k", "k", MetadataDirective="REPLACE", Metadata={"abc": "xyz"})
    denied(alt.s3.get_object, Bucket=bucket, Key="k")


def test_versions(main, bucket, make):
    main.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = put(main, bucket, body=b"one")["VersionId"]
    put(main, bucket, body=b"two")
    answer = copy(main, bucket, {"Bucket": bucket, "Key": "k", "VersionId": first})
    assert answer["CopySourceVersionId"] == first and answer["VersionId"]
    assert read(main.s3, bucket, "copy") == b"one"
    plain = make()
    assert "VersionId" not in copy(main, plain, {"Bucket": bucket, "Key": "k", "VersionId": first})
    # Onto itself, an old version is the newest again.
    copy(main, bucket, {"Bucket": bucket, "Key": "k", "VersionId": first}, "k", MetadataDirective="REPLACE")
    assert read(main.s3, bucket) == b"one"
    main.s3.delete_object(Bucket=bucket, Key="k")
    assert refused(copy, main, bucket, f"{bucket}/k") == (404, "NoSuchKey")


@pytest.mark.parametrize("good, bad", [
    ({"CopySourceIfMatch": "right"}, {"CopySourceIfMatch": "wrong"}),
    ({"CopySourceIfNoneMatch": "wrong"}, {"CopySourceIfNoneMatch": "right"}),
])
def test_conditions(main, bucket, good, bad):
    etag = {"right": put(main, bucket)["ETag"], "wrong": '"ABCORZ"'}
    said = lambda conditions: {name: etag[value] for name, value in conditions.items()}
    copy(main, bucket, f"{bucket}/k", **said(good))
    assert refused(copy, main, bucket, f"{bucket}/k", "other", **said(bad)) == (412, "PreconditionFailed")
    assert refused(main.s3.head_object, Bucket=bucket, Key="other")[0] == 404


def begun(person, bucket, key="whole", **more):
    return {"Bucket": bucket, "Key": key,
            "UploadId": person.s3.create_multipart_upload(Bucket=bucket, Key=key, **more)["UploadId"]}


def finish(person, where, *etags):
    parts = [{"PartNumber": number + 1, "ETag": etag} for number, etag in enumerate(etags)]
    return person.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})


@pytest.mark.parametrize("key", ["k", "a b", "?versionId=x", "\u00e4", "a+b", "100%"])
def test_parts_of_odd_names(main, bucket, key):
    put(main, bucket, key, b"0123456789")
    where = begun(main, bucket)
    answer = main.s3.upload_part_copy(**where, PartNumber=1, CopySource={"Bucket": bucket, "Key": key}, CopySourceRange="bytes=2-5")
    finish(main, where, answer["CopyPartResult"]["ETag"])
    assert read(main.s3, bucket, "whole") == b"2345"


@pytest.mark.parametrize("text, code", [
    ("0-2", "InvalidArgument"), ("bytes=0", "InvalidArgument"), ("bytes=hello-world", "InvalidArgument"),
    ("bytes=0-bar", "InvalidArgument"), ("bytes=hello-", "InvalidArgument"), ("bytes=0-2,3-5", "InvalidArgument"),
    ("bytes=0-21", "InvalidArgument"), ("bytes=5-3", "InvalidArgument"), ("bytes=-5", "InvalidArgument"),
])
def test_ranges_of_parts_that_are_none(main, bucket, text, code):
    put(main, bucket, body=b"01234")
    where = begun(main, bucket)
    call = main.s3.upload_part_copy
    found = refused(call, **where, PartNumber=1, CopySource=f"{bucket}/k", CopySourceRange=text)
    assert found[0] in (400, 416) and found[1] in (code, "InvalidRange")


def test_parts_of_versions(main, bucket):
    main.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = put(main, bucket, body=b"one")["VersionId"]
    put(main, bucket, body=b"two")
    where = begun(main, bucket)
    answer = main.s3.upload_part_copy(**where, PartNumber=1, CopySource=f"{bucket}/k?versionId={first}")
    assert answer["CopySourceVersionId"] == first
    finish(main, where, answer["CopyPartResult"]["ETag"])
    assert read(main.s3, bucket, "whole") == b"one"


def test_parts_of_what_is_not_there(main, alt, bucket, make):
    where = begun(main, bucket)
    call = main.s3.upload_part_copy
    assert refused(call, **where, PartNumber=1, CopySource=f"{bucket}/missing") == (404, "NoSuchKey")
    assert refused(call, **where, PartNumber=1, CopySource=f"{bucket}-missing/k") == (404, "NoSuchBucket")
    theirs = make(alt)
    put(alt, theirs)
    assert refused(call, **where, PartNumber=1, CopySource=f"{theirs}/k") == (403, "AccessDenied")


def test_a_large_object_by_parts(main, bucket):
    put(main, bucket, body=b"x" * PART + b"tail")
    where = begun(main, bucket, Metadata={"a": "b"}, ContentType="text/x")
    ranges = [f"bytes=0-{PART - 1}", f"bytes={PART}-{PART + 3}"]
    etags = [main.s3.upload_part_copy(**where, PartNumber=number + 1, CopySource=f"{bucket}/k", CopySourceRange=text)
             ["CopyPartResult"]["ETag"] for number, text in enumerate(ranges)]
    finish(main, where, *etags)
    found = main.s3.get_object(Bucket=bucket, Key="whole")
    assert (found["Metadata"], found["ContentType"]) == ({"a": "b"}, "text/x")
    assert found["Body"].read() == b"x" * PART + b"tail"
    copy(main, bucket, f"{bucket}/whole")
    assert read(main.s3, bucket, "copy") == b"x" * PART + b"tail"
