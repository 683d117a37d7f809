//! Figures of regions that could be added, each with its source and date.

use std::collections::BTreeMap;

/// One figure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figure {
    /// As the source has it.
    pub value: String,
    /// Where it comes from.
    pub source: String,
    /// When it was so, or was read.
    pub date: String,
}

impl Figure {
    /// For a report.
    pub fn source_and_date(&self) -> String {
        format!("{} ({})", self.source, self.date)
    }
}

/// All of them, by subject and figure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue(BTreeMap<(String, String), Figure>);

impl Catalogue {
    /// What comes with the program.
    pub fn built_in() -> Catalogue {
        Catalogue::parse(include_str!("../../data/catalogue.csv"))
    }

    /// Reads lines of `subject,figure,value,source,date`; lines of another form are passed over, and a test says that there are
    /// none.
    pub fn parse(text: &str) -> Catalogue {
        let figures = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let parts: Vec<&str> = line.split(',').collect();
            let [subject, figure, value, source, date] = parts.as_slice() else { return None };
            let said =
                Figure { value: value.to_string(), source: source.to_string(), date: date.to_string() };
            Some(((subject.to_string(), figure.to_string()), said))
        });
        Catalogue(figures.collect())
    }

    /// A figure of a region, or of a pair of them.
    pub fn get(&self, subject: &str, figure: &str) -> Option<&Figure> {
        self.0.get(&(subject.to_owned(), figure.to_owned()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A figure that is a number.
    pub(super) fn number(&self, subject: &str, figure: &str) -> Option<(f64, &Figure)> {
        let found = self.get(subject, figure)?;
        Some((found.value.parse().ok()?, found))
    }

    pub(super) fn rtt_ms(&self, a: &str, b: &str) -> Option<(f64, &Figure)> {
        let either = |a: &str, b: &str| self.number(&format!("{a} {b}"), "rtt_ms");
        either(a, b).or_else(|| either(b, a))
    }

    pub(super) fn place(&self, name: &str) -> Option<(f64, f64)> {
        let (latitude, longitude) = self.get(name, "place")?.value.split_once(' ')?;
        Some((latitude.parse().ok()?, longitude.parse().ok()?))
    }

    /// USD an hour of a virtual CPU and of a GiB of memory, out of what two sizes cost; and where that comes from.
    pub(super) fn prices(&self, name: &str) -> Option<(f64, f64, String)> {
        let (general, from) = self.number(name, "usd_hour 64 vcpus 256 gib")?;
        let (memory, _) = self.number(name, "usd_hour 4 vcpus 32 gib")?;
        // Of 4 vCPUs: the one has 16 GiB, the other 32.
        let gib = (memory - general / 16.0) / 16.0;
        Some(((memory - 32.0 * gib) / 4.0, gib, from.source_and_date()))
    }
}
