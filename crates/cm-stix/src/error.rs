//! Why something is no STIX.

/// What is wrong with an object or a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StixError {
    /// Not a JSON object.
    #[error("a STIX object is a JSON object")]
    NoObject,
    /// A property that every object has is missing, or is no text.
    #[error("property `{0}` is missing or is no text")]
    Missing(&'static str),
    /// `type` is not made of 3 to 250 lower-case letters, digits and hyphens.
    #[error("`{0}` cannot be the type of an object: 3 to 250 lower-case letters, digits and single hyphens")]
    Kind(String),
    /// `id` is not the type, two hyphens and a UUID.
    #[error("`{0}` cannot be the id of this object: its type, two hyphens and a UUID")]
    Id(String),
    /// A version of STIX that is not kept.
    #[error("`{0}` is no version of STIX that is kept; 2.0 and 2.1 are")]
    SpecVersion(String),
    /// No time in RFC 3339 with `Z`.
    #[error("`{0}` is no time; expected one such as 2026-01-31T12:00:00.000Z")]
    Moment(String),
    /// It was changed before it was made.
    #[error("`modified` is before `created`")]
    Backwards,
    /// Not a bundle with a list of objects.
    #[error("a bundle has the type `bundle` and a list of objects")]
    NoBundle,
    /// Not an event of MISP.
    #[error("no event of MISP: an object `Event`, or a list of those as `response`")]
    NoMispEvent,
}
