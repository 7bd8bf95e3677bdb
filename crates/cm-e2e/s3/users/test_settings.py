"""What buckets can be told, and what they say when they were told nothing."""

import pytest
from people import refused

UNSET = [
    ("get_bucket_policy", "NoSuchBucketPolicy"), ("get_bucket_cors", "NoSuchCORSConfiguration"),
    ("get_bucket_tagging", "NoSuchTagSet"), ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
    ("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError"),
    ("get_bucket_website", "NoSuchWebsiteConfiguration"), ("get_bucket_replication", "ReplicationConfigurationNotFoundError"),
    ("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError"),
    ("get_public_access_block", "NoSuchPublicAccessBlockConfiguration"),
    ("get_bucket_ownership_controls", "OwnershipControlsNotFoundError"),
]


@pytest.mark.parametrize("call, code", UNSET)
def test_nothing_was_said(main, bucket, call, code):
    assert refused(getattr(main.s3, call), Bucket=bucket) == (404, code)


@pytest.mark.parametrize("call", ["delete_bucket_policy", "delete_bucket_cors", "delete_bucket_tagging", "delete_bucket_lifecycle",
                                  "delete_bucket_encryption", "delete_public_access_block", "delete_bucket_ownership_controls"])
def test_taking_back_what_was_not_said(main, bucket, call):
    assert getattr(main.s3, call)(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_what_is_true_of_all_buckets(main, bucket):
    assert main.s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    assert "LoggingEnabled" not in main.s3.get_bucket_logging(Bucket=bucket)
    assert "Status" not in main.s3.get_bucket_accelerate_configuration(Bucket=bucket)
    assert "Status" not in main.s3.get_bucket_versioning(Bucket=bucket)
    assert main.s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is False
    found = main.s3.get_bucket_notification_configuration(Bucket=bucket)
    assert not [name for name in found if name.endswith("Configurations")]
    for call in ("list_bucket_analytics_configurations", "list_bucket_inventory_configurations",
                 "list_bucket_metrics_configurations", "list_bucket_intelligent_tiering_configurations"):
        assert refused(getattr(main.s3, call), Bucket=bucket) == (501, "NotImplemented"), call


@pytest.mark.parametrize("call, arguments", [
    ("put_bucket_website", {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "i.html"}}}),
    ("put_bucket_logging", {"BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": "b", "TargetPrefix": "p"}}}),
    ("put_bucket_request_payment", {"RequestPaymentConfiguration": {"Payer": "Requester"}}),
    ("put_bucket_accelerate_configuration", {"AccelerateConfiguration": {"Status": "Enabled"}}),
    ("put_bucket_replication", {"ReplicationConfiguration": {"Role": "r", "Rules": [
        {"Status": "Enabled", "Destination": {"Bucket": "arn:aws:s3:::b"}}]}}),
    ("put_bucket_notification_configuration", {"NotificationConfiguration": {"TopicConfigurations": [
        {"TopicArn": "arn:aws:sns:us-east-1:1:t", "Events": ["s3:ObjectCreated:*"]}]}}),
    ("restore_object", {"Key": "k", "RestoreRequest": {"Days": 1}}), ("get_object_torrent", {"Key": "k"}),
    ("select_object_content", {"Key": "k", "Expression": "select 1", "ExpressionType": "SQL",
                               "InputSerialization": {"CSV": {}}, "OutputSerialization": {"CSV": {}}}),
])
def test_what_is_not_to_be_had(main, bucket, call, arguments):
    main.s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert refused(getattr(main.s3, call), Bucket=bucket, **arguments) == (501, "NotImplemented")


def test_nobody_is_notified_already(main, bucket):
    main.s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})


def test_who_pays_already(main, bucket):
    main.s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "BucketOwner"})
    assert main.s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"


def test_others_learn_nothing_of_settings(main, alt, bucket):
    for call, _ in UNSET:
        assert refused(getattr(alt.s3, call), Bucket=bucket) == (403, "AccessDenied"), call


CORS = {"AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["*.get", "*.put"]}


@pytest.mark.parametrize("rule, code", [
    ({"AllowedMethods": ["PATCH"], "AllowedOrigins": ["*"]}, "InvalidRequest"),
    ({"AllowedMethods": ["GET"], "AllowedOrigins": ["*.a.*"]}, "InvalidRequest"),
    ({"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "AllowedHeaders": ["*-*"]}, "InvalidRequest"),
    ({"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "ExposeHeaders": ["*"]}, "InvalidRequest"),
    ({"AllowedMethods": [], "AllowedOrigins": ["*"]}, "MalformedXML"),
    ({"AllowedMethods": ["GET"], "AllowedOrigins": []}, "MalformedXML"),
])
def test_wrong_rules_for_pages(main, bucket, rule, code):
    assert refused(main.s3.put_bucket_cors, Bucket=bucket, CORSConfiguration={"CORSRules": [rule]}) == (400, code)


def test_rules_for_pages(main, bucket):
    main.s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [{**CORS, "MaxAgeSeconds": 5, "ID": "x"}]})
    assert main.s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == [{**CORS, "MaxAgeSeconds": 5, "ID": "x"}]
