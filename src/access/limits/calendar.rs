//! The periods of budgets: days, weeks and months of UTC.

use crate::config::Period;

const DAY: u64 = 86_400;
/// 1970-01-01 was a Thursday; weeks begin on Mondays.
const DAYS_AFTER_MONDAY: u64 = 3;

impl Period {
    /// All periods, by their length.
    pub const ALL: [Self; 4] = [Self::Day, Self::Week, Self::Month, Self::Total];

    /// Returns the number of the period at that time, in seconds since 1970.
    #[must_use]
    pub fn number(self, time: u64) -> u64 {
        let days = time / DAY;
        match self {
            Self::Day => days,
            Self::Week => (days + DAYS_AFTER_MONDAY) / 7,
            Self::Month => {
                let (year, month) = year_and_month(days);
                year * 12 + month - 1
            }
            Self::Total => 0,
        }
    }

    /// Returns the time at which a period ends, in seconds since 1970. `None` for that without end.
    #[must_use]
    pub fn end(self, number: u64) -> Option<u64> {
        let days = match self {
            Self::Day => number + 1,
            Self::Week => (number + 1) * 7 - DAYS_AFTER_MONDAY,
            Self::Month => days_before_month((number + 1) / 12, (number + 1) % 12 + 1),
            Self::Total => return None,
        };
        Some(days * DAY)
    }
}

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_1970: u64 = 719_468;
/// The days of 400 years, after which the calendar repeats.
const DAYS_OF_ERA: u64 = 146_097;

/// Returns the year and the month, from 1, of a day since 1970. Years are counted from March on, so
/// that the leap day is the last.
fn year_and_month(days: u64) -> (u64, u64) {
    let days = days + DAYS_BEFORE_1970;
    let (era, day) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year + era * 400 + u64::from(month <= 2), month)
}

/// Returns the days from 1970 to the first day of a month.
fn days_before_month(year: u64, month: u64) -> u64 {
    let (year, from_march) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, of_era) = (year / 400, year % 400);
    let day_of_year = (153 * from_march + 2) / 5;
    let day = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    era * DAYS_OF_ERA + day - DAYS_BEFORE_1970
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_begin_at_midnight_on_mondays_and_on_the_first() {
        // `date -u -d 'DATE' +%s`.
        for (period, before, first_of_next) in [
            (Period::Day, 1_709_164_799, 1_709_164_800), // 2024-02-29
            (Period::Week, 1_795_996_799, 1_795_996_800), // Monday, 2026-11-30
            (Period::Month, 1_709_251_199, 1_709_251_200), // 2024-03-01
            (Period::Month, 1_798_761_599, 1_798_761_600), // 2027-01-01
            (Period::Month, 4_107_542_399, 4_107_542_400), // 2100-03-01
        ] {
            let number = period.number(before);
            assert_eq!(period.end(number), Some(first_of_next), "{period:?}");
            assert_eq!(period.number(first_of_next), number + 1, "{period:?}");
            assert_eq!(period.number(first_of_next - 1), number, "{period:?}");
        }
        assert_eq!(Period::Total.number(1), Period::Total.number(u64::MAX));
        assert_eq!(Period::Total.end(0), None);
    }

    #[test]
    fn every_month_ends_where_the_next_begins() {
        for number in 1970 * 12..2400 * 12 {
            let end = Period::Month.end(number);
            assert_eq!(end.map(|end| Period::Month.number(end)), Some(number + 1));
            assert_eq!(end.map(|end| Period::Month.number(end - 1)), Some(number));
        }
    }
}
