"""Lists of grants, as they are said and as they read back; who owns; what keeps buckets from being public."""

import json

import pytest
from people import code, denied, put, read, refused, send

ALL = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"


def grants(answer):
    """Who is given what, in any order."""
    who = lambda grantee: grantee.get("ID") or grantee.get("URI")
    return sorted((who(item["Grantee"]), item["Permission"]) for item in answer["Grants"])


CANNED = [("private", []), ("public-read", [(ALL, "READ")]), ("public-read-write", [(ALL, "READ"), (ALL, "WRITE")]),
          ("authenticated-read", [(AUTHENTICATED, "READ")])]


@pytest.mark.parametrize("name, given", CANNED)
def test_canned_lists_of_buckets(main, make, bucket, name, given):
    expected = sorted(given + [(main.id, "FULL_CONTROL")])
    answer = main.s3.get_bucket_acl(Bucket=make(ACL=name))
    assert answer["Owner"]["ID"] == main.id and grants(answer) == expected
    main.s3.put_bucket_acl(Bucket=bucket, ACL=name)
    assert grants(main.s3.get_bucket_acl(Bucket=bucket)) == expected
    main.s3.put_bucket_acl(Bucket=bucket, ACL="private")
    assert grants(main.s3.get_bucket_acl(Bucket=bucket)) == [(main.id, "FULL_CONTROL")]


@pytest.mark.parametrize("name, given", CANNED + [("bucket-owner-read", []), ("bucket-owner-full-control", [])])
def test_canned_lists_of_objects(main, bucket, name, given):
    expected = sorted(given + [(main.id, "FULL_CONTROL")])
    put(main, bucket, ACL=name)
    assert grants(main.s3.get_object_acl(Bucket=bucket, Key="k")) == expected
    put(main, bucket)
    main.s3.put_object_acl(Bucket=bucket, Key="k", ACL=name)
    assert grants(main.s3.get_object_acl(Bucket=bucket, Key="k")) == expected


@pytest.mark.parametrize("name, permission", [("bucket-owner-read", "READ"), ("bucket-owner-full-control", "FULL_CONTROL")])
def test_lists_for_owners_of_buckets(main, alt, make, name, permission):
    bucket = make(ACL="public-read-write")
    put(alt, bucket, ACL=name)
    assert grants(alt.s3.get_object_acl(Bucket=bucket, Key="k")) == sorted([(alt.id, "FULL_CONTROL"), (main.id, permission)])
    alt.s3.put_object_acl(Bucket=bucket, Key="k", ACL=name)
    assert read(main.s3, bucket) == b"content"


def test_what_a_grant_looks_like(main, bucket):
    [grant] = main.s3.get_bucket_acl(Bucket=bucket)["Grants"]
    name = main.s3.list_buckets()["Owner"]["DisplayName"]
    assert grant == {"Grantee": {"ID": main.id, "DisplayName": name, "Type": "CanonicalUser"}, "Permission": "FULL_CONTROL"}


PERMISSIONS = ["READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL"]


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_documents_of_objects(main, alt, bucket, permission):
    put(main, bucket)
    document = main.s3.get_object_acl(Bucket=bucket, Key="k")
    document = {"Owner": document["Owner"], "Grants": document["Grants"] + [
        {"Grantee": {"Type": "CanonicalUser", "ID": alt.id}, "Permission": permission}]}
    main.s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy=document)
    assert grants(main.s3.get_object_acl(Bucket=bucket, Key="k")) == sorted([(main.id, "FULL_CONTROL"), (alt.id, permission)])
    calls = {"READ": lambda: read(alt.s3, bucket), "READ_ACP": lambda: alt.s3.get_object_acl(Bucket=bucket, Key="k"),
             "WRITE_ACP": lambda: alt.s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy=document)}
    for needed, call in calls.items():
        call() if permission in (needed, "FULL_CONTROL") else denied(call)
    denied(put, alt, bucket)


@pytest.mark.parametrize("field", ["GrantRead", "GrantWrite", "GrantReadACP", "GrantWriteACP", "GrantFullControl"])
@pytest.mark.parametrize("what", ["bucket", "object"])
def test_headers_say_grants(main, alt, make, bucket, what, field):
    permission = {"GrantRead": "READ", "GrantWrite": "WRITE", "GrantReadACP": "READ_ACP", "GrantWriteACP": "WRITE_ACP",
                  "GrantFullControl": "FULL_CONTROL"}[field]
    said = {field: f'id="{alt.id}"'}
    expected = [(alt.id, permission)]
    if what == "bucket":
        assert grants(main.s3.get_bucket_acl(Bucket=make(**said))) == expected
        main.s3.put_bucket_acl(Bucket=bucket, **said)
        assert grants(main.s3.get_bucket_acl(Bucket=bucket)) == expected
    elif field != "GrantWrite":
        put(main, bucket, **said)
        assert grants(main.s3.get_object_acl(Bucket=bucket, Key="k")) == expected


