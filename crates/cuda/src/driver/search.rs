//! Where NVIDIA's libraries lie: with the loader, with a toolkit, or in the Python packages that bring them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use esker_tensor::{Error, Result};
use libloading::Library;

/// A library of NVIDIA's: how it is called, and who brings it.
pub(super) struct Wanted {
    name: &'static str,
    brought_by: &'static str,
}

/// The run-time compiler.
pub(super) const NVRTC: Wanted = Wanted { name: "libnvrtc.so", brought_by: "pip install nvidia-cuda-nvrtc" };
/// Matrix products.
pub(super) const CUBLASLT: Wanted = Wanted { name: "libcublasLt.so", brought_by: "pip install nvidia-cublas" };
/// The driver.
pub(super) const DRIVER: Wanted = Wanted { name: "libcuda.so", brought_by: "NVIDIA's driver" };

/// Major versions of a library's name that work, the best first.
const MAJORS: [&str; 4] = [".13", ".12", ".1", ""];

/// Loads a library for good, so that whoever asks for it by its name finds it.
///
/// # Errors
/// `Unavailable`, with the folders that were looked at.
pub(super) fn load(wanted: &Wanted) -> Result<()> {
    static DRIVER_FOUND: OnceLock<bool> = OnceLock::new();
    static NVRTC_FOUND: OnceLock<bool> = OnceLock::new();
    static CUBLASLT_FOUND: OnceLock<bool> = OnceLock::new();
    let known = match wanted.name {
        "libcuda.so" => &DRIVER_FOUND,
        "libnvrtc.so" => &NVRTC_FOUND,
        _ => &CUBLASLT_FOUND,
    };
    if *known.get_or_init(|| find(wanted.name)) {
        return Ok(());
    }
    let looked: Vec<String> = folders().iter().map(|folder| folder.display().to_string()).collect();
    Err(Error::unavailable(format!(
        "{} was not found: the loader does not know it, and it is in none of: {}; {} brings it, and \
         ESKER_CUDA_PATH may name its folder",
        wanted.name,
        looked.join(", "),
        wanted.brought_by
    )))
}

fn find(name: &str) -> bool {
    let named = folders().into_iter().flat_map(|folder| MAJORS.map(|major| folder.join(format!("{name}{major}"))));
    let by_loader = MAJORS.map(|major| PathBuf::from(format!("{name}{major}")));
    // A folder that was named wins over what the loader knows.
    let given = std::env::var_os("ESKER_CUDA_PATH").is_some();
    let all: Vec<PathBuf> =
        if given { named.chain(by_loader).collect() } else { by_loader.into_iter().chain(named).collect() };
    let found = all.iter().find(|path| keep(path));
    // The compiler loads its built-in functions by name alone; beside it, they are found only if they are loaded already.
    if let Some(folder) = found.and_then(|path| path.parent()).filter(|_| name == NVRTC.name) {
        for path in beside(folder, "libnvrtc-builtins.so") {
            keep(&path);
        }
    }
    found.is_some()
}

/// The files of a folder whose names begin so.
fn beside(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let begins = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    files.flatten().map(|file| file.path()).filter(begins).collect()
}

/// Loads a library and never unloads it.
fn keep(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use libloading::os::unix::{Library as Unix, RTLD_GLOBAL, RTLD_NOW};
        // SAFETY: NVIDIA's libraries only register themselves when they are loaded.
        let loaded = unsafe { Unix::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
        loaded.map(|library| std::mem::forget(Library::from(library))).is_ok()
    }
    #[cfg(not(unix))]
    {
        // SAFETY: as above.
        unsafe { Library::new(path) }.map(std::mem::forget).is_ok()
    }
}

/// Folders that may hold the libraries, in the order of the search.
fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Some(given) = std::env::var_os("ESKER_CUDA_PATH") {
        folders.extend(std::env::split_paths(&given));
    }
    let homes = ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(std::env::var_os).map(PathBuf::from);
    for home in homes.chain([PathBuf::from("/usr/local/cuda")]) {
        folders.push(home.join("lib64"));
    }
    for environment in ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(std::env::var_os).map(PathBuf::from) {
        folders.extend(packages(&environment.join("lib")));
    }
    folders.extend(["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib/wsl/lib"].map(PathBuf::from));
    folders
}

/// Folders of NVIDIA's Python packages below an environment's `lib`.
fn packages(lib: &Path) -> Vec<PathBuf> {
    let Ok(pythons) = std::fs::read_dir(lib) else { return Vec::new() };
    let sites = pythons.flatten().map(|python| python.path().join("site-packages").join("nvidia"));
    let parts = ["cu13", "cuda_nvrtc", "cublas"];
    sites.filter(|site| site.is_dir()).flat_map(|site| parts.map(|part| site.join(part).join("lib"))).collect()
}
