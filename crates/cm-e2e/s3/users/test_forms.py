"""Forms: what they must say, and what their policies may demand."""

import pytest
import requests
from people import code, put, read, refused
from test_access_web import address, form
from test_access_web import send as post


def stored(main, bucket, key="k"):
    return read(main.s3, bucket, key)


def conditions(change):
    """Changes the conditions of a policy."""
    return lambda policy: policy.update(conditions=change(policy["conditions"]))


def without(name):
    return conditions(lambda said: [one for one in said if name not in one and f"${name}" not in one])


@pytest.mark.parametrize("field", ["AWSAccessKeyId", "policy", "signature", "key"])
def test_fields_that_must_be_there(main, bucket, field):
    fields = form(main, bucket, second=True)
    del fields[field]
    assert post(bucket, fields).status_code in (400, 403)


def test_names_of_fields_have_no_case(main, bucket):
    fields = form(main, bucket, second=True)
    for name in ("policy", "signature", "key"):
        fields[name.upper() if name != "key" else "kEy"] = fields.pop(name)
    assert post(bucket, fields).status_code == 204
    assert stored(main, bucket) == b"content"


def test_operators_have_no_case(main, bucket):
    change = conditions(lambda said: [one for one in said if "key" not in one] + [["StArTs-WiTh", "$KeY", "k"]])
    assert post(bucket, form(main, bucket, change=change)).status_code == 204


@pytest.mark.parametrize("condition, status", [
    (["starts-with", "$key", ""], 204), (["starts-with", "$key", "fo"], 204), (["starts-with", "$key", "x"], 403),
    (["starts-with", "$key", "\\$foo"], 403), (["eq", "$key", "foo.txt"], 204), (["eq", "$key", "other"], 403),
    (["starts-with", "$Content-Type", "text/"], 204), (["starts-with", "$Content-Type", "image/"], 403),
    (["starts-with", "$x-amz-meta-foo", "bar"], 403), ({"acl": "private"}, 204), ({"acl": "public-read"}, 403),
    ({"bucket": "other-bucket"}, 403), (["content-length-range", 0, 1024], 204), (["content-length-range", 512, 1000], 400),
    (["content-length-range", -1, 0], 400), (["content-length-range", 0], 400), (["content-length-range"], 400),
    (["likes", "$key", "foo"], 400), (["eq", "key"], 400), ("nonsense", 400), ([], 400),
])
def test_conditions(main, bucket, condition, status):
    fields = form(main, bucket, key="foo.txt", change=conditions(lambda said: [*said, condition]))
    answer = post(bucket, fields)
    assert answer.status_code == status, answer.text
    if status == 204:
        assert stored(main, bucket, "foo.txt") == b"content"
    else:
        assert refused(main.s3.head_object, Bucket=bucket, Key="foo.txt")[0] == 404


@pytest.mark.parametrize("change, status", [
    (lambda policy: policy.pop("expiration"), 400), (lambda policy: policy.pop("conditions"), 400),
    (lambda policy: policy.update(expiration="tomorrow"), 400), (lambda policy: policy.update(expiration=5), 400),
    (lambda policy: policy.update(conditions=[]), 403), (lambda policy: policy.update(conditions={}), 400),
    (lambda policy: policy.update(expiration="2014-01-01T00:00:00Z"), 403),
    (lambda policy: [policy.update(EXPIRATION=policy.pop("expiration"))], (204, 400)),
    (without("bucket"), 403), (without("key"), 403), (without("acl"), 403), (without("Content-Type"), 403),
])
def test_policies(main, bucket, change, status):
    found = post(bucket, form(main, bucket, change=change)).status_code
    assert found in (status if isinstance(status, tuple) else (status,))


@pytest.mark.parametrize("spoilt", ["x", "", "e30", "bm8ganNvbg=="])
def test_policies_that_are_none(main, bucket, spoilt):
    fields = form(main, bucket, second=True)
    fields["policy"] = spoilt
    assert post(bucket, fields).status_code in (400, 403)


def test_wrong_proofs(main, alt, bucket):
    fields = form(main, bucket, second=True)
    assert code(post(bucket, {**fields, "signature": "AAAA" + fields["signature"][4:]})) == (403, "SignatureDoesNotMatch")
    assert code(post(bucket, {**fields, "AWSAccessKeyId": "CMS30000000000000000"})) == (403, "InvalidAccessKeyId")
    assert post(bucket, form(alt, bucket)).status_code == 403


@pytest.mark.parametrize("asked, status, has_body", [("200", 200, False), ("201", 201, True), ("204", 204, False), ("404", 204, False),
                                                     ("", 204, False), ("abc", 204, False)])
