//! Entity tags and the preconditions that name them: RFC 9110, sections 8.8.3 and 13.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::failure::{Failure, FailureClass};

/// A strong entity tag, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// A strong tag of that text; `None` if a tag cannot hold it (quotes, spaces, control characters).
    pub fn strong(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let legal = |byte: u8| byte == 0x21 || (0x23..=0x7e).contains(&byte);
        text.bytes().all(legal).then_some(Self(text))
    }

    /// The tag of the n-th version of something.
    pub fn version(number: u64) -> Self {
        Self(number.to_string())
    }

    /// The header's value, quotes included.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("visible ASCII makes a header value")
    }
}

impl std::fmt::Display for ETag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// What a precondition header lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`: whatever there is.
    Any,
    /// Tags, without their quotes.
    These {
        /// Those that name bytes.
        strong: Vec<String>,
        /// Those that name a meaning; `If-Match` never holds by them.
        weak: Vec<String>,
    },
}

/// The conditions under which a request wants to be carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

/// What a conditional read comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Send the representation.
    Send,
    /// The client has it: 304.
    NotModified,
}

impl Preconditions {
    /// Reads `If-Match` and `If-None-Match`.
    ///
    /// # Errors
    /// 400 when one of them does not follow the grammar: a condition that is not understood must not be
    /// taken for one that holds.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Failure> {
        Ok(Self {
            if_match: tags(headers, header::IF_MATCH)?,
            if_none_match: tags(headers, header::IF_NONE_MATCH)?,
        })
    }

    /// What `If-Match` lists, for engines that judge it together with their change.
    pub fn if_match(&self) -> Option<&Tags> {
        self.if_match.as_ref()
    }

    /// What `If-None-Match` lists.
    pub fn if_none_match(&self) -> Option<&Tags> {
        self.if_none_match.as_ref()
    }

    /// Whether `If-Match` was given at all.
    pub fn names_a_version(&self) -> bool {
        self.if_match.is_some()
    }

    /// Whether the request wants to create and never to replace: `If-None-Match: *`.
    pub fn only_if_absent(&self) -> bool {
        self.if_none_match == Some(Tags::Any)
    }

    /// Judges a change to what has this tag now, `None` if nothing is there.
    ///
    /// # Errors
    /// 412 when a condition does not hold.
    pub fn check_change(&self, current: Option<&ETag>) -> Result<(), Failure> {
        let failed = || Failure::new(FailureClass::PreconditionFailed, "the resource has changed meanwhile");
        if self.if_match.as_ref().is_some_and(|tags| !tags.name_strongly(current)) {
            return Err(failed());
        }
        if self.if_none_match.as_ref().is_some_and(|tags| tags.name_weakly(current)) {
            return Err(failed());
        }
        Ok(())
    }

    /// Judges a read of what has this tag.
    ///
    /// # Errors
    /// 412 when `If-Match` does not hold.
    pub fn check_read(&self, current: &ETag) -> Result<Freshness, Failure> {
        if self.if_match.as_ref().is_some_and(|tags| !tags.name_strongly(Some(current))) {
            return Err(Failure::new(FailureClass::PreconditionFailed, "the resource has changed meanwhile"));
        }
        let known = self.if_none_match.as_ref().is_some_and(|tags| tags.name_weakly(Some(current)));
        Ok(if known { Freshness::NotModified } else { Freshness::Send })
    }
}

impl Tags {
    fn name_strongly(&self, current: Option<&ETag>) -> bool {
        match (self, current) {
            (_, None) => false,
            (Tags::Any, Some(_)) => true,
            (Tags::These { strong, .. }, Some(tag)) => strong.contains(&tag.0),
        }
    }

    fn name_weakly(&self, current: Option<&ETag>) -> bool {
        match (self, current) {
            (Tags::These { strong, weak }, Some(tag)) => strong.contains(&tag.0) || weak.contains(&tag.0),
            _ => self.name_strongly(current),
        }
    }
}

fn tags(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, Failure> {
    if !headers.contains_key(&name) {
        return Ok(None);
    }
    let malformed = || Failure::new(FailureClass::Malformed, format!("{name} lists no entity tags"));
    let (mut strong, mut weak) = (Vec::new(), Vec::new());
    for value in headers.get_all(&name) {
        let mut rest = value.to_str().map_err(|_| malformed())?.trim();
        if rest == "*" {
            return Ok(Some(Tags::Any));
        }
        while !rest.is_empty() {
            let (is_weak, quoted) = match rest.strip_prefix("W/") {
                Some(tag) => (true, tag),
                None => (false, rest),
            };
            let inside = quoted.strip_prefix('"').ok_or_else(malformed)?;
            let (tag, behind) = inside.split_once('"').ok_or_else(malformed)?;
            if is_weak { &mut weak } else { &mut strong }.push(tag.to_owned());
            let behind = behind.trim_start();
            rest = match behind.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if behind.is_empty() => behind,
                None => return Err(malformed()),
            };
        }
    }
    Ok(Some(Tags::These { strong, weak }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: HeaderName, value: &str) -> Result<Preconditions, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        Preconditions::from_headers(&headers)
    }

    #[test]
    fn if_match_compares_strongly() {
        let current = ETag::version(3);
        for (value, holds) in
            [("\"3\"", true), ("\"1\", \"3\"", true), ("*", true), ("W/\"3\"", false), ("\"4\"", false)]
        {
            let judged = given(header::IF_MATCH, value).unwrap().check_change(Some(&current));
            assert_eq!(judged.is_ok(), holds, "{value}");
        }
        assert!(given(header::IF_MATCH, "*").unwrap().check_change(None).is_err());
    }

    #[test]
    fn if_none_match_compares_weakly() {
        let current = ETag::version(3);
        for (value, freshness) in [
            ("\"3\"", Freshness::NotModified),
            ("W/\"3\"", Freshness::NotModified),
            ("*", Freshness::NotModified),
            ("\"4\"", Freshness::Send),
        ] {
            let judged = given(header::IF_NONE_MATCH, value).unwrap().check_read(&current).unwrap();
            assert_eq!(judged, freshness, "{value}");
        }
        let create = given(header::IF_NONE_MATCH, "*").unwrap();
        assert!(create.only_if_absent());
        assert!(create.check_change(None).is_ok());
        assert!(create.check_change(Some(&current)).is_err());
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for value in ["3", "\"3", "\"3\" \"4\"", "W/3", "\"3\",4"] {
            assert!(given(header::IF_MATCH, value).is_err(), "{value}");
        }
        assert!(ETag::strong("a\"b").is_none());
        assert!(ETag::strong("a b").is_none());
    }
}
