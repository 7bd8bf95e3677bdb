"""Uploads in parts."""

import pytest

PART = 5 * 1024 * 1024


def begin(s3, bucket, key="k", **options):
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, **options)["UploadId"]
    return {"Bucket": bucket, "Key": key, "UploadId": upload}


def send(s3, where, number, body):
    return {"PartNumber": number, "ETag": s3.upload_part(**where, PartNumber=number, Body=body)["ETag"]}


def complete(s3, where, parts):
    return s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})


def test_parts_are_read_by_their_numbers(s3, bucket, refused):
    where = begin(s3, bucket, Metadata={"a": "b"}, ContentType="text/x")
    bodies = {1: b"a" * PART, 4: b"b" * PART, 7: b"c"}
    done = complete(s3, where, [send(s3, where, number, body) for number, body in bodies.items()])
    assert done["ETag"].endswith('-3"')
    for number, expected in bodies.items():
        found = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert found["Body"].read() == expected and found["PartsCount"] == 3
        assert (found["ETag"], found["ResponseMetadata"]["HTTPStatusCode"]) == (done["ETag"], 206)
        assert s3.head_object(Bucket=bucket, Key="k", PartNumber=number)["ContentLength"] == len(expected)
    with refused(400, "InvalidPart"):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=5)
    found = s3.get_object(Bucket=bucket, Key="k")
    assert (found["Metadata"], found["ContentType"]) == ({"a": "b"}, "text/x")
    assert found["Body"].read() == b"".join(bodies.values())


def test_an_object_without_parts_is_its_first(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello")
    found = s3.get_object(Bucket=bucket, Key="k", PartNumber=1)
    assert found["Body"].read() == b"hello" and "PartsCount" not in found
    with refused(400, "InvalidPart"):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=2)


def test_what_does_not_fit_is_refused(s3, bucket, refused):
    where = begin(s3, bucket)
    one, two = send(s3, where, 1, b"a" * PART), send(s3, where, 2, b"b")
    with refused(400, "MalformedXML"):
        complete(s3, where, [])
    with refused(400, "InvalidPart"):
        complete(s3, where, [{"PartNumber": 1, "ETag": '"ffffffffffffffffffffffffffffffff"'}])
    with refused(400, "InvalidPart"):
        complete(s3, where, [one, {"PartNumber": 9999, "ETag": two["ETag"]}])
    with refused(400, "InvalidPartOrder"):
        complete(s3, where, [two, one])
    small = send(s3, where, 3, b"c")
    with refused(400, "EntityTooSmall"):
        complete(s3, where, [one, two, small])
    complete(s3, where, [one, two])
    with refused(404, "NoSuchUpload"):
        s3.abort_multipart_upload(**where)


def test_a_part_is_sent_again(s3, bucket):
    where = begin(s3, bucket)
    send(s3, where, 1, b"x" * PART)
    again = [send(s3, where, 1, b"y" * PART), send(s3, where, 2, b"z")]
    complete(s3, where, again)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"y" * PART + b"z"


def test_aborted_uploads_are_gone(s3, bucket, refused):
    where = begin(s3, bucket)
    send(s3, where, 1, b"x")
    s3.abort_multipart_upload(**where)
    for call in (s3.abort_multipart_upload, s3.list_parts):
        with refused(404, "NoSuchUpload"):
            call(**where)
    with refused(404, "NoSuchUpload"):
        s3.upload_part(**where, PartNumber=1, Body=b"x")


def test_pages_of_parts_and_uploads(s3, bucket):
    where = begin(s3, bucket)
    for number in range(1, 6):
        send(s3, where, number, b"x")
    first = s3.list_parts(**where, MaxParts=2)
    assert first["IsTruncated"] and [part["PartNumber"] for part in first["Parts"]] == [1, 2]
    rest = s3.list_parts(**where, PartNumberMarker=first["NextPartNumberMarker"])
    assert not rest["IsTruncated"] and len(rest["Parts"]) == 3
    begin(s3, bucket), begin(s3, bucket, "m")
    page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=2)
    assert page["IsTruncated"] and len(page["Uploads"]) == 2
    rest = s3.list_multipart_uploads(
        Bucket=bucket, KeyMarker=page["NextKeyMarker"], UploadIdMarker=page["NextUploadIdMarker"]
    )
    assert [upload["Key"] for upload in rest["Uploads"]] == ["m"]
    for upload in page["Uploads"] + rest["Uploads"]:
        s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def test_parts_are_copied(s3, bucket, refused):
    data = bytes(range(256)) * 40960
    s3.put_object(Bucket=bucket, Key="source", Body=data)
    where = begin(s3, bucket)
    copy = {**where, "CopySource": {"Bucket": bucket, "Key": "source"}}
    parts = []
    for number, (first, last) in enumerate(((0, PART - 1), (PART, len(data) - 1)), 1):
        answer = s3.upload_part_copy(**copy, PartNumber=number, CopySourceRange=f"bytes={first}-{last}")
        parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
    complete(s3, where, parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == data
    copy["UploadId"] = begin(s3, bucket)["UploadId"]
    for wrong in ("0-2", "bytes=0", "bytes=hello-world", "bytes=0-bar", "bytes=hello-", "bytes=0-2,3-5"):
        with refused(400, "InvalidArgument"):
            s3.upload_part_copy(**copy, PartNumber=1, CopySourceRange=wrong)
    with refused(416, "InvalidRange"):
        s3.upload_part_copy(**copy, PartNumber=1, CopySourceRange=f"bytes=0-{len(data)}")
    with refused(404, "NoSuchKey"):
        s3.upload_part_copy(**{**copy, "CopySource": {"Bucket": bucket, "Key": "none"}}, PartNumber=1)


@pytest.mark.parametrize("number", [0, 10001])
def test_numbers_of_parts(s3, bucket, refused, number):
    where = begin(s3, bucket)
    with refused(400, "InvalidArgument"):
        s3.upload_part(**where, PartNumber=number, Body=b"x")


def test_uploads_are_grouped_by_a_delimiter(s3, bucket):
    keys = ["a/1", "a/2", "b", "c/1/x", "c/2", "d"]
    ids = {key: s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for key in keys}
    whole = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [found["Key"] for found in whole["Uploads"]] == ["b", "d"]
    assert [found["Prefix"] for found in whole["CommonPrefixes"]] == ["a/", "c/"]
    assert not whole["IsTruncated"]
    listed, marker = [], {}
    for _ in range(10):
        page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/", MaxUploads=1, **marker)
        listed += [found["Key"] for found in page.get("Uploads", [])]
        listed += [found["Prefix"] for found in page.get("CommonPrefixes", [])]
        if not page["IsTruncated"]:
            break
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page.get("NextUploadIdMarker", "")}
    assert listed == ["a/", "b", "c/", "d"]
    below = s3.list_multipart_uploads(Bucket=bucket, Prefix="c/", Delimiter="/")
    assert [found["Prefix"] for found in below["CommonPrefixes"]] == ["c/1/"]
    assert [found["Key"] for found in below["Uploads"]] == ["c/2"]
    for key, upload in ids.items():
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
