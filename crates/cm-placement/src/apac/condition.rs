//! Conditions on how often an object is read.

use super::policy::{Problem, Reason};
use super::tree::Text;

/// Deepest nesting of parentheses.
pub const CONDITION_DEPTH_MAX: usize = 16;
/// Most comparisons of a condition.
const COMPARISONS_MAX: usize = 100;

/// What can be read of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// How often it was read.
    Gets,
    /// Its share of all recent reads, in percent.
    AccessPercent,
}

const COUNTERS: [(&str, Counter); 2] =
    [("GET_COUNTER", Counter::Gets), ("ACCESS_FREQUENCY", Counter::AccessPercent)];

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `>`
    Above,
    /// `<`
    Below,
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
}

/// The longer ones first, so that none is taken for the beginning of another.
const RELATIONS: [(&str, Relation); 6] = [
    (">=", Relation::AtLeast),
    ("<=", Relation::AtMost),
    ("==", Relation::Equal),
    ("!=", Relation::Unequal),
    (">", Relation::Above),
    ("<", Relation::Below),
];

/// When a policy is to be followed.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// A counter compared with a number that is finite and not negative.
    Compare(Counter, Relation, f64),
    /// Both hold.
    All(Box<Condition>, Box<Condition>),
    /// One of them holds.
    Any(Box<Condition>, Box<Condition>),
}

/// What the counters of an object say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Readings {
    /// How often the object was read.
    pub gets: u64,
    /// Its share of all recent reads, in percent.
    pub access_percent: f64,
}

impl Condition {
    /// Whether it holds.
    pub fn holds(&self, readings: &Readings) -> bool {
        match self {
            Condition::All(a, b) => a.holds(readings) && b.holds(readings),
            Condition::Any(a, b) => a.holds(readings) || b.holds(readings),
            Condition::Compare(counter, relation, number) => {
                let found = match counter {
                    Counter::Gets => readings.gets as f64,
                    Counter::AccessPercent => readings.access_percent,
                };
                match relation {
                    Relation::Above => found > *number,
                    Relation::Below => found < *number,
                    Relation::AtLeast => found >= *number,
                    Relation::AtMost => found <= *number,
                    Relation::Equal => found == *number,
                    Relation::Unequal => found != *number,
                }
            }
        }
    }

    pub(super) fn parse(text: &Text) -> Result<Self, Problem> {
        let mut reader = Reader { text, at: 0, comparisons: 0 };
        let condition = reader.any(0)?;
        reader.skip_space();
        if reader.rest().is_empty() {
            Ok(condition)
        } else {
            reader.fail(Reason::Expected("`&`, `|` or the end"))
        }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Condition::All(a, b) => write!(f, "({a} & {b})"),
            Condition::Any(a, b) => write!(f, "({a} | {b})"),
            Condition::Compare(counter, relation, number) => {
                let name = COUNTERS.iter().find(|(_, one)| one == counter).map_or("", |(name, _)| name);
                let sign = RELATIONS.iter().find(|(_, one)| one == relation).map_or("", |(sign, _)| sign);
                let percent = if *counter == Counter::AccessPercent { "%" } else { "" };
                write!(f, "${name} {sign} {number}{percent}")
            }
        }
    }
}

