"""Listings in all their ways, and for everybody."""

import uuid

import pytest
from people import PREFIX, code, denied, empty, put, refused, send

TREE = ["asdf", "boo/bar", "boo/baz/xyzzy", "cquux/bla", "cquux/thud", "under_score", "\u00e4/b"]


@pytest.fixture
def tree(main, make):
    bucket = make(ACL="public-read")
    for key in TREE:
        put(main, bucket, key)
    return bucket


def shown(page):
    return ([item["Key"] for item in page.get("Contents", page.get("Versions", []))],
            [item["Prefix"] for item in page.get("CommonPrefixes", [])])


def expected(prefix="", delimiter=None, after=""):
    keys, prefixes = [], []
    for key in sorted(TREE):
        if not key.startswith(prefix):
            continue
        rest = key[len(prefix):]
        if delimiter and delimiter in rest:
            common = prefix + rest[: rest.index(delimiter) + len(delimiter)]
            if common not in prefixes and common > after:
                prefixes.append(common)
        elif key > after:
            keys.append(key)
    return keys, prefixes


CALLS = ["list_objects", "list_objects_v2", "list_object_versions"]


@pytest.mark.parametrize("prefix", ["", "b", "boo", "boo/", "boo/b", "x", "\x0a", "\u00e4", "/"])
@pytest.mark.parametrize("delimiter", [None, "", "/", "oo", "b", "_", "\x0a"])
@pytest.mark.parametrize("call", CALLS)
def test_prefixes_and_delimiters(main, bucket_of_tree, call, delimiter, prefix):
    said = {} if delimiter is None else {"Delimiter": delimiter}
    page = getattr(main.s3, call)(Bucket=bucket_of_tree, Prefix=prefix, **said)
    assert shown(page) == expected(prefix, delimiter)
    assert page["Prefix"] == prefix and page["IsTruncated"] is False and page["Name"] == bucket_of_tree
    assert page.get("Delimiter") == (delimiter or None)


@pytest.fixture(scope="module")
def bucket_of_tree(main):
    """One bucket for all of them: nothing is changed in it."""
    name = PREFIX + uuid.uuid4().hex[:20]
    main.s3.create_bucket(Bucket=name)
    for key in TREE:
        put(main, name, key)
    yield name
    empty(main.s3, name)
    main.s3.delete_bucket(Bucket=name)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("delimiter", [None, "/"])
@pytest.mark.parametrize("call", CALLS)
def test_pages(main, bucket_of_tree, call, delimiter, size):
    said = {} if delimiter is None else {"Delimiter": delimiter}
    seen = ([], [])
    turn = {}
    for _ in range(20):
        page = getattr(main.s3, call)(Bucket=bucket_of_tree, MaxKeys=size, **said, **turn)
        keys, prefixes = shown(page)
        assert len(keys) + len(prefixes) <= size and page["MaxKeys"] == size
        seen[0].extend(keys)
        seen[1].extend(prefixes)
        if not page["IsTruncated"]:
            break
        if call == "list_objects_v2":
            assert page["KeyCount"] == len(keys) + len(prefixes)
            turn = {"ContinuationToken": page["NextContinuationToken"]}
        elif call == "list_objects":
            assert ("NextMarker" in page) == (delimiter is not None)
            turn = {"Marker": page.get("NextMarker") or keys[-1]}
        else:
            turn = {"KeyMarker": page["NextKeyMarker"]}
            if "NextVersionIdMarker" in page:
                turn["VersionIdMarker"] = page["NextVersionIdMarker"]
    assert seen == expected("", delimiter)


@pytest.mark.parametrize("after", ["", "a", "asdf", "boo/bar", "boo/", "zzz", "\x0a", "\u00e4/b"])
def test_where_pages_begin(main, bucket_of_tree, after):
    keys = [key for key in sorted(TREE) if key > after]
    old = main.s3.list_objects(Bucket=bucket_of_tree, Marker=after)
    assert shown(old)[0] == keys and old["Marker"] == after
    new = main.s3.list_objects_v2(Bucket=bucket_of_tree, StartAfter=after)
    assert shown(new)[0] == keys and new.get("StartAfter", "") == after


