//! Runs of this program by itself: ignored cases, and everything on the other store.

use std::process::{Command, Stdio};

use crate::subject::{POSTGRESQL, STORE, is_foreign, is_on_postgresql};

/// A case that is ignored because a node cannot pass it must fail; when it passes, the word `ignore` has to go.
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

#[test]
fn everything_passes_on_postgresql_too() {
    if is_foreign() || is_on_postgresql() {
        return;
    }
    if std::env::var_os(POSTGRESQL).is_none() {
        println!("not run on PostgreSQL: {POSTGRESQL} is not set; scripts/with-postgres sets it");
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--skip", "again::"])
        .env(STORE, "postgresql")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "on PostgreSQL:\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("on PostgreSQL: {}", said.lines().rev().find(|line| line.starts_with("test result")).unwrap_or_default());
}
