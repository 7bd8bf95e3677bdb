"""Names of buckets and keys."""

import uuid
from urllib.parse import quote

import pytest
from people import PREFIX, code, plainly, put, read, refused, send

BAD = ["a", "aa", "Upper", "under_score", "_start", "-start", "end-", "end.", ".start", "two..dots", "dot.-dash",
       "dash-.dot", "192.168.5.123", "alpha!soup", "x" * 64, "x" * 250, "sp ace", "caf\u00e9"]
KEYS = ["_", "_x", "a/b/c", "/start", "end/", "//", "a//b", ".", "..", "a/./b", "a/../b", "../up", " ", " a ", "a b", "a+b",
        "a%20b", "%41", "a&b", "a=b", "a?b", "a#b", "a;b", "a:b", "a@b", "a,b", "a'b", 'a"b', "a<b>c", "a\\b", "a|b", "a^b",
        "a`b", "a{b}", "a[b]", "a~b", "a*b", "a!b", "a(b)", "a$b", "\u00e4\u00f6\u00fc", "\u4e2d\u6587", "\U0001f600",
        "x" * 1024]


@pytest.mark.parametrize("name", BAD)
def test_bad_names_of_buckets(main, name):
    answer = send(main, "PUT", "/" + quote(name, safe=""))
    assert code(answer) == (400, "InvalidBucketName")


@pytest.mark.parametrize("length", [3, 20, 60, 61, 62, 63])
def test_lengths_of_names(main, length):
    name = (uuid.uuid4().hex * 2)[:length]
    main.s3.create_bucket(Bucket=name)
    main.s3.head_bucket(Bucket=name)
    main.s3.delete_bucket(Bucket=name)


@pytest.mark.parametrize("tail", ["a.b", "a-b", "1", "a.b-c.d"])
def test_good_names_of_buckets(main, tail):
    name = PREFIX + uuid.uuid4().hex[:12] + tail
    assert main.s3.create_bucket(Bucket=name)["Location"].endswith(name)
    main.s3.delete_bucket(Bucket=name)


@pytest.mark.parametrize("call, arguments", [
    ("head_bucket", {}), ("list_objects", {}), ("list_objects_v2", {}), ("list_object_versions", {}), ("delete_bucket", {}),
    ("get_bucket_acl", {}), ("get_bucket_policy", {}), ("get_bucket_cors", {}), ("get_bucket_tagging", {}),
    ("get_bucket_versioning", {}), ("get_bucket_location", {}), ("get_bucket_lifecycle_configuration", {}),
    ("get_bucket_encryption", {}), ("get_bucket_ownership_controls", {}), ("get_public_access_block", {}),
    ("get_object_lock_configuration", {}), ("get_bucket_policy_status", {}), ("get_bucket_request_payment", {}),
    ("get_bucket_logging", {}), ("get_bucket_website", {}), ("list_multipart_uploads", {}),
    ("get_object", {"Key": "k"}), ("head_object", {"Key": "k"}), ("delete_object", {"Key": "k"}), ("put_object", {"Key": "k"}),
    ("get_object_acl", {"Key": "k"}), ("get_object_tagging", {"Key": "k"}), ("create_multipart_upload", {"Key": "k"}),
    ("get_object_retention", {"Key": "k"}), ("get_object_legal_hold", {"Key": "k"}),
    ("get_object_attributes", {"Key": "k", "ObjectAttributes": ["ETag"]}),
    ("delete_objects", {"Delete": {"Objects": [{"Key": "k"}]}}),
    ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Enabled"}}),
    ("put_bucket_acl", {"ACL": "private"}), ("delete_bucket_policy", {}), ("delete_bucket_cors", {}),
    ("delete_bucket_tagging", {}), ("delete_bucket_lifecycle", {}), ("delete_public_access_block", {}),
])
def test_buckets_that_do_not_exist(main, call, arguments):
    expected = "404" if call.startswith("head") else "NoSuchBucket"
    assert refused(getattr(main.s3, call), Bucket=PREFIX + uuid.uuid4().hex, **arguments) == (404, expected)


