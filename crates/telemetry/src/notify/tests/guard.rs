use crate::notify::guard::{Allowed, Network, url};

fn allowed(networks: &[&str]) -> Allowed {
    Allowed(networks.iter().map(|text| Network::parse(text).expect("a network")).collect())
}

#[test]
fn a_url_is_http_with_a_host_and_nothing_that_identifies_anyone() {
    for (text, host, port, https) in [
        ("https://hooks.slack.com/services/T0/B0/x", "hooks.slack.com", 443, true),
        ("http://example.com", "example.com", 80, false),
        ("https://example.com:8443?a=b", "example.com", 8443, true),
        ("http://[2600:1f18::1]:9093/", "2600:1f18::1", 9093, false),
        ("https://8.8.8.8/x", "8.8.8.8", 443, true),
    ] {
        let read = url(text).expect(text);
        assert_eq!((read.host.as_str(), read.port, read.https), (host, port, https), "{text}");
    }
    for text in [
        "file:///etc/passwd",
        "gopher://example.com/",
        "ftp://example.com/",
        "HTTPS://example.com/",
        "//example.com/",
        "example.com",
        "https://",
        "https:///path",
        "https://user:secret@example.com/",
        "https://user@example.com/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:80:80/",
        "https://[::1/",
        "https://[example.com]/",
        "https://exa mple.com/",
        "https://example.com/a\r\nHost: other",
        "https://example.com/#part",
        "https://example.com\\@other/",
        "https://exämple.com/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://0177.0.0.1/",
        "https://-x.example.com/",
        "https://a..b/",
    ] {
        assert!(url(text).is_err(), "{text}");
    }
    assert!(url(&format!("https://example.com/{}", "a".repeat(2_048))).is_err());
}

#[test]
fn only_public_addresses_are_connected_to_in_whatever_form_they_come() {
    let none = allowed(&[]);
    for text in [
        "8.8.8.8",
        "1.1.1.1",
        "172.32.0.1",
        "100.128.0.1",
        "2600:1f18::1",
        "64:ff9b::808:808",
        "::ffff:8.8.8.8",
    ] {
        assert_eq!(none.check(text.parse().expect(text)), Ok(()), "{text}");
    }
    for text in [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "169.254.1.1",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "192.0.2.1",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "fd12:3456::1",
        "ff02::1",
        "fec0::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:1::1",
        "::ffff:192.168.0.1",
    ] {
        assert!(none.check(text.parse().expect(text)).is_err(), "{text}");
    }
}

#[test]
fn what_is_excepted_is_connected_to_and_what_must_never_be_is_not() {
    let some = allowed(&["127.0.0.0/8", "10.20.0.0/16", "fd12::/48", "192.168.7.7"]);
    for text in ["127.0.0.1", "10.20.255.1", "fd12::1", "192.168.7.7", "::ffff:10.20.0.1", "64:ff9b::a14:1"] {
        assert_eq!(some.check(text.parse().expect(text)), Ok(()), "{text}");
    }
    for text in ["10.21.0.1", "fd12:0:1::1", "192.168.7.8", "::1"] {
        assert!(some.check(text.parse().expect(text)).is_err(), "{text}");
    }
    let all = allowed(&["0.0.0.0/0", "::/0"]);
    for text in [
        "169.254.169.254",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "::ffff:0.0.0.0",
    ] {
        assert!(all.check(text.parse().expect(text)).is_err(), "{text}");
    }
    assert_eq!(all.check("10.0.0.1".parse().expect("an address")), Ok(()));
    assert_eq!(all.check("::1".parse().expect("an address")), Ok(()));
    for text in ["10.0.0.0/33", "::/129", "10.0.0/8", "example.com", "", "10.0.0.0/", "10.0.0.0/-1"] {
        assert!(Network::parse(text).is_err(), "{text}");
    }
}
