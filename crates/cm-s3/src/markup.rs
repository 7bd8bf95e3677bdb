//! Documents as the adapter understands them.
//!
//! It passes over what stands in `<![CDATA[…]]>`, so that a list would name other objects than its sender meant, and knows elements by
//! the names that they are written with, whatever namespace a prefix stands for. Both mean the same in another form, in which it is
//! shown them. What is no XML at all is left to it; what it would pass over and S3 refuses, is refused here.

use std::borrow::Cow;

use quick_xml::events::{BytesEnd, Event};
use quick_xml::name::{Namespace, QName, ResolveResult};
use quick_xml::{NsReader, Writer};
use s3s::{S3Error, S3ErrorCode, S3Result};

/// The namespace of S3's documents.
const NAMESPACE: Namespace<'static> = Namespace(b"http://s3.amazonaws.com/doc/2006-03-01/");
const MARK_OF_ORDER: &[u8] = b"\xEF\xBB\xBF";
/// Elements that are whole numbers. The adapter would cut a fraction off.
const NUMBERS: [&[u8]; 9] = [
    b"Days",
    b"DaysAfterInitiation",
    b"MaxAgeSeconds",
    b"NewerNoncurrentVersions",
    b"NoncurrentDays",
    b"ObjectSizeGreaterThan",
    b"ObjectSizeLessThan",
    b"PartNumber",
    b"Years",
];

/// The document in the form that the adapter understands.
///
/// # Errors
/// `MalformedXML` for text beside its root, for a declaration of its type, and for numbers with fractions.
pub(crate) fn plain(document: &[u8]) -> S3Result<Cow<'_, [u8]>> {
    let mut reader = NsReader::from_reader(document.strip_prefix(MARK_OF_ORDER).unwrap_or(document));
    let mut written = Writer::new(Vec::new());
    let (mut depth, mut is_changed, mut is_number) = (0_usize, false, false);
    loop {
        let Ok((namespace, event)) = reader.read_resolved_event() else { return Ok(Cow::Borrowed(document)) };
        let is_of_s3 = matches!(namespace, ResolveResult::Bound(NAMESPACE));
        let event = match event {
            Event::Eof => break,
            Event::DocType(_) => return Err(malformed("documents say nothing of their type")),
            Event::Text(text) if depth == 0 && !text.trim_ascii().is_empty() => return Err(beside()),
            Event::Text(text) if is_number && text.iter().any(|byte| b".eE".contains(byte)) => {
                return Err(malformed("a whole number is expected"));
            }
            Event::CData(_) | Event::GeneralRef(_) if depth == 0 => return Err(beside()),
            Event::CData(text) => {
                is_changed = true;
                let Ok(text) = text.escape() else { return Ok(Cow::Borrowed(document)) };
                Event::Text(text)
            }
            Event::Start(mut tag) => {
                depth += 1;
                is_number = NUMBERS.contains(&tag.local_name().as_ref());
                if let Some(bare) = bare(tag.name(), is_of_s3) {
                    is_changed = true;
                    tag.set_name(bare.as_bytes());
                }
                Event::Start(tag)
            }
            Event::Empty(mut tag) => {
                if let Some(bare) = bare(tag.name(), is_of_s3) {
                    is_changed = true;
                    tag.set_name(bare.as_bytes());
                }
                Event::Empty(tag)
            }
            Event::End(tag) => {
                (depth, is_number) = (depth.saturating_sub(1), false);
                Event::End(bare(tag.name(), is_of_s3).map_or(tag, BytesEnd::new))
            }
            other => other,
        };
        if written.write_event(event).is_err() {
            return Ok(Cow::Borrowed(document));
        }
    }
    // One that ends before its root does is left as it is, to be refused.
    Ok(if is_changed && depth == 0 { Cow::Owned(written.into_inner()) } else { Cow::Borrowed(document) })
}

/// A name without its prefix, if it has one and that stands for S3.
fn bare(name: QName<'_>, is_of_s3: bool) -> Option<String> {
    let prefixed = is_of_s3 && name.prefix().is_some();
    prefixed.then(|| String::from_utf8_lossy(name.local_name().as_ref()).into_owned())
}

fn beside() -> S3Error {
    malformed("something stands beside the root of the document")
}

fn malformed(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::MalformedXML, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_is_written_alike() {
        let check = |document: &str, expected: Option<&str>| {
            let found =
                plain(document.as_bytes()).ok().map(|found| String::from_utf8_lossy(&found).into_owned());
            assert_eq!(found.as_deref(), expected, "{document}");
        };
        for same in [
            "<?xml version=\"1.0\"?>\n<A x=\"a>b\"><K>a&amp;b</K><!-- <![CDATA[x]]> --><E/></A>\n",
            "<p:A xmlns:p=\"http://example.org/\"><p:K>a</p:K></p:A>",
            "<A/>",
            // What is no document is for others to refuse.
            "<A><K>",
            "<A",
            "<A><![CDATA[x</A>",
            "",
        ] {
            check(same, Some(same));
        }
        check("<K><![CDATA[a]]></K>", Some("<K>a</K>"));
        check("<K>x<![CDATA[<a> & ]]]]><![CDATA[>]]></K>", Some("<K>x&lt;a&gt; &amp; ]]&gt;</K>"));
        check(
            "<s:A xmlns:s='http://s3.amazonaws.com/doc/2006-03-01/'><s:K>s:a</s:K><s:E/></s:A>",
            Some("<A xmlns:s='http://s3.amazonaws.com/doc/2006-03-01/'><K>s:a</K><E/></A>"),
        );
        for fraction in ["<A><Days>1.9</Days></A>", "<A><PartNumber>1e0</PartNumber></A>"] {
            check(fraction, None);
        }
        check("<A><Days>1</Days><Key>1.9</Key></A>", Some("<A><Days>1</Days><Key>1.9</Key></A>"));
        for beside in ["<A></A>x", "x<A/>", "<A/><![CDATA[x]]>", "<!DOCTYPE A><A/>"] {
            check(beside, None);
        }
    }
}
