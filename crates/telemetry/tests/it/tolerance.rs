//! Text that is odd: what a real Prometheus reads, we read too.

use std::fmt::Write;

use dwcp_telemetry::exposition::{Buckets, Format, Limits, decode};

use crate::http::{Message, Server};
use crate::prometheus_process::{Prometheus, installed, number};

/// Read as text, and with the end behind it as OpenMetrics.
const ODD: &[&[u8]] = &[
    b"",
    b"\n",
    b"a 1",
    b"a 1\n",
    b"\n\n \n\t\na 1\n",
    b"a\n",
    b" a 1\n",
    b"a\t1\n",
    b"a  1  5\n",
    b"a 1 5 \n",
    b"a 1 \n",
    b"a 1\r\n",
    b"a 1 2 3\n",
    b"a 1 x\n",
    b"a 1 1.5\n",
    b"a 1 -5\n",
    b"a 1 99999999999999999999\n",
    b"a 1\na 2\n",
    b"a 1 # comment\n",
    b"a:b 1\n",
    b":a 1\n",
    b"9a 1\n",
    b"a-b 1\n",
    b"\xc3\xa9 1\n",
    b"a +Inf\nb -inf\nc Infinity\nd +infinity\n",
    b"a nan\nb NAN\nc NaN\n",
    b"a +nan\n",
    b"a -NaN\n",
    b"a 0x1p3\n",
    b"a 0x10\n",
    b"a 1_0\n",
    b"a 1e400\n",
    b"a 1e-400\n",
    b"a 1E5\nb .5\nc 5.\nd +5\ne -0\n",
    b"a --5\n",
    b"a 1e\n",
    b"a .\n",
    b"a infin\n",
    b"a{} 1\n",
    b"a{,} 1\n",
    b"a{b=\"1\",} 1\n",
    b"a{b=\"1\",,} 1\n",
    b"a{,b=\"1\"} 1\n",
    b"a{b=\"1\",c=\"2\"} 1\n",
    b"a {b=\"1\"} 1\n",
    b"a{ b = \"1\" , c=\"2\" } 1\n",
    b"a{b=\"1\"}1\n",
    b"a{b=\"1\"}\t1\n",
    b"a{b=\"1\"c=\"2\"} 1\n",
    b"a{b=\"1\" c=\"2\"} 1\n",
    b"a{b='1'} 1\n",
    b"a{b=1} 1\n",
    b"a{b} 1\n",
    b"a{b=\"1\"}\n",
    b"a{b=\"1\" 1\n",
    b"a{b=\"1} 1\n",
    b"a{b=\"\"} 1\n",
    b"a{b=\"\\\"} 1\n",
    b"a{b=\"\\\\\"} 1\n",
    b"a{b=\"\\x\"} 1\n",
    b"a{b=\"x\ny\"} 1\n",
    b"a{b=\"{}, =#\"} 1\n",
    b"a{b:c=\"1\"} 1\n",
    b"a{9=\"1\"} 1\n",
    b"a{b=\"\xc3\xa9\"} 1\n",
    b"a{b=\"\xff\"} 1\n",
    b"a{b=\"\0\"} 1\n",
    b"a{b=\"1\",b=\"2\"} 1\n",
    b"a{b=\"\",b=\"2\"} 1\n",
    b"a{__name__=\"b\"} 1\n",
    b"{b=\"1\"} 1\n",
    b"{__name__=\"x\"} 1\n",
    b"# HELP a\na 1\n",
    b"# HELP a \na 1\n",
    b"# HELP a x\ty \\n \\\\ \\\" \\z\na 1\n",
    b"# HELP 9 x\na 1\n",
    b"# HELP a \xff\na 1\n",
    b"# HELP\na 1\n",
    b"#HELP a b\na 1\n",
    b"# TYPE a\na 1\n",
    b"# TYPE a counter\na 1\n",
    b"# TYPE a counter \na 1\n",
    b"# TYPE a counter x\na 1\n",
    b"# TYPE a Counter\na 1\n",
    b"# TYPE a unknown\na 1\n",
    b"# TYPE a untyped\na 1\n",
    b"# TYPE a bogus\na 1\n",
    b"# TYPE 9 gauge\na 1\n",
    b"#TYPE a bogus\na 1\n",
    b"# TYPE  a  gauge\na 1\n",
    b"#  TYPE a bogus\na 1\n",
    b"#\tTYPE\ta\tgauge\na 1\n",
    b" # TYPE a bogus\na 1\n",
    b"# TYPE a gauge\n# TYPE a counter\na 1\n",
    b"# TYPE \"a\" gauge\na 1\n",
    b"# UNIT a seconds\na 1\n",
    b"# UNIT a_seconds seconds\na_seconds 1\n",
    b"# UNIT a_seconds\na_seconds 1\n",
    b"# comment\n#\n#x\n# TYPO a b\na 1\n",
    b"# EOF\na 1\n",
    b"# EOF\n",
    b"a 1 # {} 1\n",
    b"a 1 # {b=\"1\"} 1 1.5\n",
    b"a 1 2 # {b=\"1\"} 1\n",
    b"a 1 # {b=\"1\"}\n",
    b"a 1 # {b=\"1\" 1\n",
    b"a 1 #\n",
    b"a 1 # {b=\"}\"} 1\n",
];

