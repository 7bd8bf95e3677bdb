"""Rules by which objects end, tags, versions, conditions, sums and keys: what a client sees of each."""

import base64
import datetime
import hashlib

import pytest
from people import denied, put, read, refused, send
from test_copying import PART, begun, finish

MIDNIGHT = datetime.datetime(2031, 9, 27, tzinfo=datetime.timezone.utc)


def rules(person, bucket, *said):
    said = [{"ID": f"r{number}", "Status": "Enabled", "Filter": {"Prefix": f"p{number}/"}, **one} for number, one in enumerate(said)]
    person.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": said})
    return said


@pytest.mark.parametrize("rule", [
    {"Expiration": {"Days": 1}}, {"Expiration": {"Date": MIDNIGHT}}, {"Expiration": {"ExpiredObjectDeleteMarker": True}},
    {"NoncurrentVersionExpiration": {"NoncurrentDays": 2}}, {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}},
    {"NoncurrentVersionExpiration": {"NoncurrentDays": 2, "NewerNoncurrentVersions": 5}},
    {"Filter": {}, "Expiration": {"Days": 1}}, {"Filter": {"Prefix": ""}, "Expiration": {"Days": 1}},
    {"Filter": {"Tag": {"Key": "a", "Value": "b"}}, "Expiration": {"Days": 1}},
    {"Filter": {"ObjectSizeGreaterThan": 2000}, "Expiration": {"Days": 1}}, {"Filter": {"ObjectSizeLessThan": 2000}, "Expiration": {"Days": 1}},
    {"Filter": {"And": {"Prefix": "x", "ObjectSizeGreaterThan": 1, "ObjectSizeLessThan": 9}}, "Expiration": {"Days": 1}},
    {"Filter": {"And": {"Tags": [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d"}]}}, "Expiration": {"Days": 1}},
    {"Status": "Disabled", "Expiration": {"Days": 1}}, {"Expiration": {"Days": 1}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}},
])
def test_rules(main, bucket, rule):
    said = rules(main, bucket, rule)
    assert main.s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == said


@pytest.mark.parametrize("rule, code", [
    ({"Expiration": {"Days": 0}}, "InvalidArgument"), ({"Expiration": {"Days": -1}}, "InvalidArgument"),
    ({"Expiration": {}}, "MalformedXML"), ({}, "InvalidRequest"), ({"Status": "enabled", "Expiration": {"Days": 1}}, "MalformedXML"),
    ({"Status": "invalid", "Expiration": {"Days": 1}}, "MalformedXML"), ({"ID": "x" * 256, "Expiration": {"Days": 1}}, "InvalidArgument"),
    ({"Expiration": {"Date": datetime.datetime(2031, 9, 27, 5)}}, "InvalidArgument"),
    ({"NoncurrentVersionExpiration": {"NoncurrentDays": 0}}, "InvalidArgument"),
    ({"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 0}}, "InvalidArgument"),
])
def test_rules_that_are_none(main, bucket, rule, code):
    found = refused(rules, main, bucket, rule)
    assert found[0] == 400 and found[1] in (code, "MalformedXML", "InvalidArgument"), found
    assert refused(main.s3.get_bucket_lifecycle_configuration, Bucket=bucket) == (404, "NoSuchLifecycleConfiguration")


def test_names_of_rules_are_unique(main, bucket):
    assert refused(rules, main, bucket, {"ID": "a", "Expiration": {"Days": 1}}, {"ID": "a", "Expiration": {"Days": 2}}) == (
        400, "InvalidArgument")


def test_ends_are_announced(main, bucket):
    rules(main, bucket, {"Filter": {"Prefix": "days1/"}, "Expiration": {"Days": 1}}, {"Filter": {"Prefix": "late/"}, "Expiration": {"Date": MIDNIGHT}})
    for answer in (put(main, bucket, "days1/a"), main.s3.head_object(Bucket=bucket, Key="days1/a"), main.s3.get_object(Bucket=bucket, Key="days1/a")):
        assert 'rule-id="r0"' in answer["Expiration"]
    assert "Sat, 27 Sep 2031 00:00:00 GMT" in put(main, bucket, "late/a")["Expiration"]
    assert "Expiration" not in put(main, bucket, "other")


# Tags.

@pytest.mark.parametrize("count, ok", [(0, True), (1, True), (10, True), (11, False)])
def test_how_many_tags(main, bucket, count, ok):
    tags = [{"Key": f"{number:02}", "Value": str(number)} for number in range(count)]
    put(main, bucket)
    call = lambda: main.s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": tags})
    if ok:
        call()
        assert main.s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == tags
        assert main.s3.get_object(Bucket=bucket, Key="k").get("TagCount", 0) == count
    else:
        assert refused(call) == (400, "InvalidTag")
        assert main.s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []


@pytest.mark.parametrize("key, value, ok", [
    ("k" * 128, "v" * 256, True), ("k" * 129, "v", False), ("k", "v" * 257, False), ("k", "", True),
    ("a b", "c d", True), ("+-=._:/@", "+-=._:/@", True), ("\u00e4", "\u00f6", True), ("aws:x", "v", False),
])
def test_which_tags(main, bucket, key, value, ok):
    put(main, bucket)
    tags = [{"Key": key, "Value": value}]
    for call in (lambda: main.s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": tags}),
                 lambda: main.s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})):
        if ok:
            call()
        else:
            assert refused(call) == (400, "InvalidTag")
    found = main.s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    assert found == (tags if ok else [])


def test_tags_twice(main, bucket):
    put(main, bucket)
    tags = {"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}
    assert refused(main.s3.put_object_tagging, Bucket=bucket, Key="k", Tagging=tags) == (400, "InvalidTag")
    assert refused(main.s3.put_bucket_tagging, Bucket=bucket, Tagging=tags) == (400, "InvalidTag")


def test_tags_in_a_header(main, bucket):
    put(main, bucket, Tagging="foo=bar&bar&a+b=c%20d")
    assert main.s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [
        {"Key": "a b", "Value": "c d"}, {"Key": "bar", "Value": ""}, {"Key": "foo", "Value": "bar"}]
    too_many = "&".join(f"{number}=x" for number in range(11))
    assert refused(put, main, bucket, "other", Tagging=too_many)[0] == 400


def test_tags_are_taken_back(main, bucket):
    put(main, bucket, Tagging="a=b")
    assert main.s3.delete_object_tagging(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert main.s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    main.s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert main.s3.delete_bucket_tagging(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(main.s3.get_bucket_tagging, Bucket=bucket) == (404, "NoSuchTagSet")


# Versions.

@pytest.fixture
def versioned(main, bucket):
    main.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def suspend(main, bucket):
    main.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})


def listed(main, bucket, key="k"):
    page = main.s3.list_object_versions(Bucket=bucket, Prefix=key)
    return [(item["VersionId"], item["IsLatest"]) for item in page.get("Versions", [])], [
        (item["VersionId"], item["IsLatest"]) for item in page.get("DeleteMarkers", [])]


def test_versions_are_made_and_removed(main, versioned):
    names = [put(main, versioned, body=str(number).encode())["VersionId"] for number in range(5)]
    assert listed(main, versioned) == ([(name, name == names[-1]) for name in reversed(names)], [])
    for number, name in enumerate(names):
        found = main.s3.get_object(Bucket=versioned, Key="k", VersionId=name)
        assert (found["Body"].read(), found["VersionId"]) == (str(number).encode(), name)
        assert main.s3.head_object(Bucket=versioned, Key="k", VersionId=name)["VersionId"] == name
    assert main.s3.get_object(Bucket=versioned, Key="k")["VersionId"] == names[-1]
    for name in reversed(names):
        answer = main.s3.delete_object(Bucket=versioned, Key="k", VersionId=name)
        assert answer["VersionId"] == name and "DeleteMarker" not in answer
    assert listed(main, versioned) == ([], [])


def test_marks(main, versioned):
    name = put(main, versioned)["VersionId"]
    mark = main.s3.delete_object(Bucket=versioned, Key="k")
    assert mark["DeleteMarker"] is True and mark["VersionId"] not in (name, "null")
    assert refused(main.s3.get_object, Bucket=versioned, Key="k") == (404, "NoSuchKey")
    answer = send(main, "GET", f"/{versioned}/k")
    assert answer.headers["x-amz-delete-marker"] == "true" and answer.headers["x-amz-version-id"] == mark["VersionId"]
    where = {"Bucket": versioned, "Key": "k", "VersionId": mark["VersionId"]}
    assert refused(main.s3.get_object, **where) == (405, "MethodNotAllowed")
    assert refused(main.s3.head_object, **where) == (405, "405")
    assert send(main, "GET", f"/{versioned}/k?versionId={mark['VersionId']}").headers["allow"] == "DELETE"
    gone = main.s3.delete_object(**where)
    assert gone["DeleteMarker"] is True and gone["VersionId"] == mark["VersionId"]
    assert read(main.s3, versioned) == b"content"


def test_a_mark_on_nothing(main, versioned):
    mark = main.s3.delete_object(Bucket=versioned, Key="never")
    assert mark["DeleteMarker"] is True
    assert listed(main, versioned, "never") == ([], [(mark["VersionId"], True)])
    again = main.s3.delete_object(Bucket=versioned, Key="never")
    assert len(listed(main, versioned, "never")[1]) == 2 and again["VersionId"] != mark["VersionId"]


@pytest.mark.parametrize("version", ["nonsense", "00000000-0000-7000-8000-000000000000"])
def test_versions_that_do_not_exist(main, versioned, version):
    put(main, versioned)
    where = {"Bucket": versioned, "Key": "k", "VersionId": version}
    for call in (main.s3.get_object, main.s3.get_object_tagging, main.s3.get_object_acl):
        found = refused(call, **where)
        assert found in ((404, "NoSuchVersion"), (400, "InvalidArgument")), found
    assert refused(main.s3.head_object, **where)[0] in (400, 404)


def test_the_null_version(main, bucket):
    put(main, bucket, body=b"old")
    assert "VersionId" not in main.s3.get_object(Bucket=bucket, Key="k")
    main.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    new = put(main, bucket, body=b"new")["VersionId"]
    assert listed(main, bucket) == ([(new, True), ("null", False)], [])
    assert read(main.s3, bucket, VersionId="null") == b"old"
    suspend(main, bucket)
    put(main, bucket, body=b"newer")
    assert listed(main, bucket) == ([("null", True), (new, False)], [])
    mark = main.s3.delete_object(Bucket=bucket, Key="k")
    assert mark["VersionId"] == "null" and listed(main, bucket) == ([(new, False)], [("null", True)])
    main.s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
    assert read(main.s3, bucket) == b"new"


def test_many_versions_are_removed_at_once(main, versioned):
    names = [put(main, versioned)["VersionId"] for _ in range(3)]
    answer = main.s3.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": "k", "VersionId": name} for name in names]})
    assert sorted(item["VersionId"] for item in answer["Deleted"]) == sorted(names)
    put(main, versioned)
    [deleted] = main.s3.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": "k"}]})["Deleted"]
    assert deleted["DeleteMarker"] is True and deleted["DeleteMarkerVersionId"]
    [deleted] = main.s3.delete_objects(
        Bucket=versioned, Delete={"Objects": [{"Key": "k", "VersionId": deleted["DeleteMarkerVersionId"]}]})["Deleted"]
    assert deleted["DeleteMarker"] is True


@pytest.mark.parametrize("status", ["Suspended", "Enabled"])
def test_states(main, bucket, status):
    main.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
    assert main.s3.get_bucket_versioning(Bucket=bucket)["Status"] == status
    wrong = {"Bucket": bucket, "VersioningConfiguration": {"Status": "disabled"}}
    assert refused(main.s3.put_bucket_versioning, **wrong)[0] == 400


# Many at once.

@pytest.mark.parametrize("count, ok", [(1, True), (1000, True), (1001, False)])
def test_how_many_are_removed_at_once(main, bucket, count, ok):
    put(main, bucket, "0")
    objects = {"Objects": [{"Key": str(number)} for number in range(count)]}
    if ok:
        answer = main.s3.delete_objects(Bucket=bucket, Delete=objects)
        assert len(answer["Deleted"]) == count and "Errors" not in answer
        assert "Contents" not in main.s3.list_objects_v2(Bucket=bucket)
        assert "Deleted" not in main.s3.delete_objects(Bucket=bucket, Delete={**objects, "Quiet": True})
    else:
        assert refused(main.s3.delete_objects, Bucket=bucket, Delete=objects) == (400, "MalformedXML")


def test_none_are_removed_at_once(main, alt, bucket):
    assert refused(main.s3.delete_objects, Bucket=bucket, Delete={"Objects": []}) == (400, "MalformedXML")
    put(main, bucket)
    answer = None
    try:
        answer = alt.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]})
    except alt.s3.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied"
    if answer:
        assert answer["Errors"][0]["Code"] == "AccessDenied"
    read(main.s3, bucket)


