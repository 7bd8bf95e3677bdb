"""Checksums of parts: what an upload that was begun with an algorithm demands of them."""

import os

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from people import put, read, refused
from test_copying import PART, begun

PLAIN = {"request_checksum_calculation": "when_required"}


def failure(call, *args, **kwargs):
    """The status, the code and the message of what must be refused."""
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def whole(where, *parts, **more):
    return {**where, "MultipartUpload": {"Parts": [{"PartNumber": number, **part} for number, part in enumerate(parts, 1)]}, **more}


def test_completions_name_the_sums_of_their_parts(main, bucket):
    where = begun(main, bucket, ChecksumAlgorithm="SHA256")
    part = main.s3.upload_part(**where, PartNumber=1, Body=b"x", ChecksumAlgorithm="SHA256")
    known = {name: part[name] for name in ("ETag", "ChecksumSHA256")}
    found = failure(main.s3.complete_multipart_upload, **whole(where, {"ETag": part["ETag"]}))
    assert found[:2] == (400, "InvalidRequest")
    assert found[2].startswith("The upload was created using a sha256 checksum.") and "missing for part 1 " in found[2]
    assert refused(main.s3.complete_multipart_upload, **whole(where, known, ChecksumType="FULL_OBJECT")) == (400, "BadDigest")
    main.s3.complete_multipart_upload(**whole(where, known, ChecksumType="COMPOSITE"))


def test_sums_of_the_whole_demand_none_of_parts(main, bucket):
    s3 = main.fresh(**PLAIN)
    where = begun(main, bucket, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    part = s3.upload_part(**where, PartNumber=1, Body=b"x")
    assert part["ChecksumCRC32"]
    assert s3.complete_multipart_upload(**whole(where, {"ETag": part["ETag"]}))["ChecksumType"] == "FULL_OBJECT"


def test_uploads_without_an_algorithm_demand_nothing(main, bucket):
    s3 = main.fresh(**PLAIN)
    where = begun(main, bucket)
    tags = [s3.upload_part(**where, PartNumber=1, Body=b"x" * PART)["ETag"]]
    tags.append(main.s3.upload_part(**where, PartNumber=2, Body=b"x", ChecksumAlgorithm="SHA1")["ETag"])
    s3.complete_multipart_upload(**whole(where, *({"ETag": tag} for tag in tags)))


@pytest.mark.parametrize("actual", ["SHA1", None])
def test_parts_are_summed_up_as_the_upload(main, bucket, actual):
    where = begun(main, bucket, ChecksumAlgorithm="SHA256")
    s3, said = (main.s3, {"ChecksumAlgorithm": actual}) if actual else (main.fresh(**PLAIN), {})
    found = failure(s3.upload_part, **where, PartNumber=1, Body=b"x", **said)
    expected = f"Checksum Type mismatch occurred, expected checksum Type: sha256, actual checksum Type: {(actual or 'null').lower()}"
    assert found == (400, "InvalidRequest", expected)


@pytest.mark.parametrize("kind", ["COMPOSITE", "FULL_OBJECT"])
def test_copied_parts_are_summed_up(main, bucket, kind):
    put(main, bucket, "source", b"content")
    where = begun(main, bucket, ChecksumAlgorithm="CRC32C", ChecksumType=kind)
    part = main.s3.upload_part_copy(**where, PartNumber=1, CopySource=f"{bucket}/source")["CopyPartResult"]
    assert part["ChecksumCRC32C"] == main.s3.list_parts(**where)["Parts"][0]["ChecksumCRC32C"]
    known = {name: part[name] for name in ("ETag", "ChecksumCRC32C")}
    found = main.s3.complete_multipart_upload(**whole(where, known))
    assert found["ChecksumCRC32C"] and found["ChecksumType"] == kind
    if kind == "FULL_OBJECT":
        assert found["ChecksumCRC32C"] == put(main, bucket, "plain", ChecksumAlgorithm="CRC32C")["ChecksumCRC32C"]


@pytest.mark.parametrize("size, ok", [(PART + 1, True), (PART, False)])
@pytest.mark.parametrize("algorithm", [None, "CRC32"])
def test_the_size_of_the_whole(main, bucket, size, ok, algorithm):
    said = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    where = begun(main, bucket, **said)
    parts = [main.s3.upload_part(**where, PartNumber=number, Body=body, **said) for number, body in ((1, b"a" * PART), (2, b"b"))]
    parts = [{name: part[name] for name in ("ETag", "ChecksumCRC32") if name in part} for part in parts]
    call = lambda: main.s3.complete_multipart_upload(**whole(where, *parts, MpuObjectSize=size))
    if ok:
        call()
    else:
        assert refused(call) == (400, "InvalidRequest")


def test_unknown_algorithms(main, bucket):
    assert refused(begun, main, bucket, ChecksumAlgorithm="MD4") == (400, "InvalidRequest")


@pytest.mark.parametrize("extra", [{}, {"ChecksumAlgorithm": "SHA256"}, {"ChecksumAlgorithm": "CRC64NVME"}])
@pytest.mark.parametrize("config", [{}, PLAIN])
def test_transfers_of_boto3(main, bucket, tmp_path, extra, config):
    file = tmp_path / "file"
    file.write_bytes(os.urandom(3 * PART + 7))
    s3, parts = main.fresh(**config), TransferConfig(multipart_threshold=PART, multipart_chunksize=PART)
    s3.upload_file(str(file), bucket, "k", ExtraArgs=extra, Config=parts)
    assert read(s3, bucket) == file.read_bytes()
    s3.copy({"Bucket": bucket, "Key": "k"}, bucket, "copy", ExtraArgs=extra, Config=parts)
    assert read(s3, bucket, "copy") == file.read_bytes()
