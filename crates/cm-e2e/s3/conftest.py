"""What every check of S3 needs: a client of a running node, and buckets that go away again.

`cargo xtask s3` starts a node and sets the variables; see docs/guide/s3.md.
"""

import itertools
import os
import uuid

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

NAMES = itertools.count()
RUN = uuid.uuid4().hex[:8]


@pytest.fixture(scope="session")
def s3():
    config = Config(signature_version="s3v4", retries={"max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], region_name="us-east-1", config=config)


def name():
    return f"check-{RUN}-{next(NAMES)}"


def empty(s3, bucket):
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for version in page.get("Versions", []) + page.get("DeleteMarkers", []):
            held = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
            try:
                s3.put_object_legal_hold(**held, LegalHold={"Status": "OFF"})
            except ClientError:
                pass  # It cannot be held, or is a mark of deletion.
            s3.delete_object(**held, BypassGovernanceRetention=True)


@pytest.fixture
def make_bucket(s3):
    """Makes buckets, and removes them with all that is in them."""
    made = []

    def make(**options):
        bucket = name()
        s3.create_bucket(Bucket=bucket, **options)
        made.append(bucket)
        return bucket

    yield make
    for bucket in made:
        try:
            empty(s3, bucket)
            s3.delete_bucket(Bucket=bucket)
        except ClientError:
            pass  # What is locked for compliance stays, with its bucket.


@pytest.fixture
def bucket(make_bucket):
    return make_bucket()


@pytest.fixture
def versioned(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.fixture
def lockable(make_bucket):
    return make_bucket(ObjectLockEnabledForBucket=True)


class Refused:
    """Demands a refusal: `with refused(412, "PreconditionFailed"): …`."""

    def __init__(self, status, code=None):
        self.status, self.code, self.headers = status, code, {}

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        assert kind is not None, "it was not refused"
        if not issubclass(kind, ClientError):
            return False
        answer = error.response
        found = answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]
        assert found[0] == self.status and self.code in (None, found[1]), (found, answer["Error"])
        self.headers = answer["ResponseMetadata"]["HTTPHeaders"]
        return True


@pytest.fixture(scope="session")
def refused():
    return Refused