# Conditions.

@pytest.mark.parametrize("said, status", [
    ({"IfMatch": "{etag}"}, 200), ({"IfMatch": '"x"'}, 412), ({"IfMatch": "*"}, 200), ({"IfNoneMatch": "{etag}"}, 304), ({"IfNoneMatch": '"x"'}, 200),
    ({"IfModifiedSince": datetime.datetime(1994, 1, 1)}, 200), ({"IfModifiedSince": datetime.datetime(2099, 1, 1)}, 304),
    ({"IfModifiedSince": "last"}, 304),
    ({"IfUnmodifiedSince": datetime.datetime(1994, 1, 1)}, 412), ({"IfUnmodifiedSince": datetime.datetime(2099, 1, 1)}, 200),
    ({"IfMatch": "{etag}", "IfUnmodifiedSince": datetime.datetime(1994, 1, 1)}, 200),
    ({"IfNoneMatch": "{etag}", "IfModifiedSince": datetime.datetime(1994, 1, 1)}, 304),
])
@pytest.mark.parametrize("way", ["get_object", "head_object"])
def test_conditions_of_reads(main, bucket, way, said, status):
    etag = put(main, bucket)["ETag"]
    last = main.s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    said = {name: etag if value == "{etag}" else last if value == "last" else value for name, value in said.items()}
    call = getattr(main.s3, way)
    if status == 200:
        assert call(Bucket=bucket, Key="k", **said)["ETag"] == etag
    else:
        assert refused(call, Bucket=bucket, Key="k", **said)[0] == status


