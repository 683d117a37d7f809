use dwcp_decide::{Catalogue, cost_analysis, evaluate};

use super::world::{World, set, size};

fn names(values: &[&str]) -> std::collections::BTreeSet<String> {
    set(values)
}

#[test]
fn every_figure_of_the_catalogue_is_read_and_has_its_source_and_date() {
    let text = include_str!("../../data/catalogue.csv");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let catalogue = Catalogue::built_in();
    assert_eq!(catalogue.len(), lines.clone().count(), "each line is a figure, none is there twice");
    for line in lines {
        let parts: Vec<&str> = line.split(',').collect();
        let found = catalogue.get(parts[0], parts[1]).expect("it is there");
        assert!(!found.source.is_empty() && found.date.starts_with("20"), "{line}");
    }
}

#[test]
fn candidates_are_ranked_by_what_is_known_and_what_is_not_is_said() {
    let mut world = World::new(&["us-east-1", "eu-west-1"], 1);
    world.fill("us-east-1", "h1", size(1, 1_024, 0));
    let all = names(&["eu-central-1", "ca-central-1", "ap-northeast-1", "mars"]);
    let found = evaluate(&world.view, &world.measured, &Catalogue::built_in(), &all);
    let order: Vec<&str> = found.iter().map(|one| one.region.as_str()).collect();
    assert_eq!(order.first(), Some(&"ca-central-1"), "15 ms from where the VMs are");
    assert_eq!(order.last(), Some(&"mars"));
    assert!(found[0].factors[0].found.starts_with("15 ms on average"), "{:?}", found[0].factors[0]);
    let mars = found.last().expect("mars");
    assert_eq!((mars.points, mars.judged), (15.0, 15.0), "{mars:?}");
    assert!(mars.factors[1].found.contains("no price of mars is known"), "{mars:?}");
    assert!(mars.factors[0].points.is_none() && mars.factors[3].points.is_none());
}

#[test]
fn a_region_on_the_same_grid_shares_its_risk() {
    let world = World::new(&["us-east-1"], 1);
    let text = "a,place,39.0 -77.0,x,2026\na,grid,Eastern Interconnection,x,2026\n";
    let both =
        format!("{text}us-east-1,place,39.0 -78.0,x,2026\nus-east-1,grid,Eastern Interconnection,x,2026\n");
    let found = evaluate(&world.view, &world.measured, &Catalogue::parse(&both), &names(&["a"]));
    let risk = &found[0].factors[3];
    assert_eq!(risk.points, Some(0.0));
    assert!(
        risk.found.starts_with("86 km to the nearest region, us-east-1; the same electricity grid"),
        "{risk:?}"
    );
}

#[test]
fn costs_are_those_of_the_mean_vm_and_the_rule_of_twenty_percent_holds_by_a_hair() {
    let mut world = World::new(&["us-east-1", "eu-west-1"], 1);
    // 0.01 USD a vCPU and 0.005 a GiB: 0.02 an hour.
    world.fill("us-east-1", "h1", size(1, 2_048, 0));
    let with = |vcpu: f64| {
        let general = vcpu * 64.0 + 256.0 * 0.001;
        let memory = vcpu * 4.0 + 32.0 * 0.001;
        let text = format!(
            "b,usd_hour 64 vcpus 256 gib,{general},x,2026\nb,usd_hour 4 vcpus 32 gib,{memory},x,2026\n"
        );
        cost_analysis(&world.view, &Catalogue::parse(&text), "b", 100)
    };
    let found = with(0.012);
    assert_eq!(found.today_usd_month.map(f64::round), Some(1_460.0), "0.02 x 730 x 100");
    assert_eq!(found.candidate.usd_month.map(f64::round), Some(1_022.0), "0.014 x 730 x 100");
    assert_eq!((found.saving_percent.map(f64::round), found.worth_it), (Some(30.0), Some(true)));
    assert_eq!(with(0.0145).worth_it, Some(false), "17.5 %");
    assert!(found.missing.iter().any(|what| what.contains("transfer")), "{:?}", found.missing);
    let unknown = cost_analysis(&world.view, &Catalogue::default(), "b", 100);
    assert_eq!((unknown.saving_percent, unknown.worth_it), (None, None));
    assert!(unknown.missing[0].contains("no price of b is known"));
}
