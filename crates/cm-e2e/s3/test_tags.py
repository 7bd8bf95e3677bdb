"""Tags of objects and buckets."""


def tag_set(**tags):
    return {"TagSet": [{"Key": key, "Value": value} for key, value in sorted(tags.items())]}


def test_object_tags(s3, bucket, refused):
    where = {"Bucket": bucket, "Key": "k"}
    s3.put_object(**where)
    assert s3.get_object_tagging(**where)["TagSet"] == []
    wanted = tag_set(a="1", b="")
    s3.put_object_tagging(**where, Tagging=wanted)
    assert s3.get_object_tagging(**where)["TagSet"] == wanted["TagSet"]
    assert s3.get_object(**where)["TagCount"] == 2
    s3.delete_object_tagging(**where)
    assert s3.get_object_tagging(**where)["TagSet"] == []
    with refused(404, "NoSuchKey"):
        s3.get_object_tagging(Bucket=bucket, Key="none")


def test_tags_come_with_objects_and_copies(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Tagging="foo=bar&b%20c=")
    expected = tag_set(**{"foo": "bar", "b c": ""})["TagSet"]
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == expected
    source = {"Bucket": bucket, "Key": "k"}
    s3.copy_object(Bucket=bucket, Key="same", CopySource=source)
    assert s3.get_object_tagging(Bucket=bucket, Key="same")["TagSet"] == expected
    s3.copy_object(Bucket=bucket, Key="other", CopySource=source, TaggingDirective="REPLACE", Tagging="x=y")
    assert s3.get_object_tagging(Bucket=bucket, Key="other")["TagSet"] == tag_set(x="y")["TagSet"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", Tagging="x=y")["UploadId"]
    where = {"Bucket": bucket, "Key": "parts", "UploadId": upload}
    tag = s3.upload_part(**where, PartNumber=1, Body=b"x")["ETag"]
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    assert s3.get_object_tagging(Bucket=bucket, Key="parts")["TagSet"] == tag_set(x="y")["TagSet"]


def test_limits(s3, bucket, refused):
    where = {"Bucket": bucket, "Key": "k"}
    s3.put_object(**where)
    longest = tag_set(**{f"{n}".ljust(128, "k"): "v" * 256 for n in range(10)})
    s3.put_object_tagging(**where, Tagging=longest)
    for wrong in (
        tag_set(**{str(n): "" for n in range(11)}),
        tag_set(**{"k" * 129: ""}),
        tag_set(k="v" * 257),
        {"TagSet": [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}]},
    ):
        with refused(400, "InvalidTag"):
            s3.put_object_tagging(**where, Tagging=wrong)
    assert len(s3.get_object_tagging(**where)["TagSet"]) == 10


def test_tags_of_versions(s3, versioned):
    first = s3.put_object(Bucket=versioned, Key="k", Body=b"1", Tagging="a=1")["VersionId"]
    s3.put_object(Bucket=versioned, Key="k", Body=b"2")
    where = {"Bucket": versioned, "Key": "k", "VersionId": first}
    assert s3.get_object_tagging(**where)["TagSet"] == tag_set(a="1")["TagSet"]
    s3.put_object_tagging(**where, Tagging=tag_set(b="2"))
    assert s3.get_object_tagging(**where)["TagSet"] == tag_set(b="2")["TagSet"]
    assert s3.get_object_tagging(Bucket=versioned, Key="k")["TagSet"] == []


def test_bucket_tags(s3, bucket, refused):
    with refused(404, "NoSuchTagSet"):
        s3.get_bucket_tagging(Bucket=bucket)
    s3.put_bucket_tagging(Bucket=bucket, Tagging=tag_set(hello="world"))
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tag_set(hello="world")["TagSet"]
    s3.delete_bucket_tagging(Bucket=bucket)
    with refused(404, "NoSuchTagSet"):
        s3.get_bucket_tagging(Bucket=bucket)
