use super::*;

fn layer(role: Role, people: &[&str], zone: &str, start: &str, shift_days: u32) -> Layer {
    Layer {
        role,
        people: people.iter().map(|name| (*name).to_owned()).collect(),
        zone: zone.to_owned(),
        start: start.to_owned(),
        shift_days,
        hours: None,
    }
}

fn during(mut layer: Layer, from: &str, until: &str) -> Layer {
    layer.hours = Some([from.to_owned(), until.to_owned()]);
    layer
}

fn utc(text: &str) -> i64 {
    let local: jiff::civil::DateTime = text.parse().expect("a moment");
    TimeZone::UTC.to_timestamp(local).expect("a moment").as_millisecond()
}

#[test]
fn a_week_each_and_the_clock_change_does_not_move_the_handover() {
    let berlin = layer(Role::Primary, &["ada", "ben", "cleo"], "Europe/Berlin", "2026-10-19T09:00", 7);
    let schedule = Schedule::new(&[berlin], &[]).expect("a schedule");
    let cases = [
        ("2026-10-19T06:59", None),
        ("2026-10-19T07:00", Some("ada")),
        ("2026-10-26T07:59", Some("ada")),
        // From summer to winter time on 2026-10-25: nine o'clock is an hour later.
        ("2026-10-26T08:00", Some("ben")),
        ("2026-11-02T08:00", Some("cleo")),
        ("2026-11-09T08:00", Some("ada")),
    ];
    for (at, who) in cases {
        assert_eq!(schedule.on_call(&Role::Primary, utc(at)), who, "{at}");
    }
    assert_eq!(schedule.on_call(&Role::Secondary, utc("2026-11-02T08:00")), None);
}

#[test]
fn the_duty_follows_the_sun_and_a_stand_in_comes_first() {
    let start = "2026-11-02T00:00";
    let layers = [
        during(layer(Role::Primary, &["yuki"], "Asia/Tokyo", start, 7), "08:00", "17:00"),
        during(layer(Role::Primary, &["ada"], "Europe/Berlin", start, 7), "09:00", "18:00"),
        during(layer(Role::Primary, &["joe"], "America/New_York", start, 7), "12:00", "19:00"),
        layer(Role::Primary, &["night"], "UTC", start, 7),
    ];
    let stands_in = Override {
        role: Role::Primary,
        who: "ben".to_owned(),
        from_ms: utc("2026-11-04T10:00"),
        until_ms: utc("2026-11-04T12:00"),
    };
    let schedule = Schedule::new(&layers, &[stands_in]).expect("a schedule");
    let shifts = schedule.shifts(&Role::Primary, utc("2026-11-04T00:00"), utc("2026-11-05T00:00"));
    let shown: Vec<(String, &str)> = shifts
        .iter()
        .map(|shift| {
            let at = jiff::Timestamp::from_millisecond(shift.from_ms).expect("a moment");
            (at.strftime("%H:%M").to_string(), shift.who.as_str())
        })
        .collect();
    let wanted = [
        ("00:00", "yuki"),
        ("08:00", "ada"),
        ("10:00", "ben"),
        ("12:00", "ada"),
        ("17:00", "joe"),
        ("23:00", "yuki"),
    ];
    assert_eq!(shown, wanted.map(|(at, who)| (at.to_owned(), who)));
}

#[test]
fn everything_that_is_wrong_with_a_schedule_is_told() {
    let good = layer(Role::Primary, &["ada"], "UTC", "2026-11-02T09:00", 7);
    let bad = [
        Layer { people: vec![], ..good.clone() },
        Layer { zone: "Europe/Nowhere".to_owned(), ..good.clone() },
        Layer { start: "soon".to_owned(), ..good.clone() },
        Layer { shift_days: 0, ..good.clone() },
        during(good.clone(), "8", "25:00"),
    ];
    let backwards = Override { role: Role::Primary, who: "ben".to_owned(), from_ms: 5, until_ms: 5 };
    let wrong = Schedule::new(&bad, &[backwards]).expect_err("nothing is right");
    assert_eq!(wrong.len(), 6, "{wrong:?}");
    for (number, why) in
        ["people", "time zone", "moment", "a day", "time of the day", "ends before"].iter().enumerate()
    {
        assert!(wrong[number].contains(why), "{}", wrong[number]);
    }
}

#[test]
fn a_calendar_has_an_event_for_each_shift_and_no_line_is_too_long() {
    let shift = Shift {
        role: Role::Primary,
        who: "Ada; of the \u{e9}quipe, with a name that goes on and on so that its line has to be folded"
            .to_owned(),
        from_ms: utc("2026-11-02T09:00"),
        until_ms: utc("2026-11-09T09:00"),
    };
    let text = calendar("DWCP", &[shift], utc("2026-11-01T00:00"));
    assert!(text.starts_with("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n") && text.ends_with("END:VCALENDAR\r\n"));
    assert!(text.split("\r\n").all(|line| line.len() <= 75), "{text}");
    let unfolded = text.replace("\r\n ", "");
    for line in [
        "UID:primary-20261102T090000Z@on-call.dwcp",
        "DTSTAMP:20261101T000000Z",
        "DTSTART:20261102T090000Z",
        "DTEND:20261109T090000Z",
        "SUMMARY:On call (primary): Ada\\; of the \u{e9}quipe\\, with a name that goes on and on so that its line has to be folded",
    ] {
        assert!(unfolded.contains(&format!("\r\n{line}\r\n")), "{line}\nis not in\n{unfolded}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// The list of shifts and the question who is on call agree at every moment, also where clocks are set.
    #[test]
    fn shifts_and_the_person_on_call_agree(
        zones in prop::collection::vec(prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]), 1..3),
        hour in 0u8..24,
        until_hour in 0u8..24,
        shift_days in 1u32..9,
        first_day in 0i64..300,
        moments in prop::collection::vec(0i64..14 * 1_440, 40),
    ) {
        let layers: Vec<Layer> = zones
            .iter()
            .enumerate()
            .map(|(number, zone)| {
                let people = [format!("a{number}"), format!("b{number}"), format!("c{number}")];
                let people: Vec<&str> = people.iter().map(String::as_str).collect();
                let start = format!("2026-01-05T{hour:02}:30");
                let layer = layer(Role::Primary, &people, zone, &start, shift_days);
                if number == 0 { during(layer, &format!("{hour:02}:15"), &format!("{until_hour:02}:45")) } else { layer }
            })
            .collect();
        let schedule = Schedule::new(&layers, &[]).expect("a schedule");
        let from = utc("2026-02-01T00:00") + first_day * 86_400_000;
        let shifts = schedule.shifts(&Role::Primary, from, from + 14 * 86_400_000);
        prop_assert!(shifts.windows(2).all(|pair| pair[0].until_ms <= pair[1].from_ms));
        for minute in moments {
            let at = from + minute * MINUTE_MS;
            let listed = shifts.iter().find(|shift| (shift.from_ms..shift.until_ms).contains(&at));
            prop_assert_eq!(listed.map(|shift| shift.who.as_str()), schedule.on_call(&Role::Primary, at), "at {}", at);
        }
    }
}