def test_answers(main, bucket, asked, status, has_body):
    answer = post(bucket, form(main, bucket, success_action_status=asked))
    assert (answer.status_code, bool(answer.content)) == (status, has_body)
    assert answer.headers["etag"] == main.s3.head_object(Bucket=bucket, Key="k")["ETag"]
    if has_body:
        for part in (f"<Bucket>{bucket}</Bucket>", "<Key>k</Key>", "<ETag>", "<Location>"):
            assert part in answer.text


def test_leading_elsewhere(main, bucket):
    answer = post(bucket, form(main, bucket, success_action_redirect="http://h.example/p?a=b"))
    etag = main.s3.head_object(Bucket=bucket, Key="k")["ETag"].strip('"')
    assert answer.status_code == 303
    assert answer.headers["location"] == f"http://h.example/p?a=b&bucket={bucket}&key=k&etag=%22{etag}%22"


def test_names_of_files(main, bucket):
    fields = form(main, bucket, key="up/${filename}", change=without("key"))
    assert post(bucket, fields).status_code == 403
    change = conditions(lambda said: [one for one in said if "key" not in one] + [["starts-with", "$key", "up/"]])
    assert post(bucket, form(main, bucket, key="up/${filename}", change=change), name="my file.txt").status_code == 204
    assert stored(main, bucket, "up/my file.txt") == b"content"


def test_fields_that_are_passed_over(main, bucket):
    fields = form(main, bucket)
    fields["x-ignore-foo"] = "bar"
    assert post(bucket, fields).status_code == 204


def test_grants_metadata_and_tags(main, anybody, bucket):
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"
    fields = form(main, bucket, acl="public-read", tagging=tags, **{"x-amz-meta-foo": "bar", "Cache-Control": "no-cache"})
    assert post(bucket, fields).status_code == 204
    found = anybody.get_object(Bucket=bucket, Key="k")
    assert (found["Metadata"], found["CacheControl"]) == ({"foo": "bar"}, "no-cache")
    assert main.s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "a", "Value": "1"}]


@pytest.mark.parametrize("tags", ["<x/>", "<Tagging><TagSet>", "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>"
                                  .replace("</TagSet>", "<Tag><Key>a</Key><Value>1</Value></Tag></TagSet>")])
def test_tags_that_are_none(main, bucket, tags):
    assert post(bucket, form(main, bucket, tagging=tags)).status_code == 400


def test_sizes(main, bucket):
    wide = lambda policy: policy.update(conditions=[one for one in policy["conditions"] if "content-length-range" not in one])
    for size in (0, 1, 100_000, 6 * 1024 * 1024):
        assert post(bucket, form(main, bucket, change=wide), b"x" * size).status_code == 204
        assert main.s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == size
    assert code(post(bucket, form(main, bucket), b"x" * 101)) == (400, "EntityTooLarge")
    assert code(post(bucket, form(main, bucket), b"")) == (400, "EntityTooSmall")


def test_without_a_file(main, bucket):
    fields = {name: (None, value) for name, value in form(main, bucket).items()}
    answer = requests.post(address(bucket), files=fields)
    assert answer.status_code == 400


@pytest.mark.parametrize("algorithm, value, status", [
    ("crc32", "7jESCQ==", 400), ("sha256", "7XACtDnprIRfIjV9giusFERzD+vYYHtRAY2G9EA0WYI=", 400),
    ("sha256", "7XACtDnprIRfIjV9giusGUdgaYbWSNeIjd6UwI4sTWs=", 400),
])
def test_wrong_sums(main, bucket, algorithm, value, status):
    assert post(bucket, form(main, bucket, **{f"x-amz-checksum-{algorithm}": value})).status_code == status


@pytest.mark.parametrize("algorithm", ["crc32", "sha256", "sha1"])
def test_sums(main, bucket, algorithm):
    put(main, bucket, "summed", ChecksumAlgorithm=algorithm.upper())
    sum_ = main.s3.head_object(Bucket=bucket, Key="summed", ChecksumMode="ENABLED")["Checksum" + algorithm.upper()]
    assert post(bucket, form(main, bucket, **{f"x-amz-checksum-{algorithm}": sum_})).status_code == 204
    found = main.s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert found["Checksum" + algorithm.upper()] == sum_


def test_the_form_of_the_client(main, bucket):
    made = main.s3.generate_presigned_post(bucket, "k", Fields={"acl": "private"}, Conditions=[{"acl": "private"}])
    assert requests.post(made["url"], data=made["fields"], files={"file": b"content"}).status_code == 204
    assert stored(main, bucket) == b"content"
