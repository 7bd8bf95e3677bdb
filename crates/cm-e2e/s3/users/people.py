"""Principals, and what they are refused."""

import hashlib
import os
import re

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.client import Config
from botocore.credentials import Credentials as BotoCredentials
from botocore.exceptions import ClientError
from botocore.handlers import validate_bucket_name

PREFIX = "cm-test-"
ENDPOINT = os.environ.get("S3_ENDPOINT", "http://127.0.0.1:9000")


class Person:
    """A principal with a key, and its client."""

    def __init__(self, variable):
        text = os.environ.get(variable)
        if text is None:
            pytest.skip(f"{variable} is not set")
        self.id, self.key, self.secret = text.split(":")
        self.s3 = self.fresh()

    def fresh(self, **more):
        """Another client."""
        return connect(self.key, self.secret, **more)


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


def put(person, bucket, key="k", body=b"content", **more):
    """Writes an object."""
    return person.s3.put_object(Bucket=bucket, Key=key, Body=body, **more)


def read(s3, bucket, key="k", **more):
    """What an object holds."""
    return s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()


def plainly(s3):
    """Leaves it to the node to judge names of buckets."""
    s3.meta.events.unregister("before-parameter-build.s3", validate_bucket_name)
    return s3


def send(person, method, path, headers=None, body=b"", after=None, drop=(), sent=None, framed=False):
    """A request signed in its headers, changed after it was signed; with another body, if one is to be sent."""
    asked = AWSRequest(method=method, url=ENDPOINT + path, headers=headers or {}, data=body)
    if framed:
        asked.context["checksum"] = {"request_algorithm": {"in": "trailer"}}
    if "x-amz-content-sha256" not in asked.headers:
        asked.headers["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
    S3SigV4Auth(BotoCredentials(person.key, person.secret), "s3", "us-east-1").add_auth(asked)
    told = {name: value for name, value in asked.headers.items() if name.lower() not in drop}
    told.update(after or {})
    sent = body if sent is None else sent
    return requests.request(method, ENDPOINT + path, headers=told, data=sent, allow_redirects=False)


def presign(person, path, seconds):
    """An address signed for so long, however long that is."""
    asked = AWSRequest(method="GET", url=ENDPOINT + path)
    S3SigV4QueryAuth(BotoCredentials(person.key, person.secret), "s3", "us-east-1", expires=seconds).add_auth(asked)
    return asked.url


def code(answer):
    """The status of an answer to a plain request, and the code of its refusal."""
    found = re.search("<Code>(.*?)</Code>", answer.text)
    return answer.status_code, found and found.group(1)
