//! Where data sets lie.

use std::path::{Path, PathBuf};

use esker_tensor::{Error, Result};

/// The environment variable that names the folder with one folder for each data set.
const FOLDER: &str = "ESKER_DATA";

/// The paths of the files of a data set, such as `find_data("mnist", ["train-images-idx3-ubyte", ..])`: each as
/// `$ESKER_DATA/<name>/<file>`, or the same with `.gz` behind it.
///
/// # Errors
/// `Unavailable` with one line saying what was not found and where it was looked for, for programs to show before they go on
/// with what they have.
pub fn find_data<const N: usize>(name: &str, files: [&str; N]) -> Result<[PathBuf; N]> {
    find_in(std::env::var_os(FOLDER).as_deref().map(Path::new), name, files)
}

fn find_in<const N: usize>(folder: Option<&Path>, name: &str, files: [&str; N]) -> Result<[PathBuf; N]> {
    let Some(folder) = folder.filter(|f| !f.as_os_str().is_empty()) else {
        return Err(Error::unavailable(format!("the data set {name} was not looked for: {FOLDER} is not set")));
    };
    let folder = folder.join(name);
    let mut missing = Vec::new();
    let found = files.map(|file| {
        let candidates = [folder.join(file), folder.join(format!("{file}.gz"))];
        candidates.into_iter().find(|path| path.is_file()).unwrap_or_else(|| {
            missing.push(file);
            PathBuf::new()
        })
    });
    if missing.is_empty() {
        return Ok(found);
    }
    let (missing, folder) = (missing.join(", "), folder.display());
    Err(Error::unavailable(format!("{missing} was not found in {folder}, neither as it is nor with .gz ({FOLDER})")))
}

#[cfg(test)]
mod tests {
    use super::find_in;

    #[test]
    fn a_data_set_is_found_compressed_or_not_or_the_place_is_named() {
        let root = std::env::temp_dir().join(format!("esker-find-{}", std::process::id()));
        std::fs::create_dir_all(root.join("set")).unwrap();
        std::fs::write(root.join("set/a"), "a").unwrap();
        std::fs::write(root.join("set/b.gz"), "b").unwrap();
        let found = find_in(Some(&root), "set", ["a", "b"]).unwrap();
        assert_eq!(found, [root.join("set/a"), root.join("set/b.gz")]);
        let error = find_in(Some(&root), "set", ["a", "c", "d"]).unwrap_err().to_string();
        assert!(error.starts_with("c, d was not found in ") && error.contains("set"), "{error}");
        for nowhere in [None, Some("".as_ref())] {
            let error = find_in(nowhere, "set", ["a"]).unwrap_err();
            assert_eq!(error.to_string(), "the data set set was not looked for: ESKER_DATA is not set");
            assert_eq!(error.kind().name(), "Unavailable");
        }
        std::fs::remove_dir_all(root).unwrap();
    }
}
