//! A driver that runs kernels on the CPU: their text, compiled by the system's C++ compiler, thread after thread. It shows
//! that kernels compute what they should, that they keep to their memory and wait for each other as they must, and nothing
//! of their speed.
//!
//! `ESKER_CUDA_CACHE` names the folder for what is compiled (one in the system's temporary folder otherwise),
//! `ESKER_CUDA_TEXTS` a folder into which every text that is asked for is written, `ESKER_CUDA_TRACE` has each launch
//! named on standard error before it runs.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsString, c_char, c_void};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use esker_tensor::{Error, Result};
use libloading::Library;

use super::{Driver, Function, Grid, Text};
use crate::products::{Operands, Product};

const PRELUDE: &str = include_str!("emulated/prelude.h");
const RUNTIME: &str = include_str!("emulated/runtime.cc");

/// Of the compiler, for kernels: small and soon done; sums and products as written.
const OPTIONS: &str = "-std=c++17 -w -O1 -fPIC -shared -fwrapv -ffp-contract=off -fno-exceptions -fno-rtti -fvisibility=hidden \
                       -fno-threadsafe-statics -fno-math-errno -fno-strict-aliasing -fno-asynchronous-unwind-tables -nostdlib";
/// The libraries of kernels.
const LIBRARIES: &str = "-lm -lgcc";
/// Of the compiler, for the runtime.
const RUNTIME_OPTIONS: &str = "-std=c++17 -w -O2 -fPIC -shared -U_FORTIFY_SOURCE -fno-exceptions -fno-rtti";
/// What device memory holds before anything is written to it.
const UNWRITTEN: u8 = 0xCB;
/// The most dynamic shared memory that a block can have.
const SHARED: usize = 227 << 10;
/// Lines of the compiler's complaint that are quoted.
const LINES: usize = 20;

/// As `EskerLaunch` in `prelude.h`.
#[repr(C)]
struct Launch {
    next: u32,
    threads: u32,
    block: [u32; 3],
    blocks: [u32; 3],
    args: *mut *mut c_void,
    shared: *mut u64,
    wait: *const c_void,
    fail: *const c_void,
}

/// As `EskerModule` in `prelude.h`.
#[repr(C)]
struct Exported {
    count: i32,
    sizes: *const u32,
    threads: Threads,
}

type Threads = unsafe extern "C" fn(*mut Launch);
type Run = unsafe extern "C" fn(Threads, *mut Launch) -> *const c_char;
type Alloc = unsafe extern "C" fn(usize, u8) -> *mut u8;
type Free = unsafe extern "C" fn(*mut u8, usize);

/// The functions of runtime.cc.
struct Runtime {
    run: Run,
    alloc: Alloc,
    free: Free,
    _library: Library,
}

impl Runtime {
    fn of(library: Library) -> Result<Self> {
        let incomplete = |e| Error::kernel(format!("the emulator's runtime is incomplete: {e}"));
        // SAFETY: runtime.cc has these functions with these types; the library stays loaded as long as they are used.
        let (run, alloc, free) = unsafe {
            let run = *library.get::<Run>(b"esker_run").map_err(incomplete)?;
            let alloc = *library.get::<Alloc>(b"esker_alloc").map_err(incomplete)?;
            (run, alloc, *library.get::<Free>(b"esker_free").map_err(incomplete)?)
        };
        Ok(Self { run, alloc, free, _library: library })
    }
}

/// A kernel that was loaded.
struct Module {
    name: String,
    sizes: Vec<u32>,
    threads: Threads,
    _library: Library,
}

/// Held while anything runs, with the dynamic shared memory of blocks. Libraries are loaded once in a process, whoever asks,
/// and so is what they have in memory.
static RUNNING: Mutex<Vec<u64>> = Mutex::new(Vec::new());

fn running() -> MutexGuard<'static, Vec<u64>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The CPU as a GPU.
pub(crate) struct Emulated {
    compiler: Compiler,
    modules: RwLock<Vec<Module>>,
    memory: Mutex<BTreeMap<usize, usize>>,
    runtime: Runtime,
    trace: bool,
}

/// The C++ compiler and its past work.
struct Compiler {
    program: OsString,
    version: String,
    cache: PathBuf,
    texts: Option<PathBuf>,
}

impl Compiler {
    fn find() -> Result<Self> {
        let program = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
        let missing = |why: String| {
            Error::unavailable(format!(
                "emulating a GPU needs a C++ compiler, and {} {why}; install one (g++ on Debian and Ubuntu, gcc-c++ on Fedora) \
                 or name one in CXX",
                program.display()
            ))
        };
        let output = Command::new(&program).arg("--version").output().map_err(|e| missing(format!("gives: {e}")))?;
        if !output.status.success() {
            return Err(missing(format!("fails with {}", output.status)));
        }
        let version = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned();
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let default = || std::env::temp_dir().join(concat!("esker-emulated-", env!("CARGO_PKG_VERSION")));
        let cache = folder("ESKER_CUDA_CACHE").map_or_else(default, |cache| cache.join("emulated"));
        let texts = folder("ESKER_CUDA_TEXTS");
        for folder in [Some(&cache), texts.as_ref()].into_iter().flatten() {
            std::fs::create_dir_all(folder).map_err(|e| Error::io(format!("{}: {e}", folder.display())))?;
        }
        Ok(Self { program, version, cache, texts })
    }

