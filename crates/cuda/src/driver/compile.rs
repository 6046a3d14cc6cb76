//! Kernels from text: NVRTC at first use, then from disk.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use cudarc::nvrtc::sys;
use esker_tensor::{Error, Result};

use super::Text;
use super::search;

/// Machine code for `architecture` (`sm_90a`), from disk where it was made before.
///
/// # Errors
/// `Unavailable` without NVRTC; `Kernel` with the compiler's words when the text does not compile.
pub(crate) fn machine_code(text: &Text, architecture: &str) -> Result<Vec<u8>> {
    search::load(&search::NVRTC)?;
    let options = options(text, architecture);
    let path = cached(&text.source, &options);
    if let Some(code) = path.as_ref().and_then(|path| std::fs::read(path).ok()).filter(|code| !code.is_empty()) {
        return Ok(code);
    }
    let code = compile(text, &options)?;
    if let Some(path) = path {
        keep(&path, &code);
    }
    Ok(code)
}

fn options(text: &Text, architecture: &str) -> Vec<String> {
    let mut options = vec![format!("--gpu-architecture={architecture}"), "--std=c++17".to_owned()];
    options.push(format!("--fmad={}", text.fuse));
    options
}

/// NVRTC's version.
pub(crate) fn version() -> (i32, i32) {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both are valid for writes; the library is loaded, or this is not called.
    let _ = unsafe { sys::nvrtcVersion(&mut major, &mut minor) };
    (major, minor)
}

/// Where the code of a text is kept: by all that it depends on. `ESKER_CUDA_CACHE` names the folder.
fn cached(source: &str, options: &[String]) -> Option<PathBuf> {
    let folder = cache_folder()?;
    let (major, minor) = version();
    let name = format!("{:016x}{:016x}", hash(source, 0), hash(&options.join(" "), 1));
    Some(folder.join(format!("{name}-{major}.{minor}.cubin")))
}

/// The folder for what is kept between runs: `$ESKER_CUDA_CACHE`, or `esker/cuda` in the user's cache folder.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("ESKER_CUDA_CACHE") {
        return Some(PathBuf::from(folder));
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    Some(cache.or_else(home)?.join("esker").join("cuda"))
}

/// FNV-1a, 64 bits (draft-eastlake-fnv), begun at a number of its own.
pub(crate) fn hash(text: &str, start: u64) -> u64 {
    let step = |h: u64, byte: &u8| (h ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    text.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325 ^ start, step)
}

/// Writes a file whole or not at all. A cache that cannot be written is none.
pub(crate) fn keep(path: &Path, bytes: &[u8]) {
    let Some(folder) = path.parent() else { return };
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&temporary, bytes))
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
}

/// A program of NVRTC's, destroyed when dropped.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program was created and is destroyed once.
        let _ = unsafe { sys::nvrtcDestroyProgram(&mut self.0) };
    }
}

fn compile(text: &Text, options: &[String]) -> Result<Vec<u8>> {
    let c = |s: &str| CString::new(s).map_err(|_| Error::kernel(format!("{} holds a zero byte", text.name)));
    let (source, name) = (c(&text.source)?, c(&text.name)?);
    let options: Vec<CString> = options.iter().map(|option| c(option)).collect::<Result<_>>()?;
    let pointers: Vec<*const std::ffi::c_char> = options.iter().map(|option| option.as_ptr()).collect();
    let mut program = Program(std::ptr::null_mut());
    let none = std::ptr::null();
    // SAFETY: the strings outlive the calls, and the pointers are as many as is said.
    unsafe {
        check(sys::nvrtcCreateProgram(&mut program.0, source.as_ptr(), name.as_ptr(), 0, none, none), &text.name)?;
        let compiled = sys::nvrtcCompileProgram(program.0, pointers.len() as i32, pointers.as_ptr());
        if compiled != sys::nvrtcResult::NVRTC_SUCCESS {
            return Err(Error::kernel(format!("{} does not compile: {}", text.name, log(&program))));
        }
        let mut size = 0;
        check(sys::nvrtcGetCUBINSize(program.0, &mut size), &text.name)?;
        let mut code = vec![0u8; size];
        check(sys::nvrtcGetCUBIN(program.0, code.as_mut_ptr().cast()), &text.name)?;
        Ok(code)
    }
}

/// What the compiler says, with the lines of the source that it names.
fn log(program: &Program) -> String {
    let mut size = 0;
    // SAFETY: the program lives, and the buffer is as long as asked.
    unsafe {
        if sys::nvrtcGetProgramLogSize(program.0, &mut size) != sys::nvrtcResult::NVRTC_SUCCESS {
            return "the compiler gives no reason".to_owned();
        }
        let mut log = vec![0u8; size];
        let _ = sys::nvrtcGetProgramLog(program.0, log.as_mut_ptr().cast());
        let log = String::from_utf8_lossy(&log);
        log.trim_end_matches('\0').lines().take(20).collect::<Vec<_>>().join("\n")
    }
}

fn check(result: sys::nvrtcResult, name: &str) -> Result<()> {
    if result == sys::nvrtcResult::NVRTC_SUCCESS {
        return Ok(());
    }
    Err(Error::kernel(format!("{name}: the run-time compiler failed with {result:?}")))
}
