//! A case that is ignored because a node cannot pass it must fail; when it passes, the word `ignore` has to go.

use std::process::{Command, Stdio};

#[test]
fn ignored_cases_fail_for_their_reason() {
    let program = std::env::current_exe().unwrap();
    let listed = Command::new(&program).args(["--ignored", "--list", "--format", "terse"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let cases: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    println!("{} ignored cases", cases.len());
    for case in cases {
        let status = Command::new(&program)
            .args([case, "--exact", "--ignored"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success(), "{case} passes and is ignored no longer");
    }
}
