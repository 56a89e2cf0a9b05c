//! `schleuse process`: what can be said of a plug-in without a node.

use std::path::Path;
use std::time::Duration;

use tests::Running;
use tests::network::folder;

use super::{run, text};

/// Longest time for what takes moments; files are looked at every half second.
const TIME: Duration = Duration::from_secs(60);

/// Replaces the file at once, as editors do, so that nobody sees half of it.
fn edit(file: &Path, from: &str, to: &str) {
    let before = std::fs::read_to_string(file).unwrap();
    assert!(before.contains(from), "{}", file.display());
    let mut new = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut new, before.replacen(from, to, 1).as_bytes()).unwrap();
    new.persist(file).unwrap();
}

/// The last lines of results that were printed `count` times.
fn results(out: &str, count: usize) -> Option<String> {
    let ends: Vec<&str> = out.lines().filter(|line| line.ends_with(" wrong") && line.contains(" tried, ")).collect();
    (ends.len() >= count).then(|| ends[count - 1].to_owned())
}

#[tokio::test]
async fn process_test_with_watch_says_again_what_holds_after_every_change() {
    let folder = folder();
    let plugin = folder.path().join("hello");
    run(&["process", "new", text(&plugin)]).expect(0);
    let model = plugin.join("bpe/process.bpmn");
    let mut watching = Running::start(&["process", "test", text(&plugin), "--watch"]);
    let first = watching.until("the first result", TIME, |out| results(out, 1)).await;
    assert!(first.ends_with(" 0 wrong"), "{first}");

    // What is not executed, by line and element.
    edit(&model, "<endEvent id=\"greeted\"/>", "<endEvent id=\"greeted\"/>\n    <complexGateway id=\"complex\"/>");
    let second = watching.until("a result after a change of the model", TIME, |out| results(out, 2)).await;
    assert!(!second.ends_with(" 0 wrong"), "{second}");
    watching
        .until("the reason", TIME, |out| out.contains("complex: complexGateway is not executed").then_some(()))
        .await;

    // Repaired, but on another way than the scenario expects.
    edit(&model, "\n    <complexGateway id=\"complex\"/>", "");
    let third = watching.until("a result after the repair", TIME, |out| results(out, 3)).await;
    assert!(third.ends_with(" 0 wrong"), "{third}");
    edit(&plugin.join("tests/process.txt"), "path start release greet greeted", "path start release greet");
    let fourth = watching.until("a result after a change of a scenario", TIME, |out| results(out, 4)).await;
    assert!(fourth.ends_with(" 1 wrong"), "{fourth}");

    // A file that comes, and the manifest.
    edit(&plugin.join("tests/process.txt"), "path start release greet", "path start release greet greeted");
    watching.until("a result after its repair", TIME, |out| results(out, 5)).await;
    std::fs::write(plugin.join("bpe/other.bpmn"), "no model").unwrap();
    let sixth = watching.until("a result with another file", TIME, |out| results(out, 6)).await;
    assert!(sixth.ends_with(" 1 wrong"), "{sixth}");
    std::fs::remove_file(plugin.join("bpe/other.bpmn")).unwrap();
    let seventh = watching.until("a result without it", TIME, |out| results(out, 7)).await;
    assert!(seventh.ends_with(" 0 wrong"), "{seventh}");
}

#[test]
fn a_class_that_is_bound_to_what_cannot_do_its_element_is_named_by_element_and_line() {
    let folder = folder();
    let plugin = folder.path().join("hello");
    run(&["process", "new", text(&plugin)]).expect(0);
    let good = run(&["process", "check", text(&plugin)]).expect(0);
    assert!(good.out.contains("greet needs example.org.Greet"), "{}", good.out);
    edit(&plugin.join("plugin.toml"), "{ topic = \"hello-greet\" }", "{ step = \"send\" }");
    let reason =
        "is bound to example.org.Greet, which sends messages; a service task needs a step or a topic of workers";
    let model = plugin.join("bpe/process.bpmn");
    for (words, path) in [("check", &plugin), ("check", &model), ("test", &plugin)] {
        let wrong = run(&["process", words, text(path)]).expect(1);
        assert!(
            wrong.out.contains("line 12") && wrong.out.contains("greet") && wrong.out.contains(reason),
            "{}",
            wrong.out
        );
    }
    std::fs::write(plugin.join("plugin.toml"), "version = 1").unwrap();
    let wrong = run(&["process", "check", text(&plugin)]).expect(1);
    assert!(wrong.out.contains("plugin.toml: refused"), "{}", wrong.out);
}
