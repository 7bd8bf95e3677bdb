"""Codes of what is refused: settings that make no sense, and words that are not known."""

import datetime

import pytest
from people import code, put, refused, send
from test_copying import begun

SOON = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)


@pytest.mark.parametrize("said", [
    {"x-amz-object-lock-mode": "abc", "x-amz-object-lock-retain-until-date": SOON.strftime("%Y-%m-%dT%H:%M:%SZ")},
    {"x-amz-object-lock-legal-hold": "abc"},
])
def test_locks_in_headers(main, make, said):
    bucket = make(ObjectLockEnabledForBucket=True)
    assert code(send(main, "PUT", f"/{bucket}/k", headers=said, body=b"x")) == (400, "InvalidArgument")


def test_locks_in_documents(main, make):
    bucket = make(ObjectLockEnabledForBucket=True)
    put(main, bucket)
    hold = {"LegalHold": {"Status": "abc"}}
    assert refused(main.s3.put_object_legal_hold, Bucket=bucket, Key="k", **hold) == (400, "MalformedXML")


@pytest.mark.parametrize("period, ok", [({"Days": 36500}, True), ({"Days": 36501}, False), ({"Years": 100}, True), ({"Years": 101}, False)])
def test_default_retention(main, make, period, ok):
    bucket = make(ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", **period}}
    said = {"Bucket": bucket, "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled", "Rule": rule}}
    if ok:
        main.s3.put_object_lock_configuration(**said)
    else:
        assert refused(main.s3.put_object_lock_configuration, **said) == (400, "InvalidArgument")


@pytest.mark.parametrize("part", ["<PartNumber>1</PartNumber>", "<ETag>x</ETag>"])
def test_parts_have_numbers_and_tags(main, bucket, part):
    where = begun(main, bucket)
    body = f"<CompleteMultipartUpload><Part>{part}</Part></CompleteMultipartUpload>".encode()
    path = f"/{bucket}/{where['Key']}?uploadId={where['UploadId']}"
    assert code(send(main, "POST", path, body=body)) == (400, "MalformedXML")


def test_ownership(main, alt, bucket):
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    unknown = {"Rules": [{"ObjectOwnership": "Somebody"}]}
    control = main.s3.put_bucket_ownership_controls
    assert refused(control, Bucket=bucket, OwnershipControls=unknown) == (400, "MalformedXML")
    main.s3.put_bucket_acl(Bucket=bucket, GrantFullControl=f"id={main.id}", GrantRead=f"id={alt.id}")
    expected = (400, "InvalidBucketAclWithObjectOwnership")
    assert refused(control, Bucket=bucket, OwnershipControls=enforced) == expected
    main.s3.put_bucket_acl(Bucket=bucket, ACL="private")
    control(Bucket=bucket, OwnershipControls=enforced)


TAG = {"Key": "a", "Value": "b"}
UPLOADS = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}


def rules(bucket, *said):
    return {"Bucket": bucket, "LifecycleConfiguration": {"Rules": [{"Status": "Enabled", **rule} for rule in said]}}


@pytest.mark.parametrize("rule, expected", [
    ({"Filter": {"Tag": TAG}, "Expiration": {"ExpiredObjectDeleteMarker": True}}, "InvalidRequest"),
    ({"Filter": {"And": {"Prefix": "a", "Tags": [TAG]}}, **UPLOADS}, "InvalidRequest"),
    ({"Filter": {"ObjectSizeGreaterThan": 1}, **UPLOADS}, "InvalidRequest"),
    ({"Filter": {"And": {"ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 5}}, "Expiration": {"Days": 1}}, "InvalidRequest"),
    ({"Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 101}}, "InvalidArgument"),
    ({"Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 100}}, None),
    ({"Filter": {"Prefix": "a"}, **UPLOADS}, None),
    ({"Filter": {"And": {"ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 6}}, "Expiration": {"Days": 1}}, None),
])
def test_rules_that_could_not_be_followed(main, bucket, rule, expected):
    call = main.s3.put_bucket_lifecycle_configuration
    if expected:
        assert refused(call, **rules(bucket, rule)) == (400, expected)
    else:
        call(**rules(bucket, rule))


def test_uploads_say_when_they_are_given_up(main, alt, bucket):
    assert "AbortDate" not in main.s3.create_multipart_upload(Bucket=bucket, Key="logs/a")
    main.s3.put_bucket_lifecycle_configuration(
        **rules(bucket, {"ID": "later", "Filter": {}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 5}},
                {"ID": "sooner", "Filter": {"Prefix": "logs/"}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}})
    )
    # Whoever may write need not be able to read the rules.
    main.s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    begun = alt.s3.create_multipart_upload(Bucket=bucket, Key="logs/a")
    midnight = datetime.datetime.now(datetime.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    assert begun["AbortRuleId"] == "sooner" and begun["AbortDate"] - midnight == datetime.timedelta(days=3)
    listed = alt.s3.list_parts(Bucket=bucket, Key="logs/a", UploadId=begun["UploadId"])
    assert (listed["AbortRuleId"], listed["AbortDate"]) == ("sooner", begun["AbortDate"])
    assert main.s3.create_multipart_upload(Bucket=bucket, Key="other")["AbortRuleId"] == "later"
