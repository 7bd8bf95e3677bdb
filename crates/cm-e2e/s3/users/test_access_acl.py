"""Lists of grants: who may what, and how lists read back."""

import pytest
from people import connect, denied, refused

ALL = "http://acs.amazonaws.com/groups/global/AllUsers"


def put(person, bucket, key="k", **more):
    return person.s3.put_object(Bucket=bucket, Key=key, Body=b"content", **more)


def grants(answer):
    return [(g["Grantee"].get("ID") or g["Grantee"].get("URI"), g["Permission"]) for g in answer["Grants"]]


def test_a_bucket_is_its_makers_alone(main, alt, anybody, bucket):
    put(main, bucket)
    for stranger in (alt.s3, anybody):
        denied(stranger.list_objects_v2, Bucket=bucket)
        denied(stranger.head_bucket, Bucket=bucket)
        denied(stranger.get_object, Bucket=bucket, Key="k")
        denied(stranger.get_object, Bucket=bucket, Key="missing")
        denied(stranger.put_object, Bucket=bucket, Key="new", Body=b"")
        denied(stranger.delete_object, Bucket=bucket, Key="k")
        denied(stranger.get_bucket_acl, Bucket=bucket)
        denied(stranger.put_bucket_acl, Bucket=bucket, ACL="public-read")
        denied(stranger.get_object_acl, Bucket=bucket, Key="k")
        denied(stranger.put_object_acl, Bucket=bucket, Key="k", ACL="public-read")
        denied(stranger.delete_bucket, Bucket=bucket)
        denied(stranger.create_multipart_upload, Bucket=bucket, Key="k")
    assert bucket not in [b["Name"] for b in alt.s3.list_buckets()["Buckets"]]
    assert bucket in [b["Name"] for b in main.s3.list_buckets()["Buckets"]]
    assert anybody.list_buckets()["Buckets"] == []


def test_names_are_taken_once(main, alt, bucket):
    assert refused(alt.s3.create_bucket, Bucket=bucket) == (409, "BucketAlreadyExists")
    main.s3.create_bucket(Bucket=bucket)
    assert refused(main.s3.create_bucket, Bucket=bucket, ACL="public-read") == (409, "BucketAlreadyExists")


@pytest.mark.parametrize("canned, listed, written", [
    ("private", False, False), ("public-read", True, False), ("public-read-write", True, True),
])
def test_canned_lists_of_buckets(main, anybody, make, canned, listed, written):
    bucket = make(ACL=canned)
    put(main, bucket)
    expected = {"private": [], "public-read": [(ALL, "READ")], "public-read-write": [(ALL, "READ"), (ALL, "WRITE")]}
    assert grants(main.s3.get_bucket_acl(Bucket=bucket)) == expected[canned] + [(main.id, "FULL_CONTROL")]
    if listed:
        assert anybody.list_objects(Bucket=bucket)["KeyCount" if False else "Contents"][0]["Key"] == "k"
        assert refused(anybody.get_object, Bucket=bucket, Key="missing") == (404, "NoSuchKey")
    else:
        denied(anybody.list_objects, Bucket=bucket)
    if written:
        anybody.put_object(Bucket=bucket, Key="theirs", Body=b"x")
    else:
        denied(anybody.put_object, Bucket=bucket, Key="theirs", Body=b"x")
    denied(anybody.get_object, Bucket=bucket, Key="k")


def test_lists_of_objects(main, alt, anybody, bucket):
    put(main, bucket, ACL="public-read")
    assert anybody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"
    denied(anybody.list_objects_v2, Bucket=bucket)
    main.s3.put_object_acl(Bucket=bucket, Key="k", ACL="authenticated-read")
    denied(anybody.get_object, Bucket=bucket, Key="k")
    alt.s3.get_object(Bucket=bucket, Key="k")
    main.s3.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    denied(alt.s3.get_object, Bucket=bucket, Key="k")
    # Another put is another object.
    put(main, bucket, ACL="public-read")
    put(main, bucket)
    denied(anybody.get_object, Bucket=bucket, Key="k")


