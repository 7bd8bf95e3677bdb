//! What is asked for and not to be had here. To serve such a request without it would be a lie: an object thought
//! encrypted, locked or public would be none of these.

/// Refuses a request if one of these fields of its input is set.
macro_rules! refuse {
    ($input:expr; $($field:ident),+ $(,)?) => {
        $(
            if $input.$field.is_some() {
                return Err(s3s::S3Error::with_message(
                    s3s::S3ErrorCode::NotImplemented,
                    concat!("not to be had here: ", stringify!($field)),
                ));
            }
        )+
    };
}

/// Refuses what may be asked of a new object.
macro_rules! refuse_for_new {
    ($input:expr) => {{
        $crate::operations::refusals::refuse!(
            $input; expected_bucket_owner, grant_full_control, grant_read, grant_read_acp, grant_write_acp,
            object_lock_legal_hold_status, object_lock_mode, object_lock_retain_until_date,
            sse_customer_algorithm, sse_customer_key, ssekms_key_id, ssekms_encryption_context,
            server_side_encryption, tagging, website_redirect_location,
        );
        let is_private = |acl: &s3s::dto::ObjectCannedACL| {
            matches!(acl.as_str(), "private" | "bucket-owner-full-control" | "bucket-owner-read")
        };
        if $input.acl.as_ref().is_some_and(|acl| !is_private(acl)) {
            return Err(s3s::S3Error::with_message(
                s3s::S3ErrorCode::NotImplemented,
                "who may do what is said by roles and security policies here",
            ));
        }
        if $input.storage_class.as_ref().is_some_and(|class| class.as_str() != "STANDARD") {
            return Err(s3s::S3Error::new(s3s::S3ErrorCode::InvalidStorageClass));
        }
    }};
}

pub(super) use {refuse, refuse_for_new};