struct Reader<'a> {
    text: &'a Text,
    /// In bytes.
    at: usize,
    comparisons: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text.text[self.at..]
    }

    fn fail<T>(&self, reason: Reason) -> Result<T, Problem> {
        let mut at = self.text.at;
        at.column += self.text.text[..self.at].chars().count();
        Err(Problem { at, reason })
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn takes(&mut self, sign: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    fn any(&mut self, depth: usize) -> Result<Condition, Problem> {
        let mut condition = self.all(depth)?;
        while self.takes("|") {
            condition = Condition::Any(Box::new(condition), Box::new(self.all(depth)?));
        }
        Ok(condition)
    }

    fn all(&mut self, depth: usize) -> Result<Condition, Problem> {
        let mut condition = self.one(depth)?;
        while self.takes("&") {
            condition = Condition::All(Box::new(condition), Box::new(self.one(depth)?));
        }
        Ok(condition)
    }

    fn one(&mut self, depth: usize) -> Result<Condition, Problem> {
        if self.takes("(") {
            if depth >= CONDITION_DEPTH_MAX {
                return self.fail(Reason::TooMuch);
            }
            let condition = self.any(depth + 1)?;
            return if self.takes(")") { Ok(condition) } else { self.fail(Reason::Expected("`)`")) };
        }
        self.comparisons += 1;
        if self.comparisons > COMPARISONS_MAX {
            return self.fail(Reason::TooMuch);
        }
        let counter = self.counter()?;
        self.skip_space();
        let Some((sign, relation)) = RELATIONS.iter().find(|(sign, _)| self.rest().starts_with(sign)) else {
            return self.fail(Reason::Expected("one of > < >= <= == !="));
        };
        self.at += sign.len();
        Ok(Condition::Compare(counter, *relation, self.number(counter)?))
    }

    fn counter(&mut self) -> Result<Counter, Problem> {
        self.skip_space();
        let Some(name) = self.rest().strip_prefix('$') else {
            return self.fail(Reason::Expected("$GET_COUNTER or $ACCESS_FREQUENCY"));
        };
        let len = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
        match COUNTERS.iter().find(|(known, _)| *known == &name[..len]) {
            Some((_, counter)) => {
                self.at += 1 + len;
                Ok(*counter)
            }
            None => self.fail(Reason::Expected("$GET_COUNTER or $ACCESS_FREQUENCY")),
        }
    }

    fn number(&mut self, counter: Counter) -> Result<f64, Problem> {
        self.skip_space();
        let rest = self.rest();
        let len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let Some(number) = rest[..len].parse::<f64>().ok().filter(|number| number.is_finite()) else {
            return self.fail(Reason::Expected("a number"));
        };
        if counter == Counter::AccessPercent && number > 100.0 {
            return self.fail(Reason::Percent);
        }
        self.at += len;
        if self.rest().starts_with('%') {
            if counter == Counter::Gets {
                return self.fail(Reason::NoPercent);
            }
            self.at += 1;
        }
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::apac::Position;

    fn parse(text: &str) -> Result<Condition, Problem> {
        Condition::parse(&Text { at: Position { line: 3, column: 10 }, text: text.to_owned() })
    }

    fn check(text: &str, gets: u64, access_percent: f64, expected: bool) {
        let found = parse(text).unwrap().holds(&Readings { gets, access_percent });
        assert_eq!(found, expected, "{text} with {gets}, {access_percent}");
    }

    #[test]
    fn conditions_are_evaluated() {
        check("$GET_COUNTER > 10", 10, 0.0, false);
        check("$GET_COUNTER > 10", 11, 0.0, true);
        check("$ACCESS_FREQUENCY>60.6%", 0, 60.7, true);
        check("$ACCESS_FREQUENCY <= 60.6", 0, 60.7, false);
        check("$GET_COUNTER != 0 & $GET_COUNTER < 3 | $ACCESS_FREQUENCY >= 50%", 0, 50.0, true);
        check("$GET_COUNTER == 1 & ($GET_COUNTER == 2 | $ACCESS_FREQUENCY == 0)", 1, 0.0, true);
        check("$GET_COUNTER == 2 | $GET_COUNTER == 1 & $ACCESS_FREQUENCY == 5", 2, 0.0, true);
    }

    #[test]
    fn mistakes_are_found_where_they_are() {
        let fails = |text: &str, column: usize, part: &str| {
            let problem = parse(text).expect_err(text);
            assert_eq!((problem.at.line, problem.at.column), (3, 9 + column), "{text}: {problem}");
            assert!(problem.to_string().contains(part), "{text}: {problem}");
        };
        fails("", 1, "$GET_COUNTER");
        fails("$PUTS > 1", 1, "$GET_COUNTER or $ACCESS_FREQUENCY");
        fails("$GET_COUNTER 10", 14, "one of");
        fails("$GET_COUNTER > ten", 16, "a number");
        fails("$GET_COUNTER > 1.2.3", 16, "a number");
        fails("$GET_COUNTER > 10%", 18, "percent");
        fails("$ACCESS_FREQUENCY > 101%", 21, "100");
        fails("$GET_COUNTER > 1 $", 18, "the end");
        fails("($GET_COUNTER > 1", 18, "`)`");
        fails("$GET_COUNTER > 1 && $GET_COUNTER > 1", 19, "$GET_COUNTER");
        fails(&"(".repeat(100), CONDITION_DEPTH_MAX + 2, "too");
        let long = vec!["$GET_COUNTER > 1"; 101].join(" | ");
        assert!(parse(&long).is_err());
    }

    fn condition() -> impl Strategy<Value = Condition> {
        let relation = prop::sample::select(&RELATIONS[..]).prop_map(|(_, relation)| relation);
        let counter = prop::sample::select(&COUNTERS[..]).prop_map(|(_, counter)| counter);
        let leaf = (counter, relation, 0_u32..1000).prop_map(|(counter, relation, number)| {
            Condition::Compare(counter, relation, f64::from(number) / 10.0)
        });
        leaf.prop_recursive(4, 24, 2, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(a, b)| Condition::All(a.into(), b.into())),
                (inner.clone(), inner).prop_map(|(a, b)| Condition::Any(a.into(), b.into())),
            ]
        })
    }

    proptest! {
        #[test]
        fn conditions_read_back(condition in condition()) {
            prop_assert_eq!(parse(&condition.to_string()).unwrap(), condition);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[$GETACOUNR_&|()<>=!0-9.% é]{0,60}") {
            let _ = parse(&text);
        }
    }
}
