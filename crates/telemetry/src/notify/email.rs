//! Mails (RFC 5322), in plain text. Nothing that is told can add a line to a header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Action, Delivery, Email, Message, Person, one_line};

/// Longest address, bytes (RFC 5321).
const ADDRESS_MAX: usize = 254;
/// So many bytes of a text go into one encoded word, so that no line is longer than 76 characters (RFC 2047).
const WORD_BYTES: usize = 39;
/// So many bytes go into a line of 76 characters of base64.
const LINE_BYTES: usize = 57;

/// Checks an address: `name@domain` in ASCII, without quotes.
///
/// # Errors
/// It is none.
pub fn address(text: &str) -> Result<(), String> {
    let wrong =
        || Err(format!("'{}' is not an address such as ops@example.com", super::cut(&one_line(text), 80)));
    let Some((local, domain)) = text.rsplit_once('@') else { return wrong() };
    let atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b);
    let is_local = (1..=64).contains(&local.len()) && local.bytes().all(atom);
    let is_name = super::guard::host_name(domain).is_ok() && domain.parse::<std::net::IpAddr>().is_err();
    if text.len() > ADDRESS_MAX || !is_local || !is_name { wrong() } else { Ok(()) }
}

/// Who gets the mail: those of the settings, and the one who is paged by it.
pub fn recipients(email: &Email, message: &Message, person: Option<&Person>) -> Vec<String> {
    let mut all = email.to.clone();
    let pages = matches!(message.action, Action::Trigger | Action::Escalate(_));
    if let Some(address) = person.filter(|_| pages).and_then(|person| person.email.as_ref()) {
        if !all.contains(address) {
            all.push(address.clone());
        }
    }
    all
}

/// The mail of a delivery, with CRLF at the end of every line. Its id is that of the delivery, so that a mail which is sent twice is known
/// to be one; mails of one incident are one thread. `at_ms`: now.
pub fn mail(delivery: &Delivery, email: &Email, recipients: &[String], at_ms: i64) -> String {
    let message = &delivery.message;
    let domain = email.from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let mut text = message.text.clone();
    if let Some(link) = &message.link {
        text.push_str("\n\n");
        text.push_str(link);
    }
    let mut mail = String::new();
    let mut header = |name: &str, value: &str| {
        mail.push_str(&format!("{name}: {value}\r\n"));
    };
    header("From", &email.from);
    header("To", &recipients.join(",\r\n "));
    header("Subject", &encoded(&message.title));
    header("Date", &date(at_ms));
    header("Message-ID", &format!("<{}@{domain}>", delivery.id));
    if message.is_incident() {
        header("References", &format!("<{}@{domain}>", thread(message)));
    }
    header("Auto-Submitted", "auto-generated");
    header("MIME-Version", "1.0");
    header("Content-Type", "text/plain; charset=utf-8");
    header("Content-Transfer-Encoding", "base64");
    mail.push_str("\r\n");
    for line in text.replace('\n', "\r\n").as_bytes().chunks(LINE_BYTES) {
        mail.push_str(&BASE64.encode(line));
        mail.push_str("\r\n");
    }
    mail
}

/// The id that the mails of an incident refer to, of characters that an id may have.
fn thread(message: &Message) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    format!("{}.dwcp", message.about().chars().filter(allowed).collect::<String>())
}

fn date(at_ms: i64) -> String {
    let moment = jiff::Timestamp::from_second(at_ms.div_euclid(1_000)).unwrap_or_default();
    moment.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// A text in a header: as it is when it is short and plain, in encoded words when it is not.
fn encoded(text: &str) -> String {
    let text = one_line(text);
    let plain = |b: u8| (0x20..0x7f).contains(&b);
    if text.len() <= 60 && text.bytes().all(plain) && !text.contains("=?") {
        return text;
    }
    let mut words: Vec<String> = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let mut end = rest.len().min(WORD_BYTES);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        words.push(format!("=?utf-8?B?{}?=", BASE64.encode(&rest[..end])));
        rest = &rest[end..];
    }
    words.join("\r\n ")
}
