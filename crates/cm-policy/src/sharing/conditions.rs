//! Conditions of policies: an operator, a key, and the values that fit.

use super::Circumstances;
use super::pattern::fits;
use crate::network::Network;

/// One line of a `Condition` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    operator: Operator,
    /// What `ForAnyValue:` or `ForAllValues:` says about keys with several values.
    several: Several,
    /// Whether it holds if nothing is known of the key.
    if_exists: bool,
    key: String,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Several {
    Any,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equals { negated: bool },
    EqualsIgnoreCase { negated: bool },
    Like { negated: bool },
    Numeric(Comparison),
    Date(Comparison),
    Bool,
    Address { negated: bool },
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Equals" => Self::Equal,
            "NotEquals" => Self::NotEqual,
            "LessThan" => Self::Less,
            "LessThanEquals" => Self::LessOrEqual,
            "GreaterThan" => Self::Greater,
            "GreaterThanEquals" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    fn holds<T: PartialOrd>(self, found: T, wanted: T) -> bool {
        match self {
            Self::Equal => found == wanted,
            Self::NotEqual => found != wanted,
            Self::Less => found < wanted,
            Self::LessOrEqual => found <= wanted,
            Self::Greater => found > wanted,
            Self::GreaterOrEqual => found >= wanted,
        }
    }
}

impl Operator {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "StringEquals" | "ArnEquals" => Self::Equals { negated: false },
            "StringNotEquals" | "ArnNotEquals" => Self::Equals { negated: true },
            "StringEqualsIgnoreCase" => Self::EqualsIgnoreCase { negated: false },
            "StringNotEqualsIgnoreCase" => Self::EqualsIgnoreCase { negated: true },
            "StringLike" | "ArnLike" => Self::Like { negated: false },
            "StringNotLike" | "ArnNotLike" => Self::Like { negated: true },
            "Bool" => Self::Bool,
            "IpAddress" => Self::Address { negated: false },
            "NotIpAddress" => Self::Address { negated: true },
            "Null" => Self::Null,
            _ => {
                let numeric = name.strip_prefix("Numeric").and_then(Comparison::named).map(Self::Numeric);
                let date = || name.strip_prefix("Date").and_then(Comparison::named).map(Self::Date);
                return numeric.or_else(date);
            }
        })
    }

    fn is_negated(self) -> bool {
        matches!(
            self,
            Self::Equals { negated: true }
                | Self::EqualsIgnoreCase { negated: true }
                | Self::Like { negated: true }
                | Self::Address { negated: true }
                | Self::Numeric(Comparison::NotEqual)
                | Self::Date(Comparison::NotEqual)
        )
    }

    /// Whether the value can be compared by this operator at all.
    fn takes(self, value: &str) -> bool {
        match self {
            Self::Numeric(_) => value.parse::<f64>().is_ok(),
            Self::Date(_) => moment(value).is_some(),
            Self::Bool | Self::Null => matches!(value, "true" | "false"),
            Self::Address { .. } => Network::parse(value).is_some(),
            Self::Equals { .. } | Self::EqualsIgnoreCase { .. } | Self::Like { .. } => true,
        }
    }

    /// Whether what was found fits one value, without regard to negation of texts and addresses.
    fn fits(self, found: &str, wanted: &str) -> bool {
        match self {
            Self::Equals { .. } => found == wanted,
            Self::EqualsIgnoreCase { .. } => found.eq_ignore_ascii_case(wanted),
            Self::Like { .. } => fits(wanted, found),
            Self::Numeric(comparison) => match (found.parse::<f64>(), wanted.parse::<f64>()) {
                (Ok(found), Ok(wanted)) => comparison.positive().holds(found, wanted),
                _ => false,
            },
            Self::Date(comparison) => match (moment(found), moment(wanted)) {
                (Some(found), Some(wanted)) => comparison.positive().holds(found, wanted),
                _ => false,
            },
            Self::Bool => found.eq_ignore_ascii_case(wanted),
            Self::Address { .. } => match (found.parse(), Network::parse(wanted)) {
                (Ok(found), Some(network)) => network.contains(found),
                _ => false,
            },
            Self::Null => false,
        }
    }
}

impl Comparison {
    /// "Not equal" is judged as the negation of "equal to one of these".
    fn positive(self) -> Self {
        match self {
            Self::NotEqual => Self::Equal,
            other => other,
        }
    }
}

