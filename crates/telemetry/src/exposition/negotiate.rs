//! Which form is spoken: what a scraper accepts, and what an answer says it is.

/// One of the three forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0 text.
    OpenMetrics,
    /// Messages of `io.prometheus.client.MetricFamily`, each behind its length. The only one with native histograms.
    Protobuf,
}

/// What a scraper of ours accepts: protobuf before OpenMetrics before text.
pub const ACCEPT: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
    application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
    text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

impl Format {
    /// The header `Content-Type` of an answer in it.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// The form that suits a header `Accept` best (RFC 9110, 12.5.1): of those with the highest weight the first one named; text
    /// where nothing fits, since every scraper reads that.
    pub fn accepted(accept: &str) -> Format {
        let mut best = (0.0, Format::Text);
        for range in accept.split(',') {
            let range = MediaRange::parse(range);
            if range.weight > best.0 {
                if let Some(format) = range.format(true) {
                    best = (range.weight, format);
                }
            }
        }
        best.1
    }

    /// The form that the header `Content-Type` of an answer names; text where it names none that is known, as exporters that forget
    /// it send that.
    pub fn of_content_type(content_type: &str) -> Format {
        MediaRange::parse(content_type).format(false).unwrap_or(Format::Text)
    }
}

/// A media type with what of its parameters matters here.
struct MediaRange<'a> {
    name: &'a str,
    version: &'a str,
    proto: &'a str,
    encoding: &'a str,
    /// 0 to 1.
    weight: f64,
}

impl<'a> MediaRange<'a> {
    fn parse(text: &'a str) -> MediaRange<'a> {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or("");
        let mut range = MediaRange { name, version: "", proto: "", encoding: "", weight: 1.0 };
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('"');
            match key.trim().to_ascii_lowercase().as_str() {
                "version" => range.version = value,
                "proto" => range.proto = value,
                "encoding" => range.encoding = value,
                // What is no number is no wish.
                "q" => range.weight = value.parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0),
                _ => {}
            }
        }
        range
    }

    fn format(&self, wild: bool) -> Option<Format> {
        let any = |value: &str, wanted: &[&str]| value.is_empty() || wanted.contains(&value);
        match self.name.to_ascii_lowercase().as_str() {
            "application/vnd.google.protobuf" => (self.proto == "io.prometheus.client.MetricFamily"
                && self.encoding == "delimited")
                .then_some(Format::Protobuf),
            "application/openmetrics-text" => {
                any(self.version, &["1.0.0", "0.0.1"]).then_some(Format::OpenMetrics)
            }
            "text/plain" => any(self.version, &["0.0.4"]).then_some(Format::Text),
            "text/*" | "*/*" => wild.then_some(Format::Text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_what_it_weighs_most() {
        let cases = [
            ("", Format::Text),
            (ACCEPT, Format::Protobuf),
            // Prometheus 2 without native histograms.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            // Prometheus 3: text 1.0.0 is not written here.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;\
                 escaping=allow-utf-8;q=0.9,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
            ("text/html, application/xhtml+xml, */*;q=0.8", Format::Text),
            (
                "text/plain;q=0.9, application/openmetrics-text; version=\"1.0.0\"; q=0.95",
                Format::OpenMetrics,
            ),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=x, application/vnd.google.protobuf", Format::Text),
        ];
        for (accept, wanted) in cases {
            assert_eq!(Format::accepted(accept), wanted, "{accept}");
        }
    }

    #[test]
    fn an_answer_says_what_it_is() {
        for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
            assert_eq!(Format::of_content_type(format.content_type()), format);
        }
        assert_eq!(Format::of_content_type("text/html"), Format::Text);
    }
}
