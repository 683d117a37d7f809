//! What an image is made of, and how its digest is told.
//!
//! An image's digest is the SHA-256 of [`image_list`]: of the list of its parts, with the size and the SHA-256 of each. So
//! who has the digest can check the list, and who has the list can check every part, whoever they come from.

use crate::wire_struct;

/// Most parts of an image.
pub const IMAGE_PARTS_MOST: usize = 16;
/// Longest list of parts, bytes.
pub const IMAGE_LIST_BYTES: usize = 8 << 10;
/// The part that says what the others are for.
pub const IMAGE_FILE: &str = "image.yaml";

const HEADING: &str = "dwcp-image 1";

/// One file of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImagePart {
    /// Its name, without a folder.
    pub file: String,
    /// Its size, bytes.
    pub bytes: u64,
    /// The SHA-256 of its content, 64 hexadecimal digits.
    pub sha256: String,
}
wire_struct!(ImagePart { 1 file, 2 bytes, 3 sha256 });

/// True for what may name an image or a file of one: letters, digits and - _ . with no dot in front.
pub fn is_plain_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.chars().all(plain)
}

/// True for 64 hexadecimal digits in lower case.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The list of an image's parts, by file: a heading, then `sha256  bytes  file`, one a line.
pub fn image_list(parts: &[ImagePart]) -> String {
    let mut parts: Vec<&ImagePart> = parts.iter().collect();
    parts.sort();
    let mut text = format!("{HEADING}\n");
    for part in parts {
        text.push_str(&format!("{}  {}  {}\n", part.sha256, part.bytes, part.file));
    }
    text
}

/// Reads what [`image_list`] wrote.
///
/// # Errors
/// It is no such list, or not in that order; or a file's name is none that may be used.
pub fn read_image_list(text: &str) -> Result<Vec<ImagePart>, String> {
    let parts = text.strip_prefix(HEADING).and_then(|rest| rest.strip_prefix('\n'));
    let parts = parts.ok_or("it does not begin as the list of an image's parts does")?;
    let read = |line: &str| {
        let mut words = line.split("  ");
        let (sha256, bytes, file) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        let fits = words.next().is_none() && is_sha256(sha256) && is_plain_name(file);
        fits.then(|| ImagePart { file: file.to_string(), bytes, sha256: sha256.to_string() })
    };
    let parts: Option<Vec<ImagePart>> = parts.lines().map(read).collect();
    let parts = parts.ok_or("a line is not `sha256  bytes  file`")?;
    check_parts(&parts)?;
    // One image has one digest only.
    if image_list(&parts) != text {
        return Err("its lines are not in order".to_string());
    }
    Ok(parts)
}

/// Refuses what are no parts of an image.
///
/// # Errors
/// The text says what is wrong.
pub fn check_parts(parts: &[ImagePart]) -> Result<(), String> {
    if parts.len() > IMAGE_PARTS_MOST {
        return Err(format!("{} parts are more than {IMAGE_PARTS_MOST}", parts.len()));
    }
    if parts.iter().all(|part| part.file != IMAGE_FILE) {
        return Err(format!("{IMAGE_FILE} is not among its parts"));
    }
    if let Some(part) = parts.iter().find(|part| !is_plain_name(&part.file) || !is_sha256(&part.sha256)) {
        return Err(format!("`{}` is no part of an image", part.file));
    }
    let mut files: Vec<&str> = parts.iter().map(|part| part.file.as_str()).collect();
    files.sort_unstable();
    match files.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(format!("{} is there twice", twice[0])),
        None => Ok(()),
    }
}

/// Bytes of all parts together.
pub fn image_bytes(parts: &[ImagePart]) -> u64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(part.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(file: &str, bytes: u64, digit: char) -> ImagePart {
        ImagePart { file: file.into(), bytes, sha256: digit.to_string().repeat(64) }
    }

    #[test]
    fn the_list_of_parts_is_the_same_in_every_order_and_reads_back() {
        let (a, b) = (part("image.yaml", 10, 'b'), part("vmlinuz", 1 << 33, 'a'));
        let text = image_list(&[a.clone(), b.clone()]);
        assert_eq!(text, image_list(&[b.clone(), a.clone()]));
        assert_eq!(text.lines().count(), 3);
        let mut sorted = vec![a, b];
        sorted.sort();
        assert_eq!(read_image_list(&text), Ok(sorted));
    }

    #[test]
    fn what_is_no_list_of_parts_is_refused() {
        let good = image_list(&[part("image.yaml", 10, 'b'), part("vmlinuz", 20, 'a')]);
        let swapped = {
            let lines: Vec<&str> = good.lines().collect();
            format!("{}\n{}\n{}\n", lines[0], lines[2], lines[1])
        };
        let cases = [
            String::new(),
            good.replace("vmlinuz", "../vmlinuz"),
            good.replace("vmlinuz", ".vmlinuz"),
            good.replace("vmlinuz", "image.yaml"),
            good.replace("image.yaml", "other.yaml"),
            good.replace("  20  ", "  twenty  "),
            good.replace("aaaa", "AAAA"),
            format!("{good}\n"),
            good.trim_end().to_string(),
            swapped,
        ];
        for text in cases {
            assert!(read_image_list(&text).is_err(), "{text}");
        }
        let many: Vec<ImagePart> = (0..20).map(|n| part(&format!("image.yaml{n}"), 1, 'a')).collect();
        assert!(check_parts(&many).is_err());
    }

    #[test]
    fn names_are_plain() {
        for name in ["small", "web-2.1_x", "A"] {
            assert!(is_plain_name(name), "{name}");
        }
        for name in ["", ".hidden", "a/b", "..", "é", "a b", &"x".repeat(65)] {
            assert!(!is_plain_name(name), "{name}");
        }
    }
}
