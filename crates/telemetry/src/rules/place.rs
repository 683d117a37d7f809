//! Where a byte of a YAML scalar stands in its file.

/// A place in a file, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub line: u64,
    pub column: u64,
}

/// The place of byte `offset` of `value`, whose scalar begins at `from` in `file`: plain, quoted or a block.
///
/// Both texts are walked side by side, letter by letter. White space is passed over, as folding and indentation change it.
pub(super) fn place_of(file: &str, from: Place, value: &str, offset: usize) -> Place {
    let mut source = Source::at(file, from);
    let quote = source.peek().filter(|c| matches!(c, '"' | '\''));
    match source.peek() {
        Some('"' | '\'') => source.step(),
        Some('|' | '>') => {
            while source.peek().is_some_and(|c| c != '\n') {
                source.step();
            }
        }
        _ => {}
    }
    let mut found = source.place;
    for (at, c) in value.char_indices() {
        if at >= offset {
            break;
        }
        if !c.is_whitespace() {
            source.pass_space();
            if source.peek().is_none() {
                return found;
            }
            source.letter(quote);
        } else if quote == Some('"') && source.escaped_space() {
            source.letter(quote);
        }
        found = source.place;
    }
    source.pass_space();
    if source.peek().is_none() { found } else { source.place }
}

/// The text of a plain scalar that begins there, up to the end of its line, a comment, or what closes a flow.
pub(super) fn plain_scalar(file: &str, from: Place) -> String {
    let source = Source::at(file, from);
    let line = source.rest.lines().next().unwrap_or("");
    let line = line.split(" #").next().unwrap_or(line);
    let end = line.find([',', '}', ']']).unwrap_or(line.len());
    line[..end].trim_end().to_owned()
}

struct Source<'a> {
    rest: &'a str,
    place: Place,
}

impl<'a> Source<'a> {
    fn at(file: &'a str, from: Place) -> Source<'a> {
        let mut source = Source { rest: file, place: Place { line: 1, column: 1 } };
        while source.place != from && source.peek().is_some() {
            source.step();
        }
        source
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn step(&mut self) {
        let Some(c) = self.peek() else { return };
        self.rest = &self.rest[c.len_utf8()..];
        if c == '\n' {
            self.place = Place { line: self.place.line + 1, column: 1 };
        } else {
            self.place.column += 1;
        }
    }

    fn pass_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.step();
        }
    }

    /// Whether an escape such as `\n` or `\t` comes next.
    fn escaped_space(&self) -> bool {
        self.rest.starts_with("\\n") || self.rest.starts_with("\\t") || self.rest.starts_with("\\ ")
    }

    /// Passes over what stands for one letter.
    fn letter(&mut self, quote: Option<char>) {
        match (quote, self.peek()) {
            (Some('"'), Some('\\')) => {
                self.step();
                let digits = match self.peek() {
                    Some('x') => 2,
                    Some('u') => 4,
                    Some('U') => 8,
                    _ => 0,
                };
                (0..=digits).for_each(|_| self.step());
            }
            (Some('\''), Some('\'')) => {
                self.step();
                self.step();
            }
            _ => self.step(),
        }
    }
}
