//! The stories of `scenarios/`.

use std::path::Path;

use dwcp_sim::scenario;

#[test]
fn every_story_ends_as_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let stories = scenario::stories(&root).expect("the stories are there");
    assert!(stories.len() >= 20, "{} stories", stories.len());
    let wrong = |folder: &Path| {
        scenario::check(folder, false, false).err().map(|why| format!("{}: {why}", folder.display()))
    };
    let (half, other) = stories.split_at(stories.len() / 2);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads = [half, other].map(|part| {
            scope.spawn(move || part.iter().filter_map(|folder| wrong(folder)).collect::<Vec<String>>())
        });
        threads.into_iter().flat_map(|thread| thread.join().expect("a story does not panic")).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
