"""The AWS command line, as it is published: `pip install awscli`. Skipped where it is not beside the Python or in the path."""

import filecmp
import json
import os
import shutil
import subprocess
import sys
import uuid

import pytest
import requests
from people import ENDPOINT, PREFIX

PLACES = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
AWS = shutil.which("aws", path=PLACES)
pytestmark = pytest.mark.skipif(AWS is None, reason="the command `aws` is not installed (pip install awscli)")


@pytest.fixture
def aws(main, tmp_path):
    """Runs the command as the first principal, in a directory of its own, and gives what it printed."""
    settings = tmp_path / "config"
    settings.write_text("[default]\nregion = us-east-1\ns3 =\n  multipart_threshold = 8MB\n  multipart_chunksize = 5MB\n")
    surroundings = {"PATH": PLACES, "HOME": str(tmp_path), "AWS_CONFIG_FILE": str(settings),
                    "AWS_ACCESS_KEY_ID": main.key, "AWS_SECRET_ACCESS_KEY": main.secret, "AWS_EC2_METADATA_DISABLED": "true"}

    def run(*arguments, fails=False):
        line = [AWS, "--endpoint-url", ENDPOINT, *arguments]
        done = subprocess.run(line, cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=300)
        # Versions of the command end otherwise where something is refused.
        assert (done.returncode != 0) == fails, (done.stdout, done.stderr)
        return done.stderr if fails else done.stdout

    return run


def test_buckets(aws):
    name = PREFIX + uuid.uuid4().hex[:20]
    assert f"make_bucket: {name}" in aws("s3", "mb", f"s3://{name}")
    assert name in aws("s3", "ls")
    assert f"remove_bucket: {name}" in aws("s3", "rb", f"s3://{name}")
    assert name not in aws("s3", "ls")


@pytest.mark.parametrize("size", [0, 1, 1_000_000, 8 * 1024 * 1024, 21 * 1024 * 1024 + 7])
def test_files_there_and_back(aws, bucket, tmp_path, size):
    (tmp_path / "there").write_bytes(os.urandom(size))
    aws("s3", "cp", "there", f"s3://{bucket}/dir/file name+1.bin")
    aws("s3", "cp", f"s3://{bucket}/dir/file name+1.bin", "back")
    assert filecmp.cmp(tmp_path / "there", tmp_path / "back", shallow=False)
    assert f"{size} file name+1.bin" in aws("s3", "ls", f"s3://{bucket}/dir/")
    aws("s3", "cp", f"s3://{bucket}/dir/file name+1.bin", f"s3://{bucket}/copy")
    aws("s3", "mv", f"s3://{bucket}/copy", f"s3://{bucket}/moved")
    aws("s3", "cp", f"s3://{bucket}/moved", "again")
    assert filecmp.cmp(tmp_path / "there", tmp_path / "again", shallow=False)


@pytest.mark.parametrize("algorithm", ["SHA256", "CRC32C", None])
@pytest.mark.parametrize("when", ["when_supported", "when_required"])
def test_checksums_of_parts(aws, bucket, tmp_path, algorithm, when):
    aws("configure", "set", "request_checksum_calculation", when)
    said = ["--checksum-algorithm", algorithm] if algorithm else []
    (tmp_path / "there").write_bytes(os.urandom(21 * 1024 * 1024))
    aws("s3", "cp", "there", f"s3://{bucket}/k", *said)
    aws("s3", "cp", f"s3://{bucket}/k", f"s3://{bucket}/copy", *said)
    aws("s3", "cp", f"s3://{bucket}/copy", "back")
    assert filecmp.cmp(tmp_path / "there", tmp_path / "back", shallow=False)


def test_streams(aws, bucket, main, tmp_path):
    main.s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    assert aws("s3", "cp", f"s3://{bucket}/k", "-") == "content"


def test_directories(aws, bucket, tmp_path):
    names = ["a.txt", "b/c.txt", "b/d/\u00e4 \u00f6.txt", "e f.log"]
    for name in names:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(name)
    aws("s3", "sync", "tree", f"s3://{bucket}/tree")
    listed = aws("s3", "ls", "--recursive", f"s3://{bucket}/")
    assert all(f"tree/{name}" in listed for name in names)
    assert aws("s3", "sync", "tree", f"s3://{bucket}/tree") == ""
    aws("s3", "sync", f"s3://{bucket}/tree", "back")
    for name in names:
        assert (tmp_path / "back" / name).read_text() == name
    (tmp_path / "tree" / "a.txt").unlink()
    assert "delete" in aws("s3", "sync", "--delete", "tree", f"s3://{bucket}/tree")
    aws("s3", "rm", "--recursive", f"s3://{bucket}/tree", "--exclude", "*.log")
    assert aws("s3", "ls", "--recursive", f"s3://{bucket}/").strip().endswith("tree/e f.log")
    assert "remove_bucket" in aws("s3", "rb", "--force", f"s3://{bucket}")


def test_addresses(aws, bucket, main):
    main.s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    assert requests.get(aws("s3", "presign", f"s3://{bucket}/k").strip()).content == b"content"


def test_calls(aws, bucket, tmp_path):
    (tmp_path / "body").write_bytes(b"content")
    made = json.loads(aws("s3api", "put-object", "--bucket", bucket, "--key", "k", "--body", "body", "--tagging", "a=b",
                          "--metadata", "x=y", "--checksum-algorithm", "SHA256"))
    found = json.loads(aws("s3api", "head-object", "--bucket", bucket, "--key", "k", "--checksum-mode", "ENABLED"))
    assert (found["ETag"], found["Metadata"], found["ChecksumSHA256"]) == (made["ETag"], {"x": "y"}, made["ChecksumSHA256"])
    aws("s3api", "put-bucket-versioning", "--bucket", bucket, "--versioning-configuration", "Status=Enabled")
    assert json.loads(aws("s3api", "get-bucket-versioning", "--bucket", bucket))["Status"] == "Enabled"
    assert json.loads(aws("s3api", "list-objects-v2", "--bucket", bucket))["Contents"][0]["Key"] == "k"
    assert json.loads(aws("s3api", "get-object-tagging", "--bucket", bucket, "--key", "k"))["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert json.loads(aws("s3api", "get-object", "--bucket", bucket, "--key", "k", "--range", "bytes=0-3", "part"))["ContentLength"] == 4
    assert (tmp_path / "part").read_bytes() == b"cont"
    assert "NoSuchKey" in aws("s3api", "get-object", "--bucket", bucket, "--key", "missing", "part", fails=True)


def test_what_is_refused(aws, bucket):
    assert "BucketNotEmpty" not in aws("s3", "rb", f"s3://{bucket}-missing", fails=True)
    assert "404" in aws("s3", "cp", f"s3://{bucket}/missing", "x", fails=True)