def test_grants_to_groups(main, bucket):
    main.s3.put_bucket_acl(Bucket=bucket, GrantRead=f"uri={ALL}", GrantWrite=f'uri="{AUTHENTICATED}", id={main.id}')
    assert grants(main.s3.get_bucket_acl(Bucket=bucket)) == sorted([(ALL, "READ"), (AUTHENTICATED, "WRITE"), (main.id, "WRITE")])
    assert refused(main.s3.put_bucket_acl, Bucket=bucket, GrantRead="uri=http://example.org") == (400, "InvalidArgument")


def test_an_empty_list(main, bucket):
    put(main, bucket)
    owner = {"ID": main.id}
    main.s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy={"Owner": owner, "Grants": []})
    denied(read, main.s3, bucket)
    assert grants(main.s3.get_object_acl(Bucket=bucket, Key="k")) == []
    main.s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy={"Owner": owner, "Grants": []})
    assert grants(main.s3.get_bucket_acl(Bucket=bucket)) == []
    denied(main.s3.list_objects, Bucket=bucket)
    denied(put, main, bucket, "new")
    # What an owner gave away, it can take back.
    main.s3.put_bucket_acl(Bucket=bucket, ACL="private")
    main.s3.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    read(main.s3, bucket)


GRANTEE = '<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="{0}">{1}</Grantee>'


@pytest.mark.parametrize("kind, inside, permission, expected", [
    ("CanonicalUser", "<ID>_nobody</ID>", "READ", "InvalidArgument"),
    ("Group", "<URI>http://example.org</URI>", "READ", "InvalidArgument"),
    ("AmazonCustomerByEmail", "<EmailAddress>x@example.invalid</EmailAddress>", "READ", "UnresolvableGrantByEmailAddress"),
    ("CanonicalUser", "<ID>{id}</ID>", "DANCE", "MalformedACLError"),
    ("CanonicalUser", "", "READ", "MalformedACLError"),
])
def test_documents_that_are_no_lists(main, bucket, kind, inside, permission, expected):
    body = f"<AccessControlPolicy><Owner><ID>{main.id}</ID></Owner><AccessControlList><Grant>" \
        f"{GRANTEE.format(kind, inside.format(id=main.id))}<Permission>{permission}</Permission></Grant></AccessControlList>" \
        "</AccessControlPolicy>"
    assert code(send(main, "PUT", f"/{bucket}?acl", body=body.encode())) == (400, expected)


def test_lists_without_an_owner(main, bucket):
    body = b"<AccessControlPolicy><AccessControlList/></AccessControlPolicy>"
    assert code(send(main, "PUT", f"/{bucket}?acl", body=body)) == (400, "MalformedACLError")


def test_grants_of_versions(main, alt, bucket):
    main.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = put(main, bucket, body=b"one")["VersionId"]
    second = put(main, bucket, body=b"two")["VersionId"]
    main.s3.put_object_acl(Bucket=bucket, Key="k", VersionId=first, ACL="public-read")
    assert read(alt.s3, bucket, VersionId=first) == b"one"
    denied(alt.s3.get_object, Bucket=bucket, Key="k")
    assert len(main.s3.get_object_acl(Bucket=bucket, Key="k", VersionId=second)["Grants"]) == 1
    assert len(main.s3.get_object_acl(Bucket=bucket, Key="k", VersionId=first)["Grants"]) == 2
    main.s3.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    assert read(alt.s3, bucket) == b"two"


# Ownership.

ENFORCED, PREFERRED, WRITER = "BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"


@pytest.mark.parametrize("rule", [ENFORCED, PREFERRED, WRITER])
def test_ownership_is_said(main, make, bucket, rule):
    controls = {"Rules": [{"ObjectOwnership": rule}]}
    told = make(ObjectOwnership=rule)
    assert main.s3.get_bucket_ownership_controls(Bucket=told)["OwnershipControls"] == controls
    main.s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=controls)
    assert main.s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"] == controls
    main.s3.delete_bucket_ownership_controls(Bucket=bucket)
    assert refused(main.s3.get_bucket_ownership_controls, Bucket=bucket) == (404, "OwnershipControlsNotFoundError")


