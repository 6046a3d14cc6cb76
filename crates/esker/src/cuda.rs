//! Opening GPUs.

use std::path::PathBuf;

use esker_tensor::{Device, Error, Result};

/// The driver's library, which comes with the driver and with nothing else.
const DRIVER: &str = "libcuda.so.1";

/// Opens the GPU with this index.
///
/// # Errors
/// `Unavailable`, always so far: this version has no CUDA backend; the sentence also says whether a driver is there.
pub fn cuda(index: u32) -> Result<Device> {
    let driver = match driver() {
        Some(path) => format!("an NVIDIA driver is there ({})", path.display()),
        None => format!("no NVIDIA driver ({DRIVER}) was found on this machine either"),
    };
    Err(Error::unavailable(format!(
        "cuda:{index} cannot be opened: this version of Esker has no CUDA backend; {driver}"
    )))
}

/// Where the driver's library lies, among the places where the loader looks.
fn driver() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("LD_LIBRARY_PATH").map(|paths| std::env::split_paths(&paths).collect()).unwrap_or_default();
    let usual =
        ["/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/cuda/compat"];
    folders.extend(usual.iter().chain(&["/usr/lib/wsl/lib"]).map(PathBuf::from));
    folders.into_iter().map(|folder| folder.join(DRIVER)).find(|path| path.exists())
}
