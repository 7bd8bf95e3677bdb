"""Digests of documents, and digests that are none."""

import pytest
from people import code, put, refused, send
from test_copying import begun

ALGORITHMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]


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
