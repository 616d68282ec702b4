//! Amounts of money as they are written: decimal numbers, read exactly.

/// The billionths of a dollar in one.
const NANO: u64 = 1_000_000_000;

/// The most digits of a number's exponent.
const MAX_EXPONENT: i32 = 40;

/// Parses a decimal number, such as `2.5` or `1.5e-06`, as a multiple of ten to the power of
/// `-scale`. `None` for text that is no such number, is negative, too large, or has more digits
/// than that.
///
/// ```
/// use tokenrill::usage::parse_decimal;
///
/// assert_eq!(parse_decimal("2.5", 9), Some(2_500_000_000));
/// assert_eq!(parse_decimal("1.25e-06", 15), Some(1_250_000_000));
/// assert_eq!(parse_decimal("0.0000000001", 9), None);
/// ```
#[must_use]
pub fn parse_decimal(text: &str, scale: i32) -> Option<u64> {
    parse(text, scale, false)
}

/// Parses a decimal number in the same way, and rounds it up where it has more digits.
#[must_use]
pub(super) fn parse_decimal_up(text: &str, scale: i32) -> Option<u64> {
    parse(text, scale, true)
}

/// Returns an amount of billionths as a decimal number.
///
/// ```
/// assert_eq!(tokenrill::usage::format_decimal(1_250_000_000), "1.25");
/// ```
#[must_use]
pub fn format_decimal(nano: u64) -> String {
    let (whole, parts) = (nano / NANO, nano % NANO);
    match parts {
        0 => whole.to_string(),
        parts => format!("{whole}.{parts:09}")
            .trim_end_matches('0')
            .to_owned(),
    }
}

fn parse(text: &str, scale: i32, rounds: bool) -> Option<u64> {
    let text = text.trim();
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    if exponent.abs() > MAX_EXPONENT {
        return None;
    }
    let (whole, parts) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let parts = parts.trim_end_matches('0');
    let digits = whole.chars().chain(parts.chars());
    let is_number = !whole.is_empty() && digits.clone().all(|c| c.is_ascii_digit());
    if !is_number {
        return None;
    }
    let mut number: u128 = 0;
    for digit in digits.filter_map(|c| c.to_digit(10)) {
        number = number.checked_mul(10)?.checked_add(digit.into())?;
    }
    let power = exponent + scale - i32::try_from(parts.len()).ok()?;
    let factor = 10_u128.checked_pow(power.unsigned_abs())?;
    let number = if power >= 0 {
        number.checked_mul(factor)?
    } else if rounds || number.is_multiple_of(factor) {
        number.div_ceil(factor)
    } else {
        return None;
    };
    u64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        for (text, scale, want) in [
            ("0", 9, Some(0)),
            ("20", 9, Some(20 * NANO)),
            ("0.1", 9, Some(100_000_000)),
            ("0.30", 9, Some(300_000_000)),
            ("007", 0, Some(7)),
            ("15.0", 9, Some(15 * NANO)),
            ("1e-7", 15, Some(100_000_000)),
            ("3E-06", 15, Some(3_000_000_000)),
            ("2.5e1", 9, Some(25 * NANO)),
            ("500e-1", 0, Some(50)),
            ("0.1234567891", 9, None),
            ("-1", 9, None),
            ("+1", 9, None),
            ("", 9, None),
            (".5", 9, None),
            ("1.2.3", 9, None),
            ("1e", 9, None),
            ("1e99999", 9, None),
            ("nan", 9, None),
            ("18446744073709551615", 0, Some(u64::MAX)),
            ("18446744073709551616", 0, None),
            ("99999999999999999999999999999999999999999999", 0, None),
        ] {
            assert_eq!(parse_decimal(text, scale), want, "{text}");
        }
    }
}