fn body(odd: &[u8], format: Format) -> Vec<u8> {
    if format == Format::OpenMetrics { [odd, b"# EOF\n"].concat() } else { odd.to_vec() }
}

/// How many samples are read; none when it is refused.
fn ours(odd: &[u8], format: Format) -> Option<usize> {
    let found = decode(format, &body(odd, format), Buckets::Native, &Limits::default());
    found.ok().map(|exposition| exposition.samples.len())
}

#[test]
fn odd_text_that_a_real_prometheus_reads_is_read() {
    if !installed("prometheus") {
        return;
    }
    let server = Server::start(|request: &Message| {
        let (form, number) = request.first.split(' ').nth(1)?.strip_prefix('/')?.split_once('/')?;
        let format = if form == "open" { Format::OpenMetrics } else { Format::Text };
        Some((format.content_type(), body(ODD.get(number.parse::<usize>().ok()?)?, format)))
    });
    let mut configuration = "global: {scrape_interval: 3s, scrape_timeout: 3s}\nscrape_configs:\n".to_owned();
    for job in ["text", "open"] {
        write!(configuration, "- job_name: {job}\n  static_configs:\n").expect("a string takes everything");
        for number in 0..ODD.len() {
            let (labels, address) =
                (format!("{{__metrics_path__: /{job}/{number}, odd: '{number}'}}"), server.address);
            writeln!(configuration, "  - {{targets: ['{address}'], labels: {labels}}}")
                .expect("a string takes everything");
        }
    }
    let prometheus = Prometheus::start(&configuration, "groups: []\n");
    // Of those that are up, how many samples there were.
    prometheus.query("up", 2 * ODD.len());
    let read = prometheus.result("scrape_samples_scraped and on(job, odd) up == 1", |series| series > 0);
    assert!(read.len() > ODD.len() / 2, "{}", read.len());
    let mut apart = String::new();
    for answer in &read {
        let labels = &answer["metric"];
        let (place, theirs) = (number(&labels["odd"]) as usize, number(&answer["value"][1]) as usize);
        let format = if labels["job"] == "open" { Format::OpenMetrics } else { Format::Text };
        // What it refuses may still be clear enough for us.
        let ours = ours(ODD[place], format);
        if ours != Some(theirs) {
            let odd = String::from_utf8_lossy(ODD[place]);
            writeln!(apart, "{format:?} {odd:?}: theirs {theirs}, ours {ours:?}")
                .expect("a string takes everything");
        }
    }
    assert!(apart.is_empty(), "{apart}");
}
