//! Records as text for people: one line each, whatever they hold.

use std::fmt::{self, Write};

use dwcp_types::Wall;

use super::{Level, Record, Span};

/// A text without anything that could move a cursor, begin a line or turn the direction of writing: control
/// characters (C0, C1, DEL), line and paragraph separators, direction marks, byte order marks and backslashes are
/// written as `\n`, `\t`, `\r`, `\\` or `\u{..}`.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut from = 0;
        for (at, c) in self.0.char_indices().filter(|(_, c)| is_escaped(*c)) {
            f.write_str(&self.0[from..at])?;
            from = at + c.len_utf8();
            match c {
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\\' => f.write_str("\\\\")?,
                c => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            }
        }
        f.write_str(&self.0[from..])
    }
}

fn is_escaped(c: char) -> bool {
    c.is_control()
        || matches!(c, '\\' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A time as `2026-11-29T10:28:12.345Z`; what is before 1970 as ms.
pub fn utc(at_ms: i64) -> String {
    match u64::try_from(at_ms) {
        Ok(ms) => {
            let seconds = Wall(ms).utc();
            format!("{}.{:03}Z", seconds.trim_end_matches('Z'), ms % 1_000)
        }
        Err(_) => format!("{at_ms}ms"),
    }
}

/// A value, in quotes when it would not be one word otherwise.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() && !self.0.contains([' ', '"', '=', '\'']) {
            return Escaped(self.0).fmt(f);
        }
        write!(f, "\"{}\"", Escaped(self.0).to_string().replace('"', "\\\""))
    }
}

impl fmt::Display for Record {
    /// `TIME LEVEL REGION COMPONENT MESSAGE name=value … request=… operation=… trace=…`, and how much was cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = &self.entry;
        let (time, component) = (utc(entry.at_ms), Escaped(&entry.component));
        write!(f, "{time} {:<7} {} {component} {}", entry.level, self.region(), Escaped(&entry.message))?;
        if let Some(span) = Span::of(self) {
            write!(f, " took {}.{:03} ms", span.duration_us / 1_000, span.duration_us % 1_000)?;
        }
        for (name, value) in &entry.fields {
            write!(f, " {}={}", Quoted(name), Quoted(value))?;
        }
        for (name, id) in [("request", &entry.request_id), ("operation", &entry.operation_id)] {
            if !id.is_empty() {
                write!(f, " {name}={}", Quoted(id))?;
            }
        }
        if let Some(place) = entry.trace {
            write!(f, " trace={}", place.trace)?;
        }
        if entry.cut_bytes > 0 {
            write!(f, " [{} bytes cut]", entry.cut_bytes)?;
        }
        Ok(())
    }
}

/// Records as JSON, one object a line.
pub fn json_line(record: &Record) -> String {
    let entry = &record.entry;
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let mut line = format!(
        "{{\"time\":\"{}\",\"level\":\"{}\",\"component\":{},\"region\":{},\"log\":{},\"seq\":{},\"text\":{}",
        utc(entry.at_ms),
        entry.level.name(),
        text(&entry.component),
        text(record.region()),
        text(record.origin.as_str()),
        record.seq,
        text(&entry.message),
    );
    // Writing to a text does not fail.
    for (name, id) in [("request_id", &entry.request_id), ("operation_id", &entry.operation_id)] {
        if !id.is_empty() {
            let _ = write!(line, ",\"{name}\":{}", text(id));
        }
    }
    if !entry.fields.is_empty() {
        let fields = entry.fields.iter().map(|(name, value)| (name.clone(), value.clone().into()));
        let fields: serde_json::Map<String, serde_json::Value> = fields.collect();
        let _ = write!(line, ",\"fields\":{}", serde_json::Value::Object(fields));
    }
    if let Some(place) = entry.trace {
        let _ = write!(line, ",\"trace_id\":\"{}\",\"span_id\":\"{}\"", place.trace, place.span);
    }
    if let Some(timing) = entry.span {
        if let Some(parent) = timing.parent {
            let _ = write!(line, ",\"parent_id\":\"{parent}\"");
        }
        let _ = write!(line, ",\"duration_us\":{}", timing.duration_us);
    }
    if entry.cut_bytes > 0 {
        let _ = write!(line, ",\"cut_bytes\":{}", entry.cut_bytes);
    }
    line.push('}');
    line
}

/// Levels as `--level` takes them: `error`, or `warning,error`.
///
/// # Errors
/// The word that is no level.
pub fn levels(text: &str) -> Result<Vec<Level>, String> {
    text.split(',').map(|word| Level::parse(word.trim()).ok_or_else(|| word.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{Entry, Origin};

    fn record(entry: Entry) -> Record {
        Record { origin: Origin::parse("eu-west-1@2").expect("an origin"), seq: 7, entry }
    }

    #[test]
    fn what_is_logged_can_not_forge_a_line_or_move_the_cursor() {
        let entry = Entry {
            at_ms: 1_764_412_092_345,
            component: "agent\u{1b}[2J".into(),
            level: Level::Warning,
            message: "a\nb\r\u{1b}[31m\u{9b}\u{202e}\u{7f}\\ ä".into(),
            fields: vec![("vm".into(), "x y=\"\n".into()), ("n".into(), String::new())],
            operation_id: "op_1".into(),
            cut_bytes: 5,
            ..Entry::default()
        };
        let line = record(entry).to_string();
        let expected = concat!(
            r"2025-11-29T10:28:12.345Z warning eu-west-1 agent\u{1b}[2J a\nb\r\u{1b}[31m\u{9b}\u{202e}\u{7f}\\ ä",
            r#" vm="x y=\"\n" n="" operation=op_1 [5 bytes cut]"#
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn json_has_what_is_there_and_nothing_else() {
        let entry =
            Entry { message: "a\"\n".into(), fields: vec![("a".into(), "b".into())], ..Entry::default() };
        let expected = concat!(
            r#"{"time":"1970-01-01T00:00:00.000Z","level":"info","component":"","region":"eu-west-1","#,
            r#""log":"eu-west-1@2","seq":7,"text":"a\"\n","fields":{"a":"b"}}"#
        );
        assert_eq!(json_line(&record(entry)), expected);
        assert_eq!(levels("warning, error"), Ok(vec![Level::Warning, Level::Error]));
        assert_eq!(levels("warn"), Err("warn".into()));
    }
}
