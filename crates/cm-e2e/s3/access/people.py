"""Principals, and what they are refused."""

import os
import uuid

import boto3
import pytest
from botocore import UNSIGNED
from botocore.client import Config
from botocore.exceptions import ClientError

PREFIX = "cm-test-"
ENDPOINT = os.environ.get("S3_ENDPOINT", "http://127.0.0.1:9000")


class Person:
    """A principal with a key, and its client."""

    def __init__(self, variable):
        text = os.environ.get(variable)
        if text is None:
            pytest.skip(f"{variable} is not set")
        self.id, self.key, self.secret = text.split(":")
        self.s3 = connect(self.key, self.secret)


def connect(key=None, secret=None, **more):
    """A client; anonymous without a key."""
    version = "s3v4" if key else UNSIGNED
    config = Config(signature_version=version, s3={"addressing_style": "path"}, retries={"max_attempts": 1}, **more)
    return boto3.client(
        "s3",
        endpoint_url=ENDPOINT,
        region_name="us-east-1",
        aws_access_key_id=key or "none",
        aws_secret_access_key=secret or "none",
        config=config,
    )


def refused(call, *args, **kwargs):
    """The status and the code of what must be refused."""
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def denied(call, *args, **kwargs):
    """Asserts that a call is denied."""
    assert refused(call, *args, **kwargs)[0] == 403


def empty(s3, bucket):
    """Removes what is in a bucket, whatever versions it has."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for found in page.get("Versions", []) + page.get("DeleteMarkers", []):
            s3.delete_object(
                Bucket=bucket, Key=found["Key"], VersionId=found["VersionId"], BypassGovernanceRetention=True
            )
