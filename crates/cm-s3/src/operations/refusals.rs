//! What is asked for and not to be had here. To serve such a request without it would be a lie: an object thought
//! encrypted or public would be neither.

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
            $input; ssekms_encryption_context, website_redirect_location,
        );
        if $input.storage_class.as_ref().is_some_and(|class| class.as_str() != "STANDARD") {
            return Err(s3s::S3Error::with_message(
                s3s::S3ErrorCode::InvalidStorageClass,
                "the only storage class here is STANDARD",
            ));
        }
    }};
}

pub(super) use {refuse, refuse_for_new};