def test_what_others_write_is_theirs(main, alt, make):
    bucket = make(ACL="public-read-write")
    put(alt, bucket, "theirs")
    denied(main.s3.get_object, Bucket=bucket, Key="theirs")
    assert alt.s3.get_object_acl(Bucket=bucket, Key="theirs")["Owner"]["ID"] == alt.id
    put(alt, bucket, "given", ACL="bucket-owner-full-control")
    main.s3.get_object(Bucket=bucket, Key="given")
    assert sorted(grants(main.s3.get_object_acl(Bucket=bucket, Key="given"))) == sorted(
        [(alt.id, "FULL_CONTROL"), (main.id, "FULL_CONTROL")])
    put(alt, bucket, "shown", ACL="bucket-owner-read")
    main.s3.get_object(Bucket=bucket, Key="shown")
    denied(main.s3.get_object_acl, Bucket=bucket, Key="shown")
    main.s3.delete_object(Bucket=bucket, Key="theirs")


@pytest.mark.parametrize("permission, may", [
    ("READ", {"list"}), ("WRITE", {"put"}), ("READ_ACP", {"acl"}), ("WRITE_ACP", {"share"}),
    ("FULL_CONTROL", {"list", "put", "acl", "share"}),
])
def test_grants_to_principals(main, alt, bucket, permission, may):
    answer = main.s3.get_bucket_acl(Bucket=bucket)
    given = answer["Grants"] + [{"Grantee": {"Type": "CanonicalUser", "ID": alt.id}, "Permission": permission}]
    policy = {"Owner": answer["Owner"], "Grants": given}
    main.s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=policy)
    calls = {
        "list": lambda: alt.s3.list_objects(Bucket=bucket),
        "put": lambda: put(alt, bucket),
        "acl": lambda: alt.s3.get_bucket_acl(Bucket=bucket),
        "share": lambda: alt.s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=policy),
    }
    for name, call in calls.items():
        call() if name in may else denied(call)
    denied(alt.s3.put_bucket_policy, Bucket=bucket, Policy="{}")


def test_headers_grant(main, alt, make):
    bucket = make(GrantRead=f"id={alt.id}", GrantWriteACP=f"id={alt.id}")
    assert grants(main.s3.get_bucket_acl(Bucket=bucket)) == [(alt.id, "READ"), (alt.id, "WRITE_ACP")]
    alt.s3.list_objects(Bucket=bucket)
    # The maker gave itself nothing, and can take that back.
    denied(main.s3.put_object, Bucket=bucket, Key="k", Body=b"")
    main.s3.put_bucket_acl(Bucket=bucket, ACL="private")
    put(main, bucket, GrantRead=f"id={alt.id}")
    alt.s3.get_object(Bucket=bucket, Key="k")


def test_grants_that_are_none(main, alt, bucket):
    share = main.s3.put_bucket_acl
    owner = {"ID": main.id}

    def given(grantee):
        return {"Owner": owner, "Grants": [{"Grantee": grantee, "Permission": "READ"}]}

    bad = given({"Type": "CanonicalUser", "ID": "_nobody"})
    assert refused(share, Bucket=bucket, AccessControlPolicy=bad) == (400, "InvalidArgument")
    bad = given({"Type": "AmazonCustomerByEmail", "EmailAddress": "nobody@example.invalid"})
    assert refused(share, Bucket=bucket, AccessControlPolicy=bad) == (400, "UnresolvableGrantByEmailAddress")
    other = {"Owner": {"ID": alt.id}, "Grants": []}
    denied(share, Bucket=bucket, AccessControlPolicy=other)
    assert refused(share, Bucket=bucket, ACL="public")[0] == 400
    assert refused(share, Bucket=bucket)[0] == 400


def test_uploads_in_parts_keep_their_grants(main, anybody, bucket):
    begun = main.s3.create_multipart_upload(Bucket=bucket, Key="k", ACL="public-read")["UploadId"]
    denied(anybody.abort_multipart_upload, Bucket=bucket, Key="k", UploadId=begun)
    part = main.s3.upload_part(Bucket=bucket, Key="k", UploadId=begun, PartNumber=1, Body=b"content")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    main.s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=begun, MultipartUpload=parts)
    assert anybody.get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"


def test_copies_are_private(main, alt, anybody, bucket):
    put(main, bucket, "source", ACL="public-read")
    main.s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/source")
    denied(anybody.get_object, Bucket=bucket, Key="copy")
    put(main, bucket, "hidden")
    denied(alt.s3.copy_object, Bucket=bucket, Key="x", CopySource=f"{bucket}/hidden")


def test_bad_signatures(main, bucket):
    wrong = connect(main.key, main.secret[:-1] + "x")
    assert refused(wrong.list_buckets) == (403, "SignatureDoesNotMatch")
    nobody = connect("CMS30000000000000000", main.secret)
    assert refused(nobody.list_buckets) == (403, "InvalidAccessKeyId")
