"""Versions and marks of deletion."""

from concurrent.futures import ThreadPoolExecutor


def put(s3, bucket, key, body):
    return s3.put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]


def body(answer):
    return answer["Body"].read()


def listed(s3, bucket, **options):
    found = s3.list_object_versions(Bucket=bucket, **options)
    return found.get("Versions", []), found.get("DeleteMarkers", [])


def test_states(s3, bucket, refused):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    for status in ("Enabled", "Suspended", "Enabled"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status
    with refused(400, "MalformedXML"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={})


def test_versions_are_read_and_removed_one_by_one(s3, versioned, refused):
    ids = [put(s3, versioned, "k", str(n)) for n in range(5)]
    assert len(set(ids)) == 5
    for n, version in enumerate(ids):
        found = s3.get_object(Bucket=versioned, Key="k", VersionId=version)
        assert body(found) == str(n).encode() and found["VersionId"] == version
    versions, _ = listed(s3, versioned)
    assert [found["VersionId"] for found in versions] == ids[::-1]
    assert [found["IsLatest"] for found in versions] == [True] + [False] * 4
    while ids:
        gone = ids.pop()
        assert s3.delete_object(Bucket=versioned, Key="k", VersionId=gone)["VersionId"] == gone
        with refused(404, "NoSuchVersion"):
            s3.get_object(Bucket=versioned, Key="k", VersionId=gone)
        if ids:
            assert body(s3.get_object(Bucket=versioned, Key="k")) == str(len(ids) - 1).encode()
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=versioned, Key="k")


def test_a_mark_hides_and_its_removal_shows(s3, versioned, refused):
    version = put(s3, versioned, "k", "x")
    mark = s3.delete_object(Bucket=versioned, Key="k")
    assert mark["DeleteMarker"] is True
    with refused(404, "NoSuchKey") as hidden:
        s3.get_object(Bucket=versioned, Key="k")
    assert hidden.headers["x-amz-delete-marker"] == "true"
    assert hidden.headers["x-amz-version-id"] == mark["VersionId"]
    with refused(405) as head:
        s3.head_object(Bucket=versioned, Key="k", VersionId=mark["VersionId"])
    assert head.headers["x-amz-delete-marker"] == "true"
    with refused(404):
        s3.head_object(Bucket=versioned, Key="k")
    assert body(s3.get_object(Bucket=versioned, Key="k", VersionId=version)) == b"x"
    versions, marks = listed(s3, versioned)
    assert [found["IsLatest"] for found in versions + marks] == [False, True]
    assert "Contents" not in s3.list_objects_v2(Bucket=versioned)
    removed = s3.delete_object(Bucket=versioned, Key="k", VersionId=mark["VersionId"])
    assert removed["DeleteMarker"] is True and removed["VersionId"] == mark["VersionId"]
    assert body(s3.get_object(Bucket=versioned, Key="k")) == b"x"


