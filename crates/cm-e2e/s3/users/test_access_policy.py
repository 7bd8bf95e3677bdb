"""Policies of buckets, public access blocks, ownership."""

import datetime
import json

import pytest
import requests
from people import ENDPOINT, denied, refused

SOON = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=5)


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def statement(effect, actions, resources, principal="*", **more):
    return {"Effect": effect, "Principal": principal, "Action": actions, "Resource": resources, **more}


def of(bucket):
    return [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]


def test_policies_open_what_they_say(main, alt, anybody, bucket):
    main.s3.put_object(Bucket=bucket, Key="open/a", Body=b"a")
    main.s3.put_object(Bucket=bucket, Key="closed/a", Body=b"a")
    reading = statement("Allow", "s3:GetObject", f"arn:aws:s3:::{bucket}/open/*")
    listing = statement("Allow", "s3:ListBucket", f"arn:aws:s3:::{bucket}", {"AWS": f"arn:aws:iam:::user/{alt.id}"})
    main.s3.put_bucket_policy(Bucket=bucket, Policy=policy(reading, listing))
    assert json.loads(main.s3.get_bucket_policy(Bucket=bucket)["Policy"]) == json.loads(policy(reading, listing))
    assert anybody.get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"a"
    denied(anybody.get_object, Bucket=bucket, Key="closed/a")
    denied(anybody.list_objects_v2, Bucket=bucket)
    alt.s3.list_objects_v2(Bucket=bucket)
    denied(alt.s3.put_object, Bucket=bucket, Key="open/b", Body=b"")
    denied(alt.s3.get_bucket_policy, Bucket=bucket)
    main.s3.delete_bucket_policy(Bucket=bucket)
    denied(anybody.get_object, Bucket=bucket, Key="open/a")
    assert refused(main.s3.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")


def test_denials_hold_for_the_owner(main, bucket):
    main.s3.put_bucket_policy(Bucket=bucket, Policy=policy(statement("Deny", "s3:*", of(bucket))))
    denied(main.s3.put_object, Bucket=bucket, Key="k", Body=b"")
    denied(main.s3.list_objects_v2, Bucket=bucket)
    # But a policy can be taken back.
    main.s3.get_bucket_policy(Bucket=bucket)
    main.s3.delete_bucket_policy(Bucket=bucket)
    main.s3.put_object(Bucket=bucket, Key="k", Body=b"")


@pytest.mark.parametrize("condition, good, bad", [
    ({"StringEquals": {"s3:x-amz-acl": "public-read"}}, {"ACL": "public-read"}, {}),
    ({"StringLike": {"s3:x-amz-acl": "public*"}}, {"ACL": "public-read"}, {"ACL": "private"}),
    ({"StringEquals": {"s3:RequestObjectTag/security": "public"}}, {"Tagging": "security=public"}, {}),
    ({"Null": {"s3:x-amz-acl": "true"}}, {}, {"ACL": "private"}),
])
def test_conditions_on_what_is_written(main, alt, bucket, condition, good, bad):
    allowed = statement("Allow", "s3:PutObject", f"arn:aws:s3:::{bucket}/*", Condition=condition)
    main.s3.put_bucket_policy(Bucket=bucket, Policy=policy(allowed))
    alt.s3.put_object(Bucket=bucket, Key="k", Body=b"", **good)
    denied(alt.s3.put_object, Bucket=bucket, Key="k", Body=b"", **bad)


def test_conditions_on_addresses_and_prefixes(main, alt, bucket):
    def allow(condition):
        allowed = statement("Allow", "s3:ListBucket", f"arn:aws:s3:::{bucket}", Condition=condition)
        main.s3.put_bucket_policy(Bucket=bucket, Policy=policy(allowed))

    allow({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}})
    alt.s3.list_objects_v2(Bucket=bucket)
    allow({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})
    denied(alt.s3.list_objects_v2, Bucket=bucket)
    allow({"StringEquals": {"s3:prefix": "open/"}})
    alt.s3.list_objects_v2(Bucket=bucket, Prefix="open/")
    denied(alt.s3.list_objects_v2, Bucket=bucket)


def test_conditions_on_tags_of_what_there_is(main, alt, bucket):
    for key, value in (("open", "public"), ("closed", "private")):
        main.s3.put_object(Bucket=bucket, Key=key, Body=b"", Tagging=f"security={value}")
    condition = {"StringEquals": {"s3:ExistingObjectTag/security": "public"}}
    allowed = statement("Allow", ["s3:GetObject", "s3:GetObjectTagging"], f"arn:aws:s3:::{bucket}/*", Condition=condition)
    main.s3.put_bucket_policy(Bucket=bucket, Policy=policy(allowed))
    alt.s3.get_object(Bucket=bucket, Key="open")
    alt.s3.get_object_tagging(Bucket=bucket, Key="open")
    denied(alt.s3.get_object, Bucket=bucket, Key="closed")


