"""Rules by which objects end: what they may say, and what is announced. That they are followed is a matter of days and tested in
the engine.
"""

import re
from datetime import datetime, timedelta, timezone


def put(s3, bucket, *rules):
    return s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})


def rule(**fields):
    return {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "a/"}, **fields}


def test_rules_are_kept_as_they_were_said(s3, bucket, refused):
    with refused(404, "NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    midnight = datetime(2031, 9, 27, tzinfo=timezone.utc)
    rules = [
        {"ID": "1", "Status": "Enabled", "Prefix": "old/", "Expiration": {"Days": 2}},
        {"ID": "2", "Status": "Disabled", "Filter": {"Prefix": "b/"}, "Expiration": {"Date": midnight}},
        {"ID": "3", "Status": "Enabled", "Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 3}},
        {
            "ID": "4",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "c/", "Tags": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": 9}},
            "Expiration": {"Days": 3},
        },
        {
            "ID": "5",
            "Status": "Enabled",
            "Filter": {"Prefix": "d/"},
            "Expiration": {"ExpiredObjectDeleteMarker": True},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3},
        },
        {
            "ID": "6",
            "Status": "Enabled",
            "Filter": {"ObjectSizeLessThan": 500},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 3, "NewerNoncurrentVersions": 2},
        },
        {"ID": "7", "Status": "Enabled", "Filter": {"Tag": {"Key": "k", "Value": "v"}}, "Expiration": {"Days": 1}},
    ]
    put(s3, bucket, *rules)
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules
    s3.delete_bucket_lifecycle(Bucket=bucket)
    with refused(404, "NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket=bucket)


def test_rules_get_names(s3, bucket):
    put(s3, bucket, {"Status": "Enabled", "Prefix": "", "Expiration": {"Days": 1}})
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0]["ID"]


def test_wrong_rules(s3, bucket, refused):
    ends = {"Expiration": {"Days": 1}}
    for code, rules in (
        ("InvalidArgument", [rule(ID="x" * 256, **ends)]),
        ("InvalidArgument", [rule(**ends), rule(**ends)]),
        ("InvalidArgument", [rule(Expiration={"Days": 0})]),
        ("InvalidArgument", [rule(Expiration={"Date": datetime(2031, 1, 1, 12, tzinfo=timezone.utc)})]),
        ("MalformedXML", [rule(Status="enabled", **ends)]),
        ("MalformedXML", [rule(Expiration={"Days": 1, "Date": datetime(2031, 1, 1, tzinfo=timezone.utc)})]),
    ):
        with refused(400, code):
            put(s3, bucket, *rules)
    with refused(501, "NotImplemented"):
        put(s3, bucket, rule(Transitions=[{"Days": 1, "StorageClass": "GLACIER"}]))


def test_the_end_is_announced(s3, bucket):
    put(
        s3,
        bucket,
        rule(ID="days", Expiration={"Days": 3}),
        rule(ID="tags", Filter={"Tag": {"Key": "k", "Value": "v"}}, Expiration={"Days": 1}),
    )

    def announced(answer):
        date, name = re.fullmatch(r'expiry-date="(.+)", rule-id="(.+)"', answer["Expiration"]).groups()
        date = datetime.strptime(date, "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=timezone.utc)
        return (date - datetime.now(timezone.utc) + timedelta(minutes=1)).days, name

    assert announced(s3.put_object(Bucket=bucket, Key="a/1")) == (3, "days")
    assert announced(s3.head_object(Bucket=bucket, Key="a/1")) == (3, "days")
    assert announced(s3.put_object(Bucket=bucket, Key="b", Tagging="k=v")) == (1, "tags")
    assert announced(s3.get_object(Bucket=bucket, Key="b")) == (1, "tags")
    assert "Expiration" not in s3.put_object(Bucket=bucket, Key="c")
