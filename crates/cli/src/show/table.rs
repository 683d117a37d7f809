//! Tables: aligned, numbers to the right, narrowed until they fit.

use super::Style;

/// What a value means, where colour can say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    Plain,
    Good,
    Warn,
    Bad,
    Faint,
}

/// One value of a table.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub text: String,
    pub tone: Tone,
    /// What programs get instead, where the text carries a mark for people.
    pub raw: Option<String>,
}

impl Cell {
    pub fn toned(text: impl Into<String>, tone: Tone) -> Cell {
        Cell { text: text.into(), tone, raw: None }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(value: T) -> Cell {
        Cell { text: value.to_string(), tone: Tone::Plain, raw: None }
    }
}

/// One column.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub right: bool,
    /// Left out where the table would be too wide; the highest goes first, 0 stays.
    pub spare: u8,
}

/// Rows under headings.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
    /// Shown instead of an empty table.
    pub empty: &'static str,
}

const GAP: usize = 2;
/// No column is wrapped narrower than this.
const NARROWEST: usize = 12;

impl Table {
    /// Columns by name. A name that begins with `>` is aligned right; one that ends with digits after `~` is spare.
    pub fn new<S: AsRef<str>>(names: &[S]) -> Table {
        let columns = names
            .iter()
            .map(|name| {
                let name = name.as_ref();
                let (name, right) = name.strip_prefix('>').map_or((name, false), |rest| (rest, true));
                let (name, spare) = match name.split_once('~') {
                    Some((name, rank)) => (name, rank.parse().unwrap_or(1)),
                    None => (name, 0),
                };
                Column { name: name.to_owned(), right, spare }
            })
            .collect();
        Table { columns, rows: Vec::new(), empty: "nothing to show" }
    }

