//! Numbers as Go prints them: what alert texts look like must not depend on who expands them.

/// `%g`, with the shortest text that reads back the same, or with so many significant digits.
///
/// Of the shortest form, an exponent below -4 or from 6 on is written as one; of a given precision, from that precision on.
pub fn general(number: f64, digits: Option<usize>) -> String {
    if let Some(text) = special(number) {
        return text;
    }
    let digits = digits.map(|digits| digits.max(1));
    let scientific = match digits {
        Some(digits) => format!("{number:.*e}", digits - 1),
        None => format!("{number:e}"),
    };
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mantissa =
        if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    let significant = mantissa.bytes().filter(u8::is_ascii_digit).count() as i32;
    let limit = match digits {
        // As many digits as there are, when the number is a whole one: 1e3 of four digits stays 1000.
        Some(digits) if digits as i32 > significant && significant > exponent => significant,
        Some(digits) => digits as i32,
        None => SHORTEST_LIMIT,
    };
    if exponent < -4 || exponent >= limit {
        return format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    let decimals = (significant - 1 - exponent).max(0) as usize;
    format!("{number:.decimals$}")
}

/// From which exponent on the shortest form has one.
const SHORTEST_LIMIT: i32 = 6;

/// `%f` with so many digits after the point.
pub fn fixed(number: f64, decimals: usize) -> String {
    special(number).unwrap_or_else(|| format!("{number:.decimals$}"))
}

/// `%e` with so many digits after the point.
pub fn scientific(number: f64, decimals: usize) -> String {
    if let Some(text) = special(number) {
        return text;
    }
    let text = format!("{number:.decimals$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn special(number: f64) -> Option<String> {
    match number {
        n if n.is_nan() => Some("NaN".to_owned()),
        f64::INFINITY => Some("+Inf".to_owned()),
        f64::NEG_INFINITY => Some("-Inf".to_owned()),
        _ => None,
    }
}
