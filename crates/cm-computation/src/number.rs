//! Numbers as people write them.

use std::fmt;
use std::str::FromStr;

use cm_shares::Field;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most decimal digits of a whole number: 2^256 has 78.
pub const DIGITS_MAX: usize = 78;

/// How a value is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A whole number of the field, negative ones in its upper half.
    Integer,
    /// A number with a fixed count of binary places after the point.
    Real,
    /// 0 or 1: what comparisons come to.
    Bit,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Integer => "integer",
            Kind::Real => "real",
            Kind::Bit => "bit",
        })
    }
}

/// A number that is known to everybody who reads it. In JSON a whole number is a number up to 2^53 and a text of digits
/// beyond.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// A whole number of any size.
    Integer {
        /// Whether it is below zero.
        negative: bool,
        /// Decimal digits without leading zeros; `0` for zero, which is not negative.
        digits: String,
    },
    /// A finite number with a fraction.
    Real(f64),
}

/// The text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a number of at most {DIGITS_MAX} digits")]
pub struct NotANumber;

impl Literal {
    /// A whole number.
    pub fn integer(value: i64) -> Self {
        Self::whole(value < 0, &value.unsigned_abs().to_string())
    }

    fn whole(negative: bool, digits: &str) -> Self {
        let trimmed = digits.trim_start_matches('0');
        let digits = if trimmed.is_empty() { "0" } else { trimmed };
        Self::Integer { negative: negative && digits != "0", digits: digits.to_owned() }
    }

    /// Whether it has no fraction as it is written.
    pub fn is_integer(&self) -> bool {
        matches!(self, Literal::Integer { .. })
    }

    /// The nearest floating point number.
    pub fn to_f64(&self) -> f64 {
        match self {
            Literal::Integer { negative, digits } => {
                let value: f64 = digits.parse().unwrap_or(f64::INFINITY);
                if *negative { -value } else { value }
            }
            Literal::Real(value) => *value,
        }
    }

    /// The same with the other sign.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Literal::Integer { negative, digits } => Self::whole(!negative, &digits),
            Literal::Real(value) => Self::Real(-value),
        }
    }

    /// A small whole number.
    pub fn to_i64(&self) -> Option<i64> {
        match self {
            Literal::Integer { .. } => self.to_string().parse().ok(),
            Literal::Real(_) => None,
        }
    }
}

impl FromStr for Literal {
    type Err = NotANumber;

    fn from_str(text: &str) -> Result<Self, NotANumber> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest.is_empty() || !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return Err(NotANumber);
        }
        if rest.bytes().all(|byte| byte.is_ascii_digit()) {
            let literal = Self::whole(negative, rest);
            let Literal::Integer { digits, .. } = &literal else { return Err(NotANumber) };
            return if digits.len() <= DIGITS_MAX { Ok(literal) } else { Err(NotANumber) };
        }
        let value: f64 = rest.parse().map_err(|_| NotANumber)?;
        if !value.is_finite() || rest.len() > DIGITS_MAX {
            return Err(NotANumber);
        }
        Ok(Self::Real(if negative { -value } else { value }))
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Integer { negative, digits } => {
                write!(f, "{}{digits}", if *negative { "-" } else { "" })
            }
            Literal::Real(value) => write!(f, "{value:?}"),
        }
    }
}

