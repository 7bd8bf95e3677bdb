"""Every operation of S3 that is not served is refused, and changes nothing."""

import pytest
from botocore.exceptions import ClientError
from people import code, connect, put, read, send

# What is served: each has checks of its own.
SERVED = set("""
    AbortMultipartUpload CompleteMultipartUpload CopyObject CreateBucket CreateMultipartUpload DeleteBucket DeleteBucketCors
    DeleteBucketEncryption DeleteBucketLifecycle DeleteBucketOwnershipControls DeleteBucketPolicy DeleteBucketTagging DeleteObject
    DeleteObjectTagging DeleteObjects DeletePublicAccessBlock GetBucketAccelerateConfiguration GetBucketAcl GetBucketCors
    GetBucketEncryption GetBucketLifecycle GetBucketLifecycleConfiguration GetBucketLocation GetBucketLogging GetBucketNotification
    GetBucketNotificationConfiguration GetBucketOwnershipControls GetBucketPolicy GetBucketPolicyStatus GetBucketReplication
    GetBucketRequestPayment GetBucketTagging GetBucketVersioning GetBucketWebsite GetObject GetObjectAcl GetObjectAttributes
    GetObjectLegalHold GetObjectLockConfiguration GetObjectRetention GetObjectTagging GetPublicAccessBlock HeadBucket HeadObject
    ListBuckets ListMultipartUploads ListObjectVersions ListObjects ListObjectsV2 ListParts PutBucketAcl PutBucketCors
    PutBucketEncryption PutBucketLifecycle PutBucketLifecycleConfiguration PutBucketLogging PutBucketNotification
    PutBucketNotificationConfiguration PutBucketOwnershipControls PutBucketPolicy
    PutBucketRequestPayment PutBucketTagging PutBucketVersioning PutObject PutObjectAcl PutObjectLegalHold
    PutObjectLockConfiguration PutObjectRetention PutObjectTagging PutPublicAccessBlock UploadPart UploadPartCopy
""".split())
# To an endpoint of one's own it is sent like ListBuckets, to the letter.
SAME = {"ListDirectoryBuckets"}

MODEL = connect().meta.service_model
UNSERVED = sorted(set(MODEL.operation_names) - SERVED - SAME)


def least(shape, depth=0):
    """The least that a shape demands."""
    if shape.type_name == "structure":
        wanted = set(shape.required_members)
        if not wanted and depth and shape.members:
            wanted = {next(iter(shape.members))}
        return {name: least(member, depth + 1) for name, member in shape.members.items() if name in wanted}
    if shape.type_name == "list":
        return [least(shape.member, depth + 1)]
    if shape.type_name == "map":
        return {"k": "v"}
    if shape.type_name in ("integer", "long"):
        return 1
    if shape.type_name == "boolean":
        return True
    if shape.type_name == "timestamp":
        return 0
    return shape.enum[0] if getattr(shape, "enum", None) else "x" * shape.metadata.get("min", 1)


def settings(main, bucket):
    """What a bucket is told that one of these operations might have changed."""
    s3, found = main.s3, {}
    for call in ("get_bucket_acl", "get_bucket_encryption", "get_bucket_versioning", "get_bucket_logging", "get_bucket_tagging",
                 "get_bucket_notification_configuration", "get_bucket_accelerate_configuration"):
        try:
            found[call] = getattr(s3, call)(Bucket=bucket)
            found[call].pop("ResponseMetadata")
        except ClientError as error:
            found[call] = error.response["Error"]["Code"]
    return found


def test_nothing_is_forgotten():
    assert SERVED <= set(MODEL.operation_names)
    assert {"RenameObject", "UpdateObjectEncryption", "GetBucketAbac", "RestoreObject"} <= set(UNSERVED)


@pytest.mark.parametrize("operation", UNSERVED)
def test_what_is_not_served_changes_nothing(main, make, operation):
    full, bare = make(), make()
    put(main, full, "victim")
    put(main, full, "src", b"source")
    before = settings(main, full)
    # A prefix of the host has no address here.
    client = main.fresh(inject_host_prefix=False)
    shape = MODEL.operation_model(operation).input_shape
    for bucket in (full, bare):
        arguments = least(shape)
        arguments.update({name: value for name, value in {
            "Bucket": bucket, "Key": "victim", "RenameSource": f"/{bucket}/src",
        }.items() if name in arguments})
        with pytest.raises(ClientError) as caught:
            client._make_api_call(operation, arguments)
        status = caught.value.response["ResponseMetadata"]["HTTPStatusCode"]
        assert status == 501 or 400 <= status < 500, (operation, status)
    assert read(main.s3, full, "victim") == b"content" and read(main.s3, full, "src") == b"source"
    assert main.s3.list_objects_v2(Bucket=full)["KeyCount"] == 2
    assert main.s3.list_objects_v2(Bucket=bare)["KeyCount"] == 0
    assert settings(main, full) == before


NAMES = ["abac", "accelerate", "anything", "metadataConfiguration", "notification", "renameObject", "requestPayment", "restore",
         "torrent", "website"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_taken_for_the_plain_operation(main, bucket, name):
    assert code(send(main, "DELETE", f"/{bucket}?{name}")) == (501, "NotImplemented")
    main.s3.head_bucket(Bucket=bucket)
    put(main, bucket)
    for method in ("PUT", "DELETE", "POST"):
        assert code(send(main, method, f"/{bucket}/k?{name}", body=b"<x/>")) == (501, "NotImplemented"), method
    assert read(main.s3, bucket) == b"content"


def test_a_source_to_rename_is_refused(main, bucket):
    put(main, bucket)
    assert code(send(main, "PUT", f"/{bucket}/k", {"x-amz-rename-source": f"/{bucket}/other"})) == (501, "NotImplemented")
    assert read(main.s3, bucket) == b"content"


@pytest.mark.parametrize("query", ["x-id=PutObject", "anything=1", "x-id="])
def test_parameters_that_mean_nothing(main, bucket, query):
    assert send(main, "PUT", f"/{bucket}/k?{query}", body=b"content").status_code == 200
    assert read(main.s3, bucket) == b"content"
    assert send(main, "DELETE", f"/{bucket}/k?{query}").status_code == 204
