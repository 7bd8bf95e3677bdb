"""Uploads in parts, ranges and parts of what was uploaded."""

import concurrent.futures
import hashlib
import uuid

import pytest
from people import PREFIX, denied, empty, put, read, refused
from test_copying import PART, begun, finish


def part(person, where, number=1, body=b"content", **more):
    return person.s3.upload_part(**where, PartNumber=number, Body=body, **more)["ETag"]


def test_small_uploads(main, bucket):
    where = begun(main, bucket)
    answer = finish(main, where, part(main, where))
    assert answer["Bucket"] == bucket and answer["Key"] == "whole" and answer["Location"]
    etag = hashlib.md5(hashlib.md5(b"content").digest()).hexdigest() + "-1"
    assert answer["ETag"] == f'"{etag}"' == main.s3.head_object(Bucket=bucket, Key="whole")["ETag"]
    assert read(main.s3, bucket, "whole") == b"content"


def test_without_parts(main, bucket):
    where = begun(main, bucket)
    assert refused(main.s3.complete_multipart_upload, **where) == (400, "MalformedXML")
    assert refused(main.s3.complete_multipart_upload, **where, MultipartUpload={"Parts": []}) == (400, "MalformedXML")


def test_parts_that_are_too_small(main, bucket):
    where = begun(main, bucket)
    etags = [part(main, where, number) for number in (1, 2)]
    assert refused(finish, main, where, *etags) == (400, "EntityTooSmall")


@pytest.mark.parametrize("parts", [
    [(9999, None)], [(1, '"ffffffffffffffffffffffffffffffff"')], [(1, '"x"')], [(2, None)],
])
def test_parts_that_are_none(main, bucket, parts):
    where = begun(main, bucket)
    etag = part(main, where)
    said = {"Parts": [{"PartNumber": number, "ETag": tag or etag} for number, tag in parts]}
    assert refused(main.s3.complete_multipart_upload, **where, MultipartUpload=said) == (400, "InvalidPart")


def test_the_order_of_parts(main, bucket):
    where = begun(main, bucket)
    etags = [part(main, where, 1, b"a" * PART), part(main, where, 2)]
    said = {"Parts": [{"PartNumber": 2, "ETag": etags[1]}, {"PartNumber": 1, "ETag": etags[0]}]}
    assert refused(main.s3.complete_multipart_upload, **where, MultipartUpload=said) == (400, "InvalidPartOrder")


@pytest.mark.parametrize("number", [0, -1, 10001])
def test_numbers_of_parts(main, bucket, number):
    where = begun(main, bucket)
    assert refused(part, main, where, number) == (400, "InvalidArgument")


def test_uploads_that_are_gone(main, bucket):
    where = begun(main, bucket)
    etag = part(main, where)
    assert main.s3.abort_multipart_upload(**where)["ResponseMetadata"]["HTTPStatusCode"] == 204
    for call, more in (("abort_multipart_upload", {}), ("list_parts", {}), ("upload_part", {"PartNumber": 1, "Body": b""})):
        assert refused(getattr(main.s3, call), **where, **more) == (404, "NoSuchUpload"), call
    assert refused(finish, main, where, etag) == (404, "NoSuchUpload")
    where["UploadId"] = "56788"
    assert refused(main.s3.abort_multipart_upload, **where) == (404, "NoSuchUpload")


def test_a_part_is_sent_again(main, bucket):
    where = begun(main, bucket)
    part(main, where, 1, b"first")
    finish(main, where, part(main, where, 1, b"again"))
    assert read(main.s3, bucket, "whole") == b"again"


def test_parts_left_out(main, bucket):
    where = begun(main, bucket)
    part(main, where, 1, b"a" * PART)
    kept = part(main, where, 2, b"kept")
    main.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 2, "ETag": kept}]})
    assert read(main.s3, bucket, "whole") == b"kept"


def test_completed_twice(main, bucket):
    where = begun(main, bucket)
    etag = part(main, where)
    first, again = finish(main, where, etag), finish(main, where, etag)
    for answer in (first, again):
        answer.pop("ResponseMetadata")
    assert again == first
    assert read(main.s3, bucket, "whole") == b"content"
    # Other parts, and what has been written over, are no repetition.
    said = {"Parts": [{"PartNumber": 1, "ETag": '"ffffffffffffffffffffffffffffffff"'}]}
    assert refused(main.s3.complete_multipart_upload, **where, MultipartUpload=said) == (404, "NoSuchUpload")
    put(main, bucket, "whole", b"newer")
    assert refused(finish, main, where, etag) == (404, "NoSuchUpload")
    assert read(main.s3, bucket, "whole") == b"newer"


