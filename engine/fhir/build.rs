//! Lists the shipped DSF base resources, so that a file added to the folder is part of the program without a second list
//! to forget. Order: terminology, profiles, naming systems, subscriptions; by name within each folder.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("set by cargo"))
        .join("../processes/resources/dsf-base");
    let mut list = String::from("const FILES: &[(&str, &str)] = &[\n");
    for folder in ["CodeSystem", "ValueSet", "StructureDefinition", "NamingSystem", "Subscription"] {
        for file in files(&root.join(folder)) {
            let name = file.file_name().expect("a file has a name").to_string_lossy();
            writeln!(list, "    (\"{folder}/{name}\", include_str!({:?})),", file).expect("writing to a string");
        }
    }
    list.push_str("];\n");
    let output = PathBuf::from(std::env::var("OUT_DIR").expect("set by cargo")).join("dsf_base.rs");
    std::fs::write(output, list).expect("OUT_DIR is writable");
    println!("cargo::rerun-if-changed=build.rs");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries = std::fs::read_dir(folder).expect("the folder is part of the checkout");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable folder").path()).collect();
    files.sort();
    files
}
