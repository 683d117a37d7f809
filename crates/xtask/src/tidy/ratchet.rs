//! The list of what is too long and known to be: it may only shrink.
//!
//! A line is `file PATH LINES` or `function PATH NAME LINES`. An entry that is too generous is a
//! problem itself, so every improvement is kept.

/// Where the list is.
pub const LIST: &str = "crates/xtask/tidy-allow.txt";
/// The most entries there may be. Lower it whenever the list has become shorter; never raise it.
const MOST_ENTRIES: usize = 0;

/// Something longer than its limit.
pub struct Measured {
    /// `file PATH` or `function PATH NAME`.
    pub key: String,
    /// The line where it starts.
    pub line: usize,
    /// Its lines.
    pub size: usize,
    /// The most lines it may have.
    pub limit: usize,
}

/// Compares what was measured with the list.
pub fn check(list: &str, measured: &[Measured], problems: &mut Vec<String>) {
    check_against(list, measured, MOST_ENTRIES, problems);
}

fn check_against(list: &str, measured: &[Measured], most: usize, problems: &mut Vec<String>) {
    let entries: Vec<(&str, usize)> = list
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(key, size)| Some((key, size.parse().ok()?)))
        .collect();
    if entries.len() > most {
        problems.push(format!("{LIST}: {} entries, {most} are allowed: it may only shrink", entries.len()));
    }
    for one in measured {
        let Measured { key, line, size, limit } = one;
        match entries.iter().find(|(known, _)| known == key) {
            Some((_, allowed)) if size <= allowed => {}
            _ => {
                let path = key.split(' ').nth(1).unwrap_or_default();
                problems.push(format!("{path}:{line}: {key} has {size} lines, the limit is {limit}"));
            }
        }
    }
    for (key, allowed) in entries {
        match measured.iter().find(|one| one.key == key).map(|one| one.size) {
            None => problems.push(format!("{LIST}: {key} fits now, remove its line")),
            Some(size) if size < allowed => {
                problems.push(format!("{LIST}: {key} has {size} lines now, lower its entry"))
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(list: &str, size: Option<usize>, most: usize) -> usize {
        let measured: Vec<Measured> = size
            .map(|size| Measured { key: "file a.rs".to_owned(), line: 1, size, limit: 600 })
            .into_iter()
            .collect();
        let mut problems = Vec::new();
        check_against(list, &measured, most, &mut problems);
        problems.len()
    }

    #[test]
    fn the_list_allows_exactly_what_it_says() {
        assert_eq!(problems("file a.rs 700\n", Some(700), 1), 0);
        assert_eq!(problems("file a.rs 700\n", Some(701), 1), 1);
        assert_eq!(problems("", Some(601), 1), 1);
    }

    #[test]
    fn the_list_may_only_shrink() {
        assert_eq!(problems("file a.rs 700\n", Some(650), 1), 1);
        assert_eq!(problems("file a.rs 700\n", None, 1), 1);
        assert_eq!(problems("file a.rs 700\n", Some(700), 0), 1);
    }
}
