"""Checks by two users of S3, and by nobody.

They need two principals whose role permits `bucket:create` and `bucket:list` and nothing else, which `cargo xtask s3` makes; to run
them against another node that demands credentials, name two of its principals:

    S3_ENDPOINT=http://127.0.0.1:9000 S3_MAIN=ID:KEY:SECRET S3_ALT=ID:KEY:SECRET python -m pytest crates/cm-e2e/s3/users

ID is the principal's id. They need requests besides. What they make begins with `cm-test-` and is removed.
"""

import uuid

import pytest
from botocore.exceptions import ClientError
from people import PREFIX, Person, connect, empty


@pytest.fixture(scope="session")
def main():
    return Person("S3_MAIN")


@pytest.fixture(scope="session")
def alt():
    return Person("S3_ALT")


@pytest.fixture(scope="session")
def anybody():
    return connect()


@pytest.fixture
def make(main):
    """Makes buckets that are gone when the test ends."""
    made = []

    def make_bucket(person=main, **more):
        name = PREFIX + uuid.uuid4().hex[:20]
        person.s3.create_bucket(Bucket=name, **more)
        made.append((person, name))
        return name

    yield make_bucket
    for person, name in made:
        try:
            for undo in (person.s3.delete_bucket_policy, person.s3.delete_public_access_block):
                undo(Bucket=name)
            empty(person.s3, name)
            person.s3.delete_bucket(Bucket=name)
        except ClientError as error:
            print(f"{name} stays: {error}")


@pytest.fixture
def bucket(make):
    return make()