def test_conditions_on_sources_of_copies(main, alt, make):
    source, target = make(), make()
    for key in ("public/a", "private/a"):
        main.s3.put_object(Bucket=source, Key=key, Body=b"a")
    main.s3.put_bucket_policy(
        Bucket=source, Policy=policy(statement("Allow", "s3:GetObject", f"arn:aws:s3:::{source}/*")))
    condition = {"StringLike": {"s3:x-amz-copy-source": f"{source}/public/*"}}
    main.s3.put_bucket_policy(Bucket=target, Policy=policy(
        statement("Allow", "s3:PutObject", f"arn:aws:s3:::{target}/*", Condition=condition)))
    alt.s3.copy_object(Bucket=target, Key="a", CopySource=f"{source}/public/a")
    denied(alt.s3.copy_object, Bucket=target, Key="b", CopySource=f"{source}/private/a")


@pytest.mark.parametrize("text", [
    "", "{}", "no JSON",
    policy(statement("Allow", "s3:GetObject", "*", Condition={"StringResembles": {"s3:prefix": "a"}})),
    policy({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}),
    policy(statement("Perhaps", "s3:GetObject", "*")),
])
def test_policies_that_are_none(main, bucket, text):
    assert refused(main.s3.put_bucket_policy, Bucket=bucket, Policy=text)[0] == 400
    assert refused(main.s3.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")


def test_whether_a_bucket_is_public(main, bucket):
    def public():
        return main.s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"]

    assert not public()
    main.s3.put_bucket_acl(Bucket=bucket, ACL="authenticated-read")
    assert public()
    main.s3.put_bucket_acl(Bucket=bucket, ACL="private")
    main.s3.put_bucket_policy(Bucket=bucket, Policy=policy(statement("Allow", "s3:ListBucket", of(bucket))))
    assert public()
    confined = statement("Allow", "s3:ListBucket", of(bucket), Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/24"}})
    main.s3.put_bucket_policy(Bucket=bucket, Policy=policy(confined))
    assert not public()


def block(main, bucket, **said):
    main.s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=said)


def test_public_access_blocks(main, alt, anybody, bucket):
    code = "NoSuchPublicAccessBlockConfiguration"
    assert refused(main.s3.get_public_access_block, Bucket=bucket) == (404, code)
    block(main, bucket, BlockPublicAcls=True, BlockPublicPolicy=True)
    said = main.s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert said["BlockPublicAcls"] and said["BlockPublicPolicy"] and not said["IgnorePublicAcls"]
    denied(main.s3.put_bucket_acl, Bucket=bucket, ACL="public-read")
    denied(main.s3.put_object, Bucket=bucket, Key="k", Body=b"", ACL="public-read")
    everybody = policy(statement("Allow", "s3:GetObject", f"arn:aws:s3:::{bucket}/*"))
    denied(main.s3.put_bucket_policy, Bucket=bucket, Policy=everybody)
    one = policy(statement("Allow", "s3:GetObject", f"arn:aws:s3:::{bucket}/*", {"AWS": alt.id}))
    main.s3.put_bucket_policy(Bucket=bucket, Policy=one)
    main.s3.delete_public_access_block(Bucket=bucket)
    main.s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="public-read")
    anybody.get_object(Bucket=bucket, Key="k")
    block(main, bucket, IgnorePublicAcls=True)
    denied(anybody.get_object, Bucket=bucket, Key="k")
    main.s3.put_bucket_policy(Bucket=bucket, Policy=everybody)
    anybody.get_object(Bucket=bucket, Key="k")
    block(main, bucket, RestrictPublicBuckets=True, IgnorePublicAcls=True)
    denied(anybody.get_object, Bucket=bucket, Key="k")


def test_who_owns_what_others_write(main, alt, make):
    bucket = make(ACL="public-read-write")
    assert refused(main.s3.get_bucket_ownership_controls, Bucket=bucket) == (404, "OwnershipControlsNotFoundError")

    def own(name):
        controls = {"Rules": [{"ObjectOwnership": name}]}
        main.s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=controls)
        assert main.s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"] == controls

    own("BucketOwnerPreferred")
    alt.s3.put_object(Bucket=bucket, Key="given", Body=b"", ACL="bucket-owner-full-control")
    assert main.s3.get_object_acl(Bucket=bucket, Key="given")["Owner"]["ID"] == main.id
    main.s3.put_bucket_acl(Bucket=bucket, ACL="private")
    own("BucketOwnerEnforced")
    assert refused(main.s3.put_bucket_acl, Bucket=bucket, ACL="public-read") == (400, "AccessControlListNotSupported")
    assert refused(main.s3.put_object, Bucket=bucket, Key="k", Body=b"", ACL="public-read") == (
        400, "AccessControlListNotSupported")
    main.s3.put_object(Bucket=bucket, Key="k", Body=b"")
    main.s3.delete_bucket_ownership_controls(Bucket=bucket)
    enforced = make(ObjectOwnership="BucketOwnerEnforced")
    main.s3.put_object(Bucket=enforced, Key="k", Body=b"")


def test_expected_owners(main, alt, bucket):
    main.s3.list_objects_v2(Bucket=bucket, ExpectedBucketOwner=main.id)
    denied(main.s3.list_objects_v2, Bucket=bucket, ExpectedBucketOwner=alt.id)


