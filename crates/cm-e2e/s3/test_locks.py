"""Versions that must stay."""

from datetime import datetime, timedelta, timezone


def days(count):
    return (datetime.now(timezone.utc) + timedelta(days=count)).replace(microsecond=0)


def configuration(**default):
    return {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": default}}


def test_configuration(s3, bucket, lockable, refused):
    with refused(404, "ObjectLockConfigurationNotFoundError"):
        s3.get_object_lock_configuration(Bucket=bucket)
    with refused(409, "InvalidBucketState"):
        s3.put_object_lock_configuration(
            Bucket=bucket, ObjectLockConfiguration=configuration(Mode="GOVERNANCE", Days=1)
        )
    assert s3.get_bucket_versioning(Bucket=lockable)["Status"] == "Enabled"
    for wanted in (configuration(Mode="GOVERNANCE", Days=1), configuration(Mode="COMPLIANCE", Years=2)):
        s3.put_object_lock_configuration(Bucket=lockable, ObjectLockConfiguration=wanted)
        assert s3.get_object_lock_configuration(Bucket=lockable)["ObjectLockConfiguration"] == wanted
    for wrong, code in (
        (configuration(Mode="GOVERNANCE", Days=0), "InvalidRetentionPeriod"),
        (configuration(Mode="GOVERNANCE", Years=-1), "InvalidRetentionPeriod"),
        (configuration(Mode="governance", Days=1), "MalformedXML"),
        (configuration(Mode="GOVERNANCE", Days=1, Years=1), "MalformedXML"),
        ({"ObjectLockEnabled": "Disabled"}, "MalformedXML"),
    ):
        with refused(400, code):
            s3.put_object_lock_configuration(Bucket=lockable, ObjectLockConfiguration=wrong)
    with refused(409, "InvalidBucketState"):
        s3.put_bucket_versioning(Bucket=lockable, VersioningConfiguration={"Status": "Suspended"})


def test_locks_come_to_a_bucket_that_keeps_versions(s3, versioned):
    s3.put_object_lock_configuration(Bucket=versioned, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
    found = s3.get_object_lock_configuration(Bucket=versioned)["ObjectLockConfiguration"]
    assert found == {"ObjectLockEnabled": "Enabled"}


def test_retention(s3, lockable, refused):
    version = s3.put_object(Bucket=lockable, Key="k", Body=b"x")["VersionId"]
    where = {"Bucket": lockable, "Key": "k", "VersionId": version}
    with refused(404, "NoSuchObjectLockConfiguration"):
        s3.get_object_retention(**where)
    wanted = {"Mode": "GOVERNANCE", "RetainUntilDate": days(10)}
    s3.put_object_retention(**where, Retention=wanted)
    assert s3.get_object_retention(**where)["Retention"] == wanted
    head = s3.head_object(**where)
    assert head["ObjectLockMode"] == "GOVERNANCE"
    assert head["ObjectLockRetainUntilDate"] == wanted["RetainUntilDate"]
    with refused(403, "AccessDenied"):
        s3.delete_object(**where)
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": days(5)}
    with refused(403, "AccessDenied"):
        s3.put_object_retention(**where, Retention=shorter)
    s3.put_object_retention(**where, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": days(12)})
    s3.put_object_retention(**where, Retention=shorter, BypassGovernanceRetention=True)
    with refused(400, "MalformedXML"):
        s3.put_object_retention(**where, Retention={"Mode": "abc", "RetainUntilDate": days(20)})
    # A mark hides it, and it stays.
    assert s3.delete_object(Bucket=lockable, Key="k")["DeleteMarker"] is True
    assert s3.get_object(**where)["Body"].read() == b"x"
    answer = s3.delete_objects(Bucket=lockable, Delete={"Objects": [{"Key": "k", "VersionId": version}]})
    assert answer["Errors"][0]["Code"] == "AccessDenied"
    s3.delete_object(**where, BypassGovernanceRetention=True)


def test_a_retention_ends_in_the_future(s3, lockable, refused):
    s3.put_object(Bucket=lockable, Key="source", Body=b"x")
    past = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": days(-1)}
    new = {"Bucket": lockable, "Key": "k", **past}
    with refused(400, "InvalidArgument"):
        s3.put_object(Body=b"x", **new)
    with refused(400, "InvalidArgument"):
        s3.copy_object(CopySource={"Bucket": lockable, "Key": "source"}, **new)
    with refused(400, "InvalidArgument"):
        s3.create_multipart_upload(**new)
    with refused(404, "404"):
        s3.head_object(Bucket=lockable, Key="k")


def test_default_retention(s3, lockable):
    s3.put_object_lock_configuration(
        Bucket=lockable, ObjectLockConfiguration=configuration(Mode="GOVERNANCE", Days=1)
    )
    s3.put_object(Bucket=lockable, Key="k", Body=b"x")
    found = s3.get_object_retention(Bucket=lockable, Key="k")["Retention"]
    assert found["Mode"] == "GOVERNANCE"
    assert abs(found["RetainUntilDate"] - days(1)) < timedelta(minutes=5)


def test_compliance_is_final(s3, lockable, refused):
    until = datetime.now(timezone.utc) + timedelta(seconds=4)
    version = s3.put_object(
        Bucket=lockable, Key="k", Body=b"x", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until
    )["VersionId"]
    where = {"Bucket": lockable, "Key": "k", "VersionId": version}
    with refused(403, "AccessDenied"):
        s3.delete_object(**where, BypassGovernanceRetention=True)
    with refused(403, "AccessDenied"):
        s3.put_object_retention(
            **where, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": days(1)}, BypassGovernanceRetention=True
        )


def test_legal_hold(s3, bucket, lockable, refused):
    s3.put_object(Bucket=bucket, Key="k")
    with refused(400, "InvalidRequest"):
        s3.put_object_legal_hold(Bucket=bucket, Key="k", LegalHold={"Status": "ON"})
    with refused(400, "InvalidRequest"):
        s3.put_object(Bucket=bucket, Key="k", ObjectLockLegalHoldStatus="ON")
    version = s3.put_object(Bucket=lockable, Key="k", Body=b"x", ObjectLockLegalHoldStatus="ON")["VersionId"]
    where = {"Bucket": lockable, "Key": "k", "VersionId": version}
    assert s3.head_object(**where)["ObjectLockLegalHoldStatus"] == "ON"
    with refused(403, "AccessDenied"):
        s3.delete_object(**where, BypassGovernanceRetention=True)
    with refused(400, "MalformedXML"):
        s3.put_object_legal_hold(**where, LegalHold={"Status": "abc"})
    s3.put_object_legal_hold(**where, LegalHold={"Status": "OFF"})
    assert s3.get_object_legal_hold(**where)["LegalHold"]["Status"] == "OFF"
    s3.delete_object(**where)
