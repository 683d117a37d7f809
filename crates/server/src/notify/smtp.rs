//! One mail to a server (RFC 5321), with STARTTLS (RFC 3207) or TLS from the first byte, and AUTH PLAIN or LOGIN (RFC 4954).

mod line;

use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use dwcp_telemetry::notify::{Allowed, Email, Outcome, Security, Verdict};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::secret::Revealed;
use crate::outbound::{SYSTEM_ROOTS, certificates};
use line::{Line, Reply, Timed};

/// A server, and who is known to it.
pub struct Server<'a> {
    pub email: &'a Email,
    pub password: Option<&'a str>,
    /// The authority of its certificate; the system's without one.
    pub ca_file: Option<&'a str>,
    pub allowed: &'a Allowed,
    /// What is not to be in the outcome.
    pub revealed: &'a Revealed,
}

/// What is sent: lines that end with CRLF.
pub struct Letter<'a> {
    pub to: &'a [String],
    pub text: &'a str,
}

/// Why a conversation came to an end.
enum Stop {
    /// No address of the server may be connected to.
    Forbidden(String),
    NoAnswer(String),
    /// The server said no.
    Said(Reply),
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Stop {
        Stop::NoAnswer(error.to_string())
    }
}

/// Sends it once, everything within that time.
pub fn send(server: &Server<'_>, letter: &Letter<'_>, within: Duration) -> Outcome {
    match converse(server, letter, Instant::now() + within) {
        Ok(outcome) => outcome,
        Err(Stop::Forbidden(why)) => Outcome::refused(&why),
        Err(Stop::NoAnswer(why)) => Outcome::no_answer(&format!("{}: {why}", server.email.host)),
        Err(Stop::Said(reply)) => Outcome::of_smtp(reply.code, &server.revealed.hide(&reply.text())),
    }
}

fn converse(server: &Server<'_>, letter: &Letter<'_>, until: Instant) -> Result<Outcome, Stop> {
    let stream = connect(server, until)?;
    let own = match stream.local_addr()?.ip() {
        IpAddr::V4(v4) => format!("[{v4}]"),
        IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
    };
    let mut line = Line::new(Timed { stream, until });
    if server.email.security == Security::Tls {
        line.secure(tls(server)?)?;
    }
    expect(line.reply()?, 220)?;
    let mut greeted = hello(&mut line, &own)?;
    if server.email.security == Security::StartTls {
        if !greeted.offers("STARTTLS") {
            return Err(Stop::NoAnswer("it does not offer STARTTLS".to_owned()));
        }
        expect(line.ask("STARTTLS")?, 220)?;
        line.secure(tls(server)?)?;
        greeted = hello(&mut line, &own)?;
    }
    if let (Some(user), Some(password)) = (&server.email.user, server.password) {
        authenticate(&mut line, &greeted, user, password)?;
    }
    hand_over(&mut line, server.email, letter)
}

/// The server takes the letter for everyone, or for some of them; who is left out is said.
fn hand_over(line: &mut Line, email: &Email, letter: &Letter<'_>) -> Result<Outcome, Stop> {
    expect(line.ask(&format!("MAIL FROM:<{}>", email.from))?, 250)?;
    let (mut taken, mut refused) = (0, Vec::new());
    for address in letter.to {
        let reply = line.ask(&format!("RCPT TO:<{address}>"))?;
        match reply.code {
            250 | 251 => taken += 1,
            _ => refused.push((address, reply)),
        }
    }
    if taken == 0 {
        let passes = refused.iter().position(|(_, reply)| (400..500).contains(&reply.code)).unwrap_or(0);
        let reply = if refused.is_empty() { Reply::none() } else { refused.swap_remove(passes).1 };
        return Err(Stop::Said(reply));
    }
    expect(line.ask("DATA")?, 354)?;
    let reply = line.data(letter.text)?;
    expect_any(&reply, &[250])?;
    // It is taken: how the server says good-bye does not matter.
    let _ = line.ask("QUIT");
    let mut said = reply.text();
    for (address, reply) in refused {
        said.push_str(&format!("; not for {address}: {} {}", reply.code, reply.text()));
    }
    Ok(Outcome { verdict: Verdict::Delivered, ..Outcome::of_smtp(reply.code, &said) })
}

