//! The feed (RSS 2.0): an item for each incident, which changes with it.

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

use super::page::escaped;
use super::{Picture, PublicIncident, url, utc};

/// The feed of what is open and of what was lately.
pub fn rss(picture: &Picture, base: &str) -> String {
    let items = picture.open.iter().chain(&picture.past).map(|one| item(one, base));
    let (federation, base) = (escaped(&picture.federation), escaped(base));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<rss version=\"2.0\" xmlns:atom=\"http://www.w3.org/2005/Atom\">
<channel>
<title>{federation} status</title>
<link>{base}/status</link>
<atom:link href=\"{base}/status.rss\" rel=\"self\" type=\"application/rss+xml\"/>
<description>Incidents of {federation}</description>
<lastBuildDate>{}</lastBuildDate>
{}</channel>
</rss>
",
        date(picture.at_ms),
        items.collect::<String>()
    )
}

fn item(one: &PublicIncident, base: &str) -> String {
    // A description is HTML within XML: what people wrote is escaped for each.
    let notes = one.notes.iter().rev().map(|note| {
        let (at, status, text) = (utc(note.at_ms), note.status.word(), escaped(&note.text));
        format!("<p>{at} <strong>{status}</strong>: {text}</p>")
    });
    let changed_ms = one.notes.last().map_or(one.opened_at_ms, |note| note.at_ms);
    format!(
        "<item>
<title>{} ({})</title>
<link>{}</link>
<guid isPermaLink=\"false\">{}</guid>
<pubDate>{}</pubDate>
<description>{}</description>
</item>
",
        escaped(&one.title),
        one.status.word(),
        escaped(&url(base, &one.id)),
        escaped(&one.id),
        date(changed_ms),
        escaped(&notes.collect::<String>())
    )
}

/// `Sun, 29 Nov 2026 02:00:00 +0000` (RFC 2822)
fn date(at_ms: i64) -> String {
    let moment = Timestamp::from_second(at_ms.div_euclid(1_000)).unwrap_or_default();
    rfc2822::to_string(&moment.to_zoned(TimeZone::UTC)).unwrap_or_default()
}
