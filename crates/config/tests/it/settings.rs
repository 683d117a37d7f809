use dwcp_config::settings::{Prices, RegionSettings};

/// As the documents show it.
const EXAMPLE: &str = include_str!("../../../../docs/operations/examples/regions/eu-central-1.yaml");

#[test]
fn the_documented_example_says_everything() {
    let settings = RegionSettings::parse(EXAMPLE, Some("eu-central-1")).unwrap();
    assert_eq!(settings.region, "eu-central-1");
    assert_eq!(settings.coordinates, Some((50.1109, 8.6821)));
    assert_eq!((settings.priority, settings.max_vms), (Some(85), Some(10_000)));
    assert_eq!(settings.zones.as_deref(), Some(&["a".to_owned(), "b".to_owned(), "c".to_owned()][..]));
    assert_eq!(settings.prices, Some(Prices { vcpu: 0.0391, memory_gib: 0.0053, disk_gib: 0.00013 }));
    assert!(
        settings.display_name.is_some() && settings.compliance.is_some() && settings.jurisdiction.is_some()
    );
}

#[test]
fn what_is_not_there_stays_as_it_is_and_an_empty_list_empties() {
    let settings = RegionSettings::parse("region: a\ncompliance: []\n", None).unwrap();
    let wanted =
        RegionSettings { region: "a".into(), compliance: Some(Vec::new()), ..RegionSettings::default() };
    assert_eq!(settings, wanted);
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let text = "region: eu-west-1\ndisplay_name: ''\nzones: [a, a]\ncoordinates:\n  latitude: 91\n\
                max_vms: many\npriority: 101\nprices:\n  vcpu_usd_hour: -1\n  memory_gib_usd_hour: 0.1\n\
                \u{20} disk_gib_usd_hour: 0.1\ncompliances: [gdpr]\n";
    let complaints = RegionSettings::parse(text, Some("eu-central-1")).unwrap_err();
    let told: Vec<String> = complaints.0.iter().map(ToString::to_string).collect();
    for (line, part) in [
        ("line 1, column 9:", "the file is of 'eu-west-1', not of 'eu-central-1'"),
        ("line 2, column 15:", "one line of 1 to 80"),
        ("line 3, column 8:", "'a' stands there twice"),
        ("line 5, column 13:", "-90 to 90 degrees"),
        ("line 5, column 3:", "'longitude' is missing"),
        ("line 6, column 10:", "'many' is not a whole number"),
        ("line 7, column 11:", "0 to 100"),
        ("line 9, column 18:", "not a price"),
        ("line 12, column 1:", "unknown key 'compliances'"),
    ] {
        assert!(
            told.iter().any(|told| told.contains(line) && told.contains(part)),
            "{line} {part}: {told:#?}"
        );
    }
    assert_eq!(told.len(), 9, "{told:#?}");
}