    /// What an empty table says.
    pub fn or(mut self, empty: &'static str) -> Table {
        self.empty = empty;
        self
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// Appends the table's text.
    pub fn render(&self, style: &Style, out: &mut String) {
        if self.rows.is_empty() {
            out.push_str(self.empty);
            out.push('\n');
            return;
        }
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let mut left_out = Vec::new();
        while style.width.is_some_and(|width| self.needs(&shown) > width) {
            let spare = shown.iter().copied().max_by_key(|index| self.columns[*index].spare);
            match spare.filter(|index| self.columns[*index].spare > 0) {
                Some(index) => {
                    shown.retain(|kept| *kept != index);
                    left_out.push(self.columns[index].name.to_lowercase());
                }
                None => break,
            }
        }
        let widths = self.widths(&shown, style.width);
        let heads: Vec<Cell> =
            shown.iter().map(|i| Cell::toned(self.columns[*i].name.clone(), Tone::Faint)).collect();
        self.line(&shown, &heads, &widths, style, out);
        for row in &self.rows {
            let cells: Vec<Cell> = shown.iter().map(|index| row[*index].clone()).collect();
            self.line(&shown, &cells, &widths, style, out);
        }
        if !left_out.is_empty() {
            let note = format!("left out for lack of width: {}", left_out.join(", "));
            out.push_str(&wrap_lines(&note, style.width));
            out.push('\n');
        }
    }

    fn natural(&self, index: usize) -> usize {
        let cells = self.rows.iter().map(|row| width_of(&row[index].text)).max().unwrap_or(0);
        cells.max(width_of(&self.columns[index].name))
    }

    fn needs(&self, shown: &[usize]) -> usize {
        let sum: usize = shown.iter().map(|index| self.natural(*index)).sum();
        sum + GAP * shown.len().saturating_sub(1)
    }

    /// Widths of the shown columns: natural, then the last one narrowed, then the widest ones, until the line fits.
    fn widths(&self, shown: &[usize], limit: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = shown.iter().map(|index| self.natural(*index)).collect();
        let Some(limit) = limit else { return widths };
        let room = limit.saturating_sub(GAP * widths.len().saturating_sub(1));
        let over = |widths: &[usize]| widths.iter().sum::<usize>().saturating_sub(room);
        if let Some(last) = widths.len().checked_sub(1) {
            let floor = widths[last].min(NARROWEST);
            widths[last] = widths[last].saturating_sub(over(&widths)).max(floor);
        }
        while over(&widths) > 0 {
            let Some(widest) = (0..widths.len()).max_by_key(|index| widths[*index]) else { break };
            if widths[widest] <= 4 {
                break;
            }
            widths[widest] -= 1;
        }
        widths
    }

    fn line(&self, shown: &[usize], cells: &[Cell], widths: &[usize], style: &Style, out: &mut String) {
        let wrapped: Vec<Vec<String>> =
            cells.iter().zip(widths).map(|(cell, width)| wrap(&cell.text, *width)).collect();
        let height = wrapped.iter().map(Vec::len).max().unwrap_or(1);
        for level in 0..height {
            let mut line = String::new();
            for (at, index) in shown.iter().enumerate() {
                let text = wrapped[at].get(level).map_or("", String::as_str);
                let fill = " ".repeat(widths[at].saturating_sub(width_of(text)));
                let painted = paint(text, cells[at].tone, style.color);
                if at > 0 {
                    line.push_str(&" ".repeat(GAP));
                }
                match self.columns[*index].right {
                    true => line.push_str(&(fill + &painted)),
                    false => line.push_str(&(painted + &fill)),
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
}

/// Names and values, the values in one column.
pub fn pairs(pairs: &[(String, Cell)], style: &Style, out: &mut String) {
    let widest = pairs.iter().map(|(name, _)| width_of(name)).max().unwrap_or(0);
    let room = style.width.map_or(usize::MAX, |width| width.saturating_sub(widest + GAP).max(NARROWEST));
    for (name, cell) in pairs {
        for (level, part) in wrap(&cell.text, room).iter().enumerate() {
            let name = if level == 0 { name.as_str() } else { "" };
            let fill = " ".repeat(widest - width_of(name) + GAP);
            let name = paint(name, Tone::Faint, style.color);
            let line = format!("{name}{fill}{}", paint(part, cell.tone, style.color));
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
}

/// Wraps each line of a text.
pub fn wrap_lines(text: &str, width: Option<usize>) -> String {
    match width {
        None => text.to_owned(),
        Some(width) => text.lines().flat_map(|line| wrap(line, width)).collect::<Vec<_>>().join("\n"),
    }
}

/// Breaks at spaces; a word longer than the line is cut.
fn wrap(text: &str, width: usize) -> Vec<String> {
    if width_of(text) <= width {
        return vec![text.to_owned()];
    }
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        while let Some(line) = lines.last_mut() {
            let taken = width_of(line);
            let gap = usize::from(taken > 0);
            if taken + gap + word.len() <= width {
                line.push_str(if gap == 1 { " " } else { "" });
                line.extend(word);
                break;
            }
            if taken == 0 {
                line.extend(word.drain(..width.max(1).min(word.len())));
                if word.is_empty() {
                    break;
                }
            }
            lines.push(String::new());
        }
    }
    lines
}

fn width_of(text: &str) -> usize {
    text.chars().count()
}

fn paint(text: &str, tone: Tone, color: bool) -> String {
    let code = match tone {
        _ if !color || text.is_empty() => return text.to_owned(),
        Tone::Plain => return text.to_owned(),
        Tone::Good => "32",
        Tone::Warn => "33",
        Tone::Bad => "31",
        Tone::Faint => "2",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&["NAME", ">COUNT", "SPARE~1", "WHY"]);
        table.row(vec![
            "first".into(),
            7.into(),
            "left out".into(),
            "because it is so and not otherwise".into(),
        ]);
        table.row(vec!["second".into(), 1234.into(), "as well".into(), "short".into()]);
        table
    }

    #[test]
    fn numbers_stand_to_the_right_and_lines_end_without_blanks() {
        let mut out = String::new();
        sample().render(&Style::default(), &mut out);
        assert!(out.starts_with("NAME    COUNT  SPARE     WHY\nfirst       7  left out  because"), "{out}");
        assert!(out.lines().all(|line| line.trim_end() == line), "{out}");
    }

    #[test]
    fn a_narrow_table_drops_spare_columns_and_wraps_the_last() {
        let mut out = String::new();
        sample().render(&Style { width: Some(40), color: false }, &mut out);
        assert!(out.lines().all(|line| line.chars().count() <= 40), "{out}");
        assert!(out.contains("left out for lack of width: spare"), "{out}");
        assert!(out.contains("otherwise"), "{out}");
    }

    #[test]
    fn colours_are_only_there_when_asked_for() {
        let mut table = Table::new(&["A"]);
        table.row(vec![Cell::toned("bad", Tone::Bad)]);
        let (mut with, mut without) = (String::new(), String::new());
        table.render(&Style { width: None, color: true }, &mut with);
        table.render(&Style::default(), &mut without);
        assert!(with.contains("\x1b[31mbad\x1b[0m") && !without.contains('\x1b'));
    }
}
