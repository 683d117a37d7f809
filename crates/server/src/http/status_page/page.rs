//! The page: HTML without a script, readable without its style.

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{SHA256, digest};

use super::{Maintenance, Picture, PublicIncident, Region, Standing, utc};

const STYLE: &str = "
:root{color-scheme:light dark;--text:#1b1f24;--quiet:#57606a;--back:#fff;--card:#f6f8fa;--line:#d0d7de;--good:#116329;--warn:#7d4e00;--bad:#a40e26}
@media (prefers-color-scheme:dark){:root{--text:#e6edf3;--quiet:#9198a1;--back:#0d1117;--card:#161b22;--line:#30363d;--good:#56d364;--warn:#e3b341;--bad:#ff7b72}}
body{margin:0 auto;max-width:48rem;padding:1.5rem 1rem 4rem;font:1rem/1.5 system-ui,sans-serif;color:var(--text);background:var(--back)}
h1{font-size:1.4rem}h2{font-size:1.15rem;margin-top:2rem}h3{font-size:1rem;margin:0}
a{color:inherit}
.summary,article{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.8rem 1rem;margin:.8rem 0}
.summary{font-size:1.15rem;font-weight:600}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .6rem .4rem 0;border-bottom:1px solid var(--line)}
ul{list-style:none;margin:.5rem 0 0;padding:0}li{margin:.4rem 0}
.quiet,time{color:var(--quiet)}.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}
";

/// Nothing runs, nothing is loaded, and no style but its own holds (Content Security Policy Level 3, W3C).
pub static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = BASE64.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// Text as text, within elements and within quoted attributes, in HTML as in XML.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Neither HTML nor XML has them.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn tone(standing: Standing) -> &'static str {
    match standing {
        Standing::Operational => "good",
        Standing::Degraded | Standing::Unknown => "warn",
        Standing::Disrupted | Standing::Unavailable => "bad",
    }
}

fn time(at_ms: i64) -> String {
    let utc = utc(at_ms);
    let people = utc.replace('T', " ").replace('Z', " UTC");
    format!("<time datetime=\"{utc}\">{people}</time>")
}

/// The page.
pub fn html(picture: &Picture) -> String {
    let federation = escaped(&picture.federation);
    let regions: String = picture.regions.iter().map(region).collect();
    let summary = escaped(&picture.summary());
    format!(
        "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">
<title>{summary} - {federation} status</title>
<link rel=\"alternate\" type=\"application/rss+xml\" title=\"Incidents\" href=\"/status.rss\">
<style>{STYLE}</style>
</head>
<body>
<main>
<h1><bdi>{federation}</bdi> status</h1>
<p class=\"summary {}\">{summary}.</p>
<h2>Regions</h2>
<table>
<thead><tr><th scope=\"col\">Region</th><th scope=\"col\">State</th></tr></thead>
<tbody>
{regions}</tbody>
</table>
{}{}{}<p class=\"quiet\">As of {}. Times are UTC. <a href=\"/status.rss\">Feed</a>, <a href=\"/status.json\">JSON</a>.</p>
</main>
</body>
</html>
",
        tone(picture.standing()),
        incidents("Open incidents", "None.", &picture.open),
        maintenance(&picture.planned),
        incidents("The last 14 days", "No incidents.", &picture.past),
        time(picture.at_ms),
    )
}

fn region(region: &Region) -> String {
    let work = if region.in_maintenance { ", in maintenance" } else { "" };
    let (name, tone) = (escaped(&region.name), tone(region.standing));
    let word = region.standing.word();
    format!("<tr><th scope=\"row\"><bdi>{name}</bdi></th><td class=\"{tone}\">{word}{work}</td></tr>\n")
}

fn maintenance(planned: &[Maintenance]) -> String {
    let mut text = "<h2>Planned maintenance</h2>\n".to_owned();
    if planned.is_empty() {
        text.push_str("<p>None.</p>\n");
        return text;
    }
    text.push_str("<ul>\n");
    for window in planned {
        let part = if window.whole { "" } else { "a part of " };
        let (from, until) = (time(window.starts_at_ms), time(window.ends_at_ms));
        let name = escaped(&window.region);
        text.push_str(&format!("<li>{part}<bdi>{name}</bdi>: {from} to {until}</li>\n"));
    }
    text.push_str("</ul>\n");
    text
}

fn incidents(heading: &str, none: &str, list: &[Arc<PublicIncident>]) -> String {
    let mut text = format!("<h2>{heading}</h2>\n");
    if list.is_empty() {
        text.push_str(&format!("<p>{none}</p>\n"));
    }
    list.iter().for_each(|one| text.push_str(&incident(one)));
    text
}

fn incident(one: &PublicIncident) -> String {
    let (id, title) = (escaped(&one.id), escaped(&one.title));
    let until = one.ended_at_ms.map(|at_ms| format!(" to {}", time(at_ms))).unwrap_or_default();
    let notes = one.notes.iter().rev().map(|note| {
        let (at, status, text) = (time(note.at_ms), note.status.word(), escaped(&note.text));
        format!("<li>{at} <strong>{status}</strong>: <bdi>{text}</bdi></li>\n")
    });
    format!(
        "<article id=\"{id}\">
<h3><bdi>{title}</bdi></h3>
<p class=\"quiet\">{}, {}: {}{until}</p>
<ul>
{}</ul>
</article>
",
        one.severity.word(),
        one.status.word(),
        time(one.opened_at_ms),
        notes.collect::<String>()
    )
}
