use dwcp_telemetry::incidents::PublicNote;

use super::*;

/// 2026-11-29T02:00:00Z.
const NOW_MS: i64 = 1_795_917_600_000;
const DAY_MS: i64 = 86_400_000;
const SCRIPT: &str = "<script>alert(1)</script>\"'&";

fn one(id: &str, title: &str, opened_at_ms: i64, ended_at_ms: Option<i64>) -> Arc<PublicIncident> {
    let status = if ended_at_ms.is_some() { PublicStatus::Resolved } else { PublicStatus::Investigating };
    let note = PublicNote { at_ms: opened_at_ms, status, text: format!("about {title}") };
    Arc::new(PublicIncident {
        id: id.to_owned(),
        title: title.to_owned(),
        severity: Severity::P1,
        status,
        opened_at_ms,
        ended_at_ms,
        notes: vec![note],
    })
}

fn picture(regions: &[(&str, Standing)], incidents: Incidents) -> Picture {
    let regions = regions.iter().map(|(name, standing)| Region {
        name: (*name).to_owned(),
        standing: *standing,
        in_maintenance: false,
    });
    let (open, past) = sorted(incidents, NOW_MS);
    let window = |whole| Maintenance {
        region: "eu".to_owned(),
        whole,
        starts_at_ms: NOW_MS + DAY_MS,
        ends_at_ms: NOW_MS + 2 * DAY_MS,
    };
    let (federation, planned) = (SCRIPT.to_owned(), vec![window(true), window(false)]);
    Picture { federation, at_ms: NOW_MS, regions: regions.collect(), open, past, planned }
}

#[test]
fn the_state_in_words_is_that_of_the_worst() {
    use Standing::*;
    let minor = |severity| Arc::new(PublicIncident { severity, ..(*one("a", "b", NOW_MS, None)).clone() });
    for (regions, open, standing, summary) in [
        (vec![("eu", Operational), ("us", Operational)], vec![], Operational, "All regions are operational"),
        (vec![("eu", Operational), ("us", Degraded)], vec![], Degraded, "1 of 2 regions are operational"),
        (vec![("eu", Operational), ("us", Unavailable)], vec![], Disrupted, "1 of 2 regions are operational"),
        (vec![("eu", Operational), ("us", Unknown)], vec![], Degraded, "1 of 2 regions are operational"),
        (vec![("eu", Unavailable)], vec![], Unavailable, "0 of 1 regions are operational"),
        (vec![], vec![], Unknown, "0 of 0 regions are operational"),
        (
            vec![("eu", Operational)],
            vec![minor(Severity::P0), minor(Severity::P3)],
            Disrupted,
            "All regions are operational, 2 open incidents",
        ),
        (
            vec![("eu", Operational)],
            vec![minor(Severity::P3)],
            Operational,
            "All regions are operational, one open incident",
        ),
    ] {
        let picture = picture(&regions, open);
        assert_eq!((picture.standing(), picture.summary().as_str()), (standing, summary));
    }
}

#[test]
fn what_is_open_stays_and_what_is_over_goes_after_a_fortnight() {
    let all = vec![
        one("INC-1", "old and open", NOW_MS - 30 * DAY_MS, None),
        one("INC-2", "over lately", NOW_MS - 20 * DAY_MS, Some(NOW_MS - 13 * DAY_MS)),
        one("INC-3", "long over", NOW_MS - 20 * DAY_MS, Some(NOW_MS - 14 * DAY_MS)),
        one("INC-4", "new", NOW_MS - DAY_MS, None),
    ];
    let ids = |list: &Incidents| list.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
    let (open, past) = sorted(all, NOW_MS);
    assert_eq!((ids(&open), ids(&past)), (vec!["INC-4".into(), "INC-1".into()], vec!["INC-2".into()]));
}

#[test]
fn a_script_in_a_title_is_text_on_the_page_and_in_the_feed() {
    let picture = picture(&[(SCRIPT, Standing::Operational)], vec![one("INC-1", SCRIPT, NOW_MS, None)]);
    let (html, rss) = (page::html(&picture), feed::rss(&picture, "https://status.example.com"));
    for text in [&html, &rss] {
        assert!(!text.to_lowercase().contains("<script"), "{text}");
    }
    // In the title of the page, its heading, the region's row; and in the incident's title and note.
    assert_eq!(html.matches("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;").count(), 5);
    assert!(
        rss.contains("<title>&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp; (investigating)</title>")
    );
    // What is HTML in the description is escaped once more.
    assert!(rss.contains("&lt;p&gt;2026-11-29T02:00:00Z &lt;strong&gt;"), "{rss}");
    assert!(rss.contains("about &amp;lt;script&amp;gt;"), "{rss}");
    assert!(rss.contains("<link>https://status.example.com/status#INC-1</link>"));
    assert!(rss.contains("<pubDate>Sun, 29 Nov 2026 02:00:00 "), "{rss}");
    assert_eq!(picture.json("")["open_incidents"][0]["title"], SCRIPT);
}

#[test]
fn the_page_has_one_style_and_its_policy_names_it() {
    let html = page::html(&picture(&[("eu", Standing::Degraded)], vec![]));
    let style = html.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).expect("a style");
    use base64::Engine as _;
    let hash = ring::digest::digest(&ring::digest::SHA256, style.as_bytes());
    let hash = base64::engine::general_purpose::STANDARD.encode(hash);
    assert!(POLICY.contains(&format!("style-src 'sha256-{hash}';")), "{}", *POLICY);
    assert!(POLICY.starts_with("default-src 'none';") && !POLICY.contains("script-src"));
    assert!(!html.contains("src=") && !html.contains(" style=") && !html.contains("http"), "{html}");
    assert!(html.contains("<td class=\"warn\">degraded</td>") && html.contains("a part of <bdi>eu</bdi>"));
}

#[test]
fn a_form_has_each_known_field_once() {
    let read = Announced::of("title=Region+us-east-1%20Failover&status=investigating&message=a%26b")
        .expect("a form");
    assert_eq!(read.title.as_deref(), Some("Region us-east-1 Failover"));
    assert_eq!((read.status.as_deref(), read.body.as_deref()), (Some("investigating"), Some("a&b")));
    for form in ["title=a&title=b", "body=a&message=b", "titel=a", "title=%ff", "title=%4"] {
        assert!(Announced::of(form).is_err(), "{form}");
    }
    assert_eq!(Announced::of("").expect("empty"), Announced::default());
}

#[test]
fn only_a_plain_host_makes_an_address() {
    for (host, base_) in [
        (Some("status.example.com:7080"), "https://status.example.com:7080"),
        (Some("[::1]:7080"), "https://[::1]:7080"),
        (Some("a\"><script>"), ""),
        (Some("a/b"), ""),
        (Some(""), ""),
        (None, ""),
    ] {
        assert_eq!(base(host), base_, "{host:?}");
    }
}
