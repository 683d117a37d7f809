//! Lists in pages: a cursor is the key of the last item, so pages stay right while items come and go.

use dwcp_api::{Freshness, Page, Problem};

use super::call::bad_value;

/// Items of a page: usual and most.
const LIMIT: (u32, u32) = (100, 1_000);

/// Cuts the page behind `cursor` out of items that ascend by key.
pub fn cut<T>(
    items: Vec<(String, T)>,
    limit: Option<u32>,
    cursor: Option<&str>,
    as_of: Vec<Freshness>,
) -> Result<Page<T>, Problem> {
    let limit = match limit {
        None => LIMIT.0,
        Some(limit) if (1..=LIMIT.1).contains(&limit) => limit,
        Some(_) => return Err(bad_value("limit", format!("1 to {}", LIMIT.1))),
    } as usize;
    let mut rest = items.into_iter().filter(|(key, _)| cursor.is_none_or(|cursor| key.as_str() > cursor));
    let mut page = Page { items: Vec::new(), next_cursor: None, as_of };
    let mut last = None;
    for (key, item) in rest.by_ref().take(limit) {
        page.items.push(item);
        last = Some(key);
    }
    if rest.next().is_some() {
        page.next_cursor = last;
    }
    Ok(page)
}

/// A key that puts newer things first.
pub fn newest_first(at_ms: u64, rest: &str) -> String {
    format!("{:016x}-{rest}", u64::MAX - at_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let items = || (0..7).map(|n| (format!("k{n}"), n)).collect::<Vec<_>>();
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let page = cut(items(), Some(3), cursor.as_deref(), vec![]).expect("page");
            seen.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, (0..7).collect::<Vec<_>>());
        assert_eq!(cut(items(), Some(0), None, vec![]).expect_err("limit").status, 400);
    }

    #[test]
    fn the_newest_comes_first() {
        assert!(newest_first(2, "a") < newest_first(1, "a"));
    }
}
