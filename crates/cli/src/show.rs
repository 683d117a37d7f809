//! Answers as text: tables for people, JSON, YAML and CSV for programs.

mod csv;
mod table;
pub mod words;
mod yaml;

use dwcp_api::Page;
use serde::Serialize;
use serde_json::Value;

use crate::session::Session;
use crate::typed::Format;
pub use table::{Cell, Column, Table, Tone};
pub use yaml::text as yaml_text;

/// How text may look.
#[derive(Clone, Debug, Default)]
pub struct Style {
    /// Widest line; `None`: no limit.
    pub width: Option<usize>,
    pub color: bool,
}

/// A piece of what people see.
#[derive(Clone, Debug)]
pub enum Block {
    /// As it is, with a newline behind.
    Text(String),
    /// Names and values, one a line.
    Pairs(Vec<(String, Cell)>),
    Table(Table),
}

/// An answer: the value for programs and the blocks for people.
#[derive(Clone, Debug)]
pub struct Document {
    pub value: Value,
    pub blocks: Vec<Block>,
}

impl Document {
    /// A document about `value`, with nothing for people yet.
    pub fn of<T: Serialize>(value: &T) -> Document {
        Document { value: serde_json::to_value(value).unwrap_or(Value::Null), blocks: Vec::new() }
    }

    /// A bare value: one line, in every format that can't carry more.
    pub fn bare<T: Serialize>(value: &T, text: impl Into<String>) -> Document {
        Document::of(value).text_block(text)
    }

    pub fn text_block(mut self, text: impl Into<String>) -> Document {
        self.blocks.push(Block::Text(text.into()));
        self
    }

    pub fn pairs(mut self, pairs: Vec<(&str, Cell)>) -> Document {
        self.blocks
            .push(Block::Pairs(pairs.into_iter().map(|(name, cell)| (name.to_owned(), cell)).collect()));
        self
    }

    pub fn table(mut self, table: Table) -> Document {
        self.blocks.push(Block::Table(table));
        self
    }

    /// A list: its table, whether there is more of it, and how old it is.
    pub fn page<T: Serialize>(page: &Page<T>, table: Table) -> Document {
        let document = Document::of(page).table(table);
        let document = match page.next_cursor {
            Some(_) => document.text_block("there are more: give a larger --limit"),
            None => document,
        };
        document.text_block(words::as_of(&page.as_of))
    }

    /// Says so where nothing was changed.
    pub fn dry(self, session: &Session) -> Document {
        if session.global.dry_run { self.text_block("dry run: nothing was changed") } else { self }
    }

    /// A heading and a table; nothing when the table is empty.
    pub fn section(self, heading: &str, table: Table) -> Document {
        if table.rows.is_empty() {
            return self;
        }
        self.text_block(format!("\n{heading}")).table(table)
    }

    /// The text in a format.
    pub fn text(&self, format: Format, style: &Style) -> String {
        match format {
            Format::Json => serde_json::to_string_pretty(&self.value).unwrap_or_default() + "\n",
            Format::Yaml => yaml::text(&self.value),
            Format::Csv => csv::text(self),
            Format::Table => self.plain(style),
        }
    }

    fn plain(&self, style: &Style) -> String {
        let mut text = String::new();
        for block in &self.blocks {
            match block {
                Block::Text(line) => {
                    text.push_str(&table::wrap_lines(line, style.width));
                    text.push('\n');
                }
                Block::Pairs(pairs) => table::pairs(pairs, style, &mut text),
                Block::Table(table) => table.render(style, &mut text),
            }
        }
        text
    }
}
