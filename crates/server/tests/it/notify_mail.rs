//! Notifications by mail, to servers that protect their line, or don't, or are someone else's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use dwcp_server::notify::deliver;
use dwcp_telemetry::notify::{Action, Delivery, Outcome, Verdict};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::notify::{message, settings};
use crate::notify_mock::{certificates, tls_config};
use crate::scratch::Scratch;

const WITHIN: Duration = Duration::from_secs(20);
const NOW_MS: i64 = 1_796_000_000_000;
const PASSWORD: &str = "correct-horse-battery";

/// What a server does.
#[derive(Clone, Default)]
struct Manner {
    tls: Tls,
    /// What it offers for AUTH.
    auth: &'static str,
    /// What it says instead of its usual answer, by the first word of the command.
    says: Vec<(&'static str, &'static str)>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Tls {
    #[default]
    No,
    Start,
    First,
}

/// What a server heard, over a plain line and over a protected one.
#[derive(Default)]
struct Heard {
    plain: Vec<String>,
    secure: Vec<String>,
    mails: Vec<String>,
}

struct Server {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    serving: Option<JoinHandle<()>>,
}

trait Both: Read + Write + Send {}
impl<T: Read + Write + Send> Both for T {}

impl Server {
    fn start(manner: Manner, folder: &Path) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (shared, config) = (Arc::clone(&heard), tls_config(folder));
        let serving = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a connection");
            stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
            // Whoever talks to it may hang up at any point.
            let _ = serve(stream, &manner, &config, &shared);
        });
        Server { address, heard, serving: Some(serving) }
    }

    /// What it heard by the end of the conversation.
    fn end(mut self) -> Heard {
        self.serving.take().expect("it runs").join().expect("it ends");
        std::mem::take(&mut *self.heard.lock().expect("a lock"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            // It waits for a connection, if none came.
            let _ = TcpStream::connect(self.address);
            let _ = serving.join();
        }
    }
}

fn secure(stream: TcpStream, config: &Arc<ServerConfig>) -> Box<dyn Both> {
    let connection = ServerConnection::new(Arc::clone(config)).expect("a connection");
    Box::new(StreamOwned::new(connection, stream))
}

fn serve(
    stream: TcpStream,
    manner: &Manner,
    config: &Arc<ServerConfig>,
    heard: &Mutex<Heard>,
) -> std::io::Result<()> {
    let mut is_secure = manner.tls == Tls::First;
    let second = stream.try_clone()?;
    let mut wire: BufReader<Box<dyn Both>> =
        BufReader::new(if is_secure { secure(stream, config) } else { Box::new(stream) });
    let say = |wire: &mut BufReader<Box<dyn Both>>, text: &str| {
        wire.get_mut().write_all(format!("{text}\r\n").as_bytes())?;
        wire.get_mut().flush()
    };
    say(&mut wire, "220 mail.example.com ESMTP")?;
    loop {
        let mut line = String::new();
        if wire.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_owned();
        let word = line.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase();
        {
            let mut heard = heard.lock().expect("a lock");
            if is_secure { heard.secure.push(line.clone()) } else { heard.plain.push(line.clone()) }
        }
        let instead = manner.says.iter().find(|(known, _)| line.to_ascii_uppercase().contains(known));
        if let Some((_, text)) = instead {
            if *text == "hang" {
                std::thread::sleep(Duration::from_secs(5));
                return Ok(());
            }
            say(&mut wire, text)?;
            continue;
        }
        match word.as_str() {
            "EHLO" => {
                let start = if manner.tls == Tls::Start && !is_secure { "250-STARTTLS\r\n" } else { "" };
                let auth = if manner.auth.is_empty() {
                    String::new()
                } else {
                    format!("250-AUTH {}\r\n", manner.auth)
                };
                say(&mut wire, &format!("250-mail.example.com\r\n{start}{auth}250 SIZE 1000000"))?;
            }
            "STARTTLS" => {
                say(&mut wire, "220 go ahead")?;
                wire = BufReader::new(secure(second.try_clone()?, config));
                is_secure = true;
            }
            "AUTH" if line == "AUTH LOGIN" => say(&mut wire, "334 VXNlcm5hbWU6")?,
            "AUTH" => say(&mut wire, "235 welcome")?,
            "DATA" => {
                say(&mut wire, "354 go on")?;
                let mail = data(&mut wire)?;
                heard.lock().expect("a lock").mails.push(mail);
                say(&mut wire, "250 2.0.0 queued as 42")?;
            }
            "QUIT" => return say(&mut wire, "221 bye"),
            "MAIL" | "RCPT" => say(&mut wire, "250 fine")?,
            // Name and password of AUTH LOGIN.
            _ if line == BASE64.encode("dwcp") => say(&mut wire, "334 UGFzc3dvcmQ6")?,
            _ if line == BASE64.encode(PASSWORD) => say(&mut wire, "235 welcome")?,
            _ => say(&mut wire, "500 what?")?,
        }
    }
}

