"""Policies of buckets: principals, actions, conditions."""

import base64
import hashlib
import json

import pytest
from people import denied, put, read, refused


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(bucket, *actions, effect="Allow", principal="*", resource=None, **more):
    return {"Effect": effect, "Principal": principal, "Action": list(actions),
            "Resource": resource or [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"], **more}


def tell(person, bucket, *statements):
    person.s3.put_bucket_policy(Bucket=bucket, Policy=policy(*statements))


@pytest.mark.parametrize("principal, ok", [
    ("*", True), ({"AWS": "*"}, True), ({"AWS": ["*"]}, True), ({"AWS": "arn:aws:iam:::user/{alt}"}, True),
    ({"AWS": ["arn:aws:iam:::user/{main}", "arn:aws:iam:::user/{alt}"]}, True), ({"AWS": "arn:aws:iam:::user/{main}"}, False),
])
def test_principals(main, alt, bucket, principal, ok):
    principal = json.loads(json.dumps(principal).replace("{alt}", alt.id).replace("{main}", main.id))
    put(main, bucket)
    tell(main, bucket, allow(bucket, "s3:ListBucket", "s3:GetObject", principal=principal))
    for call in (lambda: alt.s3.list_objects(Bucket=bucket), lambda: alt.s3.list_objects_v2(Bucket=bucket), lambda: read(alt.s3, bucket)):
        call() if ok else denied(call)


def test_everybody_but_one(main, alt, anybody, bucket):
    put(main, bucket)
    statement = allow(bucket, "s3:GetObject", effect="Deny")
    statement["NotPrincipal"] = {"AWS": f"arn:aws:iam:::user/{main.id}"}
    del statement["Principal"]
    tell(main, bucket, allow(bucket, "s3:GetObject"), statement)
    read(main.s3, bucket)
    denied(read, alt.s3, bucket)
    denied(read, anybody, bucket)


def test_nobody_is_allowed_by_not_being_named(main, bucket):
    statement = allow(bucket, "s3:GetObject")
    statement["NotPrincipal"] = {"AWS": f"arn:aws:iam:::user/{main.id}"}
    del statement["Principal"]
    assert refused(tell, main, bucket, statement) == (400, "MalformedPolicy")


@pytest.mark.parametrize("network, public", [
    ("10.0.0.0/8", False), ("10.0.0.0/7", True), ("0.0.0.0/1", True), ("2001:db8::/32", False), ("2001:db8::/31", True),
])
def test_wide_networks_are_public(main, bucket, network, public):
    tell(main, bucket, allow(bucket, "s3:GetObject", Condition={"IpAddress": {"aws:SourceIp": network}}))
    assert main.s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is public


def test_writes_that_must_be_conditional(main, alt, bucket):
    other = {"AWS": f"arn:aws:iam:::user/{alt.id}"}
    tell(
        main, bucket,
        allow(bucket, "s3:GetObject", principal=other),
        allow(bucket, "s3:PutObject", principal=other, Condition={"Null": {"s3:if-none-match": "false"}}),
        allow(bucket, "s3:PutObject", principal=other, Condition={"Bool": {"s3:ObjectCreationOperation": "false"}}),
    )
    put(main, bucket, "source")
    copy = {"Bucket": bucket, "CopySource": f"{bucket}/source"}
    denied(put, alt, bucket)
    put(alt, bucket, IfNoneMatch="*")
    denied(alt.s3.copy_object, Key="copy", **copy)
    alt.s3.copy_object(Key="copy", IfNoneMatch="*", **copy)
    assert refused(alt.s3.copy_object, Key="copy", IfNoneMatch="*", **copy) == (412, "PreconditionFailed")
    where = {"Bucket": bucket, "Key": "whole"}
    where["UploadId"] = alt.s3.create_multipart_upload(**where)["UploadId"]
    tag = alt.s3.upload_part(**where, PartNumber=1, Body=b"x")["ETag"]
    alt.s3.upload_part_copy(Key="whole", UploadId=where["UploadId"], PartNumber=2, **copy)
    said = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
    denied(alt.s3.complete_multipart_upload, **where, MultipartUpload=said)
    alt.s3.complete_multipart_upload(**where, MultipartUpload=said, IfNoneMatch="*")


def test_writes_that_must_replace_what_is_known(main, alt, bucket):
    tell(main, bucket, allow(bucket, "s3:PutObject"), allow(bucket, "s3:PutObject", effect="Deny", Condition={"Null": {"s3:if-match": "true"}}))
    denied(put, alt, bucket)
    assert refused(put, alt, bucket, IfMatch='"x"') == (404, "NoSuchKey")


@pytest.mark.parametrize("said, key", [
    ({"ServerSideEncryption": "AES256"}, {}),
    ({"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}, {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}),
])
def test_parts_are_judged_by_how_their_upload_began(main, bucket, said, key):
    """Parts and completions do not say again how the object is going to be encrypted."""
    name = "s3:x-amz-server-side-encryption" + ("-customer-algorithm" if key else "")
    put(main, bucket, "source", b"copied")
    plain = {"Bucket": bucket, "Key": "plain"}
    plain["UploadId"] = main.s3.create_multipart_upload(**plain)["UploadId"]
    tell(main, bucket, allow(bucket, "s3:PutObject", effect="Deny", Condition={"StringNotEquals": {name: "AES256"}}))
    denied(put, main, bucket)
    denied(main.s3.upload_part, **plain, PartNumber=1, Body=b"x")
    where = {"Bucket": bucket, "Key": "k"}
    where["UploadId"] = main.s3.create_multipart_upload(**where, **said)["UploadId"]
    tags = [main.s3.upload_part(**where, **key, PartNumber=1, Body=b"a" * (5 << 20))["ETag"]]
    copied = main.s3.upload_part_copy(**where, **key, PartNumber=2, CopySource=f"{bucket}/source")
    tags.append(copied["CopyPartResult"]["ETag"])
    said = {"Parts": [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]}
    main.s3.complete_multipart_upload(**where, MultipartUpload=said)
    assert read(main.s3, bucket, **key) == b"a" * (5 << 20) + b"copied"


CALLS = {
    "s3:ListBucket": lambda s3, b: s3.list_objects_v2(Bucket=b), "s3:GetObject": lambda s3, b: read(s3, b),
    "s3:PutObject": lambda s3, b: s3.put_object(Bucket=b, Key="new", Body=b"x"),
    "s3:DeleteObject": lambda s3, b: s3.delete_object(Bucket=b, Key="new"),
    "s3:GetBucketAcl": lambda s3, b: s3.get_bucket_acl(Bucket=b), "s3:GetObjectAcl": lambda s3, b: s3.get_object_acl(Bucket=b, Key="k"),
    "s3:PutObjectAcl": lambda s3, b: s3.put_object_acl(Bucket=b, Key="k", ACL="private"),
    "s3:GetObjectTagging": lambda s3, b: s3.get_object_tagging(Bucket=b, Key="k"),
    "s3:PutObjectTagging": lambda s3, b: s3.put_object_tagging(Bucket=b, Key="k", Tagging={"TagSet": []}),
    "s3:DeleteObjectTagging": lambda s3, b: s3.delete_object_tagging(Bucket=b, Key="k"),
    "s3:GetBucketTagging": lambda s3, b: s3.get_bucket_tagging(Bucket=b),
    "s3:GetBucketVersioning": lambda s3, b: s3.get_bucket_versioning(Bucket=b),
    "s3:PutBucketVersioning": lambda s3, b: s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={"Status": "Enabled"}),
    "s3:ListBucketVersions": lambda s3, b: s3.list_object_versions(Bucket=b),
    "s3:ListBucketMultipartUploads": lambda s3, b: s3.list_multipart_uploads(Bucket=b),
    "s3:GetBucketPolicy": lambda s3, b: s3.get_bucket_policy(Bucket=b),
    "s3:GetBucketPolicyStatus": lambda s3, b: s3.get_bucket_policy_status(Bucket=b),
    "s3:GetBucketLocation": lambda s3, b: s3.get_bucket_location(Bucket=b),
    "s3:GetBucketPublicAccessBlock": lambda s3, b: s3.get_public_access_block(Bucket=b),
    "s3:PutBucketCORS": lambda s3, b: s3.put_bucket_cors(Bucket=b, CORSConfiguration={"CORSRules": [
        {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}),
    "s3:PutLifecycleConfiguration": lambda s3, b: s3.delete_bucket_lifecycle(Bucket=b),
    "s3:GetEncryptionConfiguration": lambda s3, b: s3.get_bucket_encryption(Bucket=b),
    "s3:PutBucketTagging": lambda s3, b: s3.put_bucket_tagging(Bucket=b, Tagging={"TagSet": []}),
}


@pytest.mark.parametrize("action", CALLS)
def test_one_action_is_one_action(main, alt, bucket, action):
    put(main, bucket)
    main.s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    main.s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={
        "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]})
    main.s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicAcls": False})
    for call in CALLS.values():
        denied(call, alt.s3, bucket)
    principal = {"AWS": f"arn:aws:iam:::user/{alt.id}"}
    tell(main, bucket, allow(bucket, action, principal=principal))
    for name, call in CALLS.items():
        call(alt.s3, bucket) if name == action else denied(call, alt.s3, bucket)


@pytest.mark.parametrize("pattern, ok", [("s3:*", True), ("s3:Get*", True), ("s3:GetObjec?", True), ("*", True), ("s3:getobject", True),
                                         ("s3:Put*", False)])
def test_patterns_of_actions(main, alt, bucket, pattern, ok):
    put(main, bucket)
    tell(main, bucket, allow(bucket, pattern))
    read(alt.s3, bucket) if ok else denied(read, alt.s3, bucket)


@pytest.mark.parametrize("resource, ok", [("{0}/*", True), ("{0}/pub*", True), ("{0}/public/?", True), ("*", True), ("{0}/private/*", False),
                                          ("{0}", False)])
def test_patterns_of_resources(main, alt, bucket, resource, ok):
    put(main, bucket, "public/k")
    tell(main, bucket, allow(bucket, "s3:*", resource="arn:aws:s3:::" + resource.format(bucket)))
    read(alt.s3, bucket, "public/k") if ok else denied(read, alt.s3, bucket, "public/k")


@pytest.mark.parametrize("document", [
    "", "x", "{}", "[]", '{"Version": "2012-10-17"}', '{"Statement": [{"Effect": "Maybe"}]}',
    '{"Version": "2025-01-01", "Statement": []}',
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::other-bucket/*"}]}',
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}]}',
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}',
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*", '
    '"Condition": {"StringSeemsLike": {"s3:prefix": "a"}}}]}',
])
def test_policies_that_are_none(main, bucket, document):
    assert refused(main.s3.put_bucket_policy, Bucket=bucket, Policy=document) in [(400, "MalformedPolicy"), (400, "InvalidRequest")]
    assert refused(main.s3.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")


TAGS = {"public": "security=public", "private": "security=private", "both": "security=public&foo=bar", "none": ""}


@pytest.mark.parametrize("condition, seen", [
    ({"StringEquals": {"s3:ExistingObjectTag/security": "public"}}, {"public", "both"}),
    ({"StringNotEquals": {"s3:ExistingObjectTag/security": "public"}}, {"private", "none"}),
    ({"StringLike": {"s3:ExistingObjectTag/security": "p*"}}, {"public", "private", "both"}),
    ({"Null": {"s3:ExistingObjectTag/security": "true"}}, {"none"}),
    ({"StringEqualsIgnoreCase": {"s3:ExistingObjectTag/security": "PUBLIC"}}, {"public", "both"}),
    ({"StringEqualsIfExists": {"s3:ExistingObjectTag/security": "public"}}, {"public", "both", "none"}),
])
def test_tags_of_objects(main, alt, bucket, condition, seen):
    for key, tags in TAGS.items():
        put(main, bucket, key, Tagging=tags)
    tell(main, bucket, allow(bucket, "s3:GetObject", "s3:GetObjectTagging", Condition=condition))
    for key in TAGS:
        read(alt.s3, bucket, key) if key in seen else denied(read, alt.s3, bucket, key)
        tagging = alt.s3.get_object_tagging
        tagging(Bucket=bucket, Key=key) if key in seen else denied(tagging, Bucket=bucket, Key=key)


@pytest.mark.parametrize("condition, good, bad", [
    ({"StringEquals": {"s3:x-amz-acl": "public-read"}}, {"ACL": "public-read"}, {"ACL": "private"}),
    ({"StringNotEquals": {"s3:x-amz-acl": "public-read"}}, {}, {"ACL": "public-read"}),
    ({"StringEquals": {"s3:x-amz-grant-full-control": "id={main}"}}, {"GrantFullControl": "id={main}"}, {}),
    ({"StringEquals": {"s3:RequestObjectTag/a": "1"}}, {"Tagging": "a=1"}, {"Tagging": "a=2"}),
    ({"StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}}, {"ServerSideEncryption": "AES256"}, {}),
    ({"Null": {"s3:x-amz-server-side-encryption": "false"}}, {"ServerSideEncryption": "AES256"}, {}),
    ({"StringEquals": {"s3:x-amz-storage-class": "STANDARD"}}, {"StorageClass": "STANDARD"}, {}),
    ({"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["a", "b"]}}, {"Tagging": "a=1"}, {"Tagging": "a=1&c=1"}),
])
def test_what_is_written(main, alt, bucket, condition, good, bad):
    filled = lambda said: json.loads(json.dumps(said).replace("{main}", main.id))
    tell(main, bucket, allow(bucket, "s3:PutObject", "s3:PutObjectAcl", "s3:PutObjectTagging", Condition=filled(condition)))
    put(alt, bucket, **filled(good))
    denied(put, alt, bucket, "other", **filled(bad))


def test_encryption_is_demanded(main, bucket):
    kept_out = allow(bucket, "s3:PutObject", effect="Deny", resource=f"arn:aws:s3:::{bucket}/*",
                     Condition={"Null": {"s3:x-amz-server-side-encryption": "true"}})
    tell(main, bucket, kept_out)
    denied(put, main, bucket)
    put(main, bucket, ServerSideEncryption="AES256")
    key = base64.b64encode(b"k" * 32).decode()
    kept_out["Condition"] = {"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "true"}}
    tell(main, bucket, kept_out)
    denied(put, main, bucket)
    put(main, bucket, SSECustomerAlgorithm="AES256", SSECustomerKey=key,
        SSECustomerKeyMD5=base64.b64encode(hashlib.md5(b"k" * 32).digest()).decode())


@pytest.mark.parametrize("condition, ok", [
    ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True), ({"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, False),
    ({"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}}, False), ({"Bool": {"aws:SecureTransport": "true"}}, False),
    ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, True),
    ({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, False),
    ({"StringLike": {"aws:UserAgent": "Boto3/*"}}, True), ({"StringEquals": {"aws:username": "{alt}"}}, True),
])
def test_circumstances(main, alt, bucket, condition, ok):
    put(main, bucket)
    tell(main, bucket, allow(bucket, "s3:GetObject", Condition=json.loads(json.dumps(condition).replace("{alt}", alt.id))))
    read(alt.s3, bucket) if ok else denied(read, alt.s3, bucket)


def test_sources_of_copies(main, alt, make):
    source, target = make(), make()
    for key in ("public/foo", "public/bar", "private/foo"):
        put(main, source, key)
    tell(main, source, allow(source, "s3:GetObject"))
    tell(main, target, allow(target, "s3:PutObject", Condition={"StringLike": {"s3:x-amz-copy-source": f"{source}/public/*"}}))
    alt.s3.copy_object(Bucket=target, Key="a", CopySource=f"{source}/public/foo")
    alt.s3.copy_object(Bucket=target, Key="b", CopySource={"Bucket": source, "Key": "public/bar"})
    denied(alt.s3.copy_object, Bucket=target, Key="c", CopySource=f"{source}/private/foo")
    denied(put, alt, target, "d")
    tell(main, target, allow(target, "s3:PutObject", Condition={"StringEquals": {"s3:x-amz-metadata-directive": "COPY"}}))
    alt.s3.copy_object(Bucket=target, Key="e", CopySource=f"{source}/public/foo", MetadataDirective="COPY")
    denied(alt.s3.copy_object, Bucket=target, Key="f", CopySource=f"{source}/public/foo", MetadataDirective="REPLACE")


@pytest.mark.parametrize("statement, public", [
    ({"Principal": "*", "Action": "s3:GetObject"}, True), ({"Principal": {"AWS": "arn:aws:iam:::user/{alt}"}, "Action": "s3:GetObject"}, False),
    ({"Principal": "*", "Action": "s3:GetObject", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}}}, False),
    ({"Principal": "*", "Action": "s3:GetObject", "Effect": "Deny"}, False),
])
def test_whether_a_policy_is_public(main, alt, bucket, statement, public):
    told = {"Effect": "Allow", "Resource": f"arn:aws:s3:::{bucket}/*", **statement}
    main.s3.put_bucket_policy(Bucket=bucket, Policy=policy(told).replace("{alt}", alt.id))
    assert main.s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is public


@pytest.mark.parametrize("name, public", [("private", False), ("public-read", True), ("public-read-write", True), ("authenticated-read", True)])
def test_whether_a_list_is_public(main, make, name, public):
    assert main.s3.get_bucket_policy_status(Bucket=make(ACL=name))["PolicyStatus"]["IsPublic"] is public


def test_denials_win(main, alt, bucket):
    put(main, bucket, ACL="public-read")
    main.s3.put_bucket_acl(Bucket=bucket, ACL="authenticated-read")
    tell(main, bucket, allow(bucket, "s3:ListBucket", effect="Deny"), allow(bucket, "s3:ListBucket"))
    denied(alt.s3.list_objects, Bucket=bucket)
    denied(alt.s3.list_objects_v2, Bucket=bucket)
    read(alt.s3, bucket)


def test_a_policy_reads_back_as_it_was_said(main, bucket):
    text = policy(allow(bucket, "s3:GetObject"))
    assert main.s3.put_bucket_policy(Bucket=bucket, Policy=text)["ResponseMetadata"]["HTTPStatusCode"] in (200, 204)
    assert main.s3.get_bucket_policy(Bucket=bucket)["Policy"] == text
    assert main.s3.delete_bucket_policy(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_parts_of_uploads(main, alt, bucket):
    principal = {"AWS": f"arn:aws:iam:::user/{alt.id}"}
    tell(main, bucket, allow(bucket, "s3:PutObject", "s3:ListMultipartUploadParts", principal=principal))
    begun = alt.s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    where = {"Bucket": bucket, "Key": "k", "UploadId": begun}
    etag = alt.s3.upload_part(**where, PartNumber=1, Body=b"x")["ETag"]
    assert len(alt.s3.list_parts(**where)["Parts"]) == 1
    denied(alt.s3.list_multipart_uploads, Bucket=bucket)
    alt.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