@pytest.mark.parametrize("size, ok", [("0", True), ("1000", True), ("5000", True), ("blah", False), ("-1", False), ("99999999999", False)])
@pytest.mark.parametrize("way", ["", "list-type=2&", "versions&"])
def test_sizes_of_pages(main, bucket_of_tree, way, size, ok):
    answer = send(main, "GET", f"/{bucket_of_tree}?{way}max-keys={size}")
    assert answer.status_code == (200 if ok else 400), answer.text
    if ok:
        assert f"<MaxKeys>{min(int(size), 1000)}</MaxKeys>" in answer.text
    else:
        assert "<Code>InvalidArgument</Code>" in answer.text


@pytest.mark.parametrize("call", CALLS)
def test_encoded_names(main, bucket, call):
    for key in ("foo+1/bar", "foo/bar/xyzzy", "quux ab/thud", "asdf+b", "%x"):
        put(main, bucket, key)
    page = getattr(main.s3, call)(Bucket=bucket, Delimiter="/", EncodingType="url")
    keys, prefixes = shown(page)
    assert page["EncodingType"] == "url"
    assert (keys, prefixes) == (["%25x", "asdf%2Bb"], ["foo%2B1/", "foo/", "quux%20ab/"])
    assert refused(getattr(main.s3, call), Bucket=bucket, EncodingType="base64") == (400, "InvalidArgument")


def test_what_is_said_of_objects(main, bucket):
    answer = put(main, bucket)
    [item] = main.s3.list_objects(Bucket=bucket)["Contents"]
    head = main.s3.head_object(Bucket=bucket, Key="k")
    assert item["ETag"] == answer["ETag"] == head["ETag"]
    assert item["Size"] == 7 and item["StorageClass"] == "STANDARD"
    assert item["Owner"] == {"ID": main.id, "DisplayName": main.s3.list_buckets()["Owner"]["DisplayName"]}
    assert item["LastModified"].replace(microsecond=0) == head["LastModified"]
    [item] = main.s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"]
    assert item["Owner"]["ID"] == main.id
    assert "Owner" not in main.s3.list_objects_v2(Bucket=bucket, FetchOwner=False)["Contents"][0]
    [item] = main.s3.list_object_versions(Bucket=bucket)["Versions"]
    assert item["Owner"]["ID"] == main.id and item["VersionId"] == "null" and item["IsLatest"] is True


def test_owners_of_what_others_wrote(main, alt, make):
    bucket = make(ACL="public-read-write")
    put(alt, bucket)
    assert main.s3.list_objects(Bucket=bucket)["Contents"][0]["Owner"]["ID"] == alt.id
    assert main.s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]["Owner"]["ID"] == alt.id
    assert main.s3.list_object_versions(Bucket=bucket)["Versions"][0]["Owner"]["ID"] == alt.id


@pytest.mark.parametrize("call", CALLS)
def test_listings_for_everybody(main, alt, anybody, tree, make, call):
    found = getattr(anybody, call)
    assert shown(found(Bucket=tree)) == expected()
    denied(found, Bucket=make())


@pytest.mark.parametrize("token", ["nonsense", "$$$", "AAAA"])
def test_tokens_that_are_none(main, bucket, token):
    assert refused(main.s3.list_objects_v2, Bucket=bucket, ContinuationToken=token) == (400, "InvalidArgument")


@pytest.mark.parametrize("way", ["", "list-type=2&"])
def test_listings_without_an_order(main, bucket_of_tree, way):
    answer = send(main, "GET", f"/{bucket_of_tree}?allow-unordered=true&{way}".rstrip("&"))
    assert answer.status_code == 200 and all(f"<Key>{key}</Key>" in answer.content.decode() for key in TREE)
    answer = send(main, "GET", f"/{bucket_of_tree}?{way}allow-unordered=true&delimiter=%2F")
    assert code(answer) == (400, "InvalidArgument")


def test_empty_buckets(main, bucket):
    for call in CALLS:
        page = getattr(main.s3, call)(Bucket=bucket)
        assert shown(page) == ([], []) and page["IsTruncated"] is False
    assert main.s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_token_is_given_back(main, bucket_of_tree):
    first = main.s3.list_objects_v2(Bucket=bucket_of_tree, MaxKeys=1, StartAfter="b")
    second = main.s3.list_objects_v2(Bucket=bucket_of_tree, ContinuationToken=first["NextContinuationToken"])
    assert second["ContinuationToken"] == first["NextContinuationToken"]
    assert shown(first)[0] + shown(second)[0] == [key for key in sorted(TREE) if key > "b"]
