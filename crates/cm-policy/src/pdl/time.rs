//! Times of day and days of the week, in a zone.

use cm_types::Timestamp;
use jiff::tz::{Offset, TimeZone};

const MINUTES_A_DAY: u16 = 24 * 60;
const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A part of each day, from one time up to another, which does not belong to it. It may go past midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Minutes since midnight.
    from: u16,
    /// Minutes since midnight, up to 1440. Never `from`.
    until: u16,
}

impl Window {
    /// From one time to another, as `08:00`; `24:00` is the end of the day. `None` for anything else, and for an empty window.
    pub fn parse(from: &str, until: &str) -> Option<Self> {
        let (from, until) = (minutes(from)?, minutes(until)?);
        (from < MINUTES_A_DAY && from != until).then_some(Self { from, until })
    }

    /// Whether the time of day, in minutes since midnight, lies within.
    pub fn contains(self, minute: u16) -> bool {
        match self.from < self.until {
            true => (self.from..self.until).contains(&minute),
            false => minute >= self.from || minute < self.until,
        }
    }

    /// When it begins and when it ends, in minutes since midnight.
    pub fn bounds(self) -> (u16, u16) {
        (self.from, self.until)
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (from, until) = (self.from, self.until);
        write!(f, "{:02}:{:02}..{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
    }
}

fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| -> Option<u16> {
        (digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| digits.parse().ok())
            .flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= MINUTES_A_DAY).then_some(all)
}

/// Days of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Days(u8);

impl Days {
    /// None.
    pub(crate) const NONE: Days = Days(0);

    /// These and the named day, or the days from one to another: `mon`, `fri..mon`. `None` for what is no day.
    pub(crate) fn with(self, from: &str, until: Option<&str>) -> Option<Self> {
        let place = |name: &str| NAMES.iter().position(|known| *known == name);
        let (mut day, last) = (place(from)?, place(until.unwrap_or(from))?);
        let mut days = self.0 | 1 << day;
        while day != last {
            day = (day + 1) % NAMES.len();
            days |= 1 << day;
        }
        Some(Self(days))
    }

    /// Whether the day, counted from Monday as 0, is among them.
    pub fn contains(self, day: u8) -> bool {
        self.0 & 1 << day != 0
    }
}

impl std::fmt::Display for Days {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut first = true;
        let mut day = 0;
        while day < NAMES.len() {
            let run = (day..NAMES.len()).take_while(|day| self.0 & 1 << day != 0).count();
            if run > 0 {
                f.write_str(if first { "" } else { ", " })?;
                first = false;
            }
            match run {
                0 => {}
                1 => f.write_str(NAMES[day])?,
                // Two days in a row are written one by one: a range of two reads as if it were longer.
                2 => write!(f, "{}, {}", NAMES[day], NAMES[day + 1])?,
                run => write!(f, "{}..{}", NAMES[day], NAMES[day + run - 1])?,
            }
            day += run.max(1);
        }
        Ok(())
    }
}

/// Where it is so late: UTC, a fixed distance from it, or a zone of the IANA database with its summer times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// As it is written; empty is UTC.
    name: String,
    zone: TimeZone,
}

impl Zone {
    /// UTC.
    pub fn utc() -> Self {
        Self { name: String::new(), zone: TimeZone::UTC }
    }

    /// A zone by its name, as `Europe/Madrid`, `UTC` or `+02:00`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "UTC" {
            return Some(Self::utc());
        }
        let sign = match text.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(Self { zone: TimeZone::get(text).ok()?, name: text.to_owned() }),
        };
        let minutes = i32::from(minutes(text.get(1..)?)?);
        let offset = Offset::from_seconds(sign * minutes * 60).ok()?;
        (minutes <= 14 * 60).then(|| Self { name: text.to_owned(), zone: TimeZone::fixed(offset) })
    }

    /// Its name; empty for UTC.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The minute of the day and the day of the week, counted from Monday as 0.
    pub fn clock(&self, now: Timestamp) -> (u16, u8) {
        let seconds = now.as_secs();
        let local = if self.name.is_empty() {
            seconds
        } else {
            let now = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            seconds + i64::from(self.zone.to_offset(now).seconds())
        };
        let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
        let minute = u16::try_from(second / 60).expect("a day has fewer minutes than that");
        // 1970 began on a Thursday.
        let day = u8::try_from((days + 3).rem_euclid(7)).expect("a week has seven days");
        (minute, day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_end_before_their_end_and_go_past_midnight() {
        let day = Window::parse("08:00", "18:00").unwrap();
        let night = Window::parse("22:00", "06:00").unwrap();
        for (minute, in_day, in_night) in [
            (479, false, false),
            (480, true, false),
            (1079, true, false),
            (1080, false, false),
            (1320, false, true),
        ] {
            assert_eq!((day.contains(minute), night.contains(minute)), (in_day, in_night), "{minute}");
        }
        assert!(night.contains(359) && !night.contains(360));
        assert!(Window::parse("12:00", "24:00").unwrap().contains(1439));
        for (from, until) in
            [("8:00", "18:00"), ("08:00", "08:00"), ("24:00", "01:00"), ("08:60", "09:00"), ("", "")]
        {
            assert_eq!(Window::parse(from, until), None, "{from}..{until}");
        }
    }

    #[test]
    fn clocks_differ_by_zone_and_season() {
        let check = |zone: &str, at: &str, expected: (u16, u8)| {
            let zone = Zone::parse(zone).unwrap();
            assert_eq!(zone.clock(at.parse().unwrap()), expected, "{} {at}", zone.name());
        };
        check("UTC", "1970-01-01T00:00:30Z", (0, 3));
        check("UTC", "2026-11-21T10:30:00Z", (630, 5));
        check("+02:00", "2026-11-22T23:30:00Z", (90, 0));
        check("-03:30", "2026-11-23T00:30:00Z", (1260, 6));
        check("Europe/Madrid", "2026-01-15T12:00:00Z", (780, 3));
        check("Europe/Madrid", "2026-07-15T12:00:00Z", (840, 2));
        assert_eq!(Zone::parse("Europe/Nowhere"), None);
        assert_eq!(Zone::parse("+15:00"), None);
    }

    #[test]
    fn days_are_written_as_they_are_read() {
        let days = |words: &[(&str, Option<&str>)]| {
            words.iter().try_fold(Days::NONE, |days, (from, until)| days.with(from, *until))
        };
        assert_eq!(days(&[("mon", Some("fri"))]).unwrap().to_string(), "mon..fri");
        assert_eq!(days(&[("sat", Some("mon"))]).unwrap().to_string(), "mon, sat, sun");
        assert_eq!(days(&[("wed", None), ("mon", None)]).unwrap().to_string(), "mon, wed");
        assert_eq!(days(&[("monday", None)]), None);
    }
}
