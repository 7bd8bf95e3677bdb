"""What is said of objects and buckets without their content."""

import pytest
from people import put, send
from test_copying import PART, begun, finish


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name, value", [
    ("x-amz-server-side-encryption", "AES256"), ("x-amz-server-side-encryption", "aws:kms"),
    ("x-amz-server-side-encryption-aws-kms-key-id", "k"),
])
def test_reads_do_not_say_how_to_encrypt(main, bucket, method, name, value):
    put(main, bucket)
    answer = send(main, method, f"/{bucket}/k", {name: value})
    assert answer.status_code == 400
    assert method == "HEAD" or "<Code>InvalidArgument</Code>" in answer.text


def test_a_part_is_partial(main, bucket):
    where = begun(main, bucket)
    etags = [main.s3.upload_part(**where, PartNumber=number + 1, Body=body)["ETag"] for number, body in enumerate([b"a" * PART, b"b"])]
    finish(main, where, *etags)
    put(main, bucket, "plain")
    for key, size in (("whole", PART), ("plain", 7)):
        for method in ("GET", "HEAD"):
            answer = send(main, method, f"/{bucket}/{key}?partNumber=1")
            assert (answer.status_code, answer.headers["content-length"]) == (206, str(size)), (key, method)
    for method in ("GET", "HEAD"):
        answer = send(main, method, f"/{bucket}/plain", {"Range": "bytes=1-2"})
        assert (answer.status_code, answer.headers["content-range"]) == (206, "bytes 1-2/7")
        assert send(main, method, f"/{bucket}/plain").status_code == 200


def test_tags_are_counted(main, bucket):
    put(main, bucket)
    put(main, bucket, "tagged", Tagging="a=b&c=d")
    for method in ("GET", "HEAD"):
        assert send(main, method, f"/{bucket}/tagged").headers["x-amz-tagging-count"] == "2"
        assert "x-amz-tagging-count" not in send(main, method, f"/{bucket}/k").headers


def test_what_a_bucket_has(main, alt, bucket):
    counted = lambda: tuple(int(send(main, "HEAD", f"/{bucket}").headers[name]) for name in ("x-rgw-object-count", "x-rgw-bytes-used"))
    assert counted() == (0, 0)
    put(main, bucket)
    put(main, bucket, "other", b"x" * 1000)
    assert counted() == (2, 1007)
    put(main, bucket, "other", b"")
    assert counted() == (2, 7)
    answer = send(alt, "HEAD", f"/{bucket}")
    assert answer.status_code == 403 and "x-rgw-object-count" not in answer.headers