@pytest.mark.parametrize("exists, said, expected", [
    (True, {"IfNoneMatch": "*"}, (412, "PreconditionFailed")), (False, {"IfNoneMatch": "*"}, None),
    (True, {"IfMatch": "right"}, None), (True, {"IfMatch": "wrong"}, (412, "PreconditionFailed")),
    (False, {"IfMatch": "wrong"}, (404, "NoSuchKey")), (False, {"IfMatch": "*"}, (404, "NoSuchKey")), (True, {"IfMatch": "*"}, None),
    (True, {"IfNoneMatch": "right"}, (412, "PreconditionFailed")), (True, {"IfNoneMatch": "wrong"}, None),
])
@pytest.mark.parametrize("way", ["put", "parts", "copy"])
def test_conditions_of_writes(main, bucket, way, exists, said, expected):
    etag = put(main, bucket, "whole", b"old")["ETag"] if exists else '"x"'
    said = {name: {"right": etag, "wrong": '"ABCORZ"'}.get(value, value) for name, value in said.items()}
    if way == "put":
        call = lambda: put(main, bucket, "whole", b"new", **said)
    elif way == "copy":
        put(main, bucket, "source", b"new")
        call = lambda: main.s3.copy_object(Bucket=bucket, Key="whole", CopySource=f"{bucket}/source", **said)
    else:
        where = begun(main, bucket)
        tag = main.s3.upload_part(**where, PartNumber=1, Body=b"new")["ETag"]
        call = lambda: main.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]}, **said)
    if expected:
        assert refused(call) == expected
        if exists:
            assert read(main.s3, bucket, "whole") == b"old"
    else:
        call()
        assert read(main.s3, bucket, "whole") == b"new"