    /// The shared library of a text, compiled now or earlier.
    fn library(&self, name: &str, source: &str, options: &str, libraries: &str) -> Result<Library> {
        let key = digest(&[source, options, libraries, &self.version]);
        let path = self.cache.join(format!("{key}.so"));
        if !path.exists() {
            self.compile(name, source, options, libraries, &path)?;
        }
        // SAFETY: the library is what the compiler made of our text; it runs nothing when loaded.
        unsafe { Library::new(&path) }.map_err(|e| Error::kernel(format!("{name} could not be loaded: {e}")))
    }

    fn compile(&self, name: &str, source: &str, options: &str, libraries: &str, to: &Path) -> Result<()> {
        // Under a name of its own first: other processes may compile the same.
        let file = tempfile::Builder::new().suffix(".so").tempfile_in(&self.cache)?.into_temp_path();
        let mut compiler = Command::new(&self.program)
            .args(options.split_whitespace())
            .args(["-x", "c++", "-", "-o"])
            .arg(&file)
            .args(libraries.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| Error::unavailable(format!("{} could not be started: {e}", self.program.display())))?;
        if let Some(mut input) = compiler.stdin.take() {
            // A compiler that stops reading has its reasons on standard error.
            let _ = input.write_all(source.as_bytes());
        }
        let output = compiler.wait_with_output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<&str> = said.lines().take(LINES).collect();
            return Err(Error::kernel(format!("{name} does not compile:\n{}", lines.join("\n"))));
        }
        file.persist(to).map_err(|e| Error::io(format!("{}: {e}", to.display())))
    }

    /// Writes a text where the environment asks for it: its name, its entry and whether it may be fused, then all of it.
    fn record(&self, text: &Text) -> Result<()> {
        let Some(folder) = &self.texts else { return Ok(()) };
        let fuse = if text.fuse { "fused" } else { "rounded" };
        let all = format!("// {}\n// {}\n// {fuse}\n{}", text.name, text.entry, text.source);
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(all.as_bytes())?;
        let path = folder.join(format!("{}.cu", digest(&[&all])));
        file.persist(&path).map_err(|e| Error::io(format!("{}: {e}", path.display())))?;
        Ok(())
    }
}

/// A name for texts.
fn digest(texts: &[&str]) -> String {
    let half = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        (seed, texts).hash(&mut hasher);
        hasher.finish()
    };
    format!("{:016x}{:016x}", half(0), half(1))
}