fn expect(reply: Reply, code: u16) -> Result<Reply, Stop> {
    expect_any(&reply, &[code])?;
    Ok(reply)
}

fn expect_any(reply: &Reply, codes: &[u16]) -> Result<(), Stop> {
    match reply.code {
        code if codes.contains(&code) => Ok(()),
        400..=599 => Err(Stop::Said(reply.clone())),
        code => Err(Stop::NoAnswer(format!("{code} is not an answer to that: {}", reply.text()))),
    }
}

fn hello(line: &mut Line, own: &str) -> Result<Reply, Stop> {
    expect(line.ask(&format!("EHLO {own}"))?, 250)
}

/// What a password is sent as.
pub fn forms(user: &str, password: &str) -> [String; 3] {
    let plain = format!("\0{user}\0{password}");
    [password.to_owned(), BASE64.encode(plain), BASE64.encode(password)]
}

fn authenticate(line: &mut Line, greeted: &Reply, user: &str, password: &str) -> Result<(), Stop> {
    if !line.is_secure() {
        return Err(Stop::Forbidden("a password is not sent without TLS".to_owned()));
    }
    let [_, at_once, alone] = forms(user, password);
    let reply = if greeted.offers("AUTH PLAIN") {
        line.ask(&format!("AUTH PLAIN {at_once}"))?
    } else if greeted.offers("AUTH LOGIN") {
        expect(line.ask("AUTH LOGIN")?, 334)?;
        expect(line.ask(&BASE64.encode(user))?, 334)?;
        line.ask(&alone)?
    } else {
        return Err(Stop::NoAnswer("it offers neither AUTH PLAIN nor AUTH LOGIN".to_owned()));
    };
    expect_any(&reply, &[235])
}

/// Connects to the first address that may be connected to and answers.
fn connect(server: &Server<'_>, until: Instant) -> Result<TcpStream, Stop> {
    let (mut forbidden, mut failed) = (None, None);
    for address in resolve(&server.email.host, server.email.port, until)? {
        if let Err(why) = server.allowed.check(address.ip()) {
            forbidden = Some(Stop::Forbidden(why));
            continue;
        }
        match TcpStream::connect_timeout(&address, line::left(until)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Some(Stop::NoAnswer(format!("{address}: {error}"))),
        }
    }
    Err(failed.or(forbidden).unwrap_or_else(|| Stop::NoAnswer("the name has no address".to_owned())))
}

/// Looks a name up; the system's resolver has no time limit, so a thread waits for it.
fn resolve(host: &str, port: u16, until: Instant) -> Result<Vec<SocketAddr>, Stop> {
    let (tell, told) = mpsc::channel();
    let host = host.to_owned();
    std::thread::Builder::new().name("notify".to_owned()).spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // Nobody waits any more when it took too long.
        let _ = tell.send(found);
    })?;
    let found: std::io::Result<Vec<SocketAddr>> = told
        .recv_timeout(line::left(until)?)
        .map_err(|_| Stop::NoAnswer("its name was not looked up in time".to_owned()))?;
    Ok(found?)
}

fn tls(server: &Server<'_>) -> Result<ClientConnection, Stop> {
    let path = Path::new(server.ca_file.unwrap_or(SYSTEM_ROOTS));
    let mut roots = RootCertStore::empty();
    let found = certificates(path).map_err(Stop::NoAnswer)?;
    roots.add_parsable_certificates(found.iter().map(|one| CertificateDer::from(one.der().to_vec())));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let wrong = |error: rustls::Error| Stop::NoAnswer(error.to_string());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(wrong)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let host = server.email.host.trim_end_matches('.').to_owned();
    let name = ServerName::try_from(host).map_err(|error| Stop::NoAnswer(error.to_string()))?;
    ClientConnection::new(Arc::new(config), name).map_err(wrong)
}