impl Serialize for Literal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const EXACT: i64 = 1 << 53;
        match self {
            Literal::Integer { .. } => match self.to_i64().filter(|value| value.abs() <= EXACT) {
                Some(value) => serializer.serialize_i64(value),
                None => serializer.serialize_str(&self.to_string()),
            },
            Literal::Real(value) => serializer.serialize_f64(*value),
        }
    }
}

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Literal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a whole number as a text of digits")
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Literal, E> {
                Ok(Literal::integer(value))
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Literal, E> {
                Ok(Literal::whole(false, &value.to_string()))
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Literal, E> {
                // JSON has no infinite numbers.
                Ok(Literal::Real(value))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Literal, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// The number as an element of a field; `None` if it does not fit. A real number is rounded to its binary places.
pub fn to_element<F: Field>(literal: &Literal, kind: Kind, fraction_bits: u32) -> Option<F> {
    /// Elements of f61 are compared below this.
    const REAL_MAX: f64 = (1_i64 << 59) as f64;
    match (literal, kind) {
        (_, Kind::Real) => {
            let scaled = (literal.to_f64() * f64::from(fraction_bits).exp2()).round();
            #[expect(clippy::cast_possible_truncation, reason = "whole, and below 2^59")]
            (scaled.abs() < REAL_MAX).then(|| F::from_i64(scaled as i64))
        }
        (Literal::Integer { negative, digits }, Kind::Integer) => {
            if F::BYTES == 8 && literal.to_i64().is_none_or(|value| value.unsigned_abs() >= 1 << 60) {
                return None;
            }
            let ten = F::from_u64(10);
            let value =
                digits.bytes().fold(F::ZERO, |sum, digit| sum * ten + F::from_u64(u64::from(digit - b'0')));
            Some(if *negative { -value } else { value })
        }
        (Literal::Integer { .. }, Kind::Bit) => match literal.to_i64() {
            Some(bit @ (0 | 1)) => Some(F::from_i64(bit)),
            _ => None,
        },
        (Literal::Real(_), Kind::Integer | Kind::Bit) => None,
    }
}

/// The number that an element stands for: the one nearest to zero.
pub fn of_fraction<F: Field>(element: F, kind: Kind, fraction_bits: u32) -> Literal {
    match (element.to_i64(), kind) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "what is lost is far below the error of fixed-point numbers"
        )]
        (Some(value), Kind::Real) => Literal::Real(value as f64 / f64::from(fraction_bits).exp2()),
        (Some(value), _) => Literal::integer(value),
        (None, _) => {
            let bytes = |element: F| {
                let mut bytes = vec![0; F::BYTES];
                element.write(&mut bytes);
                bytes.reverse();
                bytes
            };
            let (plain, negated) = (bytes(element), bytes(-element));
            let negative = negated < plain;
            Literal::whole(negative, &decimal(if negative { negated } else { plain }))
        }
    }
}

/// Decimal digits of a big-endian number, by long division; none of zero.
pub(crate) fn decimal(mut bytes: Vec<u8>) -> String {
    let mut digits = Vec::new();
    while bytes.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u32;
        for byte in &mut bytes {
            rest = rest * 256 + u32::from(*byte);
            *byte = u8::try_from(rest / 10).expect("the rest was below ten");
            rest %= 10;
        }
        digits.push(char::from_digit(rest, 10).expect("it is a digit"));
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, shown: Option<&str>) {
        let parsed = text.parse::<Literal>().ok();
        assert_eq!(parsed.map(|literal| literal.to_string()).as_deref(), shown, "{text}");
    }

    #[test]
    fn numbers_are_read_exactly() {
        check("007", Some("7"));
        check("-0", Some("0"));
        check("-12", Some("-12"));
        check("0.5", Some("0.5"));
        check("1e-3", Some("0.001"));
        let large = "115792089237316195423570985008687907852837564279074904382605163141518161494336";
        check(large, Some(large));
        for bad in ["", "-", "1x", "inf", "nan", "1e999", &"9".repeat(79), "0x1"] {
            check(bad, None);
        }
    }

    #[test]
    fn numbers_become_elements_and_come_back() {
        use cm_shares::{F61, Scalar};
        fn back<F: Field>(text: &str, kind: Kind) -> Option<String> {
            let element: F = to_element(&text.parse().unwrap(), kind, 16)?;
            Some(of_fraction(element, kind, 16).to_string())
        }
        let most = "57896044618658097711785492504343953926418782139537452191302581570759080747168";
        for text in ["0", "-1", "20", "99999999999999999999999", most, &format!("-{most}")] {
            assert_eq!(back::<Scalar>(text, Kind::Integer).as_deref(), Some(text));
        }
        assert_eq!(back::<F61>("-5", Kind::Integer).as_deref(), Some("-5"));
        assert_eq!(back::<F61>("-2.5", Kind::Real).as_deref(), Some("-2.5"));
        assert_eq!(back::<F61>("99999999999999999999999", Kind::Integer), None);
        assert_eq!(back::<F61>("1e17", Kind::Real), None);
        assert_eq!(back::<F61>("2", Kind::Bit), None);
    }

    #[test]
    fn large_numbers_travel_as_text() {
        let literals: Vec<Literal> =
            serde_json::from_str(r#"[5, -2, "99999999999999999999", 0.25]"#).unwrap();
        let text = serde_json::to_string(&literals).unwrap();
        assert_eq!(text, r#"[5,-2,"99999999999999999999",0.25]"#);
        assert!(serde_json::from_str::<Literal>("true").is_err());
    }
}