def test_what_was_there_before_is_the_null_version(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    own = put(s3, bucket, "k", "after")
    assert [found["VersionId"] for found in listed(s3, bucket)[0]] == [own, "null"]
    assert body(s3.get_object(Bucket=bucket, Key="k", VersionId="null")) == b"before"
    s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
    assert [found["VersionId"] for found in listed(s3, bucket)[0]] == [own]


def test_suspended_writes_replace_the_null_version(s3, versioned):
    own = put(s3, versioned, "k", "own")
    s3.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Suspended"})
    for text in ("one", "two"):
        s3.put_object(Bucket=versioned, Key="k", Body=text)
    assert [found["VersionId"] for found in listed(s3, versioned)[0]] == ["null", own]
    assert s3.delete_object(Bucket=versioned, Key="k")["VersionId"] == "null"
    versions, marks = listed(s3, versioned)
    assert [found["VersionId"] for found in versions] == [own]
    assert [(found["VersionId"], found["IsLatest"]) for found in marks] == [("null", True)]
    s3.delete_object(Bucket=versioned, Key="k", VersionId="null")
    assert body(s3.get_object(Bucket=versioned, Key="k")) == b"own"


def test_many_are_removed_at_once(s3, versioned):
    ids = [put(s3, versioned, "k", "x") for _ in range(3)]
    objects = [{"Key": "k", "VersionId": version} for version in ids]
    for _ in range(2):  # What is gone is removed again.
        answer = s3.delete_objects(Bucket=versioned, Delete={"Objects": objects})
        assert {found["VersionId"] for found in answer["Deleted"]} == set(ids) and "Errors" not in answer
    answer = s3.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": "k"}]})
    [found] = answer["Deleted"]
    assert found["DeleteMarker"] is True
    _, [mark] = listed(s3, versioned)
    assert mark["VersionId"] == found["DeleteMarkerVersionId"]
    answer = s3.delete_objects(
        Bucket=versioned, Delete={"Objects": [{"Key": "k", "VersionId": mark["VersionId"]}]}
    )
    assert answer["Deleted"][0]["DeleteMarker"] is True and listed(s3, versioned) == ([], [])


def test_pages_of_versions(s3, versioned):
    expected = []
    for key in ("a/1", "a/2", "b", "c"):
        ids = [put(s3, versioned, key, "x") for _ in range(3)]
        expected += [(key, version) for version in ids[::-1]]
    for size in (1, 2, 5, 100):
        found, options = [], {}
        while True:
            page = s3.list_object_versions(Bucket=versioned, MaxKeys=size, **options)
            found += [(version["Key"], version["VersionId"]) for version in page.get("Versions", [])]
            if not page["IsTruncated"]:
                break
            options = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
        assert found == expected
    page = s3.list_object_versions(Bucket=versioned, Delimiter="/")
    assert [found["Prefix"] for found in page["CommonPrefixes"]] == ["a/"]
    assert len(page["Versions"]) == 6
    page = s3.list_object_versions(Bucket=versioned, Prefix="a/", KeyMarker="a/1")
    assert {found["Key"] for found in page["Versions"]} == {"a/2"}
    first = s3.list_object_versions(Bucket=versioned, Delimiter="/", MaxKeys=1)
    rest = s3.list_object_versions(Bucket=versioned, Delimiter="/", KeyMarker=first["NextKeyMarker"])
    assert "CommonPrefixes" not in rest and len(rest["Versions"]) == 6


def test_copies_of_versions(s3, versioned):
    first = put(s3, versioned, "k", "first")
    put(s3, versioned, "k", "second")
    source = {"Bucket": versioned, "Key": "k", "VersionId": first}
    answer = s3.copy_object(Bucket=versioned, Key="other", CopySource=source)
    assert answer["CopySourceVersionId"] == first
    assert body(s3.get_object(Bucket=versioned, Key="other")) == b"first"
    s3.copy_object(Bucket=versioned, Key="k", CopySource=source)
    assert body(s3.get_object(Bucket=versioned, Key="k")) == b"first"
    assert len(listed(s3, versioned, Prefix="k")[0]) == 3


def test_parts_become_versions(s3, versioned):
    ids = []
    for n in range(2):
        upload = s3.create_multipart_upload(Bucket=versioned, Key="k")["UploadId"]
        where = {"Bucket": versioned, "Key": "k", "UploadId": upload}
        tag = s3.upload_part(**where, PartNumber=1, Body=str(n))["ETag"]
        done = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
        ids.append(done["VersionId"])
    for n, version in enumerate(ids):
        assert body(s3.get_object(Bucket=versioned, Key="k", VersionId=version)) == str(n).encode()


def test_concurrent_writers_and_removers(s3, versioned):
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda n: put(s3, versioned, "k", str(n)), range(24)))
        assert {found["VersionId"] for found in listed(s3, versioned)[0]} == set(ids)
        list(pool.map(lambda id: s3.delete_object(Bucket=versioned, Key="k", VersionId=id), ids))
    assert listed(s3, versioned) == ([], [])


def test_a_bucket_with_versions_is_not_removed(s3, versioned, refused):
    s3.delete_object(Bucket=versioned, Key="k")
    with refused(409, "BucketNotEmpty"):
        s3.delete_bucket(Bucket=versioned)


def test_unknown_versions(s3, versioned, refused):
    put(s3, versioned, "k", "x")
    with refused(404, "NoSuchVersion"):
        s3.get_object(Bucket=versioned, Key="k", VersionId="7c9e6679-7425-40de-944b-e07fc1f90ae7")
    with refused(400, "InvalidArgument"):
        s3.get_object(Bucket=versioned, Key="k", VersionId="what is that")