def test_completed_twice_at_once(main, bucket):
    where = begun(main, bucket)
    etags = [part(main, where, 1, b"a" * PART), part(main, where, 2)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: finish(main, where, *etags)["ETag"], range(2)))
    assert len(set(answers)) == 1


def test_an_upload_replaces(main, bucket):
    put(main, bucket, "whole", b"old")
    where = begun(main, bucket)
    etag = part(main, where)
    assert read(main.s3, bucket, "whole") == b"old"
    finish(main, where, etag)
    assert read(main.s3, bucket, "whole") == b"content"


def test_parts_at_once(main, bucket):
    where = begun(main, bucket)
    bodies = [bytes([number]) * PART for number in range(4)] + [b"tail"]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        etags = list(pool.map(lambda n: part(main, where, n + 1, bodies[n]), range(5)))
    finish(main, where, *etags)
    assert read(main.s3, bucket, "whole") == b"".join(bodies)


def test_what_is_listed_of_parts(main, bucket):
    where = begun(main, bucket)
    etags = [part(main, where, number, bytes([number])) for number in (1, 2, 5)]
    page = main.s3.list_parts(**where)
    assert [(item["PartNumber"], item["ETag"], item["Size"]) for item in page["Parts"]] == [
        (number, etag, 1) for number, etag in zip((1, 2, 5), etags)]
    assert page["IsTruncated"] is False and page["StorageClass"] == "STANDARD"
    assert page["Owner"]["ID"] == page["Initiator"]["ID"] == main.id
    first = main.s3.list_parts(**where, MaxParts=2)
    assert first["IsTruncated"] and first["NextPartNumberMarker"] == 2 and first["MaxParts"] == 2
    [last] = main.s3.list_parts(**where, PartNumberMarker=2)["Parts"]
    assert last["PartNumber"] == 5


def test_what_is_listed_of_uploads(main, alt, anybody, make):
    bucket = make(ACL="public-read")
    wheres = [begun(main, bucket, key) for key in ("a", "b", "b", "c/d")]
    page = main.s3.list_multipart_uploads(Bucket=bucket)
    assert sorted(item["UploadId"] for item in page["Uploads"]) == sorted(w["UploadId"] for w in wheres)
    assert [item["Key"] for item in page["Uploads"]] == ["a", "b", "b", "c/d"]
    assert page["Uploads"][0]["Owner"]["ID"] == page["Uploads"][0]["Initiator"]["ID"] == main.id
    assert page["Uploads"][0]["Owner"]["DisplayName"]
    assert [item["Key"] for item in main.s3.list_multipart_uploads(Bucket=bucket, Prefix="b")["Uploads"]] == ["b", "b"]
    page = main.s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [item["Prefix"] for item in page["CommonPrefixes"]] == ["c/"]
    first = main.s3.list_multipart_uploads(Bucket=bucket, MaxUploads=2)
    assert first["IsTruncated"] and len(first["Uploads"]) == 2
    rest = main.s3.list_multipart_uploads(
        Bucket=bucket, KeyMarker=first["NextKeyMarker"], UploadIdMarker=first["NextUploadIdMarker"])
    assert [item["Key"] for item in rest["Uploads"]] == ["b", "c/d"]
    anybody.list_multipart_uploads(Bucket=bucket)
    for where in wheres:
        main.s3.abort_multipart_upload(**where)
    assert "Uploads" not in main.s3.list_multipart_uploads(Bucket=bucket)


def test_a_bucket_with_uploads_can_be_removed(main, bucket):
    begun(main, bucket)
    main.s3.delete_bucket(Bucket=bucket)


def test_uploads_of_others(main, alt, bucket):
    where = begun(main, bucket)
    etag = part(main, where)
    denied(part, alt, where)
    denied(alt.s3.list_parts, **where)
    denied(alt.s3.abort_multipart_upload, **where)
    denied(finish, alt, where, etag)
    denied(alt.s3.list_multipart_uploads, Bucket=bucket)


@pytest.fixture(scope="module")
def of_parts(main):
    """An object of three parts."""
    bucket = PREFIX + uuid.uuid4().hex[:20]
    main.s3.create_bucket(Bucket=bucket)
    where = begun(main, bucket, Metadata={"a": "b"})
    finish(main, where, part(main, where, 1, b"a" * PART), part(main, where, 2, b"b" * PART), part(main, where, 3, b"c" * 10))
    yield bucket
    empty(main.s3, bucket)
    main.s3.delete_bucket(Bucket=bucket)