/// A mail as its server takes it: without the dots that were added.
fn data(wire: &mut impl BufRead) -> std::io::Result<String> {
    let mut mail = String::new();
    loop {
        let mut line = String::new();
        if wire.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == ".\r\n" {
            return Ok(mail);
        }
        mail.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}

/// Sends one mail to a server of that manner.
fn send(
    manner: &Manner,
    security: &str,
    folder: &Path,
    trusted: &Path,
    within: Duration,
) -> (Outcome, Heard) {
    let server = Server::start(manner.clone(), folder);
    let user = match security {
        "none" => String::new(),
        _ => format!("\n      user: dwcp\n      password: {PASSWORD}"),
    };
    let settings = settings(&format!(
        "allow_private_addresses: [127.0.0.0/8]
receivers:
  - name: mail
    ca_file: '{}'
    email:
      host: 127.0.0.1
      port: {}
      security: {security}{user}
      from: dwcp@example.com
      to: [ops@example.com, boss@example.com]
people: [{{name: ada, email: ada@example.com}}]
",
        trusted.join("ca.pem").display(),
        server.address.port()
    ));
    let mut message = message(Action::Trigger);
    message.person = Some("ada".to_owned());
    let delivery = Delivery::new(&message, "mail", NOW_MS);
    let outcome = deliver(&settings, &delivery, within, &|_| Ok(()));
    (outcome, server.end())
}

#[test]
fn a_mail_goes_over_a_protected_line_to_everyone_who_is_to_read_it() {
    let scratch = Scratch::new("notify-mail");
    let ours = certificates(&scratch, "ours");
    for (tls, security) in [(Tls::Start, "starttls"), (Tls::First, "tls"), (Tls::No, "none")] {
        for auth in ["PLAIN LOGIN", "LOGIN"] {
            let manner = Manner { tls, auth, ..Manner::default() };
            let (outcome, heard) = send(&manner, security, &ours, &ours, WITHIN);
            assert_eq!(
                (outcome.verdict, outcome.status),
                (Verdict::Delivered, Some(250)),
                "{}",
                outcome.said
            );
            let plain: Vec<&str> = heard.plain.iter().map(String::as_str).collect();
            match tls {
                Tls::Start => assert_eq!(plain, ["EHLO [127.0.0.1]", "STARTTLS"]),
                Tls::First => assert!(plain.is_empty(), "{plain:?}"),
                Tls::No => assert!(!plain.iter().any(|line| line.contains("AUTH")), "{plain:?}"),
            }
            let all = [heard.plain, heard.secure].concat();
            let told: Vec<&String> = all.iter().filter(|line| line.starts_with("RCPT")).collect();
            let wanted = ["ops", "boss", "ada"].map(|name| format!("RCPT TO:<{name}@example.com>"));
            assert_eq!(told, wanted.iter().collect::<Vec<&String>>());
            let login = all.iter().any(|line| *line == BASE64.encode(PASSWORD));
            let at_once = format!("AUTH PLAIN {}", BASE64.encode(format!("\0dwcp\0{PASSWORD}")));
            assert_eq!(login, tls != Tls::No && auth == "LOGIN");
            assert_eq!(all.contains(&at_once), tls != Tls::No && auth != "LOGIN");
            let (head, body) = heard.mails[0].split_once("\r\n\r\n").expect("a head");
            assert!(head.contains("\r\nSubject: Region us-east-1 is gone\r\n"), "{head}");
            let text = BASE64.decode(body.replace("\r\n", "")).expect("base64");
            assert_eq!(text, b"Nobody answers.\r\n.\r\n..and more");
        }
    }
}

#[test]
fn no_password_and_no_mail_goes_over_a_line_that_is_not_protected_as_it_should_be() {
    let scratch = Scratch::new("notify-tls");
    let (ours, theirs) = (certificates(&scratch, "ours"), certificates(&scratch, "theirs"));
    let manner = |tls, says| Manner { tls, auth: "PLAIN", says };
    for (manner, folder, wanted) in [
        // It has lost its STARTTLS on the way.
        (manner(Tls::No, vec![]), &ours, "it does not offer STARTTLS"),
        // Someone else's certificate.
        (manner(Tls::Start, vec![]), &theirs, "certificate"),
        // What follows was not said by the server that is known after the handshake.
        (
            manner(Tls::Start, vec![("STARTTLS", "220 go\r\n250 injected")]),
            &ours,
            "it said more before TLS began",
        ),
        (manner(Tls::Start, vec![("STARTTLS", "454 not now")]), &ours, "not now"),
    ] {
        let (outcome, heard) = send(&manner, "starttls", folder, &ours, WITHIN);
        assert_eq!(outcome.verdict, Verdict::Later(None), "{}", outcome.said);
        assert!(outcome.said.contains(wanted), "{} has no {wanted}", outcome.said);
        assert!(
            heard.plain.iter().all(|line| line.starts_with("EHLO") || line == "STARTTLS"),
            "{:?}",
            heard.plain
        );
        assert!(heard.secure.is_empty() && heard.mails.is_empty());
    }
}

#[test]
fn what_a_mail_server_says_is_taken_for_what_it_means() {
    let scratch = Scratch::new("notify-said");
    let ours = certificates(&scratch, "ours");
    let (later, never) = (Verdict::Later(None), Verdict::Never);
    for (command, says, verdict, status) in [
        ("EHLO", "421 too busy", later, Some(421)),
        ("MAIL", "452 no space", later, Some(452)),
        ("MAIL", "550 not you", never, Some(550)),
        ("RCPT", "450 greylisted", later, Some(450)),
        ("RCPT", "550 nobody here", never, Some(550)),
        ("OPS@", "550 nobody here", Verdict::Delivered, Some(250)),
        ("DATA", "554 no", never, Some(554)),
        ("QUIT", "500 stay", Verdict::Delivered, Some(250)),
        ("MAIL", "HTTP/1.1 400 Bad Request", later, None),
        ("MAIL", "99", later, None),
    ] {
        let manner = Manner { says: vec![(command, says)], ..Manner::default() };
        let (outcome, _) = send(&manner, "none", &ours, &ours, WITHIN);
        assert_eq!(
            (outcome.verdict, outcome.status),
            (verdict, status),
            "{command} {says}: {}",
            outcome.said
        );
        if command == "OPS@" {
            assert!(outcome.said.contains("not for ops@example.com: 550 nobody here"), "{}", outcome.said);
        }
    }
    let manner = Manner { says: vec![("AUTH", "535 wrong")], tls: Tls::First, auth: "PLAIN" };
    let (outcome, _) = send(&manner, "tls", &ours, &ours, WITHIN);
    assert_eq!((outcome.verdict, outcome.said.as_str()), (never, "wrong"));
    // A server that repeats what it does not understand.
    let echo = "502 what is AUTH PLAIN AGR3Y3AAY29ycmVjdC1ob3JzZS1iYXR0ZXJ5 and correct-horse-battery?";
    let manner = Manner { says: vec![("AUTH", echo)], tls: Tls::First, auth: "PLAIN" };
    let (outcome, _) = send(&manner, "tls", &ours, &ours, WITHIN);
    assert_eq!(outcome.said, "what is AUTH PLAIN [hidden] and [hidden]?");
}

#[test]
fn a_mail_server_that_hangs_ends_an_attempt_in_time() {
    let scratch = Scratch::new("notify-hang");
    let ours = certificates(&scratch, "ours");
    for (security, tls, command) in
        [("none", Tls::No, "EHLO"), ("none", Tls::No, "DATA"), ("tls", Tls::First, "MAIL")]
    {
        let manner = Manner { tls, auth: "PLAIN", says: vec![(command, "hang")] };
        let began = Instant::now();
        let (outcome, _) = send(&manner, security, &ours, &ours, Duration::from_secs(2));
        assert_eq!(outcome.verdict, Verdict::Later(None), "{command}");
        assert!(outcome.said.ends_with("it took too long"), "{}", outcome.said);
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