impl Condition {
    /// Reads one line of a `Condition` block; `None` for an operator that is not known, or a value that it cannot take.
    pub(super) fn parse(operator: &str, key: &str, values: Vec<String>) -> Option<Self> {
        let (several, operator) = match operator.split_once(':') {
            Some(("ForAnyValue", rest)) => (Several::Any, rest),
            Some(("ForAllValues", rest)) => (Several::All, rest),
            Some(_) => return None,
            None => (Several::Any, operator),
        };
        let (operator, if_exists) = match operator.strip_suffix("IfExists") {
            Some(rest) => (rest, true),
            None => (operator, false),
        };
        let operator = Operator::named(operator)?;
        let is_fit =
            !key.is_empty() && !values.is_empty() && values.iter().all(|value| operator.takes(value));
        is_fit.then(|| Self { operator, several, if_exists, key: key.to_owned(), values })
    }

    /// The key that is asked for.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether the condition confines who asks, or from where, to few: what it does confine is not open to everybody.
    pub(super) fn confines(&self) -> bool {
        const CONFINING: [&str; 10] = [
            "aws:sourceip",
            "aws:sourcearn",
            "aws:sourcevpc",
            "aws:sourcevpce",
            "aws:sourceaccount",
            "aws:principalarn",
            "aws:principalaccount",
            "aws:username",
            "aws:userid",
            "s3:dataaccesspointarn",
        ];
        let is_confining = CONFINING.contains(&self.key.to_ascii_lowercase().as_str());
        let everything = |value: &String| match self.operator {
            Operator::Address { .. } => Network::parse(value).is_none_or(|network| network.is_wide()),
            _ => is_anything(value),
        };
        is_confining && !self.holds_of_nothing() && !self.values.iter().any(everything)
    }

    /// Whether it may hold although nothing is known of the key.
    pub(super) fn holds_of_nothing(&self) -> bool {
        self.operator == Operator::Null
            || self.if_exists
            || self.several == Several::All
            || self.operator.is_negated()
    }

    /// Whether requests here can say something of the key.
    pub(super) fn is_known(&self) -> bool {
        const KEYS: [&str; 24] = [
            "aws:sourceip",
            "aws:securetransport",
            "aws:epochtime",
            "aws:currenttime",
            "aws:useragent",
            "aws:referer",
            "aws:username",
            "aws:userid",
            "aws:principaltype",
            "aws:principalaccount",
            "aws:principalarn",
            "s3:prefix",
            "s3:delimiter",
            "s3:max-keys",
            "s3:versionid",
            "s3:signatureversion",
            "s3:authtype",
            "s3:object-lock-mode",
            "s3:object-lock-retain-until-date",
            "s3:object-lock-legal-hold",
            "s3:requestobjecttagkeys",
            "s3:if-match",
            "s3:if-none-match",
            "s3:objectcreationoperation",
        ];
        const BEGINNINGS: [&str; 3] = ["s3:x-amz-", "s3:requestobjecttag/", "s3:existingobjecttag/"];
        let key = self.key.to_ascii_lowercase();
        KEYS.contains(&key.as_str()) || BEGINNINGS.iter().any(|beginning| key.starts_with(beginning))
    }

    /// Whether it says what the one value of this key, in lower case, must be.
    pub(super) fn pins(&self, key: &str) -> bool {
        let compares = matches!(
            self.operator,
            Operator::Equals { negated: false }
                | Operator::EqualsIgnoreCase { negated: false }
                | Operator::Like { negated: false }
        );
        compares && self.key.eq_ignore_ascii_case(key) && !self.values.iter().any(|value| is_anything(value))
    }

    /// Whether it holds; `None` if nobody can tell, since its key is unknown.
    pub fn holds(&self, circumstances: &Circumstances) -> Option<bool> {
        circumstances.knows(&self.key).then(|| self.fits(circumstances))
    }

    fn fits(&self, circumstances: &Circumstances) -> bool {
        let found = circumstances.get(&self.key);
        if self.operator == Operator::Null {
            let wants_absence = self.values.iter().any(|value| value == "true");
            return found.is_none() == wants_absence;
        }
        let Some(found) = found else {
            // Of nothing, every value fits; and what is not known is not equal to anything.
            return self.if_exists || self.several == Several::All || self.operator.is_negated();
        };
        let one = |found: &String| {
            let fits = self.values.iter().any(|wanted| self.operator.fits(found, wanted));
            fits != self.operator.is_negated()
        };
        match self.several {
            Several::All => found.iter().all(one),
            // "Not one of these" must hold of all that was found, or a second value would be a way around.
            Several::Any if self.operator.is_negated() => found.iter().all(one),
            Several::Any => found.iter().any(one),
        }
    }
}

/// Whether a pattern leaves open what fits it.
fn is_anything(pattern: &str) -> bool {
    pattern.bytes().all(|byte| matches!(byte, b'*' | b'?'))
}

