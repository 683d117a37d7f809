//! The table as text: a small part of TOML, written and read without a TOML library.
//!
//! ```toml
//! [regions]
//! "us-east-1" = ["127.77.1.0/24"]
//! [links]
//! "us-east-1 -> eu-west-1" = { delay_us = 35250, jitter_us = 0, loss_ppm = 0, rate_bps = 0, cut = false }
//! [isolated]
//! addresses = ["127.77.1.12"]
//! ```

use std::fmt;
use std::fmt::Write;

use super::{LinkShape, LinkTable, Network};

/// Why a table's text was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTableError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

impl fmt::Display for LinkTableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for LinkTableError {}

pub(super) fn print(table: &LinkTable) -> String {
    let mut out =
        String::from("# Emulated WAN; every process of the federation obeys a change at once.\n[regions]\n");
    for (region, networks) in &table.regions {
        let list: Vec<String> = networks.iter().map(|n| format!("\"{}/{}\"", n.address, n.prefix)).collect();
        let _ = writeln!(out, "\"{region}\" = [{}]", list.join(", "));
    }
    out.push_str("\n[links]\n");
    for ((from, to), s) in &table.links {
        let _ = writeln!(
            out,
            "\"{from} -> {to}\" = {{ delay_us = {}, jitter_us = {}, loss_ppm = {}, rate_bps = {}, cut = {} }}",
            s.delay_us,
            s.jitter_us,
            s.loss_ppm,
            s.rate_bps.unwrap_or(0),
            s.cut
        );
    }
    let list: Vec<String> = table.isolated.iter().map(|ip| format!("\"{ip}\"")).collect();
    let _ = write!(out, "\n[isolated]\naddresses = [{}]\n", list.join(", "));
    out
}

pub(super) fn parse(text: &str) -> Result<LinkTable, LinkTableError> {
    let mut table = LinkTable::default();
    let mut section = "";
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let problem = |problem: String| LinkTableError { line: i + 1, problem };
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name.trim();
            if !["regions", "links", "isolated"].contains(&section) {
                return Err(problem(format!("unknown section [{section}]")));
            }
            continue;
        }
        let (key, value) = key_value(line).ok_or_else(|| problem("expected `name = value`".into()))?;
        match section {
            "regions" => {
                table.regions.insert(key.to_owned(), networks(value).map_err(problem)?);
            }
            "links" => {
                let (from, to) = key
                    .split_once(" -> ")
                    .ok_or_else(|| problem(format!("expected \"from -> to\", found \"{key}\"")))?;
                table.links.insert((from.to_owned(), to.to_owned()), shape(value).map_err(problem)?);
            }
            "isolated" if key == "addresses" => {
                for ip in strings(value).map_err(problem)? {
                    table.isolated.insert(ip.parse().map_err(|_| problem(format!("no address: {ip}")))?);
                }
            }
            _ => return Err(problem(format!("unknown setting {key}"))),
        }
    }
    Ok(table)
}

fn key_value(line: &str) -> Option<(&str, &str)> {
    let (key, rest) = match line.strip_prefix('"') {
        Some(rest) => rest.split_once('"')?,
        None => line.split_at(line.find([' ', '='])?),
    };
    Some((key, rest.trim_start().strip_prefix('=')?.trim()))
}

fn strings(value: &str) -> Result<Vec<&str>, String> {
    let inner = value.strip_prefix('[').and_then(|v| v.strip_suffix(']')).unwrap_or(value).trim();
    inner
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| {
            item.strip_prefix('"')
                .and_then(|i| i.strip_suffix('"'))
                .ok_or_else(|| format!("expected a text in quotes, found {item}"))
        })
        .collect()
}

fn networks(value: &str) -> Result<Vec<Network>, String> {
    let one = |text: &str| {
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let address = address.parse().ok()?;
        let prefix = prefix.parse().ok().filter(|p| *p <= 32)?;
        Some(Network { address, prefix })
    };
    strings(value)?.into_iter().map(|t| one(t).ok_or_else(|| format!("no IPv4 network: {t}"))).collect()
}

fn shape(value: &str) -> Result<LinkShape, String> {
    let inner = value
        .strip_prefix('{')
        .and_then(|v| v.strip_suffix('}'))
        .ok_or_else(|| format!("expected {{ … }}, found {value}"))?;
    let mut shape = LinkShape::default();
    for item in inner.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (name, value) =
            key_value(item).ok_or_else(|| format!("expected `name = value`, found {item}"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name}: no whole number: {value}"));
        match name {
            "delay_us" => shape.delay_us = number()?,
            "jitter_us" => shape.jitter_us = number()?,
            "loss_ppm" => shape.loss_ppm = number()?.min(1_000_000) as u32,
            "rate_bps" => shape.rate_bps = Some(number()?).filter(|rate| *rate > 0),
            "cut" => shape.cut = value.parse().map_err(|_| format!("cut: true or false, not {value}"))?,
            _ => return Err(format!("unknown setting {name}")),
        }
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_table_reads_back_the_same() {
        let mut table = LinkTable::development();
        table.set_cut("us-east-1", "sa-east-1", true);
        table.edit("eu-west-1", "us-east-1", |s| s.rate_bps = Some(5_000_000));
        table.isolated.insert("127.77.1.12".parse().expect("address"));
        assert_eq!(LinkTable::parse(&table.to_text()), Ok(table));
    }

    #[test]
    fn a_bad_line_is_named() {
        let text = "[links]\n\"a -> b\" = { delay_us = soon }\n";
        let error = LinkTable::parse(text).expect_err("must be refused");
        assert_eq!(error.line, 2);
        assert!(error.problem.contains("delay_us"));
    }

    #[test]
    fn the_development_table_holds_half_the_published_round_trip() {
        let table = LinkTable::development();
        assert_eq!(table.delay_for("us-east-1", "eu-west-1").as_micros(), 35_250);
        assert_eq!(table.delay_for("au-southeast-1", "sa-east-1").as_micros(), 154_400);
        assert_eq!(table.delay_for("us-east-1", "us-east-1").as_micros(), 0);
        assert_eq!(table.region_of("127.77.3.1".parse().expect("address")), Some("ap-south-1"));
    }
}