@pytest.mark.parametrize("said, ok", [
    ({"IfMatch": "right"}, True), ({"IfMatch": "wrong"}, False), ({"IfMatch": "*"}, True), ({"IfMatchSize": 7}, True), ({"IfMatchSize": 8}, False),
    ({"IfMatchLastModifiedTime": "last"}, True), ({"IfMatchLastModifiedTime": datetime.datetime(1999, 1, 1)}, False),
])
def test_conditions_of_removals(main, bucket, said, ok):
    etag = put(main, bucket)["ETag"]
    last = main.s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    said = {name: {"right": etag, "wrong": '"x"', "last": last}.get(value, value) for name, value in said.items()}
    call = lambda: main.s3.delete_object(Bucket=bucket, Key="k", **said)
    if ok:
        call()
        assert refused(main.s3.head_object, Bucket=bucket, Key="k")[0] == 404
    else:
        assert refused(call) == (412, "PreconditionFailed")


# Sums.

SUMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]


@pytest.mark.parametrize("algorithm", SUMS)
def test_sums(main, bucket, algorithm):
    field = "Checksum" + algorithm
    made = put(main, bucket, ChecksumAlgorithm=algorithm)[field]
    for answer in (main.s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED"), main.s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")):
        assert answer[field] == made and answer["ChecksumType"] == "FULL_OBJECT"
    assert field not in main.s3.head_object(Bucket=bucket, Key="k")
    found = main.s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum"])["Checksum"]
    assert found[field] == made
    wrong = base64.b64encode(bytes(len(base64.b64decode(made)))).decode()
    assert refused(put, main, bucket, "other", **{field: wrong}) == (400, "BadDigest")
    assert put(main, bucket, "given", **{field: made})[field] == made
    assert main.s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")["CopyObjectResult"][field] == made


