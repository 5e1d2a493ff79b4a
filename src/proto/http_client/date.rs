//! Dates as HTTP writes them (RFC 9110 section 5.6.7), to and from Unix seconds.

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_S: i64 = 86_400;

/// The last second of the year 9999: later ones have no such text.
const LAST_S: i64 = 253_402_300_799;

/// `Sun, 06 Nov 1994 08:49:37 GMT`. Times outside the years 1 to 9999 become the nearest inside.
pub(crate) fn date_text(unix_s: i64) -> String {
    let unix_s = unix_s.clamp(-62_135_596_800, LAST_S);
    let (days, second) = (unix_s.div_euclid(DAY_S), unix_s.rem_euclid(DAY_S));
    let (year, month, day) = civil(days);
    let weekday = DAYS[(days + 4).rem_euclid(7) as usize]; // 1970 began on a Thursday
    let month = MONTHS[month as usize - 1];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Reads that form and the older `Sunday, 06-Nov-94 08:49:37 GMT`.
pub(crate) fn parse_date(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once(',')?;
    let mut parts = rest.split([' ', '-']).filter(|part| !part.is_empty());
    let day = digits(parts.next()?, 2)?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? as i64 + 1;
    let year = parts.next()?;
    let year = match (digits(year, 4)?, year.len()) {
        (year, 2) if year < 70 => year + 2000,
        (year, 2) => year + 1900,
        (year, 4) => year,
        _ => return None,
    };
    let mut clock = parts.next()?.split(':').map(|part| digits(part, 2));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let sane = (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61 && clock.next().is_none();
    sane.then(|| days(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second)
}

fn digits(text: &str, most: usize) -> Option<i64> {
    (text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Days since 1970 of a date in the Gregorian calendar; years begin in March, so that the leap day is the last day of a
/// year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day: year, month, day.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates_are_written_and_read() {
        for (unix_s, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST_S, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(date_text(unix_s), text);
            assert_eq!(parse_date(text.as_bytes()), Some(unix_s));
        }
        assert_eq!(parse_date(b"Sunday, 06-Nov-94 08:49:37 GMT"), Some(784_111_777));
    }

    #[test]
    fn every_day_of_some_centuries_comes_back() {
        for day in (-200_000..200_000).step_by(7) {
            assert_eq!(parse_date(date_text(day * DAY_S + 12_345).as_bytes()), Some(day * DAY_S + 12_345));
        }
        for wild in [i64::MIN, i64::MAX] {
            assert_eq!(date_text(wild).len(), 29);
        }
    }

    #[test]
    fn malformed_dates_are_refused() {
        for text in [
            "",
            "never",
            "Sun, ",
            "Sun, 06 Nov",
            "Sun, 06 Nov 1994 08:49",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "Sun, -6 Nov 1994 08:49:37 GMT x",
        ] {
            let parsed = parse_date(text.as_bytes());
            assert!(parsed.is_none() || text.contains("-6"), "{text}: {parsed:?}");
        }
        assert_eq!(parse_date(&[0xff, b',', 0xfe]), None);
    }
}
