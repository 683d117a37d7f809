//! How many tests passed and failed, out of what a test runner printed.

/// Passed and failed checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Checks that held.
    pub passed: usize,
    /// Checks that did not.
    pub failed: usize,
}

impl Count {
    /// One check that held.
    pub const PASSED: Count = Count { passed: 1, failed: 0 };
    /// One check that did not.
    pub const FAILED: Count = Count { passed: 0, failed: 1 };

    /// Both together.
    pub fn plus(self, other: Count) -> Count {
        Count { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

/// Adds up every summary line of nextest, or of `cargo test`. Nextest repeats what a failed test
/// printed, with the result line of that one test, so its own summary goes before.
pub fn in_output(text: &str) -> Count {
    let starting =
        |start: &'static str| text.lines().filter(move |line| line.trim_start().starts_with(start));
    let own: Vec<&str> = starting("Summary [").collect();
    let summaries = if own.is_empty() { starting("test result:").collect() } else { own }.into_iter();
    summaries.fold(Count { passed: 0, failed: 0 }, |sum, line| {
        let failed = number_before(line, "failed")
            + number_before(line, "timed out")
            + number_before(line, "exec failed");
        sum.plus(Count { passed: number_before(line, "passed"), failed })
    })
}

fn number_before(line: &str, word: &str) -> usize {
    let Some(at) = line.find(&format!(" {word}")) else { return 0 };
    line[..at]
        .rsplit(|c: char| !c.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summaries_of_both_runners_are_understood() {
        let nextest = "     Summary [   0.512s] 12 tests run: 10 passed (1 slow), 2 failed, 3 skipped\n";
        assert_eq!(in_output(nextest), Count { passed: 10, failed: 2 });
        let cargo = "test result: ok. 5 passed; 0 failed; 0 ignored\nx\ntest result: FAILED. 1 passed; 2 failed; 0 ignored\n";
        assert_eq!(in_output(cargo), Count { passed: 6, failed: 2 });
        let late = "     Summary [  61.0s] 2 tests run: 1 passed, 1 timed out, 0 skipped\n";
        assert_eq!(in_output(late), Count { passed: 1, failed: 1 });
    }

    #[test]
    fn the_result_of_one_repeated_test_is_not_counted_again() {
        let text = "    test result: FAILED. 0 passed; 1 failed; 0 ignored\n     Summary [ 1s] 3 tests run: 2 passed, 1 failed\n";
        assert_eq!(in_output(text), Count { passed: 2, failed: 1 });
    }

    #[test]
    fn no_summary_is_no_test() {
        assert_eq!(in_output("error: could not compile"), Count { passed: 0, failed: 0 });
    }
}
