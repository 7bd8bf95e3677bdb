"""Listing."""

import pytest


@pytest.fixture
def filled(s3, bucket):
    def fill(*keys):
        for key in keys:
            s3.put_object(Bucket=bucket, Key=key)
        return bucket

    return fill


def both(s3, **options):
    """A listing in either way: keys and prefixes."""
    found = []
    for call in (s3.list_objects, s3.list_objects_v2):
        page = call(**options)
        keys = [item["Key"] for item in page.get("Contents", [])]
        found.append((keys, [item["Prefix"] for item in page.get("CommonPrefixes", [])]))
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("delimiter", ["/", "a", " ", ".", "%", "\n", "none"])
def test_delimiters(s3, filled, delimiter):
    bucket = filled("bar", "baz", "cab", "foo", "b/x", "b r", "b.r", "b%r")
    keys, prefixes = both(s3, Bucket=bucket, Delimiter=delimiter)
    everything = sorted(["bar", "baz", "cab", "foo", "b/x", "b r", "b.r", "b%r"])
    assert keys == [key for key in everything if delimiter not in key]
    folded = {key[: key.index(delimiter) + len(delimiter)] for key in everything if delimiter in key}
    assert prefixes == sorted(folded)


def test_prefixes_and_pages(s3, filled):
    bucket = filled("asdf", "boo/bar", "boo/baz/xyzzy", "cquux/thud", "cquux/bla")
    assert both(s3, Bucket=bucket, Delimiter="/") == (["asdf"], ["boo/", "cquux/"])
    assert both(s3, Bucket=bucket, Prefix="boo/", Delimiter="/") == (["boo/bar"], ["boo/baz/"])
    assert both(s3, Bucket=bucket, Prefix="d") == ([], [])
    first = s3.list_objects_v2(Bucket=bucket, Delimiter="/", MaxKeys=2)
    assert first["IsTruncated"] and first["KeyCount"] == 2
    rest = s3.list_objects_v2(Bucket=bucket, Delimiter="/", ContinuationToken=first["NextContinuationToken"])
    assert [item["Prefix"] for item in rest["CommonPrefixes"]] == ["cquux/"] and not rest["IsTruncated"]
    first = s3.list_objects(Bucket=bucket, Delimiter="/", MaxKeys=2)
    rest = s3.list_objects(Bucket=bucket, Delimiter="/", Marker=first["NextMarker"])
    assert [item["Prefix"] for item in rest["CommonPrefixes"]] == ["cquux/"]


def test_sizes_of_pages(s3, filled, refused):
    bucket = filled("a", "b")
    assert both(s3, Bucket=bucket, MaxKeys=0) == ([], [])
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=0)["IsTruncated"] is False
    assert s3.list_objects_v2(Bucket=bucket)["MaxKeys"] == 1000
    with refused(400, "InvalidArgument"):
        s3.list_objects_v2(Bucket=bucket, MaxKeys=-1)


def test_where_pages_begin(s3, filled):
    bucket = filled("bar", "baz", "foo", "quxx")
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, StartAfter="bar")["Contents"]] == [
        "baz",
        "foo",
        "quxx",
    ]
    empty = s3.list_objects_v2(Bucket=bucket, ContinuationToken="")
    assert len(empty["Contents"]) == 4
    assert [item["Key"] for item in s3.list_objects(Bucket=bucket, Marker="blah")["Contents"]] == ["foo", "quxx"]
    assert "Contents" not in s3.list_objects(Bucket=bucket, Marker="zzz")


def test_owners_are_said_when_asked_for(s3, filled):
    bucket = filled("a")
    assert "Owner" not in s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert "ID" in s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]["Owner"]
    assert "ID" in s3.list_objects(Bucket=bucket)["Contents"][0]["Owner"]


def test_names_of_all_kinds(s3, filled):
    names = [" ", '"', "$", "%", "&", "'", "<", ">", "_", "_ ", "_ _", "__", "+", "foo+1/bar", "ä/ö", "\u2603", "a//b"]
    bucket = filled(*names)
    assert both(s3, Bucket=bucket)[0] == sorted(names, key=lambda name: name.encode())
    for name in names:
        assert s3.get_object(Bucket=bucket, Key=name)["Body"].read() == b""
    quoted = s3.list_objects_v2(Bucket=bucket, EncodingType="url", Prefix="foo+1/")
    assert [item["Key"] for item in quoted["Contents"]] == ["foo%2B1/bar"]
