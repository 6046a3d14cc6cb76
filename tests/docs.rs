//! The documents say what is true: the README's program runs, and every op of the table is complete.

/// The README's program is tested as documentation of the facade; here the settings that it and CONTRIBUTING.md name are held against the code.
#[test]
fn the_docs_name_every_setting() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = ["README.md", "CONTRIBUTING.md"].map(|name| std::fs::read_to_string(root.join(name)).unwrap()).concat();
    let mut folders = vec![root.join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                if path.file_name().is_some_and(|n| n != "tests") {
                    folders.push(path);
                }
                continue;
            }
            if path.extension().is_none_or(|e| e != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for (at, _) in text.match_indices("\"ESKER_") {
                let name: String = text[at + 1..].chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
                assert!(
                    docs.contains(&name),
                    "neither README.md nor CONTRIBUTING.md names {name} ({})",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn every_op_has_a_line_of_documentation_and_samples() {
    let rows = esker::ops::table::rows();
    assert!(rows.len() >= 30);
    for row in rows {
        assert!(row.doc.len() > 3, "{} has no documentation", row.name);
        assert!(!row.samples.is_empty(), "{} has no samples", row.name);
    }
}