def opened(main, make, rule):
    """A bucket into which everybody may write."""
    bucket = make(ObjectOwnership=rule)
    main.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": ["s3:PutObject", "s3:PutObjectAcl"], "Resource": f"arn:aws:s3:::{bucket}/*"}]}))
    return bucket


@pytest.mark.parametrize("rule, canned, mine", [
    (ENFORCED, None, True), (ENFORCED, "bucket-owner-full-control", True), (PREFERRED, None, False),
    (PREFERRED, "bucket-owner-full-control", True), (WRITER, None, False), (WRITER, "bucket-owner-full-control", False),
])
@pytest.mark.parametrize("way", ["put", "copy", "parts"])
def test_who_owns(main, alt, make, rule, canned, mine, way):
    bucket = opened(main, make, rule)
    said = {"ACL": canned} if canned else {}
    if way == "put":
        put(alt, bucket, **said)
    elif way == "copy":
        source = make(alt)
        put(alt, source)
        alt.s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{source}/k", **said)
    else:
        begun = alt.s3.create_multipart_upload(Bucket=bucket, Key="k", **said)["UploadId"]
        where = {"Bucket": bucket, "Key": "k", "UploadId": begun}
        etag = alt.s3.upload_part(**where, PartNumber=1, Body=b"content")["ETag"]
        alt.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    owner = main.s3.list_objects(Bucket=bucket)["Contents"][0]["Owner"]["ID"]
    assert owner == (main.id if mine else alt.id)
    if mine:
        assert main.s3.get_object_acl(Bucket=bucket, Key="k")["Owner"]["ID"] == main.id


def test_enforced_ownership_takes_no_lists(main, alt, make):
    bucket = make(ObjectOwnership=ENFORCED)
    for name in ("public-read", "authenticated-read", "public-read-write"):
        assert refused(put, main, bucket, ACL=name) == (400, "AccessControlListNotSupported")
        assert refused(main.s3.put_bucket_acl, Bucket=bucket, ACL=name) == (400, "AccessControlListNotSupported")
    assert refused(put, main, bucket, GrantRead=f"id={alt.id}") == (400, "AccessControlListNotSupported")
    put(main, bucket)
    put(main, bucket, ACL="bucket-owner-full-control")
    assert refused(main.s3.put_object_acl, Bucket=bucket, Key="k", ACL="public-read") == (400, "AccessControlListNotSupported")
    assert grants(main.s3.get_bucket_acl(Bucket=bucket)) == [(main.id, "FULL_CONTROL")]
    assert grants(main.s3.get_object_acl(Bucket=bucket, Key="k")) == [(main.id, "FULL_CONTROL")]


def test_ownership_enforced_later(main, alt, anybody, make):
    bucket = make(ObjectOwnership=WRITER, ACL="public-read-write")
    put(alt, bucket, ACL="public-read")
    controls = {"Rules": [{"ObjectOwnership": ENFORCED}]}
    assert refused(main.s3.put_bucket_ownership_controls, Bucket=bucket, OwnershipControls=controls) == (
        400, "InvalidBucketAclWithObjectOwnership")
    main.s3.put_bucket_acl(Bucket=bucket, ACL="private")
    main.s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=controls)
    denied(anybody.get_object, Bucket=bucket, Key="k")
    assert read(main.s3, bucket) == b"content"


# What keeps buckets from being public.

NAMES = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"]


def block(person, bucket, *names):
    said = {name: name in names for name in NAMES}
    person.s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=said)
    return said


@pytest.mark.parametrize("names", [[], NAMES, *[[name] for name in NAMES]])
def test_blocks_read_back(main, bucket, names):
    said = block(main, bucket, *names)
    assert main.s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == said
    main.s3.delete_public_access_block(Bucket=bucket)
    assert refused(main.s3.get_public_access_block, Bucket=bucket) == (404, "NoSuchPublicAccessBlockConfiguration")


@pytest.mark.parametrize("name", ["public-read", "public-read-write", "authenticated-read"])
def test_lists_are_blocked(main, bucket, name):
    block(main, bucket, "BlockPublicAcls")
    assert refused(main.s3.put_bucket_acl, Bucket=bucket, ACL=name) == (403, "AccessDenied")
    assert refused(put, main, bucket, ACL=name) == (403, "AccessDenied")
    put(main, bucket)
    assert refused(main.s3.put_object_acl, Bucket=bucket, Key="k", ACL=name) == (403, "AccessDenied")
    main.s3.put_bucket_acl(Bucket=bucket, ACL="private")


def test_lists_are_passed_over(main, alt, anybody, make):
    bucket = make(ACL="public-read")
    put(main, bucket, ACL="public-read")
    assert read(anybody, bucket) == b"content"
    block(main, bucket, "IgnorePublicAcls")
    denied(read, anybody, bucket)
    denied(alt.s3.list_objects, Bucket=bucket)
    assert read(main.s3, bucket) == b"content"
    main.s3.delete_public_access_block(Bucket=bucket)
    assert read(anybody, bucket) == b"content"


def public(bucket):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}]})


def test_policies_are_blocked(main, bucket):
    block(main, bucket, "BlockPublicPolicy")
    assert refused(main.s3.put_bucket_policy, Bucket=bucket, Policy=public(bucket)) == (403, "AccessDenied")


def test_public_policies_are_restricted(main, alt, anybody, bucket):
    main.s3.put_bucket_policy(Bucket=bucket, Policy=public(bucket))
    put(main, bucket)
    assert read(anybody, bucket) == read(alt.s3, bucket) == b"content"
    block(main, bucket, "RestrictPublicBuckets")
    denied(read, anybody, bucket)
    assert read(main.s3, bucket) == b"content"