/// A moment as `2030-01-31`, `2030-01-31T12:00:00Z` or seconds since 1970, in seconds since 1970.
fn moment(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i64>().ok())?;
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.split('.').next()?.splitn(3, ':').map(number);
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let is_fit = (1..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    is_fit.then(|| days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since 1970-01-01 in the Gregorian calendar, by counting from the first of March, behind which the odd day of leap
/// years falls.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_years = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let of_months = (153 * month + 2) / 5;
    of_years + of_months + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(operator: &str, wanted: &[&str], found: &[&str], expected: bool) {
        let values = wanted.iter().map(|text| (*text).to_owned()).collect();
        let condition = Condition::parse(operator, "aws:Key", values).unwrap();
        let mut circumstances = Circumstances::new();
        for value in found {
            circumstances.add("AWS:key", *value);
        }
        assert_eq!(condition.holds(&circumstances), Some(expected), "{operator} {wanted:?} {found:?}");
    }

    #[test]
    fn texts() {
        check("StringEquals", &["a", "b"], &["b"], true);
        check("StringEquals", &["a", "b"], &["B"], false);
        check("StringEquals", &["a"], &[], false);
        check("StringEqualsIfExists", &["a"], &[], true);
        check("StringEqualsIfExists", &["a"], &["c"], false);
        check("StringNotEquals", &["a", "b"], &["b"], false);
        check("StringNotEquals", &["a", "b"], &["c"], true);
        check("StringNotEquals", &["a"], &[], true);
        check("StringEqualsIgnoreCase", &["A"], &["a"], true);
        check("StringNotEqualsIgnoreCase", &["A"], &["a"], false);
        check("StringLike", &["pub*"], &["public-read"], true);
        check("StringLike", &["p?b"], &["pub"], true);
        check("StringLike", &["p?b"], &["pb"], false);
        check("StringNotLike", &["pub*"], &["public-read"], false);
    }

    #[test]
    fn several_values() {
        check("ForAnyValue:StringEquals", &["a"], &["b", "a"], true);
        check("ForAllValues:StringEquals", &["a"], &["b", "a"], false);
        check("ForAllValues:StringEquals", &["a", "b"], &["b", "a"], true);
        check("ForAllValues:StringEquals", &["a"], &[], true);
        check("ForAnyValue:StringEquals", &["a"], &[], false);
        check("StringNotEquals", &["a"], &["b", "a"], false);
    }

    #[test]
    fn addresses_numbers_and_moments() {
        check("IpAddress", &["10.0.0.0/8"], &["10.255.0.1"], true);
        check("IpAddress", &["10.0.0.0/8"], &["::ffff:10.255.0.1"], true);
        check("IpAddress", &["10.0.0.0/8"], &["11.0.0.1"], false);
        check("IpAddress", &["0.0.0.0/0"], &["1.2.3.4"], true);
        check("IpAddress", &["2001:db8::/32"], &["2001:db8::1"], true);
        check("IpAddress", &["10.0.0.1"], &["10.0.0.2"], false);
        check("NotIpAddress", &["10.0.0.0/8"], &["10.0.0.1"], false);
        check("NotIpAddress", &["10.0.0.0/8"], &["11.0.0.1"], true);
        check("NumericLessThanEquals", &["10"], &["10"], true);
        check("NumericGreaterThan", &["10"], &["9"], false);
        check("NumericNotEquals", &["10"], &["10"], false);
        check("DateLessThan", &["2030-01-01T00:00:00Z"], &["2029-12-31T23:59:59Z"], true);
        check("DateLessThan", &["1893456000"], &["2030-01-01T00:00:00Z"], false);
        check("DateGreaterThan", &["2024-02-29"], &["2024-03-01"], true);
        check("Bool", &["true"], &["True"], true);
        check("Null", &["true"], &[], true);
        check("Null", &["false"], &["x"], true);
        check("Null", &["true"], &["x"], false);
        assert_eq!(moment("1970-01-01"), Some(0));
        assert_eq!(moment("2000-03-01"), Some(951_868_800));
        assert_eq!(moment("2030-01-01T00:00:00Z"), Some(1_893_456_000));
    }

    #[test]
    fn what_is_not_understood_is_no_condition() {
        let parse = |operator: &str, value: &str| Condition::parse(operator, "k", vec![value.to_owned()]);
        assert!(parse("StringMatches", "a").is_none());
        assert!(parse("IpAddress", "10.0.0.0/40").is_none());
        assert!(parse("NumericEquals", "many").is_none());
        assert!(parse("ForSome:StringEquals", "a").is_none());
        assert!(parse("Null", "maybe").is_none());
        assert!(Condition::parse("StringEquals", "k", Vec::new()).is_none());
    }
}
