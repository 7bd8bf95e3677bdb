"""Locks: what may be said of them, and what they keep."""

from datetime import datetime, timedelta, timezone

import pytest
from people import put, refused


def later(**delta):
    return (datetime.now(timezone.utc) + timedelta(**delta)).replace(microsecond=0)


@pytest.fixture
def lockable(make):
    return make(ObjectLockEnabledForBucket=True)


def configured(mode="GOVERNANCE", **period):
    return {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": mode, **period}}}


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
@pytest.mark.parametrize("period", [{"Days": 1}, {"Years": 1}])
def test_configurations(main, lockable, mode, period):
    wanted = configured(mode, **period)
    main.s3.put_object_lock_configuration(Bucket=lockable, ObjectLockConfiguration=wanted)
    assert main.s3.get_object_lock_configuration(Bucket=lockable)["ObjectLockConfiguration"] == wanted
    assert main.s3.get_bucket_versioning(Bucket=lockable)["Status"] == "Enabled"


@pytest.mark.parametrize("wrong, expected", [
    (configured(Days=0), (400, "InvalidRetentionPeriod")), (configured(Days=-1), (400, "InvalidRetentionPeriod")),
    (configured(Years=0), (400, "InvalidRetentionPeriod")), (configured(Years=-1), (400, "InvalidRetentionPeriod")),
    (configured(), (400, "MalformedXML")), (configured(Days=1, Years=1), (400, "MalformedXML")),
    (configured("abc", Days=1), (400, "MalformedXML")), (configured("governance", Days=1), (400, "MalformedXML")),
    ({"ObjectLockEnabled": "Disabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}, (400, "MalformedXML")),
])
def test_wrong_configurations(main, lockable, wrong, expected):
    assert refused(main.s3.put_object_lock_configuration, Bucket=lockable, ObjectLockConfiguration=wrong) == expected


def test_buckets_without_locks(main, bucket):
    put(main, bucket)
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": later(days=1)}
    where = {"Bucket": bucket, "Key": "k"}
    assert refused(main.s3.put_object_lock_configuration, Bucket=bucket, ObjectLockConfiguration=configured(Days=1)) == (
        409, "InvalidBucketState")
    assert refused(main.s3.put_object_retention, **where, Retention=retention) == (400, "InvalidRequest")
    assert refused(main.s3.get_object_retention, **where) == (400, "InvalidRequest")
    assert refused(main.s3.put_object_legal_hold, **where, LegalHold={"Status": "ON"}) == (400, "InvalidRequest")
    assert refused(main.s3.get_object_legal_hold, **where) == (400, "InvalidRequest")


def test_versions_are_kept_for_ever(main, lockable):
    change = {"Bucket": lockable, "VersioningConfiguration": {"Status": "Suspended"}}
    assert refused(main.s3.put_bucket_versioning, **change) == (409, "InvalidBucketState")


@pytest.mark.parametrize("wrong, code", [
    ({"Mode": "abc", "RetainUntilDate": later(days=1)}, "MalformedXML"),
    ({"Mode": "governance", "RetainUntilDate": later(days=1)}, "MalformedXML"),
    ({"Mode": "GOVERNANCE"}, "MalformedXML"), ({"RetainUntilDate": later(days=1)}, "MalformedXML"),
    ({"Mode": "GOVERNANCE", "RetainUntilDate": later(days=-1)}, "InvalidArgument"),
])
def test_wrong_retention(main, lockable, wrong, code):
    version = put(main, lockable)["VersionId"]
    assert refused(main.s3.put_object_retention, Bucket=lockable, Key="k", VersionId=version, Retention=wrong) == (400, code)


def test_retention_of_an_older_version(main, lockable):
    first, second = put(main, lockable)["VersionId"], put(main, lockable)["VersionId"]
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": later(days=1)}
    main.s3.put_object_retention(Bucket=lockable, Key="k", VersionId=first, Retention=retention)
    assert main.s3.get_object_retention(Bucket=lockable, Key="k", VersionId=first)["Retention"] == retention
    assert refused(main.s3.get_object_retention, Bucket=lockable, Key="k", VersionId=second) == (
        404, "NoSuchObjectLockConfiguration")
    assert refused(main.s3.delete_object, Bucket=lockable, Key="k", VersionId=first) == (403, "AccessDenied")
    main.s3.delete_object(Bucket=lockable, Key="k", VersionId=second)


@pytest.mark.parametrize("bypass, ok", [(True, True), (False, False)])
def test_shorter_for_governance(main, lockable, bypass, ok):
    where = {"Bucket": lockable, "Key": "k", "VersionId": put(main, lockable)["VersionId"]}
    main.s3.put_object_retention(**where, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": later(days=3)})
    shorter = {**where, "Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": later(days=2)}, "BypassGovernanceRetention": bypass}
    if ok:
        main.s3.put_object_retention(**shorter)
    else:
        assert refused(main.s3.put_object_retention, **shorter) == (403, "AccessDenied")
    stricter = {"Mode": "COMPLIANCE", "RetainUntilDate": later(seconds=4)}
    found = refused(main.s3.put_object_retention, **where, Retention=stricter)
    assert found == (403, "AccessDenied")


def test_governance_is_passed_by_many_at_once(main, lockable):
    retention = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": later(days=1)}
    versions = [put(main, lockable, key, **retention)["VersionId"] for key in "ab"]
    objects = {"Objects": [{"Key": key, "VersionId": version} for key, version in zip("ab", versions)]}
    answer = main.s3.delete_objects(Bucket=lockable, Delete=objects)
    assert sorted((error["Key"], error["Code"]) for error in answer["Errors"]) == [("a", "AccessDenied"), ("b", "AccessDenied")]
    answer = main.s3.delete_objects(Bucket=lockable, Delete=objects, BypassGovernanceRetention=True)
    assert "Errors" not in answer and len(answer["Deleted"]) == 2


@pytest.mark.parametrize("status", ["ON", "OFF"])
def test_holds(main, lockable, status):
    where = {"Bucket": lockable, "Key": "k", "VersionId": put(main, lockable)["VersionId"]}
    main.s3.put_object_legal_hold(**where, LegalHold={"Status": status})
    assert main.s3.get_object_legal_hold(**where)["LegalHold"] == {"Status": status}
    assert main.s3.head_object(**where)["ObjectLockLegalHoldStatus"] == status
    assert main.s3.get_object(**where)["ObjectLockLegalHoldStatus"] == status
    if status == "ON":
        assert refused(main.s3.delete_object, **where, BypassGovernanceRetention=True) == (403, "AccessDenied")
        main.s3.put_object_legal_hold(**where, LegalHold={"Status": "OFF"})
    main.s3.delete_object(**where)


@pytest.mark.parametrize("wrong", [{"Status": "abc"}, {"Status": ""}, {}])
def test_wrong_holds(main, lockable, wrong):
    put(main, lockable)
    assert refused(main.s3.put_object_legal_hold, Bucket=lockable, Key="k", LegalHold=wrong) == (400, "MalformedXML")


def test_parts_are_locked(main, lockable):
    until = later(days=1)
    begun = main.s3.create_multipart_upload(Bucket=lockable, Key="k", ObjectLockMode="GOVERNANCE",
                                            ObjectLockRetainUntilDate=until, ObjectLockLegalHoldStatus="ON")["UploadId"]
    where = {"Bucket": lockable, "Key": "k", "UploadId": begun}
    etag = main.s3.upload_part(**where, PartNumber=1, Body=b"x")["ETag"]
    main.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    found = main.s3.head_object(Bucket=lockable, Key="k")
    assert (found["ObjectLockMode"], found["ObjectLockRetainUntilDate"], found["ObjectLockLegalHoldStatus"]) == ("GOVERNANCE", until, "ON")
    main.s3.put_object_legal_hold(Bucket=lockable, Key="k", LegalHold={"Status": "OFF"})


def test_half_of_a_retention(main, lockable):
    assert refused(put, main, lockable, ObjectLockMode="GOVERNANCE") == (400, "InvalidArgument")
    assert refused(put, main, lockable, ObjectLockRetainUntilDate=later(days=1)) == (400, "InvalidArgument")


def test_a_mark_needs_no_lock(main, lockable):
    version = put(main, lockable, ObjectLockLegalHoldStatus="ON")["VersionId"]
    assert main.s3.delete_object(Bucket=lockable, Key="k")["DeleteMarker"] is True
    where = {"Bucket": lockable, "Key": "k", "VersionId": version}
    main.s3.put_object_legal_hold(**where, LegalHold={"Status": "OFF"})
    main.s3.delete_object(**where)