/// Dynamic shared memory is a pointer here.
fn with_shared_pointers(source: &str) -> String {
    const DECLARES: &str = "extern __shared__ ";
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once(DECLARES) {
        out.push_str(before);
        match after.split_once("[]") {
            Some((declared, behind)) if !declared.contains(';') => {
                let (kind, name) = declared.trim().rsplit_once(' ').unwrap_or((declared, "shared"));
                out.push_str(&format!("{kind} *{name} = ({kind} *)esker_launch->shared"));
                rest = behind;
            }
            _ => {
                out.push_str(DECLARES);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

impl Emulated {
    pub(crate) fn open() -> Result<Self> {
        let compiler = Compiler::find()?;
        let runtime = Runtime::of(compiler.library("the emulator's runtime", RUNTIME, RUNTIME_OPTIONS, "")?)?;
        Ok(Self {
            compiler,
            modules: RwLock::default(),
            memory: Mutex::default(),
            runtime,
            trace: std::env::var_os("ESKER_CUDA_TRACE").is_some(),
        })
    }

    fn memory(&self) -> MutexGuard<'_, BTreeMap<usize, usize>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That `bytes` from `address` on are device memory.
    fn within(&self, address: usize, bytes: usize) -> Result<()> {
        let memory = self.memory();
        let block = memory.range(..=address).next_back();
        if bytes == 0 || block.is_some_and(|(start, size)| address + bytes <= start + size) {
            return Ok(());
        }
        Err(Error::kernel(format!("{bytes} bytes at {address:#x} are not all device memory")))
    }
}

impl Driver for Emulated {
    fn alloc(&self, bytes: usize) -> Result<usize> {
        if bytes > isize::MAX as usize / 2 {
            return Err(Error::out_of_memory(format!("{bytes} bytes are too many")));
        }
        let bytes = bytes.max(1);
        // SAFETY: the function takes any number of bytes that leaves room for the pages around them.
        let start = unsafe { (self.runtime.alloc)(bytes, UNWRITTEN) };
        if start.is_null() {
            return Err(Error::out_of_memory(format!("{bytes} bytes could not be had")));
        }
        self.memory().insert(start.expose_provenance(), bytes);
        Ok(start.addr())
    }

    fn free(&self, address: usize) {
        let _running = running();
        let Some(bytes) = self.memory().remove(&address) else { return };
        // SAFETY: `alloc` gave this address for so many bytes, and it is forgotten now.
        unsafe { (self.runtime.free)(std::ptr::with_exposed_provenance_mut(address), bytes) };
    }

    fn guards(&self) -> bool {
        true
    }

    fn build(&self, text: &Text) -> Result<Function> {
        self.compiler.record(text)?;
        let kernel = with_shared_pointers(&text.source);
        let source =
            format!("#line 1 \"prelude.h\"\n{PRELUDE}\n#line 1 \"text\"\n{kernel}\nESKER_MODULE({})\n", text.entry);
        let library = self.compiler.library(&text.name, &source, OPTIONS, LIBRARIES)?;
        // SAFETY: prelude.h gives every module this symbol, of this type.
        let exported = unsafe { library.get::<*const Exported>(b"esker_module") }.map(|symbol| *symbol);
        let exported = exported.map_err(|e| Error::kernel(format!("{} is incomplete: {e}", text.name)))?;
        // SAFETY: the symbol points to a constant of the library, which stays loaded.
        let (exported, sizes) = unsafe {
            let exported = &*exported;
            (exported, std::slice::from_raw_parts(exported.sizes, usize::try_from(exported.count).unwrap_or(0)))
        };
        let (sizes, threads) = (sizes.to_vec(), exported.threads);
        let mut modules = self.modules.write().unwrap_or_else(PoisonError::into_inner);
        modules.push(Module { name: format!("{} ({})", text.name, text.entry), sizes, threads, _library: library });
        Ok(Function(modules.len() - 1))
    }

    fn launch(&self, function: Function, grid: Grid, args: &[&[u8]]) -> Result<()> {
        let modules = self.modules.read().unwrap_or_else(PoisonError::into_inner);
        let module = modules.get(function.0).ok_or_else(|| Error::kernel("a kernel that was not built"))?;
        let given: Vec<u32> = args.iter().map(|arg| arg.len() as u32).collect();
        if given != module.sizes {
            return Err(Error::kernel(format!(
                "{} takes parameters of {:?} bytes, {given:?} were given",
                module.name, module.sizes
            )));
        }
        if grid.shared as usize > SHARED {
            return Err(Error::kernel(format!("{} asks for {} bytes of shared memory", module.name, grid.shared)));
        }
        if self.trace {
            eprintln!("{grid:?} {}", module.name);
        }
        // The parameters may lie anywhere in the caller's bytes; kernels want them aligned.
        let mut copies: Vec<Vec<u128>> = args.iter().map(|arg| vec![0; arg.len().div_ceil(16)]).collect();
        for (copy, arg) in copies.iter_mut().zip(args) {
            bytemuck::cast_slice_mut::<u128, u8>(copy)[..arg.len()].copy_from_slice(arg);
        }
        let mut pointers: Vec<*mut c_void> = copies.iter_mut().map(|copy| copy.as_mut_ptr().cast()).collect();
        let mut shared = running();
        shared.resize(SHARED / 8, 0);
        let mut launch = Launch {
            next: 0,
            threads: grid.threads,
            block: [0; 3],
            blocks: grid.blocks,
            args: pointers.as_mut_ptr(),
            shared: shared.as_mut_ptr(),
            wait: std::ptr::null(),
            fail: std::ptr::null(),
        };
        // SAFETY: the module's function takes what runtime.cc hands it; parameters have the sizes that it reads; only one
        // launch at a time runs, as the lock is held. That the kernel keeps to its memory is the kernel's duty.
        let why = unsafe { (self.runtime.run)(module.threads, &raw mut launch) };
        if why.is_null() {
            return Ok(());
        }
        // SAFETY: a message of the runtime, valid until its next run.
        let why = unsafe { CStr::from_ptr(why) }.to_string_lossy();
        Err(Error::kernel(format!("{}: {why}", module.name)))
    }

    fn product(&self, _: &Product, _: &Operands) -> Result<bool> {
        Ok(false)
    }

    fn upload(&self, from: &[u8], to: usize) -> Result<()> {
        let _running = running();
        self.within(to, from.len())?;
        // SAFETY: the bytes are device memory, which nobody else touches while the lock is held.
        unsafe { std::ptr::with_exposed_provenance_mut::<u8>(to).copy_from(from.as_ptr(), from.len()) };
        Ok(())
    }

    fn download(&self, from: usize, to: &mut [u8]) -> Result<()> {
        let _running = running();
        self.within(from, to.len())?;
        // SAFETY: as in `upload`.
        unsafe { std::ptr::with_exposed_provenance::<u8>(from).copy_to(to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    fn fill(&self, address: usize, byte: u8, bytes: usize) -> Result<()> {
        let _running = running();
        self.within(address, bytes)?;
        // SAFETY: as in `upload`.
        unsafe { std::ptr::with_exposed_provenance_mut::<u8>(address).write_bytes(byte, bytes) };
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn multiprocessors(&self) -> usize {
        4
    }

    fn describe(&self) -> String {
        format!("a GPU emulated on the CPU ({})", self.compiler.version)
    }
}

#[cfg(test)]
mod tests;