@pytest.mark.parametrize("algorithm, kind", [(a, "COMPOSITE") for a in SUMS if a != "CRC64NVME"] + [(a, "FULL_OBJECT") for a in SUMS[:3]])
def test_sums_of_parts(main, bucket, algorithm, kind):
    field = "Checksum" + algorithm
    where = begun(main, bucket, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    bodies = [b"a" * PART, b"tail"]
    parts = []
    for number, body in enumerate(bodies):
        answer = main.s3.upload_part(**where, PartNumber=number + 1, Body=body, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number + 1, "ETag": answer["ETag"], field: answer[field]})
    found = main.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert found["ChecksumType"] == kind and found[field].endswith("-2") == (kind == "COMPOSITE")
    head = main.s3.head_object(Bucket=bucket, Key="whole", ChecksumMode="ENABLED")
    assert head[field] == found[field] and head["ChecksumType"] == kind
    if kind == "FULL_OBJECT":
        assert put(main, bucket, "plain", b"".join(bodies), ChecksumAlgorithm=algorithm)[field] == found[field]


# Keys.

KEY = b"k" * 32
SECRET = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
OTHER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"o" * 32}


@pytest.mark.parametrize("size", [1, 1000, 1024 * 1024, 13 * 1024 * 1024 + 5])
def test_keys_of_customers(main, bucket, size):
    body = b"a" * size
    made = put(main, bucket, body=body, **SECRET)
    assert made["SSECustomerAlgorithm"] == "AES256" and made["SSECustomerKeyMD5"]
    assert read(main.s3, bucket, **SECRET) == body
    assert main.s3.head_object(Bucket=bucket, Key="k", **SECRET)["ContentLength"] == size
    for wrong in ({}, OTHER):
        assert refused(main.s3.get_object, Bucket=bucket, Key="k", **wrong)[0] in (400, 403)
        assert refused(main.s3.head_object, Bucket=bucket, Key="k", **wrong)[0] in (400, 403)
    main.s3.copy_object(Bucket=bucket, Key="open", CopySource=f"{bucket}/k", **{"CopySource" + n: v for n, v in SECRET.items()})
    assert read(main.s3, bucket, "open") == body


@pytest.mark.parametrize("headers", [
    {"x-amz-server-side-encryption-customer-algorithm": "AES256"},
    {"x-amz-server-side-encryption-customer-key": base64.b64encode(KEY).decode()},
    {"x-amz-server-side-encryption-customer-algorithm": "AES256", "x-amz-server-side-encryption-customer-key": base64.b64encode(KEY).decode(),
     "x-amz-server-side-encryption-customer-key-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="},
    {"x-amz-server-side-encryption-customer-algorithm": "DES", "x-amz-server-side-encryption-customer-key": base64.b64encode(KEY).decode(),
     "x-amz-server-side-encryption-customer-key-MD5": base64.b64encode(hashlib.md5(KEY).digest()).decode()},
])
def test_keys_that_are_none(main, bucket, headers):
    assert send(main, "PUT", f"/{bucket}/k", headers, b"x").status_code == 400


def test_parts_with_keys(main, bucket):
    where = begun(main, bucket, **SECRET)
    assert refused(main.s3.upload_part, **where, PartNumber=1, Body=b"x", **OTHER)[0] == 400
    assert refused(main.s3.upload_part, **where, PartNumber=1, Body=b"x")[0] == 400
    etags = [main.s3.upload_part(**where, PartNumber=n, Body=b, **SECRET)["ETag"] for n, b in ((1, b"a" * PART), (2, b"tail"))]
    finish(main, where, *etags)
    assert read(main.s3, bucket, "whole", **SECRET) == b"a" * PART + b"tail"
    assert read(main.s3, bucket, "whole", Range=f"bytes={PART - 1}-{PART}", **SECRET) == b"at"


@pytest.mark.parametrize("said", [{"ServerSideEncryption": "AES256"}, None])
def test_keys_of_the_node(main, bucket, said):
    if said is None:
        main.s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]})
    assert put(main, bucket, **(said or {}))["ServerSideEncryption"] == "AES256"
    assert main.s3.head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "AES256"
    assert read(main.s3, bucket) == b"content"
    assert main.s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", **(said or {}))["ServerSideEncryption"] == "AES256"


def test_keys_of_others(main, bucket):
    assert refused(put, main, bucket, ServerSideEncryption="aws:kms", SSEKMSKeyId="x") == (501, "NotImplemented")
    found = refused(put, main, bucket, ServerSideEncryption="aes:256")
    assert found == (400, "InvalidArgument")