@pytest.mark.parametrize("call, arguments", [
    ("get_object", {}), ("head_object", {}), ("get_object_acl", {}), ("get_object_tagging", {}),
    ("get_object_attributes", {"ObjectAttributes": ["ETag"]}), ("put_object_acl", {"ACL": "private"}),
    ("put_object_tagging", {"Tagging": {"TagSet": []}}), ("delete_object_tagging", {}),
])
def test_objects_that_do_not_exist(main, bucket, call, arguments):
    expected = "404" if call.startswith("head") else "NoSuchKey"
    assert refused(getattr(main.s3, call), Bucket=bucket, Key="missing", **arguments) == (404, expected)


@pytest.mark.parametrize("key", KEYS)
def test_keys_of_all_kinds(main, bucket, key):
    put(main, bucket, key, key.encode())
    assert read(main.s3, bucket, key) == key.encode()
    assert main.s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(key.encode())
    assert [item["Key"] for item in main.s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    assert [item["Key"] for item in main.s3.list_objects(Bucket=bucket)["Contents"]] == [key]
    assert [item["Key"] for item in main.s3.list_object_versions(Bucket=bucket)["Versions"]] == [key]
    main.s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    assert read(main.s3, bucket, "copy") == key.encode()
    main.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}, {"Key": "copy"}]})
    assert "Contents" not in main.s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("key", ["\x07", "a\nb", "a\tb"])
def test_keys_have_no_control_characters(main, bucket, key):
    assert refused(main.s3.put_object, Bucket=bucket, Key=key, Body=b"") == (400, "InvalidArgument")


def test_keys_have_1024_bytes(main, bucket):
    assert refused(main.s3.put_object, Bucket=bucket, Key="x" * 1025, Body=b"") == (400, "KeyTooLongError")


def test_where_buckets_are(main, make, bucket):
    assert main.s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    assert main.s3.head_bucket(Bucket=bucket)["BucketRegion"] == "us-east-1"
    # A node is in every region that it is asked for.
    make(CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})


def test_a_bucket_must_be_empty_to_be_removed(main, bucket):
    put(main, bucket)
    assert refused(main.s3.delete_bucket, Bucket=bucket) == (409, "BucketNotEmpty")
    main.s3.delete_object(Bucket=bucket, Key="k")
    main.s3.delete_bucket(Bucket=bucket)
    assert refused(main.s3.delete_bucket, Bucket=bucket) == (404, "NoSuchBucket")


def test_pages_of_buckets(main, make):
    mine = sorted(make() for _ in range(5))
    listed = lambda answer: [item["Name"] for item in answer["Buckets"]]
    everything = main.s3.list_buckets(Prefix=PREFIX)
    assert [name for name in listed(everything) if name in mine] == mine
    assert everything["Prefix"] == PREFIX and "ContinuationToken" not in everything
    assert everything["Owner"]["ID"] == main.id
    assert all(item["CreationDate"] for item in everything["Buckets"])
    seen, token = [], {}
    while True:
        page = main.s3.list_buckets(Prefix=PREFIX, MaxBuckets=2, **token)
        assert len(page["Buckets"]) <= 2
        seen += listed(page)
        if "ContinuationToken" not in page:
            break
        token = {"ContinuationToken": page["ContinuationToken"]}
    assert seen == listed(everything)
    assert listed(main.s3.list_buckets(Prefix=mine[0])) == [mine[0]]
    for bad in (0, -1, 10001):
        assert code(send(main, "GET", f"/?max-buckets={bad}")) == (400, "InvalidArgument")


def test_names_that_the_client_lets_pass(main):
    s3 = plainly(main.fresh())
    assert refused(s3.create_bucket, Bucket="bad_name") == (400, "InvalidBucketName")
    assert refused(s3.list_objects, Bucket="bad_name")[0] in (400, 404)