@pytest.mark.parametrize("number, letter, size", [(1, b"a", PART), (2, b"b", PART), (3, b"c", 10)])
def test_one_part_is_read(main, of_parts, number, letter, size):
    found = main.s3.get_object(Bucket=of_parts, Key="whole", PartNumber=number)
    assert found["Body"].read() == letter * size and found["PartsCount"] == 3
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 206
    start = (number - 1) * PART
    assert found["ContentRange"] == f"bytes {start}-{start + size - 1}/{2 * PART + 10}"
    head = main.s3.head_object(Bucket=of_parts, Key="whole", PartNumber=number)
    assert (head["ContentLength"], head["PartsCount"], head["Metadata"]) == (size, 3, {"a": "b"})
    assert head["ETag"].endswith('-3"')


@pytest.mark.parametrize("number, expected", [(4, (400, "InvalidPart")), (10001, (400, None)), (0, (400, None)), (-1, (400, None))])
def test_parts_that_cannot_be_read(main, of_parts, number, expected):
    found = refused(main.s3.get_object, Bucket=of_parts, Key="whole", PartNumber=number)
    assert found[0] == expected[0] and expected[1] in (None, found[1])


def test_a_plain_object_is_one_part(main, bucket):
    put(main, bucket)
    found = main.s3.get_object(Bucket=bucket, Key="k", PartNumber=1)
    assert found["Body"].read() == b"content" and "PartsCount" not in found
    assert refused(main.s3.get_object, Bucket=bucket, Key="k", PartNumber=2) == (400, "InvalidPart")


def test_attributes(main, of_parts, bucket):
    wanted = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    found = main.s3.get_object_attributes(Bucket=of_parts, Key="whole", ObjectAttributes=wanted)
    assert found["ObjectSize"] == 2 * PART + 10 and found["StorageClass"] == "STANDARD"
    assert found["ETag"].endswith("-3") and '"' not in found["ETag"]
    assert found["ObjectParts"]["TotalPartsCount"] == 3
    put(main, bucket)
    found = main.s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ETag", "ObjectSize"])
    assert (found["ETag"], found["ObjectSize"]) == (hashlib.md5(b"content").hexdigest(), 7)
    assert "StorageClass" not in found and "ObjectParts" not in found


@pytest.mark.parametrize("said, start, end", [
    ("bytes=0-0", 0, 0), ("bytes=4-7", 4, 7), ("bytes=4-", 4, 10), ("bytes=-7", 4, 10), ("bytes=-100", 0, 10), ("bytes=0-100", 0, 10),
    ("bytes=10-10", 10, 10), ("bytes=0-", 0, 10),
])
def test_ranges(main, bucket, said, start, end):
    content = b"testcontent"
    put(main, bucket, body=content)
    found = main.s3.get_object(Bucket=bucket, Key="k", Range=said)
    assert found["Body"].read() == content[start : end + 1]
    assert found["ContentRange"] == f"bytes {start}-{end}/11"
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 206 and found["AcceptRanges"] == "bytes"
    head = main.s3.head_object(Bucket=bucket, Key="k", Range=said)
    assert head["ContentLength"] == end - start + 1


@pytest.mark.parametrize("said", ["bytes=40-50", "bytes=11-", "bytes=-0"])
def test_ranges_of_nothing(main, bucket, said):
    put(main, bucket, body=b"testcontent")
    assert refused(main.s3.get_object, Bucket=bucket, Key="k", Range=said) == (416, "InvalidRange")


@pytest.mark.parametrize("said", ["bytes=hello", "lines=1-2", "bytes=5-3", "bytes"])
def test_what_is_no_range_is_passed_over(main, bucket, said):
    put(main, bucket, body=b"testcontent")
    assert read(main.s3, bucket, Range=said) == b"testcontent"


def test_ranges_of_an_empty_object(main, bucket):
    put(main, bucket, body=b"")
    assert refused(main.s3.get_object, Bucket=bucket, Key="k", Range="bytes=40-50") == (416, "InvalidRange")


def test_ranges_of_a_large_object(main, of_parts):
    assert read(main.s3, of_parts, "whole", Range=f"bytes={PART - 2}-{PART + 1}") == b"aabb"
    assert read(main.s3, of_parts, "whole", Range="bytes=-12") == b"bb" + b"c" * 10


def test_two_ranges(main, bucket):
    """S3 gives the whole object, or its first range; never something else."""
    put(main, bucket, body=b"testcontent")
    assert read(main.s3, bucket, Range="bytes=0-1,4-5") in (b"testcontent", b"te")
