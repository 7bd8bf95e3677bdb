//! What a form says of its object, as the input of a request that would put it.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{PutObjectInput, Timestamp, TimestampFormat};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::{Fields, argument};

/// What the form says of the object, as a request would.
pub(super) fn said_input(fields: &Fields) -> S3Result<PutObjectInput> {
    let text = |name: &str| fields.get(name).cloned();
    let metadata = fields
        .names()
        .filter_map(|name| Some((name.strip_prefix("x-amz-meta-")?.to_owned(), fields.get(name)?.clone())));
    let until = text("x-amz-object-lock-retain-until-date")
        .map(|date| Timestamp::parse(TimestampFormat::DateTime, &date))
        .transpose()
        .map_err(|_| argument("a retention ends at a date"))?;
    Ok(PutObjectInput {
        acl: text("acl").map(Into::into),
        cache_control: text("cache-control"),
        content_disposition: text("content-disposition"),
        content_encoding: text("content-encoding"),
        content_language: text("content-language"),
        content_md5: text("content-md5"),
        content_type: text("content-type"),
        // Of any other text the caller knows.
        expires: text("expires").and_then(|date| Timestamp::parse(TimestampFormat::HttpDate, &date).ok()),
        metadata: Some(metadata.collect()),
        object_lock_legal_hold_status: text("x-amz-object-lock-legal-hold").map(Into::into),
        object_lock_mode: text("x-amz-object-lock-mode").map(Into::into),
        object_lock_retain_until_date: until,
        server_side_encryption: text("x-amz-server-side-encryption").map(Into::into),
        sse_customer_algorithm: text("x-amz-server-side-encryption-customer-algorithm"),
        sse_customer_key: text("x-amz-server-side-encryption-customer-key"),
        sse_customer_key_md5: text("x-amz-server-side-encryption-customer-key-md5"),
        ssekms_encryption_context: text("x-amz-server-side-encryption-context"),
        ssekms_key_id: text("x-amz-server-side-encryption-aws-kms-key-id"),
        storage_class: text("x-amz-storage-class").map(Into::into),
        tagging: text("tagging").map(|document| tagging(&document)).transpose()?,
        website_redirect_location: text("x-amz-website-redirect-location"),
        ..PutObjectInput::default()
    })
}

/// Tags in XML, as the header that would say them.
fn tagging(document: &str) -> S3Result<String> {
    let wrong = || S3Error::with_message(S3ErrorCode::MalformedXML, "`tagging` is no set of tags");
    let between = |text: &str, name: &str| -> Option<String> {
        let inner = text.split_once(&format!("<{name}>"))?.1.split_once(&format!("</{name}>"))?.0;
        Some(
            inner
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&apos;", "'")
                .replace("&amp;", "&"),
        )
    };
    let document = document.trim();
    let is_whole =
        document.contains("<Tagging") && document.contains("<TagSet>") && document.ends_with("</Tagging>");
    if !is_whole || !document.contains("</TagSet>") {
        return Err(wrong());
    }
    let mut pairs = Vec::new();
    for tag in document.split("<Tag>").skip(1) {
        let (name, value) =
            (between(tag, "Key").ok_or_else(wrong)?, between(tag, "Value").ok_or_else(wrong)?);
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        pairs.push(format!("{}={}", encode(&name), encode(&value)));
    }
    Ok(pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.insert(name, (*value).to_owned());
        }
        fields
    }

    /// Whatever is allowed by the form's policy is done, or refused by name: nothing is dropped.
    #[test]
    fn what_forms_say_is_what_objects_are_given() {
        let input = said_input(&fields(&[
            ("expires", "Wed, 21 Oct 2065 07:28:00 GMT"),
            ("x-amz-object-lock-mode", "COMPLIANCE"),
            ("x-amz-object-lock-retain-until-date", "2065-10-21T00:00:00Z"),
            ("x-amz-object-lock-legal-hold", "ON"),
            ("x-amz-website-redirect-location", "/other"),
        ]))
        .unwrap();
        assert!(input.expires.is_some() && input.website_redirect_location.is_some());
        assert_eq!(input.object_lock_mode.unwrap().as_str(), "COMPLIANCE");
        assert_eq!(input.object_lock_legal_hold_status.unwrap().as_str(), "ON");
        assert!(input.object_lock_retain_until_date.is_some());
        assert!(said_input(&fields(&[("x-amz-object-lock-retain-until-date", "soon")])).is_err());
        assert!(said_input(&fields(&[("expires", "soon")])).unwrap().expires.is_none());
    }

    #[test]
    fn tags_in_xml_are_read() {
        let document = "<Tagging><TagSet><Tag><Key>a</Key><Value>1 &amp; 2</Value></Tag></TagSet></Tagging>";
        assert_eq!(tagging(document).unwrap(), "a=1%20%26%202");
        assert!(tagging("a=1").is_err());
        assert!(tagging("<Tagging><Tag><Key>a</Key></Tag></Tagging>").is_err());
    }
}
