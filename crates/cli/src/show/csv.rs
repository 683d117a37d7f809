//! CSV (RFC 4180): the first table of an answer, else its names and values.

use super::{Block, Cell, Document};

/// The document's first table as CSV.
pub fn text(document: &Document) -> String {
    let mut out = String::new();
    let table = document.blocks.iter().find_map(|block| match block {
        Block::Table(table) => Some(table),
        _ => None,
    });
    if let Some(table) = table {
        record(
            table.columns.iter().map(|column| column.name.to_lowercase().replace([' ', '/'], "_")),
            &mut out,
        );
        for row in &table.rows {
            record(row.iter().map(plain), &mut out);
        }
        return out;
    }
    for block in &document.blocks {
        match block {
            Block::Pairs(pairs) => {
                record(pairs.iter().map(|(name, _)| name.replace([' ', '/'], "_")), &mut out);
                record(pairs.iter().map(|(_, cell)| plain(cell)), &mut out);
                return out;
            }
            Block::Text(line) => record([line.clone()], &mut out),
            Block::Table(_) => {}
        }
    }
    out
}

fn plain(cell: &Cell) -> String {
    cell.raw.as_ref().unwrap_or(&cell.text).clone()
}

fn record(fields: impl IntoIterator<Item = String>, out: &mut String) {
    let fields: Vec<String> = fields
        .into_iter()
        .map(|field| match field.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field,
        })
        .collect();
    out.push_str(&fields.join(","));
    out.push('\n');
}
