//! Records in words.

use std::collections::BTreeMap;

use dwcp_state::{Facts, Want};
use dwcp_types::encode;

use super::samples;

#[test]
fn fields_stand_under_their_paths_and_only_those_that_differ_are_told() {
    let before = dwcp_state::Vm { want: Want::Running, ..samples::vm() };
    let mut after = before.clone();
    after.want = Want::Stopped;
    after.spec.size.vcpus += 1;
    after.labels = BTreeMap::from([("tier".to_owned(), "back".to_owned())]);
    let read = |vm: &dwcp_state::Vm| {
        Facts::reading(false, &format!("vms/{}", vm.id), &encode(&(vm.id, vm.clone()))).expect("a VM")
    };
    let (one, two) = (read(&before), read(&after));
    assert_eq!(one.title, before.name);
    assert_eq!(one.changes(&one), []);
    let changes = one.changes(&two);
    let find = |path: &str| changes.iter().find(|(field, ..)| field == path).cloned();
    let (_, was, is) = find("want").expect("it differs");
    assert_eq!((was.as_deref(), is.as_deref()), (Some(&*format!("{:?}", before.want)), Some("Stopped")));
    let (_, was, is) = find("spec.size.vcpus").expect("it differs");
    let number = |text: Option<String>| text.and_then(|text| text.parse::<u32>().ok());
    assert_eq!(number(was), Some(before.spec.size.vcpus));
    assert_eq!(number(is), Some(after.spec.size.vcpus));
    assert_eq!(find("labels.tier").and_then(|(.., is)| is).as_deref(), Some("back"));
    assert!(changes.is_sorted());
    let told = |field: &str| field == "want" || field == "spec.size.vcpus" || field.starts_with("labels.");
    assert!(changes.iter().all(|(field, ..)| told(field)), "{changes:?}");
}

#[test]
fn nobody_is_shown_what_a_token_is_checked_with() {
    let core = samples::core();
    let (id, token) = core.tokens.first_key_value().expect("a token");
    let reading = Facts::reading(true, "tokens/x", &encode(&(id.clone(), token.clone()))).expect("a token");
    assert_eq!(reading.fields.get("user"), Some(&token.user));
    assert!(reading.fields.values().all(|value| *value != token.secret_hash));
}