SAID_ALONG = [
    ("s3:PutObjectAcl", {"ACL": "public-read"}),
    ("s3:PutObjectTagging", {"Tagging": "a=b"}),
    ("s3:PutObjectRetention", {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": SOON}),
    ("s3:PutObjectLegalHold", {"ObjectLockLegalHoldStatus": "OFF"}),
]


@pytest.mark.parametrize("action, said", SAID_ALONG)
def test_leave_to_write_is_no_other_leave(main, alt, make, action, said):
    bucket = make(ObjectLockEnabledForBucket=True)
    everything = f"arn:aws:s3:::{bucket}/*"
    main.s3.put_object(Bucket=bucket, Key="source", Body=b"a", ACL="public-read")
    ways = [
        lambda person: person.s3.put_object(Bucket=bucket, Key="k", Body=b"", **said),
        lambda person: person.s3.create_multipart_upload(Bucket=bucket, Key="k", **said),
        lambda person: person.s3.copy_object(
            Bucket=bucket, Key="k", CopySource=f"{bucket}/source", TaggingDirective="REPLACE", **said),
    ]
    main.s3.put_bucket_policy(Bucket=bucket, Policy=policy(statement("Allow", "s3:PutObject", everything, {"AWS": alt.id})))
    for way in ways:
        way(main)
        denied(way, alt)
    both = statement("Allow", ["s3:PutObject", action], everything, {"AWS": alt.id})
    main.s3.put_bucket_policy(Bucket=bucket, Policy=policy(both))
    for way in ways:
        way(alt)
    main.s3.put_bucket_policy(Bucket=bucket, Policy=policy(both, statement("Deny", action, everything)))
    for way in ways:
        denied(way, alt)
        denied(way, main)


def test_denials_of_a_bypass_hold_for_objects(main, make):
    bucket = make(ObjectLockEnabledForBucket=True)
    said = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": SOON}
    kept = main.s3.put_object(Bucket=bucket, Key="kept/k", Body=b"", **said)["VersionId"]
    free = main.s3.put_object(Bucket=bucket, Key="free/k", Body=b"", **said)["VersionId"]
    denial = statement("Deny", "s3:BypassGovernanceRetention", f"arn:aws:s3:::{bucket}/kept/*")
    main.s3.put_bucket_policy(Bucket=bucket, Policy=policy(denial))
    bypass = {"Bucket": bucket, "BypassGovernanceRetention": True}
    denied(main.s3.delete_object, Key="kept/k", VersionId=kept, **bypass)
    denied(main.s3.put_object_retention, Key="kept/k", VersionId=kept, Retention={}, **bypass)
    both = [{"Key": "kept/k", "VersionId": kept}, {"Key": "free/k", "VersionId": free}]
    answer = main.s3.delete_objects(Delete={"Objects": both}, **bypass)
    assert [found["Key"] for found in answer["Deleted"]] == ["free/k"]
    assert [(found["Key"], found["Code"]) for found in answer["Errors"]] == [("kept/k", "AccessDenied")]


def test_grants_give_no_locks(main, alt, make):
    bucket = make(ACL="public-read-write", ObjectLockEnabledForBucket=True)
    alt.s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="public-read-write")
    denied(alt.s3.put_object_legal_hold, Bucket=bucket, Key="k", LegalHold={"Status": "ON"})
    denied(alt.s3.put_object, Bucket=bucket, Key="k", Body=b"", ObjectLockLegalHoldStatus="ON")


def test_policies_that_nobody_can_follow(main, bucket):
    def put(*statements):
        return refused(main.s3.put_bucket_policy, Bucket=bucket, Policy=policy(*statements))

    everything = f"arn:aws:s3:::{bucket}/*"
    assert put(statement("Deny", "s3:GetObjct", everything)) == (400, "MalformedPolicy")
    unknown = {"StringEquals": {"aws:SourceVpc": "vpc-1"}}
    assert put(statement("Deny", "s3:GetObject", everything, Condition=unknown)) == (400, "MalformedPolicy")


def test_prefixes_are_decoded_as_they_are_listed(main, alt, bucket):
    denial = statement("Deny", "s3:ListBucket", f"arn:aws:s3:::{bucket}", Condition={"StringEquals": {"s3:prefix": "a b"}})
    allowed = statement("Allow", "s3:ListBucket", f"arn:aws:s3:::{bucket}")
    main.s3.put_bucket_policy(Bucket=bucket, Policy=policy(allowed, denial))
    for query in ("a+b", "a%20b"):
        assert requests.get(f"{ENDPOINT}/{bucket}?list-type=2&prefix={query}").status_code == 403
    assert requests.get(f"{ENDPOINT}/{bucket}?list-type=2&prefix=a%2Bb").status_code == 200


def test_buckets_with_locks_are_not_taken_for_others(main, make):
    plain, locked = make(), make(ObjectLockEnabledForBucket=True)
    main.s3.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
    assert refused(main.s3.create_bucket, Bucket=plain, ObjectLockEnabledForBucket=True)[0] == 409
