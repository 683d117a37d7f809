//! The page with the puzzle: one file, which solves itself and goes on to where its reader wanted to go.

use crate::guard::CHALLENGE_PATH;

use super::challenge::base64;

const SCRIPT: &str = include_str!("puzzle.js");
const STYLE: &str = include_str!("page.css");

/// What is the same in every page.
pub struct Page {
    head: String,
}

impl Page {
    /// Says in the page that nothing runs in it but its own script.
    pub fn new() -> Page {
        let sum = |text: &str| base64(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref());
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; form-action 'self'; base-uri 'none'",
            sum(SCRIPT),
            sum(STYLE)
        );
        let head = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\
             <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">\
             <title>One moment</title><style>{STYLE}</style></head><body><h1>One moment</h1>\
             <p>There is more traffic here than usual. Your browser shows that it is a browser; \
             you need not do anything.</p><noscript><p>JavaScript is needed for this.</p></noscript>"
        );
        Page { head }
    }

    /// With a token, how hard it is, and where to go then.
    pub fn with(&self, token: &str, bits: u8, to: &str) -> String {
        let to = escaped(to);
        format!(
            "{}<form method=\"post\" action=\"{CHALLENGE_PATH}\" data-bits=\"{bits}\">\
             <input type=\"hidden\" name=\"token\" value=\"{token}\"><input type=\"hidden\" name=\"answer\">\
             <input type=\"hidden\" name=\"to\" value=\"{to}\"></form><script>{SCRIPT}</script></body></html>\n",
            self.head
        )
    }
}

fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_visitor_wrote_becomes_markup() {
        let page = Page::new().with("t", 16, "/a?\"><script>alert('x')</script>");
        assert_eq!(page.matches("<script>").count(), 1);
        assert!(page.contains("/a?&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)"));
    }
}
